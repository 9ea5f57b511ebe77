"""Pictures of models and of data; each function draws into one matplotlib Axes and returns it.

matplotlib is imported when a picture is drawn (``pip install 'deepgen[demo]'``). Where `ax` is
given, pyplot is not touched; nothing is ever shown or saved here.
"""

from deepgen.plots.filters import plot_filters
from deepgen.plots.points import plot_codes, plot_history, plot_items, plot_precision_recall
from deepgen.plots.rows import (
    plot_completions,
    plot_reconstructions,
    plot_rows,
    plot_samples,
    plot_side_by_side,
)
from deepgen.plots.tiles import require_matplotlib

__all__ = [
    "plot_codes",
    "plot_completions",
    "plot_filters",
    "plot_history",
    "plot_items",
    "plot_precision_recall",
    "plot_reconstructions",
    "plot_rows",
    "plot_samples",
    "plot_side_by_side",
    "require_matplotlib",
]
