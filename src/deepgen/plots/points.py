"""Points and curves: codes of rows, histories of training."""

from collections.abc import Mapping, Sequence

import numpy as np

from deepgen.checks import real_array, shown
from deepgen.plots.tiles import require_matplotlib
from deepgen.retrieval.evaluation import Retrieved

# Ten colours that differ also for the colour-blind and in grey: Petroff (2021), "Accessible color
# sequences for data visualization", the sequence of ten.
_COLOURS = (
    "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70",
    "#717581", "#92dadd",
)  # fmt: skip
_MARKERS = "o^sDvP"  # one for each round through the colours


def plot_codes(codes, labels, *, names="legend", ax=None):
    """Draw two-dimensional codes as points, coloured by class.

    Parameters
    ----------
    codes : array-like of shape (n_samples, 2)
        For example from ``autoencoder.transform(X)``.
    labels : array-like of shape (n_samples,)
        Class of each row: numbers or strings, at most 60 different ones. The legend names them in
        order; from the eleventh on colours come again, with another marker.
    names : {"legend", "points"}, default "legend"
        Where the names of the classes stand: beside the picture, or at the middle of their points,
        moved up or down where two would cover each other.
    ax : matplotlib Axes or None
        None: a new figure.

    Returns
    -------
    matplotlib Axes
    """
    codes = real_array(codes, "codes")
    if codes.ndim != 2 or codes.shape[1] != 2 or not len(codes):
        raise ValueError(
            f"codes must have shape (n_samples, 2), at least one row, got {codes.shape}; train "
            "with a code of 2 units, or project the codes first"
        )
    if not np.isfinite(codes).all():
        raise ValueError("codes must be finite, but contains NaN or inf")
    if names not in ("legend", "points"):
        raise ValueError(f"names must be 'legend' or 'points', got {shown(names)}")
    labels, classes = _classes(labels, len(codes))
    size = 12 if len(codes) < 2_000 else 4
    if ax is None:
        _, ax = require_matplotlib("pyplot").subplots(layout="constrained")
    for number, name in enumerate(classes):
        points = codes[labels == number]
        turn, colour = divmod(number, len(_COLOURS))
        ax.scatter(
            points[:, 0], points[:, 1], s=size, linewidths=0, alpha=0.8, color=_COLOURS[colour],
            marker=_MARKERS[turn], label=str(name),
        )  # fmt: skip
    ax.set_xlabel("code 1")
    ax.set_ylabel("code 2")
    if names == "points":
        middles = [np.median(codes[labels == number], axis=0) for number in range(len(classes))]
        colours = [_COLOURS[number % len(_COLOURS)] for number in range(len(classes))]
        _write_apart(ax, middles, [str(name) for name in classes], colours)
        return ax
    ax.legend(
        loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False,
        markerscale=24.0 / size, ncols=-(-len(classes) // 20),
    )  # fmt: skip
    return ax


def plot_items(features, names=None, *, ax=None):
    """Draw items as points: the two principal components of their features, some with names.

    Parameters
    ----------
    features : array-like of shape (n_items, n_features)
        At least two of each; ``model.item_features()`` of a :class:`deepgen.RatingsRBM`.
    names : sequence of (str or None), or None
        A text for each item, or None where it gets none. Where a text would cover an earlier one
        it is left out, so put the items that many know first. None: no texts.
    ax : matplotlib Axes or None
        None: a new figure. The axes tell which share of the variance they show.

    Returns
    -------
    matplotlib Axes
    """
    features = real_array(features, "features").astype(np.float64)
    if features.ndim != 2 or min(features.shape) < 2:
        raise ValueError(
            "features must have shape (n_items, n_features), at least two of each, got "
            f"{features.shape}"
        )
    if not np.isfinite(features).all():
        raise ValueError("features must be finite, but contains NaN or inf")
    names = [None] * len(features) if names is None else list(names)
    if len(names) != len(features) or not all(n is None or isinstance(n, str) for n in names):
        raise ValueError(
            f"names must be a text or None for each of the {len(features)} items, got "
            f"{shown(names)}"
        )
    centred = features - features.mean(axis=0)
    variances, axes = np.linalg.eigh(centred.T @ centred)  # ascending
    axes = axes[:, :-3:-1]
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), [0, 1]])  # which end is up is chance
    points, total = centred @ axes, max(float(variances.sum()), np.finfo(np.float64).tiny)
    if ax is None:
        _, ax = require_matplotlib("pyplot").subplots(layout="constrained")
    ax.scatter(points[:, 0], points[:, 1], s=8, linewidths=0, color=_COLOURS[0])
    ax.margins(0.1)
    ax.set_xlabel(f"component 1, {variances[-1] / total:.0%} of the variance")
    ax.set_ylabel(f"component 2, {variances[-2] / total:.0%} of the variance")
    _write_where_free(ax, points, names)
    return ax


