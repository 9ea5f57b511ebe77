"""Time: do states follow the past, and gradients the way back through it?"""

import pickle

import numpy as np
import pytest
import reference
from conftest import FIVE_SIGMA, THREADS
from sequence_models import KINDS, LENGTHS, V, arrays_of, model_of, sequences_of
from stops import Stop

import deepgen as dg
from deepgen.inference.sequences import features, predictions, unfolded
from deepgen.io.schemas.registry import schema_for
from deepgen.learning.sequences import Restraint, SequenceTrainer, starting_machine
from deepgen.likelihood.filtering import completed, log_probabilities_of_known
from deepgen.likelihood.sequences import frame_log_likelihoods
from deepgen.models.conditional_machine import ConditionalParameters, biases_of
from deepgen.rows.batch import Batch
from deepgen.rows.sequences import SequenceRows, Sequences, TimeOrder, Transpose
from deepgen.runtime.work import Work

RULE = dg.CD(2, centring=False)
# names of the twins, and of the arrays that training changes
NAMES = {
    "weights": "weights[0]", "visible_bias": "layers[0].bias", "hidden_bias": "layers[1].bias"
}  # fmt: skip


def run_of(model, *, rule=RULE, optimizer=None, **settings):
    """A run of a model."""
    return SequenceTrainer(
        model, rule, dg.Adam(averaging=0.0) if optimizer is None else optimizer, dg.Constant(0.01),
        stream=dg.Stream(3), n_threads=1, **{"batch_size": 2, **settings},
    )  # fmt: skip


# --------------------------------------------------------------------------------- order of time


@pytest.mark.parametrize("lengths", [(3,), (1, 1, 1), (2, 5, 1, 5), (4, 3, 2)])
def test_order_of_time(lengths):
    """Would catch a frame that is counted twice, a sequence that goes on in another one's row."""
    steps = TimeOrder.of(lengths)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    assert sorted(steps.order) == list(range(sum(lengths)))
    for t in range(max(lengths)):
        going = [s for s in steps.ranks if lengths[s] > t]
        assert steps.order[steps.rows(t)].tolist() == [starts[s] + t for s in going]
        if t + 1 < max(lengths):
            followed = steps.order[steps.followed(t)]
            assert (followed + 1).tolist() == steps.order[steps.rows(t + 1)].tolist()
    assert steps.order[steps.ends].tolist() == (starts[1:] - 1).tolist()
    assert steps.in_sequence(steps.order).tolist() == list(range(sum(lengths)))


@pytest.mark.parametrize("chunk", [None, 1, 3, 100])
def test_each_frame_is_learned_once_in_an_epoch(chunk):
    """Would catch frames that a cut loses or presents twice, and a run-in of another piece."""
    sequences = sequences_of()
    numbered = Sequences(
        np.arange(len(sequences.frames), dtype=np.float32)[:, None], sequences.lengths
    )
    rows, learned = SequenceRows(numbered, chunk=chunk, run_in=2), []
    for batch in rows.batches(3, dg.Stream(0)):
        chunks = batch.states[0]
        mask = chunks.learned()
        mask = np.ones(len(chunks.frames), bool) if mask is None else mask
        for frames, part in zip(chunks.cut(chunks.frames), chunks.cut(mask), strict=True):
            assert (np.diff(frames[:, 0]) == 1).all()
            first = int(frames[0, 0])
            piece = np.searchsorted(sequences.starts, first, side="right") - 1
            assert frames[-1, 0] < sequences.starts[piece + 1]
            assert (~part).sum() == min(2, int(frames[part][0, 0]) - sequences.starts[piece])
            learned += frames[part][:, 0].astype(int).tolist()
            assert chunk is None or part.sum() <= chunk
    assert sorted(learned) == list(range(len(sequences.frames)))


def test_transposed_rolls_keep_their_notes():
    """Would catch notes that fall off one end of the keyboard and come back at the other."""
    rng, moves = np.random.default_rng(0), set()
    frames = np.zeros((4, 20), np.uint8)
    frames[[0, 1, 3], [2, 5, 15]] = 1
    for _ in range(200):
        moved = Transpose()(frames, rng)
        notes = np.argwhere(moved)
        (move,) = set((notes - np.argwhere(frames))[:, 1])
        assert (notes[:, 0] == np.argwhere(frames)[:, 0]).all()
        moves.add(int(move))
    assert moves == set(range(-2, 5))
    with pytest.raises(ValueError, match="low and high"):
        Transpose(1, 3)


