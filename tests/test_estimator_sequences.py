"""TemporalRBM: sequences in, answers about frames out, and errors that say what was wrong."""

import pickle
import warnings
from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import check_estimator
from stops import Stop

import deepgen as dg

KINDS = ("rnn", "window", "rtrbm")
LENGTHS = (12, 7, 20)
RNG = np.random.default_rng(0)
BITS = [(RNG.random((n, 6)) < 0.3).astype(np.uint8) for n in LENGTHS]
REALS = [x + RNG.normal(0.0, 0.2, x.shape) for x in BITS]
STACKED = np.concatenate(BITS)


NAMED = [pd.DataFrame(x, columns=list("abcdef")) for x in BITS]


def padded_to(length):
    """The sequences in three dimensions, with frames of NaN behind the shorter ones."""
    cube = np.full((len(BITS), length, 6), np.nan)
    for padded, frames in zip(cube, BITS, strict=True):
        padded[: len(frames)] = frames
    return cube


def model_of(recurrence="rnn", **settings):
    """A small estimator."""
    usual = {"n_recurrent": 5, "order": 2, "n_epochs": 3, "random_state": 0, "n_threads": 1}
    return dg.TemporalRBM(8, recurrence=recurrence, **{**usual, **settings})


@pytest.fixture(scope="module")
def fitted():
    """A model of each recurrence."""
    return {kind: model_of(kind).fit(BITS) for kind in KINDS}


# ---------------------------------------------------------------------------------- sequences in


def test_forms_of_sequences_are_one():
    """Would catch a form that is cut elsewhere: another model would come of it."""
    expected = model_of().fit(BITS).model_
    for fit in (
        lambda m: m.fit(tuple(BITS)),
        lambda m: m.fit(STACKED, lengths=LENGTHS),
        lambda m: m.fit(STACKED.astype(float), lengths=np.array(LENGTHS)),
        lambda m: m.fit([pd.DataFrame(x) for x in BITS]),
        lambda m: m.fit([x.astype(bool) for x in BITS]),
    ):
        found = fit(model_of()).model_
        assert found.machine.weights[0].tobytes() == expected.machine.weights[0].tobytes()
    cube = np.stack([BITS[0], BITS[2][:12]])
    one, other = model_of().fit(cube), model_of().fit(list(cube))
    assert one.transform(cube).tobytes() == other.transform(list(cube)).tobytes()
    whole = model_of().fit(BITS[2])  # one sequence, also as rows of numbers
    assert whole.score_sequences(BITS[2]).shape == (1,)
    assert (model_of().fit(BITS[2].tolist()).transform(BITS[2]) == whole.transform(BITS[2])).all()


@pytest.mark.parametrize(
    ("X", "lengths", "words"),
    [
        ([], None, "got an empty list"),
        ([BITS[0], BITS[1][:, :3]], None, r"X\[1\] must have 6 columns as X\[0\] has, got 3"),
        ([BITS[0], BITS[1][:0]], None, r"X\[1\] must have at least one frame"),
        ([BITS[0], BITS[1][0]], None, r"X\[1\] must have shape \(n_frames, n_features\)"),
        (np.array([BITS[0], BITS[1]], dtype=object), None, r"pass list\(X\)"),
        (BITS, LENGTHS, "lengths must be None"),
        (STACKED, [3], "add up to the 39 frames"),
        (STACKED, [40, -1], "add up to the 39 frames"),
        (STACKED, [38.5, 0.5], "whole numbers"),
        (STACKED, 39, "whole numbers"),
        ([BITS[0] * 2.0], None, "got 2"),
        ([np.full((3, 6), np.nan)], None, "got NaN in row 0, column 0"),
        (np.zeros((1, 1, 3, 6)), None, "dim"),
        (np.zeros((0, 3, 6)), None, r"X must be a list of arrays.* got shape \(0, 3, 6\)"),
        ([[0, 1], [1]], None, r"X must be a list of arrays.* rows of different lengths, \[2, 1\]"),
        ([[[0, 1], [1]]], None, r"X\[0\] must be an array of numbers"),
        (STACKED[:, 0], None, "1D array"),
        ([BITS[0], BITS[1] * 2.0], None, r"X\[1\] must .* got 2\.0 in row 2, column 4"),
        (padded_to(20), None, r"X\[0\] must end with a frame, got NaN alone in its last 8 frames"),
        ([NAMED[0], NAMED[1][list("fedcba")]], None, r"X\[1\] must have the columns of X\[0\]"),
    ],
)
def test_sequences_that_are_refused(X, lengths, words):
    """Would catch input that is read in another way than it was meant."""
    model = model_of()
    with pytest.raises(ValueError, match=words):
        model.fit(X, lengths=lengths)
    assert not hasattr(model, "model_")


