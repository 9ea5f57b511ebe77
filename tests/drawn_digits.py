"""A hundred digits as a hand draws them: strokes, committed as points in `data/drawn_digits.json`.

`make` has made that file, once, before any model saw it. Three styles of each digit stand here as
curves; each drawing bends, slants, turns, stretches and shifts one of them. Nothing is chosen or
trained on them: they judge the demo's default model.
"""

import json
from pathlib import Path

import numpy as np

FILE = Path(__file__).parent / "data" / "drawn_digits.json"
SEED = 26
N_OF_STYLE = (4, 3, 3)  # drawings of the three styles of a digit


def load():
    """Digits and drawings: each a list of strokes, a stroke a list of (x, y) in [0, 1], y down."""
    drawings = json.loads(FILE.read_text(encoding="utf-8"))
    return [drawing["digit"] for drawing in drawings], [d["strokes"] for d in drawings]


def make():
    """Make the hundred drawings, as the file has them."""
    rng, drawings = np.random.default_rng(SEED), []
    for digit, styles in enumerate(STYLES):
        for style, (strokes, n_drawings) in enumerate(zip(styles, N_OF_STYLE, strict=True)):
            drawings += [
                {"digit": digit, "style": "abc"[style], "strokes": _by_hand(strokes, rng)}
                for _ in range(n_drawings)
            ]
    return drawings


def _by_hand(strokes, rng):
    """Draw a style once, as a hand would that never draws it twice alike."""
    turn, slant = rng.normal(0.0, 0.07), rng.normal(0.08, 0.14)
    wide, high = rng.uniform(0.75, 1.15), rng.uniform(0.85, 1.1)
    size, shift = rng.uniform(0.55, 1.0), rng.uniform(-0.12, 0.12, 2)
    turned = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    matrix = size * turned @ np.array([[wide, -slant], [0.0, high]])
    drawn = []
    for pieces in strokes:
        points = [_along(curve, corners, rng) for curve, corners in pieces]
        line = _evenly(np.concatenate(points)) - 0.5
        tremor = rng.normal(0.0, 0.004, line.shape)
        line = np.clip(line @ matrix.T + 0.5 + size * shift + tremor, 0.02, 0.98)
        drawn.append([[round(float(x), 3), round(float(y), 3)] for x, y in line])
    return drawn


def _along(curve, corners, rng):
    """Points along a curve whose corners have moved a little: a smooth curve, or straight lines."""
    corners = np.asarray(corners) + rng.normal(0.0, 0.016, (len(corners), 2))
    if curve == "lines":
        return corners
    before, after = 2 * corners[:1] - corners[1:2], 2 * corners[-1:] - corners[-2:-1]
    ends = np.concatenate([before, corners, after])  # a Catmull-Rom spline passes the inner ones
    t = np.linspace(0.0, 1.0, 12, endpoint=False)[:, None]
    pieces = [
        0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2
               + (3 * b - a - 3 * c + d) * t**3)
        for a, b, c, d in zip(ends, ends[1:], ends[2:], ends[3:], strict=False)
    ]  # fmt: skip
    return np.concatenate([*pieces, corners[-1:]])


def _evenly(points, step=0.035):
    """Points a step apart along a line through others, as a mouse tells them, and its end."""
    far = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    places = np.append(np.arange(0.0, far[-1], step), far[-1])
    return np.column_stack([np.interp(places, far, points[:, axis]) for axis in (0, 1)])


def _oval(x, y, across, down, start=-90.0, turn=-360.0):
    """Corners around an oval; angles in degrees from the right, clockwise as y goes down."""
    angles = np.radians(start + turn * np.linspace(0.0, 1.0, 13))
    return [(x + across * np.cos(a), y + down * np.sin(a)) for a in angles]


def _smooth(*corners):
    return ("curve", list(corners))


def _lines(*corners):
    return ("lines", list(corners))


