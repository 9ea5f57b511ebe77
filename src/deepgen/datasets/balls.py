"""Videos of bouncing balls, made on the fly."""

import numpy as np

from deepgen.checks import check_integer
from deepgen.runtime.stream import Stream

# A box of side 10, balls of this radius and mass 1, two inner steps of this length in a frame; and
# the Frobenius norm of all velocities together.
SIDE, RADIUS, STEP, SPEED = 10.0, 1.2, 0.5, 0.5
MOST_BALLS = 6  # more hardly ever fit side by side


def bouncing_balls(
    n_sequences, n_frames=128, size=15, n_balls=3, *, random_state=None
):
    """Make videos of balls that bounce off the walls of a box and each other.

    Parameters
    ----------
    n_sequences : int
    n_frames : int, default 128
    size : int, default 15
        Pixels of each side; 30 is customary too.
    n_balls : int, default 3
    random_state : int, RandomState, Generator or None

    Returns
    -------
    ndarray of shape (n_sequences, n_frames, size * size), float32
        In [0, 1]: a ball adds ``exp(-(d / r)^8)`` at distance d of its middle.

    References
    ----------
    Sutskever, Hinton & Taylor (2009), section 6, whose generator this follows in words.
    """
    check_integer(n_sequences, "n_sequences", 0)
    check_integer(n_frames, "n_frames", 0)
    check_integer(size, "size", most=1000)
    check_integer(n_balls, "n_balls", most=MOST_BALLS)
    rng = Stream.from_random_state(random_state).generator("bouncing balls")
    centres = (np.arange(size) + 0.5) * (SIDE / size)
    frames = np.empty((n_sequences, n_frames, size * size), np.float32)
    for sequence in frames:
        places, speeds = _start(n_balls, rng)
        for frame in sequence:
            frame[:] = _picture(places, centres)
            for _ in range(2):
                _move(places, speeds)
    return frames


def _start(n_balls, rng):
    """Return places and speeds, (n_balls, 2): inside the box, none over another."""
    while True:
        places = 2.0 + 8.0 * rng.random((n_balls, 2))
        inside = (places > RADIUS).all() and (places < SIDE - RADIUS).all()
        apart = [
            np.linalg.norm(places[i] - places[j]) > 2.0 * RADIUS
            for i in range(n_balls) for j in range(i)
        ]  # fmt: skip
        if inside and all(apart):
            break
    speeds = rng.standard_normal((n_balls, 2))
    return places, speeds * (SPEED / np.linalg.norm(speeds))


def _move(places, speeds):
    """Move the balls by an inner step, in place; walls and each other turn them."""
    places += STEP * speeds
    np.copyto(speeds, np.abs(speeds), where=places < RADIUS)
    np.copyto(speeds, -np.abs(speeds), where=places > SIDE - RADIUS)
    for i in range(len(places)):
        for j in range(i):
            along = places[i] - places[j]
            distance = np.linalg.norm(along)
            if distance < 2.0 * RADIUS:
                along /= distance
                # of equal masses: the parts along the line of centres change hands
                change = ((speeds[j] - speeds[i]) @ along) * along
                speeds[i] += change
                speeds[j] -= change


def _picture(places, centres):
    """Return one frame, (size * size,): the sum of the balls, at most 1."""
    across = (places[:, 0, None, None] - centres[:, None]) ** 2
    down = (places[:, 1, None, None] - centres) ** 2
    squares = (across + down) / RADIUS**2
    return np.minimum(np.exp(-(squares**4)).sum(axis=0), 1.0).reshape(-1)
