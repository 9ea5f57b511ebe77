"""The documentation site: ``python -m sphinx -W -b html docs build/docs``. Needs no network."""

import logging
from pathlib import Path

import matplotlib

import deepgen

matplotlib.use("Agg")
ROOT = Path(__file__).parents[1]

project = "deepgen"
author = "The deepgen developers"
copyright = author
version = release = deepgen.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_templates", "gallery/**.ipynb", "gallery/**.py", "gallery/**.json"]

myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "none"
numpydoc_show_class_members = False
# A page for each name of the reference, by the templates there: all that a class tells of itself,
# but for what Python's own classes have.
templates_path = ["_templates"]
autosummary_context = {
    "not_ours": ["__init__", "add_note", "args", "count", "index", "with_traceback"]
}  # fmt: skip

sphinx_gallery_conf = {
    "examples_dirs": [str(ROOT / "examples")],
    "gallery_dirs": ["gallery"],
    "filename_pattern": r"\.py$",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
    "remove_config_comments": True,
    "write_computation_times": False,
}

html_theme = "furo"
html_title = f"deepgen {release}"
html_show_sphinx = False

# the log of a build is Sphinx's; the examples' epochs are not part of it
logging.getLogger("deepgen").setLevel(logging.WARNING)


def setup(app):
    """Leave out what scikit-learn adds to estimators: its texts refer to its own pages."""
    app.connect("autodoc-skip-member", _is_of_scikit_learn)


def _is_of_scikit_learn(app, what, name, found, skip, options):
    return (getattr(found, "__module__", None) or "").startswith("sklearn.") or None