# By digit three styles, by style strokes, by stroke the pieces that follow each other.
STYLES = (
    (  # 0: an oval; a narrow one that overshoots its start; a wide one that is not quite closed
        [[_smooth(*_oval(0.5, 0.5, 0.23, 0.38))]],
        [[_smooth(*_oval(0.5, 0.5, 0.17, 0.39, -70.0, -385.0))]],
        [[_smooth(*_oval(0.5, 0.5, 0.29, 0.36, -75.0, -340.0))]],
    ),
    (  # 1: a line; with a flag; with a flag and a foot
        [[_lines((0.5, 0.1), (0.5, 0.9))]],
        [[_lines((0.36, 0.28), (0.53, 0.1), (0.53, 0.9))]],
        [[_lines((0.38, 0.25), (0.52, 0.1), (0.52, 0.88))], [_lines((0.36, 0.88), (0.68, 0.88))]],
    ),
    (  # 2: a hook on a flat foot; with a loop at the foot; a swan
        [[_smooth((0.28, 0.3), (0.36, 0.15), (0.53, 0.1), (0.69, 0.19), (0.7, 0.36), (0.56, 0.58),
                  (0.27, 0.88)), _lines((0.27, 0.88), (0.75, 0.87))]],
        [[_smooth((0.27, 0.26), (0.42, 0.11), (0.62, 0.13), (0.69, 0.3), (0.58, 0.55), (0.38, 0.83),
                  (0.26, 0.86), (0.25, 0.75), (0.37, 0.72), (0.53, 0.84), (0.75, 0.86))]],
        [[_smooth((0.3, 0.24), (0.46, 0.1), (0.65, 0.17), (0.65, 0.37), (0.47, 0.62), (0.28, 0.83),
                  (0.45, 0.8), (0.6, 0.88), (0.76, 0.8))]],
    ),
    (  # 3: two bowls; a flat top over a bowl; bowls with a small loop between
        [[_smooth((0.3, 0.2), (0.46, 0.1), (0.65, 0.18), (0.64, 0.36), (0.45, 0.47)),
          _smooth((0.45, 0.47), (0.67, 0.56), (0.7, 0.75), (0.5, 0.9), (0.28, 0.82))]],
        [[_lines((0.28, 0.12), (0.68, 0.12), (0.45, 0.42)),
          _smooth((0.45, 0.42), (0.66, 0.5), (0.71, 0.7), (0.53, 0.89), (0.27, 0.83))]],
        [[_smooth((0.29, 0.16), (0.5, 0.09), (0.67, 0.22), (0.58, 0.4), (0.43, 0.47), (0.42, 0.42),
                  (0.58, 0.48), (0.7, 0.66), (0.58, 0.88), (0.3, 0.87))]],
    ),
    (  # 4: open, in two strokes; closed, in one; open with a round arm
        [[_lines((0.34, 0.12), (0.27, 0.54), (0.75, 0.54))], [_lines((0.6, 0.2), (0.58, 0.9))]],
        [[_lines((0.78, 0.62), (0.24, 0.62), (0.59, 0.1), (0.59, 0.9))]],
        [[_smooth((0.29, 0.14), (0.27, 0.36), (0.34, 0.52), (0.5, 0.52), (0.66, 0.42))],
         [_lines((0.68, 0.12), (0.63, 0.9))]],
    ),
    (  # 5: a body and a separate hat; angular, in one stroke; round as an S
        [[_lines((0.34, 0.12), (0.32, 0.45)),
          _smooth((0.32, 0.45), (0.5, 0.4), (0.69, 0.52), (0.68, 0.76), (0.48, 0.9), (0.27, 0.83))],
         [_lines((0.34, 0.12), (0.7, 0.11))]],
        [[_lines((0.7, 0.12), (0.37, 0.12), (0.33, 0.46)),
          _smooth((0.33, 0.46), (0.55, 0.43), (0.68, 0.6), (0.6, 0.82), (0.3, 0.88))]],
        [[_smooth((0.7, 0.13), (0.5, 0.12), (0.37, 0.2), (0.36, 0.38), (0.53, 0.46), (0.67, 0.6),
                  (0.62, 0.82), (0.42, 0.9), (0.26, 0.82))]],
    ),
    (  # 6: a bow with a loop; a straight back; a large loop with a short tail
        [[_smooth((0.64, 0.11), (0.45, 0.25), (0.32, 0.5), (0.33, 0.77), (0.5, 0.9), (0.67, 0.77),
                  (0.62, 0.58), (0.46, 0.54), (0.34, 0.68))]],
        [[_smooth((0.56, 0.08), (0.46, 0.3), (0.36, 0.55), (0.34, 0.75), (0.46, 0.9), (0.63, 0.84),
                  (0.66, 0.66), (0.53, 0.56), (0.38, 0.66))]],
        [[_smooth((0.6, 0.16), (0.42, 0.2), (0.29, 0.42), (0.28, 0.68), (0.42, 0.88), (0.63, 0.86),
                  (0.73, 0.68), (0.62, 0.5), (0.43, 0.5), (0.3, 0.64))]],
    ),
    (  # 7: two lines; with a bar across; with a hook and a bent leg
        [[_lines((0.26, 0.14), (0.72, 0.13), (0.45, 0.9))]],
        [[_lines((0.27, 0.13), (0.73, 0.12), (0.42, 0.9))], [_lines((0.38, 0.5), (0.7, 0.49))]],
        [[_lines((0.27, 0.25), (0.3, 0.14), (0.7, 0.13)),
          _smooth((0.7, 0.13), (0.58, 0.36), (0.5, 0.6), (0.48, 0.9))]],
    ),
    (  # 8: in one stroke from the top right; two rings; narrow, from the middle
        [[_smooth((0.66, 0.2), (0.5, 0.1), (0.35, 0.2), (0.4, 0.38), (0.58, 0.54), (0.66, 0.74),
                  (0.5, 0.9), (0.34, 0.76), (0.42, 0.55), (0.6, 0.4), (0.66, 0.2))]],
        [[_smooth(*_oval(0.5, 0.29, 0.16, 0.18, 90.0))], [_smooth(*_oval(0.5, 0.68, 0.2, 0.21))]],
        [[_smooth((0.5, 0.48), (0.38, 0.32), (0.41, 0.14), (0.55, 0.1), (0.62, 0.25), (0.5, 0.48),
                  (0.38, 0.68), (0.41, 0.86), (0.56, 0.9), (0.63, 0.72), (0.5, 0.48))]],
    ),
    (  # 9: a loop on a straight leg; with a bow as a tail; a round loop, the leg hooked
        [[_smooth((0.65, 0.24), (0.5, 0.11), (0.34, 0.24), (0.38, 0.44), (0.55, 0.46),
                  (0.65, 0.26)),
          _lines((0.65, 0.26), (0.62, 0.9))]],
        [[_smooth((0.66, 0.3), (0.55, 0.12), (0.37, 0.17), (0.35, 0.4), (0.5, 0.49), (0.64, 0.34),
                  (0.66, 0.3), (0.64, 0.55), (0.56, 0.76), (0.42, 0.91))]],
        [[_smooth(*_oval(0.49, 0.29, 0.18, 0.18, -20.0)),
          _smooth((0.66, 0.25), (0.67, 0.5), (0.65, 0.75), (0.52, 0.9), (0.34, 0.84))]],
    ),
)  # fmt: skip


if __name__ == "__main__":
    lines = ",\n".join(json.dumps(drawing, separators=(",", ":")) for drawing in make())
    FILE.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
