"""Pictures: what is drawn where, in which colours, and without touching anybody's figures."""

import sys

import numpy as np
import pytest
from scipy import sparse

import deepgen as dg
from deepgen import plots
from deepgen.plots import tiles

matplotlib = pytest.importorskip("matplotlib", reason="pip install 'deepgen[demo]'")
matplotlib.use("Agg")
from matplotlib import colors, pyplot  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

ONE = dg.BoltzmannMachine([dg.Binary(4), dg.Binary(3)], [np.zeros((4, 3))])
BLACK, WHITE = (0.0, 0.0, 0.0, 1.0), (1.0, 1.0, 1.0, 1.0)


@pytest.fixture(autouse=True)
def _closed_figures():
    yield
    pyplot.close("all")


@pytest.fixture
def ax():
    """Axes of a figure that pyplot does not know."""
    return Figure().subplots()


def colours(ax):
    """The image that was drawn, (height, width, 4)."""
    return ax.images[0].get_array()


def same(colour, expected):
    return np.allclose(colour, colors.to_rgba(expected), atol=1e-6)


def test_pixels_stand_where_the_data_say(ax):
    """Catches a transposed picture or grid: digits would lie on their side."""
    X = np.zeros((3, 6), np.uint8)
    X[0, 1] = X[1, 3] = 1  # row 0, column 1 of the first; row 1, column 0 of the second
    image = colours(plots.plot_samples(X, (2, 3), n_columns=2, ax=ax))
    gap = tiles.gap_of((2, 3))
    assert image.shape == (2 * (2 + gap) + gap, 2 * (3 + gap) + gap, 4)
    assert same(image[gap, gap + 1], WHITE)
    assert same(image[gap + 1, 2 * gap + 3], WHITE)
    assert same(image[gap, gap], BLACK)
    white = (image == 1).all(axis=2).sum()
    assert white == 2  # also: the empty place of the grid is neither ink nor paper


def test_scale_follows_data_or_limits(ax):
    """Catches bytes of 0..255 or reals drawn on a scale of 0..1, where all would be white."""
    X = np.array([[0, 51, 255, 0]])
    assert same(colours(plots.plot_samples(X, ax=ax))[1, 2], (0.2, 0.2, 0.2))
    image = colours(plots.plot_samples(np.array([[0.0, 0.5, 0.25, 0.0]]), ax=Figure().subplots()))
    assert abs(image[1, 2, 0] - 0.5) < 0.01
    limited = plots.plot_samples(X, limits=(0, 51), ax=Figure().subplots())
    assert same(colours(limited)[1, 2], WHITE)


def test_missing_pixels_have_a_colour_of_their_own(ax):
    """Catches NaN drawn as black, which reads as observed paper."""
    image = colours(plots.plot_samples(np.array([[0.0, np.nan, 1.0, 0.0]]), ax=ax))
    assert same(image[1, 2], tiles.MISSING)
    assert same(image[0, 0], tiles.BETWEEN)


def test_sparse_rows_are_drawn(ax):
    """Catches a picture function that takes only arrays, while models take CSR."""
    X = np.eye(4, dtype=np.uint8)
    dense = colours(plots.plot_samples(X, ax=ax))
    assert (colours(plots.plot_samples(sparse.csr_array(X), ax=Figure().subplots())) == dense).all()


def test_filters_are_columns_of_the_weights(ax):
    """Catches filters cut along the wrong axis of the weights, or scaled off zero."""
    W = np.zeros((4, 3))
    W[1, 0], W[2, 1] = 2.0, -2.0
    model = dg.BoltzmannMachine([dg.Binary(4), dg.Binary(3)], [W])
    image = colours(plots.plot_filters(model, n=2, ax=ax))
    assert image.shape == (4, 7, 4)
    up, down, none = image[1, 2], image[2, 4], image[1, 1]
    assert up[0] > up[2]  # red
    assert down[2] > down[0]  # blue
    assert none[:3].min() > 0.95
    estimator = plots.plot_filters(dg.RBM.from_model(model), n=2, ax=Figure().subplots())
    assert (colours(estimator) == image).all()


def test_filters_of_zero_weights(ax):
    """Catches a division by the largest weight where all are zero."""
    model = dg.BoltzmannMachine([dg.Binary(4), dg.Binary(3)], [np.zeros((4, 3))])
    assert np.isfinite(colours(plots.plot_filters(model, ax=ax))).all()