@pytest.mark.parametrize("X", [None, 3, "chords", {"a": BITS[0]}, (x for x in BITS)])
def test_what_is_no_list_of_sequences_is_told_the_forms(X):
    """Would catch a message about matrices where a list of arrays was meant."""
    with pytest.raises(TypeError, match="X must be a list of arrays of shape"):
        model_of().fit(X)


def test_columns_of_listed_data_frames_have_names():
    """Would catch columns in another order than in `fit`, which would be read without a word."""
    model = model_of().fit(NAMED)
    assert model.feature_names_in_.tolist() == list("abcdef")
    turned = [frame[list("fedcba")] for frame in NAMED]
    with pytest.raises(ValueError, match="same order"):
        model.predict(turned)
    with pytest.raises(ValueError, match="same order"):
        model.predict(turned[0])
    np.testing.assert_array_equal(model.predict(NAMED), model_of().fit(BITS).predict(BITS))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("visible", ["binary", "gaussian"])
def test_sequences_shorter_than_what_the_past_could_hold(kind, visible):
    """Would catch a window that needs `order` frames, and a start that divides by none."""
    data = REALS if visible == "gaussian" else BITS
    X = [x[:n] + 0.0 for x, n in zip(data, (1, 2, 1), strict=True)]
    model = model_of(kind, order=3, visible=visible).fit(X)
    assert np.isfinite(model.score(X))
    assert np.isfinite(model.predict([X[0]])).all()
    assert model.forecast([X[0]], 2, random_state=0).shape == (1, 1, 2, 6)
    for n_steps in (0, -1, 1.5):
        with pytest.raises(ValueError, match="n_steps must be a positive integer"):
            model.forecast(X, n_steps)


def test_types_of_sequences_may_differ():
    """Would catch a list that takes the type of its first array: halves would be cut off."""
    model = model_of().fit(BITS)
    mixed = [BITS[0], BITS[1].astype(np.float32), BITS[2].tolist()]
    np.testing.assert_array_equal(model.predict(mixed), model.predict(BITS))
    grey = [BITS[0], BITS[1] * np.float16(0.5)]
    np.testing.assert_array_equal(model.predict(grey), model.predict([x * 1.0 for x in grey]))


def test_sparse_sequences_are_refused():
    """Would catch a sparse matrix that is taken for a list of rows."""
    for X in (sparse.csr_array(STACKED), [sparse.csr_array(STACKED)]):
        with pytest.raises(TypeError, match="toarray"):
            model_of().fit(X)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("n_hidden", 0), ("n_recurrent", 2.5), ("order", "3"), ("n_gibbs", 0), ("chunk", 0),
        ("recurrence", "lstm"), ("recurrence", None), ("dropout", 1.0), ("dropout", -0.1),
        ("recurrence_decay", -0.1), ("recurrence_decay", "0.1"),
        ("augment", "transpose"), ("augment", dg.Transpose), ("learning_rate", "fast"),
        ("optimizer", dg.LBFGS()), ("optimizer", dg.Adam), ("batch_size", 0), ("n_epochs", 0),
        ("callbacks", [3]), ("random_state", -1), ("n_threads", 0), ("visible", dg.Softmax(3)),
        ("visible", "multinomial"), ("visible", "words"),
    ],
)  # fmt: skip
def test_settings_that_are_refused(setting, value):
    """Would catch a hyper-parameter that fails deep inside, or not at all."""
    model = model_of().set_params(**{setting: value})
    with pytest.raises((ValueError, TypeError), match=setting):
        model.fit(BITS)
    assert not hasattr(model, "model_")


