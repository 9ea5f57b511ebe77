"""Models of the demo's page for tests: in a few seconds, and good enough to read a clear digit."""

from pathlib import Path

import pytest

pytest.importorskip("mlxtend", reason="needs the extra web: pip install 'deepgen[web]'")

from deepgen.demo.machines import Recipe, page_models

QUICK = Recipe(n_hidden=(100, 60), greedy_epochs=5, joint_epochs=12, n_variants=1,
               classifier_epochs=6)  # fmt: skip


def silent(*words, **options):
    """Say nothing."""


def quick_models(folder):
    """Train, or take from a folder, the quick models."""
    return page_models(Path(folder), QUICK, silent)