def test_filters_of_a_second_layer_are_sums_of_those_below(ax):
    """Catches W2 drawn for W1 W2, or its transpose, and a stack whose order is turned around."""
    rng = np.random.default_rng(0)
    W1, W2, W3 = rng.normal(size=(6, 5)), rng.normal(size=(5, 4)), rng.normal(size=(4, 4))
    stack = [
        dg.BoltzmannMachine([dg.Binary(m), dg.Binary(n)], [W])
        for (m, n), W in zip([(6, 5), (5, 4), (4, 4)], [W1, W2, W3], strict=True)
    ]
    for layer, filters in [(2, W1 @ W2), (3, W1 @ W2 @ W3)]:
        image = colours(plots.plot_filters(stack, (2, 3), layer=layer, ax=Figure().subplots()))
        scaled = filters / np.percentile(np.abs(filters), 99.5)
        shown = image[1:3, 1:4].reshape(6, 4)  # of the first unit
        red = matplotlib.colormaps["RdBu_r"]((np.clip(scaled[:, 0], -1, 1) + 1) / 2)
        assert np.allclose(shown, red, atol=0.02)  # one of 256 colours
    deep = dg.BoltzmannMachine([dg.Binary(6), dg.Binary(5), dg.Binary(4)], [W1, W2])
    network = dg.encoder(stack)
    expected = colours(plots.plot_filters(stack, (2, 3), layer=2, ax=ax))
    for model in (deep, network, dg.unrolled(stack), dg.BeliefNetwork.from_stack(stack)):
        drawn = plots.plot_filters(model, (2, 3), layer=2, ax=Figure().subplots())
        assert (colours(drawn) == expected).all()


def test_a_tied_decoder_has_no_filters_of_its_own(ax):
    """Catches an AttributeError on the None that stands for tied weights."""
    X = np.random.default_rng(0).random((20, 4))
    auto = dg.Autoencoder(3, n_epochs=1, random_state=0).fit(X)
    assert plots.plot_filters(auto, ax=ax) is ax
    with pytest.raises(ValueError, match="layer must be an integer from 1 to 1, got 2"):
        plots.plot_filters(auto, layer=2, ax=ax)


def test_grids_stand_under_their_titles(ax):
    """Catches samples of one model under the title of another, and a smaller grid that is
    stretched or filled up with ink."""
    kinds = {"black": np.zeros((4, 4)), "white": np.ones((1, 4)), "grey": np.full((4, 4), 0.5)}
    plots.plot_side_by_side(kinds, ax=ax)
    image = colours(ax)
    titles = {text.get_text(): x for text, x in zip(
        ax.get_xticklabels(), ax.get_xticks(), strict=True
    )}  # fmt: skip
    assert list(titles) == list(kinds)
    assert same(image[1, int(titles["black"]) - 1], BLACK)
    assert same(image[1, int(titles["white"]) - 1], WHITE)
    assert abs(image[1, int(titles["grey"]) - 1, 0] - 0.5) < 0.01
    assert image[-1, int(titles["white"]) - 1, 3] == 0.0  # nothing under the single white one
    assert image[0, 0, 3] == 1.0


def test_reconstructions_carry_the_error_of_all_rows(ax):
    """Catches errors of the drawn rows only, means over pixels in place of sums, and a scale
    that PCA's values beyond 0 and 1 stretch, so that the input would look grey."""
    X = np.zeros((3, 4))
    X[0] = 1.0
    far = X + np.array([[2.0], [0.0], [1.0]])  # squared errors 16, 0 and 4
    plots.plot_reconstructions(X, {"ours": X, "PCA": far}, draw=[1, 0], ax=ax)
    labels = [text.get_text() for text in ax.get_yticklabels()]
    assert labels == ["input", "ours\nerror 0", "PCA\nerror 6.67"]
    image = colours(ax)
    assert same(image[1, 1], BLACK)
    assert same(image[1, 4], WHITE)
    drawn = plots.plot_reconstructions(X, {"ours": X}, draw=2, ax=Figure().subplots())
    assert colours(drawn).shape == (7, 7, 4)


@pytest.mark.parametrize("names", [["b", "a", "c"], [3, 1, 2]])
def test_codes_are_coloured_by_class(ax, names):
    """Catches points of one class in the colour that the legend gives another, and labels that
    must be numbers."""
    codes = np.arange(12.0).reshape(6, 2)
    labels = np.array(names * 2)
    plots.plot_codes(codes, labels, ax=ax)
    legend = ax.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == [str(n) for n in sorted(names)]
    seen = set()
    for name, points, handle in zip(
        sorted(names), ax.collections, legend.legend_handles, strict=True
    ):
        assert points.get_offsets().tolist() == codes[labels == name].tolist()
        assert (points.get_facecolor() == handle.get_facecolor()).all()
        seen.add(tuple(points.get_facecolor()[0]))
    assert len(seen) == 3