def test_scikit_learns_checks_pass_but_for_the_order_of_frames():
    """Would catch any breach of the contract but two checks, which shuffle the frames of a sequence
    or leave some out: answers about the others must change then."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(
            dg.TemporalRBM(4, n_recurrent=3, visible="gaussian", n_epochs=2, random_state=0),
            on_fail=None, on_skip=None,
        )  # fmt: skip
    failed = {r["check_name"] for r in results if r["status"] == "failed"}
    assert failed == {"check_methods_sample_order_invariance", "check_methods_subset_invariance"}
    assert len(results) >= 40


# ----------------------------------------------------------------------------------- answers out


@pytest.mark.parametrize("kind", KINDS)
def test_likelihoods_by_frame_by_sequence_and_their_mean(kind, fitted):
    """Would catch a score that is not the lower end of what frames add up to."""
    model = fitted[kind]
    by_frame = model.score_samples(BITS)
    by_sequence, lower, upper = model.score_sequences(BITS, return_bracket=True)
    expected = [part.sum() for part in np.split(by_frame, np.cumsum(LENGTHS)[:-1])]
    np.testing.assert_allclose(by_sequence, expected)
    assert (lower <= by_sequence).all()
    assert (by_sequence <= upper).all()
    assert model.score(STACKED, lengths=LENGTHS) == pytest.approx(by_frame.mean())
    assert model.likelihood_report_["method"] == "exact"
    assert model.likelihood_report_["n_frames"] == 39
    with pytest.warns(UserWarning, match="values between states"):
        model.score_samples([x * 0.5 for x in BITS])


def test_large_models_are_scored_at_the_lower_end():
    """Would catch a score that believes the optimistic direction alone."""
    rng = np.random.default_rng(1)
    X = [(rng.random((30, 25)) < 0.3).astype(np.uint8)]
    model = dg.TemporalRBM(40, n_recurrent=4, n_epochs=2, random_state=0).fit(X)
    score, report = model.score(X), model.likelihood_report_
    assert report["method"] == "annealed"
    assert score == report["lower"] < report["value"] < report["upper"]
    assert report["mean_variance"] < 0.1
    again = model.score(X)  # its draws are seeded
    assert again == score


@pytest.mark.parametrize("kind", KINDS)
def test_a_piece_cut_in_two_equals_the_whole(kind, fitted):
    """Would catch a state that an answer forgets to begin at."""
    model = fitted[kind]
    first, second = [x[:5] for x in BITS], [x[5:] for x in BITS]
    state = model.state_after(first)
    assert state.shape == (3, model.model_.n_state)
    for method in ("transform", "score_samples"):
        whole = np.split(getattr(model, method)(BITS), np.cumsum(LENGTHS)[:-1])
        found = getattr(model, method)(second, initial_state=state)
        np.testing.assert_array_equal(found, np.concatenate([part[5:] for part in whole]))
    # mean field of a first frame does not start at the frame before
    whole = np.split(model.predict(BITS), np.cumsum(LENGTHS)[:-1])
    parts = np.split(model.predict(second, initial_state=state), np.cumsum(LENGTHS)[:-1] - [5, 10])
    for all_of_it, part in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(part[1:], all_of_it[6:])
    ends = model.state_after(second, initial_state=state)
    np.testing.assert_array_equal(ends, model.state_after(BITS))
    wrong = (state[:2], state[:, :1], np.full(state.shape, np.nan), "state", state * 1j)
    for bad in (*wrong, [[0.0], [1.0, 2.0], [3.0]]):
        with pytest.raises(ValueError, match="initial_state must"):
            model.transform(second, initial_state=bad)
    with pytest.raises(ValueError, match="initial_state must"):
        model.impute(second, initial_state=state[:2])
    ahead = model.forecast(BITS, 3, random_state=0)
    parts = model.forecast(second, 3, initial_state=state, random_state=0)
    np.testing.assert_array_equal(ahead, parts)


def cycle(n, length, rng):
    """Sequences in which one of four columns is on, and the next one follows."""
    starts = rng.integers(0, 4, n)
    return [np.eye(4, dtype=np.uint8)[(start + np.arange(length)) % 4] for start in starts]


@pytest.mark.parametrize("kind", KINDS)
def test_predictions_forecasts_samples_and_completions_follow_a_cycle(kind):
    """Would catch answers about another frame than the one asked for, and a past that is lost."""
    rng = np.random.default_rng(0)
    # A cycle through four columns can be told from the last frame alone
    model = dg.TemporalRBM(
        12, recurrence=kind, n_recurrent=12, order=1, n_epochs=150, learning_rate=0.02,
        batch_size=5, random_state=0,
    ).fit(cycle(40, 12, rng))  # fmt: skip
    X = cycle(3, 9, rng)
    predicted = np.split(model.predict(X), 3)
    for frames, means in zip(X, predicted, strict=True):
        assert (means[1:].argmax(axis=1) == frames[1:].argmax(axis=1)).all()
        assert means[1:].max(axis=1).mean() > 0.8
    ahead = model.forecast(X, 4, n_samples=5, random_state=0)
    assert ahead.shape == (3, 5, 4, 4)
    expected = np.stack([np.roll(x[-1], 1) for x in X])[:, None]
    assert (ahead[:, :, 0] == expected).all(axis=-1).mean() > 0.8
    drawn = model.sample(30, 4, random_state=0)
    assert [x.shape for x in drawn] == [(30, 4)] * 4
    follows = [(np.roll(x[:-1], 1, axis=1) == x[1:]).all(axis=1).mean() for x in drawn]
    assert np.mean(follows) > 0.7
    begun = model.sample(3, 2, prefix=X[0], random_state=0)
    assert all((x[:9] == X[0]).all() and len(x) == 12 for x in begun)
    gaps = [x.astype(float) for x in X]
    gaps[0][3:5], gaps[2][0] = np.nan, np.nan
    filled = model.impute(gaps, random_state=0)
    assert (filled[0][3:5].argmax(axis=1) == X[0][3:5].argmax(axis=1)).all()
    # nothing comes before the first frame: what comes after tells
    assert filled[2][0].argmax() == X[2][0].argmax()
    assert filled[2][0].max() > 0.6
    for before, after in zip(gaps, filled, strict=True):
        known = ~np.isnan(before)
        assert (after[known] == before[known]).all()


def test_completions_ask_for_what_they_can_use(fitted):
    """Would catch a mask of another form, and grey values among what is known."""
    model = fitted["rnn"]
    mask = [np.zeros(x.shape, bool) for x in BITS]
    mask[1][2, 3] = True
    drawn = model.impute(BITS, mask, method="draw", random_state=0)
    assert set(np.unique(np.concatenate(drawn))) <= {0.0, 1.0}
    assert (drawn[0] == BITS[0]).all()
    for missing in (mask[0], [m.astype(int) for m in mask], mask[::-1]):
        with pytest.raises(ValueError, match="missing must be bool"):
            model.impute(BITS, missing)
    with pytest.raises(ValueError, match="missing must be bool"):
        model.impute(BITS[0], mask[0].T)
    with pytest.raises(ValueError, match=r"missing must be a list of arrays.* empty list"):
        model.impute(BITS, [])
    stacked = model.impute(STACKED, mask, lengths=LENGTHS, method="draw", random_state=0)
    assert all((x == y).all() for x, y in zip(stacked, drawn, strict=True))
    with pytest.raises(ValueError, match="must hold states"):
        model.impute([x * 0.5 for x in BITS], mask)
    with pytest.raises(ValueError, match="method"):
        model.impute(BITS, method="mode")


@pytest.mark.parametrize("kind", KINDS)
def test_real_values(kind):
    """Would catch units whose scale the recurrence does not know."""
    model = model_of(kind, visible="gaussian", n_epochs=20).fit(REALS)
    assert np.isfinite(model.score(REALS))
    assert model.score(REALS) > model_of(kind, visible="gaussian", n_epochs=1).fit(
        [np.random.default_rng(5).normal(0.0, 3.0, x.shape) for x in REALS]
    ).score(REALS)
    assert model.predict(REALS).shape == (39, 6)
    gaps = [x.copy() for x in REALS]
    gaps[1][3] = np.nan
    assert np.isfinite(np.concatenate(model.impute(gaps, random_state=0))).all()


def test_a_window_on_real_values_starts_at_a_linear_regression():
    """Would catch an autoregression that is turned over, shifted, or in other units."""
    rng = np.random.default_rng(0)
    turn = np.array([[0.8, -0.5], [0.5, 0.8]])
    frames = np.zeros((800, 2))
    for t in range(1, 800):
        frames[t] = frames[t - 1] @ turn + rng.normal(0.0, [0.1, 1.0]) + [0.3, 0.0]
    frames = frames * [3.0, 1.0] + [5.0, 0.0]
    model = dg.TemporalRBM(
        4, recurrence="window", order=1, visible="gaussian", n_epochs=1, learning_rate=1e-6,
        random_state=0,
    ).fit(frames)  # fmt: skip
    predicted = model.predict(frames)[1:]
    past = np.column_stack([frames[:-1], np.ones(799)])
    linear = past @ np.linalg.lstsq(past, frames[1:], rcond=None)[0]
    np.testing.assert_allclose(predicted, linear, atol=0.1)


@pytest.mark.parametrize("constant", [0.0, 1.0, 100.0])
def test_a_column_that_never_varies_does_not_stop_a_window(constant):
    """Would catch a past in units of next to no noise, which is a second constant: its regression
    had no solution."""
    rng = np.random.default_rng(0)
    frames = np.zeros((400, 3))
    for t in range(1, 400):
        frames[t] = 0.8 * frames[t - 1] + rng.normal(0.0, 0.3, 3)
    frames = np.column_stack([frames, np.full(400, constant)])
    model = dg.TemporalRBM(
        4, recurrence="window", order=3, visible="gaussian", n_epochs=2, random_state=0
    ).fit(frames)
    errors = (model.predict(frames) - frames)[3:]
    assert np.square(errors[:, :3]).mean() < 0.13
    assert np.abs(errors[:, 3]).max() < 0.05 * max(constant, 1.0)


def test_a_report_is_of_the_model_that_there_is():
    """Would catch how the likelihoods of a former model were estimated, after another fit."""
    X = (RNG.random((30, 4)) < 0.4).astype(np.uint8)
    model = dg.TemporalRBM(3, n_recurrent=3, n_epochs=1, random_state=0).fit(X)
    with pytest.raises(AttributeError, match="call score or score_samples first"):
        model.likelihood_report_  # noqa: B018
    model.score(X)
    assert model.likelihood_report_["n_frames"] == 30
    with pytest.raises(AttributeError, match="likelihood_report_"):
        model.fit(X).likelihood_report_  # noqa: B018


def test_frames_that_run_away_say_so():
    """Would catch infinite frames, and a message about biases that nobody has passed."""
    growing = 1e-4 * np.outer(1.5 ** np.arange(30), [1.0, 1.0])
    X = growing + RNG.normal(0.0, 0.01, growing.shape)
    model = model_of("window", visible="gaussian", order=1).fit([X])
    assert np.isfinite(model.forecast([X], 5, random_state=0)).all()
    with pytest.raises(ValueError, match=r"drawn frames must stay .* fewer frames"):
        model.forecast([X], 400, random_state=0)


# ------------------------------------------------------------------------------- runs and files


@pytest.mark.parametrize("kind", KINDS)
def test_a_stopped_fit_goes_on_with_the_same_bits(kind, tmp_path):
    """Would catch a checkpoint that lacks a draw, a moment, a chunk or an augmentation."""
    settings = {"dropout": 0.2, "augment": dg.Transpose(-1, 1), "chunk": 5, "batch_size": 2}

    class StopAt:
        def __call__(self, report):
            pass

        def between_updates(self, trainer):
            if trainer.n_updates == 7:
                raise Stop

    whole = model_of(kind, **settings).fit(BITS)
    path = tmp_path / "c"
    with pytest.raises(Stop):
        model_of(
            kind, **settings, callbacks=[dg.Checkpoint(path, minutes=None), StopAt()]
        ).fit(BITS)
    resumed = model_of(kind, **settings).fit(BITS, resume=path)
    assert resumed.transform(BITS).tobytes() == whole.transform(BITS).tobytes()
    for other in (BITS[::-1], [STACKED]):
        with pytest.raises(ValueError, match=r"other rows|n_samples"):
            model_of(kind, **settings).fit(other, resume=path)
    with pytest.raises(ValueError, match="augment"):
        model_of(kind, **{**settings, "augment": dg.Transpose()}).fit(BITS, resume=path)


@pytest.mark.parametrize("kind", KINDS)
def test_streams_go_on(kind):
    """Would catch a stream that begins anew with each call, or forgets the state it is given."""
    model = model_of(kind)
    model.partial_fit(BITS)
    first = model.transform(BITS)
    model.partial_fit(BITS)
    assert model.n_updates_ == 2
    assert not np.array_equal(first, model.transform(BITS))
    copy = pickle.loads(pickle.dumps(model))
    states = model.state_after(BITS)
    begun = copy.partial_fit(BITS, initial_state=states).transform(BITS)
    plain = model.partial_fit(BITS).transform(BITS)
    assert not np.array_equal(begun, plain)
    after_fit = model_of(kind).fit(BITS)
    n_updates = after_fit.n_updates_
    assert after_fit.partial_fit(BITS).n_updates_ == n_updates + 1
    with pytest.raises(ValueError, match="features"):
        after_fit.partial_fit([BITS[0][:, :4]])
    with pytest.raises(ValueError, match="initial_state"):
        after_fit.partial_fit(BITS, initial_state=states[:1])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("visible", ["binary", "gaussian"])
def test_files_come_back(kind, visible, tmp_path):
    """Would catch an array or an option that a file forgets."""
    X = BITS if visible == "binary" else REALS
    model = model_of(kind, visible=visible).fit(X)
    model.save(tmp_path / "m")
    again = dg.load(tmp_path / "m")
    assert type(again) is dg.TemporalRBM
    assert again.recurrence == kind
    assert again.transform(X).tobytes() == model.transform(X).tobytes()
    assert again.score(X) == model.score(X)
    unnamed = dg.TemporalRBM.from_model(model.model_)
    assert unnamed.predict(X).tobytes() == model.predict(X).tobytes()
    assert clone(again).get_params()["recurrence"] == kind
    with pytest.raises(ValueError, match="ConditionalMachine"):
        dg.TemporalRBM.from_model(model.model_.machine)


@pytest.mark.parametrize(
    "ask",
    [
        lambda m: m.score_samples(BITS), lambda m: m.score_sequences(BITS), lambda m: m.score(BITS),
        lambda m: m.transform(BITS), lambda m: m.predict(BITS), lambda m: m.state_after(BITS),
        lambda m: m.forecast(BITS, 2), lambda m: m.sample(3), lambda m: m.impute(BITS),
        lambda m: m.save("m"),
    ],
)  # fmt: skip
def test_what_is_not_fitted_says_so(ask):
    """Would catch an AttributeError of an estimator that nobody has fitted."""
    with pytest.raises(NotFittedError):
        ask(dg.TemporalRBM())


def test_augmentations_by_a_function():
    """Would catch an augmentation that is not drawn anew, or changes the data that were passed."""
    seen, before = [], STACKED.copy()

    def flipped(frames, generator):
        seen.append(generator.random())
        frames[:] = 1 - frames
        return frames

    model = model_of(augment=flipped).fit(BITS)
    assert (before == STACKED).all()
    assert len(set(seen)) == len(seen)
    assert model.model_.layers[0].bias.mean() > 0  # most bits are on when they are flipped


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda x: x[1:], r"augment must return .* \(12, 6\), got shape \(11, 6\)"),
        (lambda x: None, "augment must return"),
        (lambda x: x * 3.0, "what augment returns must have values"),
        (lambda x: x * np.nan, "what augment returns must be finite"),
    ],
)
def test_augmentations_that_are_refused(made, words):
    """Would catch frames that are lost on the way, which would shift what is learned from."""
    with pytest.raises(ValueError, match=words):
        model_of(augment=lambda frames, generator: made(frames)).fit(BITS)


def test_augmentations_by_other_callables():
    """Would catch a callable object that is asked for a learning rate, and frames as floats."""

    class Same:
        def __call__(self, frames, generator):
            return frames

    fits = [
        model_of(augment=augment).fit(BITS)
        for augment in (Same(), partial(Same().__call__), lambda x, _: x.astype(float))
    ]
    for other in fits[1:]:
        assert other.transform(BITS).tobytes() == fits[0].transform(BITS).tobytes()


@pytest.mark.parametrize(
    ("prefix", "words"),
    [
        (BITS[0][0], "shape"), (BITS[0][None], "shape"), (BITS[0][:0], "a frame at least"),
        (BITS[0][:, :2], "6"), (BITS, "an array of numbers"), ("ab", "real numbers"),
        (BITS[0] * 2.0, "values in"),
    ],
)  # fmt: skip
def test_beginnings_that_are_refused(prefix, words, fitted):
    """Would catch a beginning that is taken for something else, or named X in the message."""
    with pytest.raises(ValueError, match=f"prefix must.*{words}"):
        fitted["rnn"].sample(3, prefix=prefix)


def test_grey_beginnings_stay_grey(fitted):
    """Would catch values that are cut off where a piece is returned with its beginning."""
    begun = BITS[0][:4] * np.float32(0.75)
    (found,) = fitted["rnn"].sample(2, prefix=begun, random_state=0)
    np.testing.assert_array_equal(found[:4], begun)
    assert fitted["rnn"].sample(2, prefix=BITS[0].tolist(), random_state=0)[0].dtype == np.uint8
