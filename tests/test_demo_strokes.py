"""Strokes as pictures, and digits as other hands draw them: what the demo's page shows its models.

The models themselves are judged by a hundred drawings, `data/drawn_digits.json`.
"""

import drawn_digits
import numpy as np
import pytest
import reference

from deepgen.demo.digits import variants
from deepgen.demo.strokes import ink_of_strokes, picture_of_strokes

SEVEN = [[(0.3, 0.2), (0.7, 0.2), (0.45, 0.85)]]


@pytest.mark.parametrize(
    "strokes",
    [SEVEN, [[(0, 0), (0, 9)], [(4, 4)]], [[(5, 5)]], [[(2, 3), (2, 3), (7, 3)]]],
    ids=["seven", "a line and a dot", "a dot", "a pen that rests"],
)
def test_ink_is_its_formula(strokes):
    """Would catch a pen of another width, an edge that is not half grey, a stroke that is cut off
    at its end, and a dot or a resting pen that divides by zero."""
    found, expected = ink_of_strokes(strokes), reference.ink_of_strokes(strokes)
    assert np.abs(found - 255 * expected).max() < 0.5 + 1e-9


def test_size_and_place_do_not_matter():
    """Would catch a digit in a corner, or a small one, that the models see as another one."""
    points = np.array(SEVEN[0])
    whole = picture_of_strokes([points])
    for size, shift in ((0.2, 0.0), (640.0, 3.0), (1.0, -5.0)):
        moved = picture_of_strokes([points * size + shift])
        assert np.abs(moved - whole).max() < 1.01 / 255  # a half that rounds the other way
    assert whole.shape == (784,)
    assert whole.dtype == np.float32
    assert 0.05 < whole.mean() < 0.25


def test_no_strokes_are_no_ink():
    """Would catch a page that fails, or shows noise, where nothing has been drawn."""
    assert not picture_of_strokes([]).any()
    assert not picture_of_strokes([[]]).any()


@pytest.mark.parametrize(
    ("strokes", "words"),
    [
        (None, "must be a list"), ({}, "must be a list"), ([3], r"strokes\[0\]"),
        ([[(0, 0, 0)]], r"strokes\[0\]"), ([[(0, 0)], [(0, np.nan)]], r"strokes\[1\].*finite"),
        ([["ab"]], r"strokes\[0\]"), ([[(0, 1e9)]], "below a million"), ([[[0], [0, 1]]], "points"),
        ([[(0, 0)]] * 101, "got 101; clear"), ([[(0, 1)] * 4001], "4,001; clear"),
        ([[({}, [])]], r"strokes\[0\]"),
    ],
)  # fmt: skip
def test_what_is_no_drawing_is_refused(strokes, words):
    """Would catch a message of a stranger that ends in a traceback, or in minutes of work."""
    with pytest.raises(ValueError, match=words):
        picture_of_strokes(strokes)


def test_variants_are_digits():
    """Would catch variants that are empty, torn, off centre, out of [0, 1], all alike, or other
    ones in each run."""
    digit = picture_of_strokes(SEVEN)
    found = variants(np.stack([digit, digit]), 20, random_state=0)
    assert found.shape == (40, 784)
    assert found.dtype == np.float32
    assert found.min() >= 0.0
    assert found.max() <= 1.0
    ink = found.sum(axis=1) / digit.sum()
    assert (ink > 0.3).all()
    assert ink.max() / ink.min() > 1.5  # thin and thick pens
    images = found.reshape(-1, 28, 28)
    for axis in (1, 2):
        mass = images.sum(axis=3 - axis)
        middle = mass @ np.arange(28) / mass.sum(axis=1)
        assert np.abs(middle - 14).max() < 1.5
    assert len(np.unique(found, axis=0)) == 40
    again = variants(np.stack([digit, digit]), 20, random_state=0)
    assert (again == found).all()
    assert (variants(np.stack([digit, digit]), 1, random_state=1) != found[:2]).any()


def test_the_hundred_drawings_are_as_they_were_made():
    """Would catch drawings that were changed, or chosen, after a model had seen them."""
    digits, drawings = drawn_digits.load()
    assert np.bincount(digits).tolist() == [10] * 10
    made = drawn_digits.make()
    assert [drawing["digit"] for drawing in made] == digits
    for one, other in zip(drawings, made, strict=True):
        for stroke, expected in zip(one, other["strokes"], strict=True):
            assert np.abs(np.subtract(stroke, expected)).max() < 0.0021  # rounded to 0.001