def test_more_classes_than_colours_have_other_markers(ax):
    """Catches the eleventh class drawn just as the first."""
    plots.plot_codes(np.zeros((12, 2)), np.arange(12), ax=ax)
    first, eleventh = ax.collections[0], ax.collections[10]
    assert (first.get_facecolor() == eleventh.get_facecolor()).all()
    assert first.get_paths()[0].vertices.shape != eleventh.get_paths()[0].vertices.shape


def test_rows_carry_their_labels(ax):
    """Catches labels in another order than the rows of pictures."""
    plots.plot_rows({"zeros": np.zeros((2, 4)), "ones": np.ones((2, 4))}, ax=ax)
    labels = {text.get_text(): int(y) for text, y in zip(
        ax.get_yticklabels(), ax.get_yticks(), strict=True
    )}  # fmt: skip
    image = colours(ax)
    assert same(image[labels["zeros"], 1], BLACK)
    assert same(image[labels["ones"], 1], WHITE)


@pytest.mark.parametrize("by_row", [True, False])
def test_completions_hide_what_was_not_observed(ax, by_row):
    """Catches an inverted mask: the given pixels would be hidden and the answer shown."""
    original = np.array([[1, 1, 0, 0]])
    mask = np.array([True, True, False, False])
    mask = mask[None] if by_row else mask
    image = colours(plots.plot_completions(original, mask, {"one": original}, ax=ax))
    assert same(image[4, 1], WHITE)
    assert same(image[5, 1], tiles.MISSING)
    assert same(image[8, 1], BLACK)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["original", "observed", "one"]


def test_history_draws_each_epoch(ax):
    """Catches epochs counted from zero, or values of another entry."""
    history = [{"epoch": 1, "weight_max": 0.5}, {"epoch": 2, "weight_max": 0.75}]
    (line,) = plots.plot_history(history, ax=ax).lines
    assert line.get_xydata().tolist() == [[1, 0.5], [2, 0.75]]


def test_several_quantities_have_one_line_each(ax):
    """Catches curves that nobody can tell apart, and the wrong epochs for a late one."""
    history = [{"epoch": 1, "a_b": 1.0}, {"epoch": 2, "a_b": 2.0, "c": 3.0}]
    plots.plot_history(history, ("a_b", "c"), ax=ax)
    first, second = ax.lines
    assert first.get_xydata().tolist() == [[1, 1.0], [2, 2.0]]
    assert second.get_xydata().tolist() == [[2, 3.0]]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a b", "c"]


def test_the_history_of_a_stack_runs_on_from_layer_to_layer(ax):
    """Catches a curve that jumps back to epoch 1 at each layer, or joins two layers."""
    X = (np.random.default_rng(0).random((40, 6)) < 0.4).astype(np.uint8)
    dbn = dg.DBN((4, 3, 2), n_epochs=(2, 1, 3), random_state=0).fit(X)
    curve, *rules = plots.plot_history(dbn.history_, ax=ax).lines
    x, y = curve.get_xdata(), curve.get_ydata()
    np.testing.assert_array_equal(x, [1, 2, np.nan, 3, np.nan, 4, 5, 6])
    np.testing.assert_array_equal(np.isnan(y), np.isnan(x))
    assert y[~np.isnan(y)].tolist() == [entry["weight_max"] for entry in dbn.history_]
    assert [rule.get_xdata()[0] for rule in rules] == [2.5, 3.5]
    assert curve.get_markevery() == [3]  # the layer of one epoch


def test_a_quantity_of_the_fine_tuning_stands_behind_the_layers(ax):
    """Catches a loss that is drawn over the first epochs of the pretraining."""
    history = [{"epoch": e, "layer": 0, "a": 1.0} for e in (1, 2)]
    history += [{"epoch": e, "b": 2.0} for e in (1, 2)]
    plots.plot_history(history, ("a", "b"), ax=ax)
    assert ax.lines[1].get_xydata().tolist() == [[3, 2.0], [4, 2.0]]
    assert len(ax.get_legend().get_texts()) == 2