def _write_where_free(ax, points, texts):
    """Write texts below points, and leave out what would cover one that is there already."""
    ax.figure.draw_without_rendering()  # sizes of texts are known in pixels, after a layout
    taken = []
    for point, text in zip(points, texts, strict=True):
        if text is None:
            continue
        written = ax.annotate(
            text, point, (0, -3), textcoords="offset points", ha="center", va="top", fontsize=7,
            parse_math=False,
        )  # fmt: skip
        box = written.get_window_extent()
        if any(box.overlaps(other) for other in taken):
            written.remove()
        else:
            taken.append(box)


def _write_apart(ax, places, texts, colours):
    """Write texts at places of the axes, the lowest first, each above those that it would cover."""
    ax.figure.draw_without_rendering()  # sizes of texts are known in pixels, after a layout
    to_data, taken = ax.transData.inverted(), []
    found = zip(places, texts, colours, strict=True)
    for place, text, colour in sorted(found, key=lambda one: one[0][1]):
        written = ax.text(
            *place, text, ha="center", va="center", fontsize=8,
            bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": colour, "lw": 1.5},
        )  # fmt: skip
        box = written.get_window_extent().padded(4.0)  # with its frame
        for below in taken:  # ascending: what is moved above one can meet the next
            if box.overlaps(below):
                box = box.translated(0.0, below.y1 - box.y0 + 1.0)
        middle = (0.5 * (box.x0 + box.x1), 0.5 * (box.y0 + box.y1))
        written.set_position(to_data.transform(middle))
        taken = sorted([*taken, box], key=lambda one: one.y0)


def plot_precision_recall(retrieved, *, ax=None):
    """Draw precision against recall, a curve for each way of retrieval.

    Parameters
    ----------
    retrieved : dict of {str: Retrieved}
        By name what :func:`deepgen.retrieval.evaluate` returned. The legend has the mean average
        precisions too.
    ax : matplotlib Axes or None
        None: a new figure. The recall has a logarithmic axis: the first places count most.

    Returns
    -------
    matplotlib Axes
    """
    known = isinstance(retrieved, Mapping) and retrieved and all(
        isinstance(one, Retrieved) for one in retrieved.values()
    )
    if not known:
        raise TypeError(
            "retrieved must be a dict of what deepgen.retrieval.evaluate returns, by names, got "
            f"{shown(retrieved)}"
        )
    if ax is None:
        _, ax = require_matplotlib("pyplot").subplots(layout="constrained")
    for number, (name, one) in enumerate(retrieved.items()):
        turn, colour = divmod(number, len(_COLOURS))
        ax.plot(
            one.recalls, one.precisions, color=_COLOURS[colour], marker=_MARKERS[turn],
            markersize=4, label=f"{name} ({one.mean_average_precision:.3f})",
        )  # fmt: skip
    ax.set_xscale("log")
    ax.set_xlabel("recall")
    ax.set_ylabel("precision")
    ax.set_ylim(0.0, 1.0)
    ax.legend(title="mean average precision", frameon=False)
    return ax


