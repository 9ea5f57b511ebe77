"""Mean field: against the float64 twin, its bound, and what must not change a row."""

import numpy as np
import pytest
import reference
from comparisons import assert_same_result
from conftest import THREADS, assert_same_bits, in_form, random_model, random_states, twin
from deepgen._kernels import engine

import deepgen as dg
from deepgen.inference.gibbs import update_layer
from deepgen.inference.mean_field import infer
from deepgen.layers import passes
from deepgen.models import Parameters

# Means of order one after a few sweeps of float32 fields; Gaussian means reach ten.
MEANS = {"rtol": 2e-5, "atol": 2e-5}
MODELS = [
    ("binary", "binary", "binary"),
    ("gaussian", "binary", "binary", "binary"),
    ("softmax", "binary", "copies", "binary", "softmax"),
    ("binary", "copies", "binary", "gaussian"),
    ("gaussian", "softmax", "gaussian"),
]
# Which layers are known, and whether entries of one are.
CONDITIONS = ["first", "last", "ends", "middle", "pixels", "some labels", "bias rows"]
TIGHT = dg.FixedPoint(max_sweeps=2_000, tol=1e-6)
TILES = (1, 2, 127, 128, 129, 300)


def problem(kinds, condition, n_rows=40, seed=1, scale=0.7, sizes=None):
    """A model, states by layer and a context."""
    model = random_model(kinds, seed, sizes, scale=scale)
    rng = np.random.default_rng(seed)
    rows = [random_states(layer, n_rows, rng) for layer in model.layers]
    top, chosen, held, bias_rows = model.n_layers - 1, {0}, {}, {}
    if condition == "last":
        chosen = {top}
    elif condition == "ends":
        chosen = {0, top}
    elif condition == "middle":
        chosen = {top // 2}
    elif condition == "pixels":
        group = model.layers[0].group
        mask = rng.random((n_rows, model.layers[0].size // group)) < 0.6
        held = {0: np.repeat(mask, group, axis=1)}
    elif condition == "some labels":
        chosen = {0, top}
        held = {top: np.repeat(rng.random((n_rows, 1)) < 0.5, model.layers[top].size, axis=1)}
    elif condition == "bias rows":
        bias_rows = {l: rng.normal(size=(n_rows, model.layers[l].size)).astype(np.float32)
                     for l in range(1, model.n_layers)}
    states = [x if l in chosen else None for l, x in enumerate(rows)]
    return model, states, dg.Context(held=held, bias_rows=bias_rows)


def twin_of(model, states, context, **options):
    """The float64 twin of the same call."""
    held = {l: mask.astype(bool) for l, mask in context.held.items()}
    return reference.mean_field(*twin(model), states, held, context.bias_rows, **options)


def described(model, states, context):
    """By layer: which units q describes."""
    n_rows = next(x.shape[0] for x in states if x is not None)
    free = []
    for l, (layer, x) in enumerate(zip(model.layers, states, strict=True)):
        mask = np.full((n_rows, layer.size), x is None)
        free.append(~context.held[l].astype(bool) if l in context.held else mask)
    return free


def part_of(states, context, rows):
    """States and context of some rows."""
    states = [None if x is None else x[rows] for x in states]
    pieces = [{l: x[rows] for l, x in each.items()} for each in (context.bias_rows, context.held)]
    return states, dg.Context(*pieces)


def result_of(found, rows):
    """Some rows of a result."""
    arrays = (np.ascontiguousarray(x[rows]) for x in (found.n_sweeps, found.change,
                                                      found.converged))
    return dg.MeanField([np.ascontiguousarray(x[rows]) for x in found.means], *arrays)


# ------------------------------------------------------------------------------ exact values


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("kinds", MODELS)
def test_sweeps_equal_the_twin(kinds, condition):
    """Catches any slip in the start, the order of layers, a neighbour or a held entry: after 1, 2
    and 5 sweeps, with and without damping, where nothing has had time to forget."""
    model, states, context = problem(kinds, condition)
    for max_sweeps, damping in ((1, 0.0), (2, 0.0), (5, 0.0), (1, 0.4), (4, 0.4)):
        until = dg.FixedPoint(max_sweeps, tol=0.0, damping=damping)
        found = dg.mean_field(model, states, context=context, until=until)
        expected = twin_of(model, states, context, max_sweeps=max_sweeps, tol=0.0,
                           damping=damping)  # fmt: skip
        for x, y in zip(found.means, expected.means, strict=True):
            np.testing.assert_allclose(x, y, **MEANS)
        np.testing.assert_allclose(found.change, expected.change, **MEANS)


@pytest.mark.parametrize("damping", [0.0, 0.5])
@pytest.mark.parametrize("kinds", MODELS)
def test_rows_stop_by_themselves(kinds, damping):
    """Catches a batch that stops together, and sweeps or changes that land in another row."""
    model, states, context = problem(kinds, "first", n_rows=200)
    tol = 1e-2
    found = dg.mean_field(model, states, until=dg.FixedPoint(500, tol, damping))
    early, late = (
        twin_of(model, states, context, max_sweeps=500, tol=near, damping=damping)
        for near in (1.005 * tol, 0.995 * tol)
    )
    sure = early.sweeps == late.sweeps  # no change close to the tolerance, where rounding decides
    assert sure.mean() > 0.7
    np.testing.assert_array_equal(found.n_sweeps[sure], early.sweeps[sure])
    np.testing.assert_allclose(found.change[sure], early.change[sure], **MEANS)
    for x, y in zip(found.means, early.means, strict=True):
        np.testing.assert_allclose(x[sure], y[sure], **MEANS)
    assert found.converged.all()
    assert len(np.unique(found.n_sweeps)) > 1
    assert found.n_sweeps.dtype == np.int32
    assert found.change.dtype == np.float32


@pytest.mark.parametrize("condition", ["first", "pixels", "some labels", "ends"])
@pytest.mark.parametrize("kinds", MODELS)
def test_the_fixed_point_is_a_stationary_point_of_the_bound(kinds, condition):
    """Catches a fixed point of anything else: the bound does not move with any free field."""
    model, states, context = problem(kinds, condition, n_rows=4)
    layers, weights = twin(model)
    found = dg.mean_field(model, states, context=context, until=TIGHT)
    assert found.converged.all()
    free = described(model, states, context)
    means = [reference.float64(x) for x in found.means]
    for l, units in enumerate(model.layers):
        if not free[l].any():
            continue
        field = units.field_of(found.means[l]).astype(np.float64)

        def bound(moved, l=l, field=field):
            fresh = reference.mean(layers[l], field + moved)
            fresh = np.where(free[l], fresh, means[l])
            inner = [*means[:l], fresh, *means[l + 1 :]]
            return reference.mean_field_bound(layers, weights, inner, free).sum()

        slope = reference.finite_difference(bound, np.zeros(field.shape))
        # slope = variance times the distance of the field from its fixed point
        np.testing.assert_allclose(slope, 0.0, atol=1e-4)


@pytest.mark.parametrize("condition", ["first", "pixels", "ends", "bias rows"])
@pytest.mark.parametrize("kinds", MODELS)
def test_no_sweep_lowers_the_bound(kinds, condition):
    """Catches layers that move at once where they are neighbours: then the bound can fall."""
    model, states, context = problem(kinds, condition, scale=1.5)
    layers, weights = twin(model)
    free = described(model, states, context)
    extra = [context.bias_rows.get(l, 0.0) for l in range(model.n_layers)]
    before = None
    for max_sweeps in range(1, 9):
        until = dg.FixedPoint(max_sweeps, tol=0.0)
        found = dg.mean_field(model, states, context=context, until=until)
        means = [reference.float64(x) for x in found.means]
        bound = reference.mean_field_bound(layers, weights, means, free)
        bound += sum((m * rows).sum(axis=1) for m, rows in zip(means, extra, strict=True))
        if before is not None:
            assert (bound > before - 2e-5 * (1.0 + np.abs(before))).all()
        before = bound


@pytest.mark.parametrize("kinds", MODELS)
def test_damping_reaches_the_same_point(kinds):
    """Catches damping that changes where the sweeps lead, or that counts as having arrived."""
    model, states, _ = problem(kinds, "first")
    plain = dg.mean_field(model, states, until=TIGHT)
    damped = dg.mean_field(model, states, until=dg.FixedPoint(2_000, 1e-6, damping=0.8))
    assert damped.converged.all()
    for x, y in zip(plain.means[1:], damped.means[1:], strict=True):
        np.testing.assert_allclose(x, y, atol=5e-5)
    assert damped.n_sweeps.sum() > plain.n_sweeps.sum()


@pytest.mark.parametrize("condition", ["pixels", "some labels"])
def test_held_entries_keep_their_bits(condition):
    """Catches known values that damping rounds a little further at each sweep."""
    model, states, context = problem(("gaussian", "binary", "binary", "gaussian"), condition)
    for damping in (0.0, 0.3, 0.7):
        until = dg.FixedPoint(30, tol=0.0, damping=damping)
        found = dg.mean_field(model, states, context=context, until=until)
        for l, mask in context.held.items():
            held = mask.astype(bool)
            np.testing.assert_array_equal(found.means[l][held], states[l][held])
            assert (found.means[l][~held] != states[l][~held]).any()


def test_a_single_unknown_layer_is_exact():
    """Catches sweeps where there is nothing to wait for: the conditional mean, bit by bit."""
    model, states, _ = problem(("gaussian", "binary", "copies", "softmax"), "first")
    rng = np.random.default_rng(2)
    states = [random_states(layer, 40, rng) for layer in model.layers]
    for l in range(4):
        given = [x if m != l else None for m, x in enumerate(states)]
        found = dg.mean_field(model, given)
        assert_same_bits(found.means[l], update_layer(model, l, given, mean=True)[0])
        assert (found.n_sweeps == 1).all()
        assert (found.change == 0.0).all()
        assert found.converged.all()
    found = dg.mean_field(model, [None, states[1], None, states[3]])
    for l in (0, 2):
        assert_same_bits(found.means[l], update_layer(model, l, states, mean=True)[0])


def test_nothing_unknown_is_nothing_to_do():
    """Catches known layers that come back as other numbers, or a sweep that is counted."""
    model, _, _ = problem(MODELS[0], "first")
    states = [random_states(layer, 3, np.random.default_rng(0)) for layer in model.layers]
    found = dg.mean_field(model, states)
    for x, y in zip(found.means, states, strict=True):
        assert_same_bits(x, y)
    assert not found.n_sweeps.any()
    assert found.converged.all()


def test_means_of_known_layers_count_as_they_are():
    """Catches grey values that are rounded to states, or read as bytes."""
    model, _, context = problem(MODELS[0], "first")
    grey = np.random.default_rng(0).random((20, 3)).astype(np.float32)
    states = [grey, None, None]
    found = dg.mean_field(model, states)
    expected = twin_of(model, states, context)
    np.testing.assert_allclose(found.means[2], expected.means[2], atol=2e-4)


# ---------------------------------------------------------------------------------- the start


def bistable():
    """Two hidden layers that hold each other on or off, whatever the first layer says."""
    layers = [dg.Binary(2), dg.Binary(bias=[-4.0]), dg.Binary(bias=[-4.0])]
    return dg.BoltzmannMachine(layers, [np.zeros((2, 1)), [[8.0]]])


def test_start_decides_between_two_fixed_points():
    """Catches a start that is not used, or that the first sweep computes away."""
    model, v = bistable(), np.zeros((2, 2), np.uint8)
    top = np.array([[0.1], [0.9]], np.float32)
    found = dg.mean_field(model, [v, None, None], start=[None, None, top], until=TIGHT)
    assert found.converged.all()
    for means in found.means[1:]:
        assert means[0, 0] < 0.05
        assert means[1, 0] > 0.95
    swapped = dg.mean_field(model, [v, None, None], start=[None, None, top[::-1]], until=TIGHT)
    for x, y in zip(found.means[1:], swapped.means[1:], strict=True):
        assert_same_bits(x, y[::-1].copy())


@pytest.mark.parametrize("kinds", MODELS)
def test_a_start_at_the_fixed_point_stays(kinds):
    """Catches a result that is one half sweep behind what a start stands for."""
    model, states, _ = problem(kinds, "first")
    found = dg.mean_field(model, states, until=TIGHT)
    again = dg.mean_field(model, states, start=found.means, until=dg.FixedPoint(50, 1e-5))
    assert (again.n_sweeps == 1).all()
    assert again.converged.all()
    kept = [None if l < 2 else x for l, x in enumerate(found.means)]
    with_start = twin_of(model, states, dg.Context(), start=kept, max_sweeps=2, tol=0.0)
    found = dg.mean_field(model, states, start=kept, until=dg.FixedPoint(2, 0.0))
    for x, y in zip(found.means, with_start.means, strict=True):
        np.testing.assert_allclose(x, y, **MEANS)


def test_the_start_of_a_call_is_not_changed():
    """Catches means that are moved in the caller's own arrays."""
    model, states, context = problem(MODELS[0], "pixels")
    start = [np.full((40, layer.size), 0.5, np.float32) for layer in model.layers]
    known = states[0].copy()
    dg.mean_field(model, states, context=context, start=start)
    assert all((x == 0.5).all() for x in start)
    assert_same_bits(states[0], known)


def test_sweeps_that_run_out_are_told():
    """Catches a result that claims to have arrived."""
    found = dg.mean_field(
        bistable(), [np.zeros((3, 2), np.uint8), None, None], until=dg.FixedPoint(2, 1e-7),
        start=[None, None, [[0.49], [0.4], [0.49]]],
    )  # fmt: skip
    assert (found.n_sweeps == 2).all()
    assert not found.converged.any()
    assert (found.change > 1e-7).all()


# -------------------------------------------------------------------------- what must not matter


@pytest.mark.parametrize("n_rows", TILES)
@pytest.mark.parametrize("condition", ["first", "pixels", "bias rows"])
def test_rows_do_not_depend_on_each_other(condition, n_rows, threaded, monkeypatch):
    """Catches rows that move up in the tile with another's mask, bias row or sweeps, in tiles
    that are full, that are not, and where one row is left."""
    model, states, context = problem(
        ("binary", "binary", "binary", "softmax"), condition, n_rows, scale=0.6,
        sizes=[37, 33, 20, 6],
    )  # fmt: skip
    until = dg.FixedPoint(12, 1e-3)
    whole = dg.mean_field(model, states, context=context, until=until, n_threads=1)
    if n_rows > 100:
        assert len(np.unique(whole.n_sweeps)) > 2
    # many short parallel regions, which wait for each other long where a machine is busy
    for n_threads in THREADS[1:] if (condition, n_rows) == ("pixels", 129) else ():
        other = dg.mean_field(model, states, context=context, until=until, n_threads=n_threads)
        assert_same_result(other, whole)
    rng = np.random.default_rng(0)
    choices = [rng.permutation(n_rows), np.arange(n_rows)[::-1], np.arange(n_rows)[n_rows // 3 :]]
    choices += [np.array([i]) for i in {0, n_rows // 2, n_rows - 1}]
    for rows in choices:
        some, own = part_of(states, context, rows)
        other = dg.mean_field(model, some, context=own, until=until, n_threads=1)
        assert_same_result(other, result_of(whole, rows))
    monkeypatch.setattr(passes, "CALL_WORK", 1)  # calls of 32 rows
    other = dg.mean_field(model, states, context=context, until=until, n_threads=1)
    assert_same_result(other, whole)


@pytest.mark.parametrize("group", [2, 3, 31, 33, 64, 70])
@pytest.mark.parametrize("last", [0, 1])
def test_a_sweep_has_the_bits_of_a_pass(group, last):
    """Catches tiles of weights, which a call makes once for all sweeps, that a pass reads at
    another place: groups narrower and wider than a tile, and last tiles that are not full."""
    rng = np.random.default_rng(group)
    softmax = dg.Softmax(group, bias=rng.normal(size=3 * group))
    layers = [dg.Binary(bias=rng.normal(size=45)), softmax][:: 1 if last else -1]
    sizes = [units.size for units in layers]
    model = dg.BoltzmannMachine(layers, [rng.normal(size=sizes)])
    means = [rng.random((21, size)).astype(np.float32) for size in sizes]
    until, contexts = dg.FixedPoint(max_sweeps=3, tol=0.0), [passes.LayerContext()] * 2
    passes.fixed_point(model.chain, means, contexts, until, first_parity=1 - last)
    assert_same_bits(means[last], update_layer(model, last, means, mean=True)[0])


@pytest.mark.parametrize("kinds", MODELS)
def test_same_bits_for_every_back_end(kinds, restored_backend):
    """Catches a loop that rounds otherwise where vectors are wider."""
    model, states, context = problem(kinds, "pixels", n_rows=50)
    results = []
    for name in engine.available_backends():
        restored_backend(name)
        until = dg.FixedPoint(20, 1e-4, damping=0.25)
        results.append(dg.mean_field(model, states, context=context, until=until))
    for other in results[1:]:
        assert_same_result(other, results[0])


@pytest.mark.parametrize("form", ["bytes", "floats", "csr"])
@pytest.mark.parametrize("condition", ["first", "pixels", "ends"])
def test_the_form_of_the_rows_does_not_matter(condition, form):
    """Catches sparse rows whose zeros are lost, and bytes that overflow when they are doubled."""
    model, states, context = problem(("copies", "binary", "binary", "softmax"), condition)
    whole = dg.mean_field(model, states, context=context)
    given = [None if x is None else in_form(x, form) for x in states]
    found = dg.mean_field(model, given, context=context)
    for l in range(1, 3):
        assert_same_bits(found.means[l], whole.means[l])
    assert_same_bits(found.n_sweeps, whole.n_sweeps)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_no_rows_give_no_rows(condition):
    """Catches an empty batch that reads beyond its end."""
    model, states, context = problem(MODELS[2], condition, n_rows=3)
    states, context = part_of(states, context, slice(0, 0))
    found = dg.mean_field(model, states, context=context)
    assert [x.shape for x in found.means] == [(0, layer.size) for layer in model.layers]
    assert found.n_sweeps.shape == found.change.shape == found.converged.shape == (0,)


def test_parameters_in_training_are_read_as_they_stand():
    """Catches a chain that keeps the values that training started from."""
    model, states, _ = problem(("gaussian", "binary", "binary"), "first")
    other = random_model(("gaussian", "binary", "binary"), 9)
    parameters = Parameters(model)
    assert_same_result(dg.mean_field(parameters, states), dg.mean_field(model, states))
    model = dg.BoltzmannMachine([model.layers[0], *other.layers[1:]], other.weights)
    for found, new in ((parameters.weights, model.weights),
                       (parameters.biases, [layer.bias for layer in model.layers])):  # fmt: skip
        for x, y in zip(found, new, strict=True):
            x[...] = y
    assert_same_result(dg.mean_field(parameters, states), dg.mean_field(model, states))


# ------------------------------------------------------------------------------- with labels


def test_labels_that_are_missing_are_inferred():
    """Catches missing labels that count as known zeros, and known ones that move."""
    model = random_model(("binary", "binary", "softmax"), 3, [8, 6, 3], scale=0.8)
    rng = np.random.default_rng(3)
    rows = random_states(model.layers[0], 9, rng)
    labels = np.eye(3, dtype=np.uint8)[rng.integers(0, 3, 9)]
    absent = np.arange(9) % 3 == 1
    labels[absent] = 0
    means = infer(model, (rows, labels), TIGHT)
    np.testing.assert_array_equal(means[2][~absent], labels[~absent])
    np.testing.assert_allclose(means[2][absent].sum(axis=1), 1.0, atol=1e-6)
    alone = dg.mean_field(model, [rows[absent], None, None], until=TIGHT)
    for l in (1, 2):
        assert_same_bits(means[l][absent], alone.means[l])
    known = infer(model, (rows[~absent], labels[~absent]), TIGHT)
    np.testing.assert_allclose(means[1][~absent], known[1], atol=1e-5)
    # without labels at all, and labels as a sparse matrix
    assert_same_bits(infer(model, rows, TIGHT)[2][absent], means[2][absent])
    sparse = model.layers[2].states_of(in_form(labels, "csr"))
    for x, y in zip(infer(model, (rows, sparse), TIGHT), means, strict=True):
        np.testing.assert_array_equal(x, y)


# ---------------------------------------------------------------------------------- refusals


V = np.zeros((2, 3), np.uint8)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"model": 3}, TypeError, r"model must be a dg\.BoltzmannMachine, got 3"),
        ({"model": dg.RBM()}, TypeError, "pass its model_"),
        ({"states": [V]}, ValueError, "states must have 3 entries, one a layer, got 1"),
        ({"states": 3}, TypeError, "states must be a sequence of rows for each layer, or None"),
        ({"states": [None] * 3}, ValueError, "at least one layer"),
        ({"states": [V[:, :2], None, None]}, ValueError, r"states\[0\] must have shape \(n_rows"),
        ({"states": [V + 2, None, None]}, ValueError, r"states\[0\] must have values in \[0, 1\]"),
        ({"states": [V, None, V[:1]]}, ValueError, r"one number of rows .*, got \[1, 2\]"),
        ({"start": [None]}, ValueError, "start must have 3 entries, one a layer, got 1"),
        ({"start": 0.5}, TypeError, "start must be a sequence of means for each layer, or None"),
        ({"start": [None, V[:1], None]}, ValueError, r"start\[1\] must have a row for each of 2"),
        ({"start": [None, V[:, :1], None]}, ValueError, r"start\[1\] must have shape \(n_rows, 3"),
        ({"start": [None, V - 1.0, None]}, ValueError, r"start\[1\] must have values in \[0, 1\]"),
        ({"until": 5}, TypeError, r"until must be dg\.FixedPoint\(max_sweeps, tol\), got 5"),
        ({"context": {}}, TypeError, r"context must be a dg\.Context or None, got {}"),
        ({"context": dg.Context(beta=np.ones(2))}, ValueError, "no beta and no base .* scale the"),
        ({"context": dg.Context(held={1: V})}, ValueError, r"held\[1\] needs the states"),
        ({"context": dg.Context(held={0: V[:1]})}, ValueError, r"held\[0\] must have shape \(2, 3"),
        ({"context": dg.Context(bias_rows={4: V})}, ValueError, "bias_rows names layer 4"),
        ({"n_threads": 0}, ValueError, "n_threads must be a positive integer"),
    ],
)  # fmt: skip
def test_bad_arguments_are_refused(change, error, message):
    """Catches rows of two lengths, which the kernel would read beyond, and silent nonsense."""
    arguments = {"model": random_model(MODELS[0], 1), "states": [V, None, None], **change}
    model, states = arguments.pop("model"), arguments.pop("states")
    with pytest.raises(error, match=message):
        dg.mean_field(model, states, **arguments)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: dg.FixedPoint(0), "max_sweeps must be a positive integer, got 0"),
        (lambda: dg.FixedPoint(2.5), "max_sweeps must be a positive integer"),
        (lambda: dg.FixedPoint(tol=-1e-9), r"tol must be a number in \[0, inf\)"),
        (lambda: dg.FixedPoint(tol=float("nan")), "tol must be a number"),
        (lambda: dg.FixedPoint(damping=1.0), r"damping must be a number in \[0, 1\), got 1.0"),
        (lambda: dg.FixedPoint(damping=None), "damping must be a number"),
    ],
)
def test_wrong_ends_are_refused(make, message):
    """Catches zero sweeps, which would never end, and damping where nothing moves."""
    with pytest.raises(ValueError, match=message):
        make()