def test_pyplot_is_not_touched_where_axes_are_given(ax):
    """Catches a stray figure, which a notebook would show and a long run would pile up."""
    X = np.zeros((2, 4))
    model = dg.BoltzmannMachine([dg.Binary(4), dg.Binary(3)], [np.zeros((4, 3))])
    before = pyplot.get_fignums()
    plots.plot_filters(model, ax=ax)
    plots.plot_samples(X, ax=ax)
    plots.plot_rows({"a": X}, ax=ax)
    plots.plot_completions(X, X > 0, X, ax=ax)
    plots.plot_side_by_side({"a": X, "b": X}, ax=ax)
    plots.plot_reconstructions(X, {"a": X}, ax=ax)
    plots.plot_codes(X[:, :2], ["a", "b"], ax=ax)
    assert plots.plot_history([{"epoch": 1, "weight_max": 1.0}], ax=ax) is ax
    assert pyplot.get_fignums() == before


def test_new_figure_where_no_axes_are_given():
    """Catches a function that draws into whatever axes happen to be current."""
    current = pyplot.figure().subplots()
    drawn = plots.plot_samples(np.zeros((2, 4)))
    assert drawn is not current
    assert not current.images
    assert plots.plot_history([{"epoch": 1, "weight_max": 1.0}]).figure is not drawn.figure


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (lambda: plots.plot_samples(np.zeros((2, 6))), r"not a square; pass shape="),
        (lambda: plots.plot_samples(np.zeros((2, 6)), (2, 2)), r"6 features, got \(2, 2\)"),
        (lambda: plots.plot_samples(np.zeros(4)), r"X must have shape \(n_samples, n_features\)"),
        (lambda: plots.plot_samples(np.zeros((0, 4))), "none of them 0"),
        (lambda: plots.plot_samples(np.zeros((1, 4)), n_columns=0), "n_columns"),
        (lambda: plots.plot_filters(dg.RBM()), "fitted estimator"),
        (lambda: plots.plot_filters([]), "fitted estimator"),
        (lambda: plots.plot_filters(ONE, n=0), "n must be a positive integer"),
        (lambda: plots.plot_filters(ONE, layer=2), "layer must be an integer from 1 to 1, got 2"),
        (lambda: plots.plot_filters([ONE, ONE]), "machine 1 has 4 visible units"),
        (lambda: plots.plot_side_by_side({}), "samples must hold at least one"),
        (
            lambda: plots.plot_side_by_side({"a": np.zeros((1, 4)), "b": np.zeros((1, 9))}),
            "one shape",
        ),
        (lambda: plots.plot_reconstructions(np.zeros((2, 4)), {}), "at least one row"),
        (
            lambda: plots.plot_reconstructions(np.zeros((2, 4)), {"a": np.zeros((1, 4))}),
            r"reconstructions\['a'\] must have the shape of X, \(2, 4\), got \(1, 4\)",
        ),
        (
            lambda: plots.plot_reconstructions(np.full((1, 4), np.nan), {"a": np.zeros((1, 4))}),
            "X must be finite",
        ),
        (
            lambda: plots.plot_reconstructions(np.zeros((2, 4)), {"a": np.zeros((2, 4))}, draw=[2]),
            r"from 0 to 1, got \[2\]",
        ),
        (lambda: plots.plot_codes(np.zeros((2, 3)), [0, 1]), r"\(2, 3\); train with a code of 2"),
        (lambda: plots.plot_codes(np.zeros((2, 2)), [0]), r"labels must have shape \(2,\)"),
        (lambda: plots.plot_codes(np.full((1, 2), np.inf), [0]), "codes must be finite"),
        (lambda: plots.plot_codes(np.zeros((99, 2)), np.arange(99)), "at most 60 classes, got 99"),
        (lambda: plots.plot_rows({}), "at least one row"),
        (lambda: plots.plot_rows({"a": np.zeros((1, 4)), "b": np.zeros((2, 4))}), "'b': "),
        (lambda: plots.plot_completions(np.zeros((1, 4)), np.ones(4), np.zeros((1, 4))), "bool"),
        (lambda: plots.plot_history([{"epoch": 1}], ()), "got none"),
        (lambda: plots.plot_history([]), "loaded has no history"),
        (lambda: plots.plot_history([{"epoch": 1}], "loss"), r"'loss'; it has \['epoch'\]"),
    ],
)
def test_errors_name_what_was_wrong(draw, words):
    """Catches a numpy reshape error in place of a sentence that names the remedy."""
    with pytest.raises(ValueError, match=words):
        draw()


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (lambda: plots.plot_rows([np.zeros((1, 4))]), "rows must be a dict of labels"),
        (lambda: plots.plot_side_by_side(np.zeros((1, 4))), "samples must be a dict of labels"),
        (lambda: plots.plot_codes(np.zeros((2, 2)), np.array([0, "a"], object)), "got both"),
    ],
)
def test_what_is_of_another_kind_is_a_type_error(draw, words):
    """Catches "has no attribute 'values'" for an array in the place of labelled arrays."""
    with pytest.raises(TypeError, match=words):
        draw()