# --------------------------------------------------------------------------------------- states


@pytest.mark.parametrize("kind", KINDS)
def test_states_follow_the_past(kind):
    """Would catch a state that reads its own frame, or that of another sequence."""
    model, sequences = model_of(kind), sequences_of()
    before, last = unfolded(model, sequences)
    arrays = arrays_of(model)
    for number, frames in enumerate(sequences.cut(sequences.frames)):
        expected = reference.sequence_states(kind, arrays, frames)
        found = sequences.cut(before)[number]
        np.testing.assert_allclose(found, expected[:-1], atol=3e-6)
        np.testing.assert_allclose(last[number], expected[-1], atol=3e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_threads", THREADS)
def test_a_sequence_cut_in_two_is_the_whole(kind, n_threads):
    """Would catch a state that does not carry over, and bits that depend on who else is there."""
    model, work = model_of(kind), Work(n_threads=n_threads)
    whole, cut = sequences_of((9,)), 5
    first, second = (Sequences.joined([x]) for x in np.split(whole.frames, [cut]))
    more = sequences_of((3, 12, 8))
    crowd = Sequences.joined([more.frames[:3], *np.split(second.frames, 1), more.frames[3:15]])
    _, state = unfolded(model, first, work=work)
    three = np.repeat(state, 3, axis=0)
    for function in (lambda m, s, i=None: unfolded(m, s, i, work=work)[0], features):
        pieces = [function(model, first), function(model, crowd, three)[3 : 3 + 9 - cut]]
        assert np.concatenate(pieces).tobytes() == function(model, whole).tobytes()


# ------------------------------------------------------------------------------------ gradients


@pytest.mark.parametrize("kind", KINDS)
def test_twin_of_gradients_is_the_slope(kind):
    """Would catch a wrong way back through time in the twin, which the next test trusts."""
    rng, arrays = np.random.default_rng(5), arrays_of(model_of(kind))
    data = [(rng.random((n, V)) < 0.4).astype(np.float64) for n in LENGTHS]
    negatives = [(rng.random((n, V)) < 0.5).astype(np.float64) for n in LENGTHS]
    learned = [np.arange(n) >= n // 3 for n in LENGTHS]
    found = reference.sequence_gradients(kind, arrays, data, negatives, learned)
    for name, array in arrays.items():

        def value(x, name=name):
            return reference.sequence_objective(
                kind, {**arrays, name: x}, data, negatives, learned
            )

        slope = reference.finite_difference(value, array)
        np.testing.assert_allclose(found[name], slope, atol=1e-6 * np.abs(slope).max())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("run_in", [False, True])
@pytest.mark.parametrize("gaussian", [False, True])
def test_gradients_of_an_update_are_those_of_the_twin(kind, run_in, gaussian):
    """Would catch a term of the gradient that is missing, doubled, or of run-in frames; and one of
    the way through time that lacks the gain of its column, which the others of the array have."""
    rng = np.random.default_rng(8)
    visible = dg.Gaussian(log_precision=rng.normal(0.0, 1.0, V)) if gaussian else None
    gain = np.exp(visible.log_precision.astype(np.float64)) if gaussian else np.ones(V)
    dg.set_precision("float32")
    try:
        run, sequences = run_of(model_of(kind, visible=visible)), sequences_of()
        if gaussian:
            frames = rng.normal(size=sequences.frames.shape).astype(np.float32)
            sequences = Sequences(frames, sequences.lengths)
        if run_in:
            sequences = Sequences(sequences.frames, sequences.lengths, np.array([2, 0, 3, 1]))
        site, steps = dg.Stream(9), sequences.steps
        found = run._gradients(sequences, site, Work(n_threads=1))
        # the same draws once more
        mask = sequences.learned()
        mask = np.ones(len(steps.order), bool) if mask is None else mask
        before = unfolded(run.model(), sequences)[0][steps.order]
        some = np.flatnonzero(mask[steps.order])
        context = biases_of(run.parameters.recurrence, before[some])
        rows = sequences.frames[steps.order][some]
        phases = RULE.phases(
            run.parameters.machine, Batch((rows,), context), run._rule_state, site
        )
        negative = np.zeros(sequences.frames.shape)
        negative[steps.order[some]] = phases.negative[0]
        expected = reference.sequence_gradients(
            kind, arrays_of(run.model()), sequences.cut(sequences.frames.astype(float)),
            sequences.cut(negative), sequences.cut(mask),
        )  # fmt: skip
    finally:
        dg.set_precision(None)
    found.pop("layers[0].log_precision", None)
    assert len(found) == len(expected)
    expected["weights"] = expected["weights"] * gain[:, None]
    expected["visible_bias"] = expected["visible_bias"] * gain
    for name, slope in expected.items():
        mine = found[NAMES.get(name, f"recurrence.{name}")]
        # float32 sums of terms as large as the largest entry
        largest = max(1.0, np.abs(slope).max())
        np.testing.assert_allclose(mine, slope, atol=3e-6 * largest, err_msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_decay_of_a_recurrence_knows_the_units_of_columns(kind):
    """Would catch a matrix that does not decay, and a decay that depends on in which unit a column
    is measured: with noise of deviation s in column i, the loss has ``d / 2 (s_i A_ij s_j)^2``."""
    rng = np.random.default_rng(3)
    deviation = np.exp(rng.normal(size=V))
    visible = dg.Gaussian(log_precision=-2.0 * np.log(deviation))
    frames = rng.normal(size=(6, V)).astype(np.float32)
    sequences, site, work = Sequences.joined([frames]), dg.Stream(9), Work(n_threads=1)
    model = model_of(kind, visible=visible)
    found = [
        run_of(model, restraint=Restraint(decay=decay))._gradients(sequences, site, work)
        for decay in (0.0, 0.5)
    ]
    ones = np.ones(1)
    axes = {
        "window": {"visible_weights": (np.tile(deviation, 2), deviation),
                   "hidden_weights": (np.tile(deviation, 2), ones)},
        "rnn": {"recurrent_weights": (ones, ones), "input_weights": (deviation, ones),
                "visible_weights": (ones, deviation), "hidden_weights": (ones, ones)},
        "rtrbm": {"visible_weights": (ones, deviation), "hidden_weights": (ones, ones)},
    }[kind]  # fmt: skip
    for name, gradient in found[0].items():
        change = found[1][name] - gradient
        expected = np.zeros(change.shape)
        short = name.removeprefix("recurrence.")
        if short in axes:
            rows, columns = (each**2 for each in axes[short])
            expected = 0.5 * rows[:, None] * columns * getattr(model.recurrence, short)
        # gradients are of what becomes small
        np.testing.assert_allclose(change, expected, rtol=1e-4, atol=1e-5, err_msg=name)
    with pytest.raises(ValueError, match="decay"):
        Restraint(decay=-1.0)


# ------------------------------------------------------------------------------------- learning


def copied_process(n, length, rng):
    """Sequences whose frame is the last one, moved by one column, with some bits flipped."""
    frames = np.empty((n, length, V), np.uint8)
    frames[:, 0] = rng.random((n, V)) < 0.5
    for t in range(1, length):
        flips = rng.random((n, V)) < 0.05
        frames[:, t] = np.roll(frames[:, t - 1], 1, axis=1) ^ flips
    return Sequences.joined(list(frames))


@pytest.mark.parametrize("kind", KINDS)
def test_learning_finds_what_the_past_says(kind):
    """Would catch a gradient of the wrong sign, and a recurrence that learns nothing.

    A frame alone has an entropy of 7 log 2 = 4.85 nats; given the last one 7 H(.05) = 1.39.
    """
    rng = np.random.default_rng(0)
    train, test = copied_process(200, 10, rng), copied_process(50, 10, rng)
    mean = train.frames.mean(axis=0)
    moments = (len(train.frames), mean, mean * (1 - mean))
    model = starting_machine(
        (dg.Binary(V), dg.Binary(10)), kind, moments, dg.Stream(1),
        n_state=1 if kind == "window" else 12,
    )  # fmt: skip
    run = run_of(model, batch_size=20, optimizer=dg.Adam())
    run.schedule = dg.Linear(0.03, 0.0)
    run.fit(SequenceRows(train), 40)
    start = frame_log_likelihoods(model, test, n_threads=1).by_frame.mean()
    end = frame_log_likelihoods(run.model(), test, n_threads=1).by_frame
    follows = np.arange(len(end)) % 10 > 0
    assert start == pytest.approx(-V * np.log(2), abs=0.1)
    assert -2.2 < end[follows].mean() < -1.3


@pytest.mark.parametrize("kind", KINDS)
def test_a_stopped_run_goes_on_with_the_same_bits(kind):
    """Would catch a draw, a moment or an augmentation that a state does not know."""
    rows = SequenceRows(sequences_of((5, 8, 3, 9, 4)), chunk=4, run_in=2, augment=Transpose(-1, 1))

    class StopAt:
        def __call__(self, report):
            pass

        def between_updates(self, trainer):
            if trainer.n_updates == 5:
                raise Stop

    restraint = Restraint(0.2, 0.01)
    whole, first, second = (run_of(model_of(kind), restraint=restraint) for _ in range(3))
    whole.fit(rows, 3)
    with pytest.raises(Stop):
        first.fit(rows, 3, callbacks=[StopAt()])
    second.restore(first.state())
    second = pickle.loads(pickle.dumps(second))
    second.fit(rows, 3)
    for name, array in whole.parameters.learned().items():
        assert array.tobytes() == second.parameters.learned()[name].tobytes(), name


def test_a_run_refuses_what_it_cannot_learn_from():
    """Would catch rules whose particles belong to no frame, and batches of plain rows."""
    model = model_of("rnn")
    for rule in (dg.PCD(), dg.CD(2), "cd"):
        with pytest.raises(ValueError, match=r"rule must be dg\.CD"):
            run_of(model, rule=rule)
    with pytest.raises(TypeError, match=r"a dg\.Batch of Sequences"):
        run_of(model).step(Batch((np.zeros((3, V), np.uint8),)), 0.0)
    with pytest.raises(ValueError, match="7"):
        run_of(model).step(Batch((sequences_of(n_visible=3),)), 0.0)


@pytest.mark.parametrize("kind", KINDS)
def test_models_refuse_arrays_that_do_not_fit(kind):
    """Would catch a shape that kernels would read beyond."""
    model = model_of(kind)
    for name, array in model.recurrence.arrays().items():
        wrong = np.concatenate([array, array[:1]])
        with pytest.raises(ValueError, match="must have"):
            model.replace(recurrence=model.recurrence.replace(**{name: wrong}))
        bad = np.full(array.shape, np.nan)
        with pytest.raises(ValueError, match=f"{name} must be finite"):
            model.recurrence.replace(**{name: bad})
    copy = pickle.loads(pickle.dumps(model))
    assert copy.recurrence.visible_weights.tobytes() == model.recurrence.visible_weights.tobytes()
    parameters = ConditionalParameters(model)
    assert set(parameters.learned()) >= {"weights[0]", "recurrence.hidden_weights"}
    with pytest.raises(ValueError, match="two layers"):
        dg.ConditionalMachine(
            dg.BoltzmannMachine([dg.Binary(2)] * 3, [np.zeros((2, 2))] * 2), model.recurrence
        )


@pytest.mark.parametrize("kind", KINDS)
def test_predictions_are_near_the_exact_means(kind):
    """Would catch a prediction that reads the frame that it is about, or skips the past."""
    model, sequences = model_of(kind, scale=0.25), sequences_of((5, 3))
    found, before = predictions(model, sequences), unfolded(model, sequences)[0]
    context = biases_of(model.recurrence, before)
    states = (np.arange(2**V)[:, None] >> np.arange(V) & 1).astype(np.uint8)
    for t in range(len(before)):
        rows = {l: np.repeat(context.bias_rows[l][t : t + 1], len(states), axis=0) for l in (0, 1)}
        log_p = -dg.free_energy(model.machine, states, context=dg.Context(bias_rows=rows))
        p = np.exp(log_p - log_p.max())
        np.testing.assert_allclose(found[t], p @ states / p.sum(), atol=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_completions_are_the_exact_means_given_what_comes_later(kind):
    """Would catch weights of later frames that reach draws, but not the means that stand for them.

    The gap is a whole frame between two known ones: what it was is enumerated.
    """
    model, sequences = model_of(kind), sequences_of((3,))
    missing = np.zeros(sequences.frames.shape, bool)
    missing[1] = True
    states = (np.arange(2**V)[:, None] >> np.arange(V) & 1).astype(np.uint8)
    filled = [np.stack([sequences.frames[0], v, sequences.frames[2]]) for v in states]
    log_p = frame_log_likelihoods(model, Sequences.joined(filled)).by_sequence()[0]
    p = np.exp(log_p - log_p.max())
    n = 2000
    _, means = completed(model, sequences, missing, dg.Stream(2), n_particles=n, n_sweeps=40)
    # particles are drawn anew where less than half of them count
    error = FIVE_SIGMA * 0.5 / np.sqrt(n / 2)
    np.testing.assert_allclose(means[1], p @ states / p.sum(), atol=error)
    np.testing.assert_array_equal(means[[0, 2]], sequences.frames[[0, 2]])


@pytest.mark.parametrize("kind", KINDS)
def test_frames_with_gaps_say_what_was_missing_before(kind):
    """Would catch frames with gaps that do not weigh, or that weigh by their drawn entries too.

    A whole frame is missing, and four columns of the next one: both are enumerated together.
    """
    model, sequences = model_of(kind, seed=7, scale=1.0), sequences_of((3,))
    missing = np.zeros(sequences.frames.shape, bool)
    missing[1], missing[2, [0, 2, 3, 5]] = True, True
    n_gaps = int(missing.sum())
    states = (np.arange(2**n_gaps)[:, None] >> np.arange(n_gaps) & 1).astype(np.uint8)
    filled = np.repeat(sequences.frames[None], len(states), axis=0)
    filled[:, missing] = states
    log_p = frame_log_likelihoods(model, Sequences.joined(list(filled))).by_sequence()[0]
    p = np.exp(log_p - log_p.max())
    n = 4000
    _, means = completed(model, sequences, missing, dg.Stream(2), n_particles=n, n_sweeps=40)
    error = FIVE_SIGMA * 0.5 / np.sqrt(n / 2)
    expected = p @ states / p.sum()
    np.testing.assert_allclose(means[missing], expected, atol=error)
    np.testing.assert_array_equal(means[~missing], sequences.frames[~missing])
    # the case tells: where nothing is known of the last frame the first gap has other means
    blind = missing.copy()
    blind[2] = True
    _, others = completed(model, sequences, blind, dg.Stream(2), n_particles=n, n_sweeps=40)
    assert np.abs(others[1] - expected[:V]).max() > 3 * error


def test_probabilities_of_what_is_known_are_exact():
    """Would catch a known column that hidden units do not see, and a precision or a bias row that
    the probability of the known columns leaves out."""
    rng = np.random.default_rng(0)
    gaussian = dg.Gaussian(bias=rng.normal(size=V), log_precision=rng.normal(0, 0.4, V))
    for visible in (dg.Binary(bias=rng.normal(size=V)), gaussian):
        model = model_of("rnn", visible=visible, n_hidden=4)
        frame = rng.normal(size=V) if visible is gaussian else rng.integers(0, 2, V)
        states = rng.normal(size=(3, model.n_state)).astype(np.float32)
        rows = biases_of(model.recurrence, states).bias_rows
        weights = model.machine.weights[0].astype(float)
        precision = visible.precision.astype(float) if visible is gaussian else None
        for gaps in (np.arange(V) % 3 == 0, np.arange(V) == 2, np.zeros(V, bool)):
            found = log_probabilities_of_known(model, states, frame, gaps, dg.Stream(0))
            for r in range(3):
                biases = [model.layers[l].bias + rows[l][r].astype(float) for l in (0, 1)]
                expected = reference.log_probability_of_known(
                    weights, biases, frame, gaps, precision
                )
                assert found[r] == pytest.approx(expected, abs=2e-5)


def test_annealed_probabilities_of_what_is_known_compare_states():
    """Would catch chains of another machine, where enumeration takes too long: differences between
    states are those of the exact values, but for the spread of the weights of one chain each."""
    rng = np.random.default_rng(1)
    visible = dg.Binary(bias=rng.normal(size=30))
    model = model_of("rnn", visible=visible, n_hidden=12)
    frame, gaps = rng.integers(0, 2, 30), np.arange(30) % 2 == 0
    states = np.repeat(rng.normal(size=(2, model.n_state)).astype(np.float32), 200, axis=0)
    exact = log_probabilities_of_known(model, states[[0, 200]], frame, gaps, dg.Stream(0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("deepgen.likelihood.by_row.is_cheap_by_row", lambda *_: False)
        found = log_probabilities_of_known(model, states, frame, gaps, dg.Stream(0))
    assert found.std() > 0.0
    weights = np.exp(found.reshape(2, 200) - exact[:, None])
    error = FIVE_SIGMA * weights.std(axis=1) / np.sqrt(200)
    assert abs(weights[0].mean() - weights[1].mean()) < error.sum()


def test_layers_of_some_columns():
    """Would catch columns that lose their parameters or options, and groups that are cut."""
    rng = np.random.default_rng(2)
    gaussian = dg.Gaussian(log_precision=rng.normal(size=4), learn_precision=False)
    some = gaussian.of_columns([1, 3])
    np.testing.assert_array_equal(some.log_precision, gaussian.log_precision[[1, 3]])
    assert not some.learn_precision
    assert dg.Binary(3, n_copies=2).of_columns([0]).n_copies == 2
    groups = dg.Softmax(3, bias=np.arange(6.0))
    np.testing.assert_array_equal(groups.of_columns([3, 4, 5]).bias, [3.0, 4.0, 5.0])
    with pytest.raises(ValueError, match="whole groups"):
        groups.of_columns([1, 2, 3])
    with pytest.raises(ValueError, match="do not share draws"):
        dg.Multinomial(3).of_columns([0])
    mixed = dg.Mixed([dg.Binary(2), gaussian, groups])
    part = mixed.of_columns([1, 3, 5])
    assert [type(units) for units in part.parts] == [dg.Binary, dg.Gaussian]
    np.testing.assert_array_equal(part.log_precision[1:], gaussian.log_precision[[1, 3]])
    assert type(mixed.of_columns([0, 1])) is dg.Binary


def test_sequences_that_do_not_fit_are_refused():
    """Would catch lengths that leave frames out, and states that begin no sequence."""
    model, sequences = model_of("rnn"), sequences_of()
    n = len(sequences.frames)
    for lengths in ([n - 1], [n, 1], [n + 1, -1], [n - 0.5, 0.5], [[n]]):
        with pytest.raises(ValueError, match=f"lengths must be .* the {n} frames"):
            dg.Sequences(sequences.frames, lengths)
    with pytest.raises(ValueError, match="frames must be a dense array"):
        dg.Sequences(sequences.frames[0], [1])
    with pytest.raises(ValueError, match="initial_state must have shape"):
        frame_log_likelihoods(model, sequences, initial_state=np.zeros((1, model.n_state)))
    with pytest.raises(ValueError, match="frames must be finite"):
        frame_log_likelihoods(model, dg.Sequences(np.full((2, V), np.nan), [2]))
    whole = frame_log_likelihoods(model, sequences).by_frame
    doubles = dg.Sequences(sequences.frames.astype(np.float64), list(sequences.lengths))
    np.testing.assert_array_equal(frame_log_likelihoods(model, doubles).by_frame, whole)


def test_sequences_begin_at_the_states_that_they_have():
    """Would catch initial states that learning reads and likelihoods pass over."""
    model, sequences = model_of("rnn"), sequences_of()
    states = np.full((sequences.n_sequences, model.n_state), 0.5, np.float32)
    begun = dg.Sequences(sequences.frames, sequences.lengths, initial=states)
    expected = frame_log_likelihoods(model, sequences, initial_state=states).by_frame
    np.testing.assert_array_equal(frame_log_likelihoods(model, begun).by_frame, expected)
    assert not np.array_equal(frame_log_likelihoods(model, sequences).by_frame, expected)


@pytest.mark.parametrize("kind", ["rnn", "rtrbm"])
def test_first_states_that_leave_float32_are_no_usable_file(kind):
    """Would catch a damaged file whose biases are infinite from the first frame on."""
    model = model_of(kind)
    for size, usable in ((100.0, True), (3e38, False)):
        initial = np.full(model.n_state, size)
        one = model.replace(recurrence=model.recurrence.replace(initial=initial))
        assert schema_for(one).is_usable(one) == usable