def _classes(labels, n_rows):
    """Return the number of each row's class, and the names of the classes."""
    labels = np.asarray(labels)
    if labels.shape != (n_rows,):
        raise ValueError(
            f"labels must have shape ({n_rows},), one for each code, got {labels.shape}"
        )
    try:
        classes, numbers = np.unique(labels, return_inverse=True)
    except TypeError as error:
        raise TypeError(f"labels must be all numbers or all strings, got both: {error}") from None
    most = len(_COLOURS) * len(_MARKERS)
    if len(classes) > most:
        raise ValueError(
            f"labels must hold at most {most} classes, got {len(classes)}; real-valued targets "
            "are no classes: cut them into intervals"
        )
    return numbers, classes


def plot_history(history, name="weight_max", *, ax=None):
    """Draw quantities of a training history over the epochs.

    Parameters
    ----------
    history : list of dict
        ``rbm.history_``: one entry an epoch. Of a stack the layers follow each other, and so does
        the fine-tuning: epochs are counted on, and a dotted line stands where they begin anew.
    name : str or sequence of str, default "weight_max"
        ``"weight_max"``, ``"learning_rate"``, ``"seconds"``, or what a callback added, for
        example ``("free_energy_train", "free_energy_valid")``.
    ax : matplotlib Axes or None
        None: a new figure.

    Returns
    -------
    matplotlib Axes
    """
    if not isinstance(history, Sequence) or not all(isinstance(e, Mapping) for e in history):
        raise TypeError(
            "history must be a list of entries as rbm.history_, got "
            f"{shown(history)}; pass .history_ of a fitted estimator"
        )
    names = [name] if isinstance(name, str) else list(name)
    if not names:
        raise ValueError("name must be a string or some of them, got none")
    for wanted in names:
        if not any(wanted in entry for entry in history):
            known = sorted({key for entry in history for key in entry})
            raise ValueError(
                f"history has no entry {wanted!r}; it has {known or 'no entries at all'}"
                + ("" if known else ": a model that was loaded has no history")
            )
    if ax is None:
        _, ax = require_matplotlib("pyplot").subplots(layout="constrained")
    epochs, starts = _counted_on([entry["epoch"] for entry in history])
    for wanted in names:
        label = wanted.replace("_", " ")
        _plot_runs(ax, epochs, starts, [entry.get(wanted) for entry in history], label)
    for start in starts:
        ax.axvline(start - 0.5, color="0.6", linestyle=":", linewidth=1.0)
    ax.set_xlabel("epoch")
    if len(names) > 1:
        ax.legend()
    else:
        ax.set_ylabel(label)
    return ax


def _counted_on(epochs):
    """Return (epochs counted on, those of them at which a new run begins).

    Epochs 1, 2, 3, 1, 2 of two layers become 1, 2, 3, 4, 5, and the second run begins at 4.
    """
    counted, starts, before = [], [], 0
    for epoch, last in zip(epochs, [0, *epochs], strict=False):
        if epoch <= last:
            before = counted[-1]
            starts.append(before + epoch)
        counted.append(before + epoch)
    return counted, starts


def _plot_runs(ax, epochs, starts, values, label):
    """Draw a curve that is broken at each of `starts`; a value of None is left out."""
    x, y = [], []
    for epoch, value in zip(epochs, values, strict=True):
        if x and epoch in starts:
            x.append(np.nan)
            y.append(np.nan)
        if value is not None:
            x.append(epoch)
            y.append(value)
    # a line of one point is invisible: where both neighbours are gaps, a marker is drawn
    gaps = np.isnan(np.pad(np.array(x, np.float64), 1, constant_values=np.nan))
    alone = np.flatnonzero(gaps[:-2] & gaps[2:] & ~gaps[1:-1])
    ax.plot(x, y, label=label, marker=".", markevery=alone.tolist())