@pytest.mark.parametrize("history", [dg.RBM(), {"epoch": 1}, [1, 2], 3])
def test_a_history_that_is_none_is_named(history):
    """Catches "object is not iterable" for an estimator in the place of its history."""
    with pytest.raises(TypeError, match=r"history must be .* got .*pass .history_"):
        plots.plot_history(history)


def test_missing_matplotlib_names_the_remedy(monkeypatch):
    """Catches a bare "No module named matplotlib", which does not say what to install."""
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"pip install 'deepgen\[demo\]'"):
        plots.plot_samples(np.zeros((1, 4)))


def test_names_at_points_do_not_cover_each_other(ax):
    """Would catch names of classes in one place that are written over each other, and names that
    leave the middle of their points without need."""
    codes = np.repeat([[0.0, 0.0], [0.1, 0.0], [0.0, 0.1], [9.0, 9.0]], 5, axis=0)
    labels = np.repeat(["wheat", "corn", "grain", "earn"], 5)
    plots.plot_codes(codes, labels, names="points", ax=ax)
    assert ax.get_legend() is None
    ax.figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in ax.texts]
    assert len(boxes) == 4
    for number, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:number])
    alone = next(text for text in ax.texts if text.get_text() == "earn")
    np.testing.assert_allclose(alone.get_position(), [9.0, 9.0], atol=0.1)
    with pytest.raises(ValueError, match="names must be 'legend' or 'points'"):
        plots.plot_codes(codes, labels, names="beside", ax=ax)


def test_items_lie_by_their_principal_components(ax):
    """Would catch components in ascending order, features that are not centred, and names at the
    points of other items."""
    rng = np.random.default_rng(0)
    plane = rng.normal(size=(50, 2)) * [3.0, 1.0]
    axes, _ = np.linalg.qr(rng.normal(size=(5, 2)))
    names = [None] * 50
    names[7], names[31] = "seven", "thirty-one"
    plane[9], names[9] = plane[7], "below seven"  # it has no room
    plots.plot_items(plane @ axes.T + 4.0, names, ax=ax)
    points = ax.collections[0].get_offsets()
    centred = plane - plane.mean(axis=0)
    assert np.allclose(points[:, 0].var() + points[:, 1].var(), centred.var(axis=0).sum())
    assert points[:, 0].var() > points[:, 1].var()
    assert abs(np.cov(points.T)[0, 1]) < 1e-9
    written = {text.get_text(): text.xy for text in ax.texts}
    assert set(written) == {"seven", "thirty-one"}
    assert np.allclose(written["thirty-one"], points[31])
    assert "of the variance" in ax.get_xlabel()
    plots.plot_items(np.zeros((3, 4)), ax=Figure().subplots())


def test_titles_are_no_formulas():
    """Would catch a film with two dollar signs that ends the picture in an error."""
    ax = Figure().subplots()
    plots.plot_items(np.eye(2), [r"$\bad$", "$100 or $200"], ax=ax)
    ax.figure.draw_without_rendering()
    assert {text.get_text() for text in ax.texts} == {r"$\bad$", "$100 or $200"}


@pytest.mark.parametrize(
    ("features", "names", "words"),
    [
        (np.zeros((3, 1)), None, "at least two of each"),
        (np.full((3, 2), np.nan), None, "finite"),
        (np.zeros((3, 2)), ["a"], "a text or None for each of the 3 items"),
        (np.zeros((3, 2)), ["a", 2, None], "a text or None for each of the 3 items"),
    ],
)
def test_items_that_cannot_be_drawn(features, names, words, ax):
    """Would catch names that are shifted where some are missing."""
    with pytest.raises(ValueError, match=words):
        plots.plot_items(features, names, ax=ax)


def test_precision_is_drawn_against_recall(ax):
    """Would catch axes that are swapped, and a curve under another one's name."""
    one = dg.retrieval.evaluate(np.eye(3), [0, 1, 1])
    other = dg.retrieval.evaluate(np.ones((4, 2)), [0, 0, 1, 1])
    plots.plot_precision_recall({"one": one, "other": other}, ax=ax)
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    for name, line, found in zip(names, ax.lines, (one, other), strict=True):
        assert f"({found.mean_average_precision:.3f})" in name
        np.testing.assert_allclose(line.get_xdata(), found.recalls)
        np.testing.assert_allclose(line.get_ydata(), found.precisions)
    with pytest.raises(TypeError, match="dict of what deepgen"):
        plots.plot_precision_recall({"one": 0.5}, ax=ax)
