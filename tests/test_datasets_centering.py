"""Drawn digits as MNIST has them: size, place, values that are refused."""

import os

import numpy as np
import pytest
import reference

from deepgen.datasets import center_digits, load_mnist


def drawing(height, width, seed):
    """A random scrawl, somewhere on the paper."""
    rng = np.random.default_rng(seed)
    image = np.zeros((height, width))
    part = image[height // 5 : height // 2, width // 4 : width // 4 + width // 3]
    part[:] = rng.random(part.shape) * (rng.random(part.shape) < 0.5)
    return image


@pytest.mark.parametrize(
    ("height", "width"), [(28, 28), (60, 37), (91, 200), (10, 12), (300, 40), (8, 90)]
)
def test_formula(height, width):
    """Would catch a wrong scale, a part of a pixel that is lost or counted twice, another centre,
    and axes that are swapped: upwards, downwards, long and narrow."""
    images = np.array([drawing(height, width, seed) for seed in range(3)])
    rows = center_digits(images)
    assert rows.dtype == np.float32
    for row, image in zip(rows, images, strict=True):
        expected = reference.centred_digit(image)
        np.testing.assert_allclose(row.reshape(28, 28), expected, rtol=0, atol=3e-7)


@pytest.mark.data
@pytest.mark.skipif(not os.environ.get("DEEPGEN_DATA"), reason="DEEPGEN_DATA is not set")
def test_mnist_comes_back_as_it_is():
    """Would catch a centre beside MNIST's own (half a pixel), and a rescaling that blurs."""
    X = load_mnist().X_test[:500]
    np.testing.assert_allclose(
        center_digits(X.reshape(-1, 28, 28)), X / np.float32(255), rtol=0, atol=1e-6
    )
    larger = np.kron(X[:50].reshape(-1, 28, 28), np.ones((1, 7, 7), np.uint8))
    moved = np.pad(larger, ((0, 0), (0, 60), (33, 0)))
    np.testing.assert_allclose(center_digits(moved), X[:50] / 255, rtol=0, atol=1e-6)


def test_paper_without_ink():
    """Would catch a division by no mass, and a picture that takes the place of another."""
    images = np.array([drawing(40, 40, 0), np.zeros((40, 40)), drawing(40, 40, 1)])
    rows = center_digits(images)
    assert not rows[1].any()
    assert np.array_equal(rows[[0, 2]], center_digits(images[[0, 2]]))
    assert center_digits(np.zeros((0, 40, 40))).shape == (0, 784)


def test_one_picture_and_one_pixel():
    """Would catch a picture alone that is read as rows, and ink in one corner that falls off."""
    image = np.zeros((100, 100), np.uint8)
    image[99, 0] = 255
    row = center_digits(image)
    assert row.shape == (1, 784)
    assert row.max() == 1.0
    heavy = np.zeros((100, 100))
    heavy[:2], heavy[:, 0] = 1.0, 0.01  # the mass lies at an edge of the ink
    assert np.isclose(center_digits(heavy).sum(), reference.centred_digit(heavy).sum())


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((3, 784)).ravel(), r"shape \(n_images, height, width\)"),
        (np.zeros((2, 0, 5)), "with pixels"),
        (np.full((5, 5), np.nan), "in \\[0, 1\\] without NaN"),
        (np.full((5, 5), 200.0), "divide by the largest"),
        (np.zeros((5, 5), np.int64), "must be uint8"),
        ([["a"]], "real numbers"),
    ],
)
def test_refused(images, message):
    """Would catch values that make a picture of nonsense without a word."""
    with pytest.raises(ValueError, match=message):
        center_digits(images)
