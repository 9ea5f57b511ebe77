"""Strokes of a pen as a grey picture, such as MNIST's are."""

import itertools

import numpy as np

from deepgen.datasets import center_digits

# Width of the pen, of the longer side of the drawing: as wide as strokes of MNIST are there,
# whatever size somebody draws in (docs/math.md, "Drawn digits").
PEN = 0.125
SIDE = 112  # pixels of the drawing, before it is scaled to 28
MARGIN = 6  # paper around it
MOST_STROKES, MOST_POINTS = 100, 4_000


def picture_of_strokes(strokes):
    """Return the picture that strokes of a pen make, placed and scaled as those of MNIST.

    Parameters
    ----------
    strokes : list of array-like of shape (n_points, 2)
        Points (x, y) on the way of the pen, x to the right and y downwards, in any unit. A stroke
        of one point is a dot.

    Returns
    -------
    ndarray of shape (784,), float32
        Grey values in [0, 1]: :func:`deepgen.datasets.center_digits` of the drawing. All zero
        where there are no strokes.

    Raises
    ------
    ValueError
        If strokes are no such points, or more than 100 with 4,000 points.
    """
    return center_digits(ink_of_strokes(strokes))[0]


def ink_of_strokes(strokes):
    """Return a drawing of 112 x 112 pixels, uint8 from 0 to 255, whose longer side is filled.

    See docs/math.md, "Drawn digits".

    Parameters
    ----------
    strokes
        See :func:`picture_of_strokes`.
    """
    strokes = _checked(strokes)
    ink = np.zeros((SIDE, SIDE))
    if not strokes:
        return ink.astype(np.uint8)
    points = np.concatenate(strokes)
    low, high = points.min(axis=0), points.max(axis=0)
    room = SIDE - 2 * MARGIN
    pen = PEN * room
    longest = (high - low).max()
    scale = (room - pen) / longest if longest > 0.0 else 1.0
    middle = (low + high) / 2
    for stroke in strokes:
        corners = (stroke - middle) * scale + SIDE / 2
        if len(corners) == 1:
            corners = np.repeat(corners, 2, axis=0)
        for start, end in itertools.pairwise(corners):
            _draw_line(ink, start, end, pen / 2)
    # an edge so faint that it depends on rounding is none: the rectangle around the ink follows it
    return np.rint(255 * ink).astype(np.uint8)


def _draw_line(ink, start, end, radius):
    """Blacken the pixels whose middle is within `radius` of a line, half of those on its edge."""
    first = np.maximum(np.floor(np.minimum(start, end) - radius - 1).astype(int), 0)
    last = np.minimum(np.ceil(np.maximum(start, end) + radius + 1).astype(int), SIDE)
    x = np.arange(first[0], last[0]) + 0.5 - start[0]
    y = (np.arange(first[1], last[1]) + 0.5 - start[1])[:, None]
    way = end - start
    length = way @ way
    along = np.clip((x * way[0] + y * way[1]) / length, 0.0, 1.0) if length > 0.0 else 0.0
    distance = np.hypot(x - along * way[0], y - along * way[1])
    part = ink[first[1] : last[1], first[0] : last[0]]
    np.maximum(part, np.clip(radius - distance + 0.5, 0.0, 1.0), out=part)


def _checked(strokes):
    """Return strokes as arrays of points, after a check."""
    expected = f"a list of at most {MOST_STROKES} lists of points (x, y)"
    if not isinstance(strokes, list | tuple):
        raise ValueError(f"strokes must be {expected}, got {type(strokes).__name__}")
    if len(strokes) > MOST_STROKES:
        raise ValueError(f"strokes must be {expected}, got {len(strokes)}; clear the drawing")
    arrays = []
    for place, stroke in enumerate(strokes):
        try:
            points = np.array(stroke, np.float64)
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"strokes[{place}] must be a list of points (x, y): {error}"
            ) from error
        if points.size == 0:
            continue
        if points.ndim != 2 or points.shape[1] != 2 or not (np.abs(points) < 1e6).all():
            raise ValueError(
                f"strokes[{place}] must be a list of points (x, y), finite and below a million, "
                f"got an array of shape {points.shape}"
            )
        arrays.append(points)
    n_points = sum(map(len, arrays))
    if n_points > MOST_POINTS:
        raise ValueError(
            f"strokes must have at most {MOST_POINTS:,} points in all, got {n_points:,}; clear the "
            "drawing"
        )
    return arrays
