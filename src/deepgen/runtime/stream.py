"""Seeds and counters: every random number is a function of who asks (docs/kernels.md).

A seed becomes the 64-bit key of a :class:`Stream`. A number is then a function of the key, the
step (which update, which sweep), the row, the column, and the kind of draw that asks for it. So
no number depends on which thread draws first, and a resumed run draws the same ones.
"""

import functools
import hashlib
import numbers
import secrets
from dataclasses import dataclass

import numpy as np

from deepgen._kernels import engine
from deepgen.checks import check_integer, shown

# Kinds of draws: (what their row counts, and their step). The kind is part of the counter, so no
# two kinds share a draw. 12 and 13 are not in use; the others decide bits and stay as they are.
PARTICLES = 1  # persistent particles: (particle, update and sweep)
DATA = 2  # draws attached to a batch: (row of the batch, update and sweep)
BINARIZE = 3  # grey pixels binarized afresh: (row of the batch, update)
SHUFFLE = 4  # order of rows and blocks: (block, epoch)
SAMPLE = 5  # chains that a user asks for
IMPUTE = 6  # chains that complete rows
ANNEAL = 7  # annealed importance sampling, forward
REVERSE = 8  # and reverse
START = 9  # first states of particles and chains
FLIP = 10  # units whose conditional probability is asked for
DROPOUT = 11  # units of a network that are left out: (row of the batch, update), by layer
# 12 and 13 were never given out; a number stays for good, or the draws of a seed would change
RECOGNIZE = 14  # draws of a recognition model: (number of the draw of a row, or row of the data)


def purpose(kind, layer=0, temperature=0):
    """Return the last word of the counter: kind << 24 | layer << 16 | temperature."""
    return kind << 24 | layer << 16 | temperature


def _named(name):
    """Return the name of a child after a check of its type."""
    if isinstance(name, bool) or not isinstance(name, str | int | np.integer):
        raise ValueError(f"name must be a string or an integer, got {shown(name)}")
    return name


def _digest(*parts):
    """Return 64 bits of the SHA-256 of some strings and integers."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


@functools.lru_cache(maxsize=1024)
def _child_key(key, name):
    """Return the key of a child; cached, because updates ask for the same few names."""
    return _digest("stream", key, name)


def seed_of(random_state):
    """Turn what scikit-learn users pass as `random_state` into one integer.

    A RandomState or Generator is drawn from once; None asks the operating system. The global
    NumPy state is never touched.
    """
    check_random_state(random_state)
    if random_state is None:
        return secrets.randbits(63)
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(0, 2**31 - 1))
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(0, 2**63 - 1))
    return int(random_state)


def check_random_state(random_state):
    """Raise ValueError unless :func:`seed_of` takes `random_state`; nothing is drawn from it."""
    if random_state is None or isinstance(
        random_state, np.random.RandomState | np.random.Generator
    ):
        return
    if isinstance(random_state, bool) or not isinstance(random_state, numbers.Integral):
        raise ValueError(
            "random_state must be None, an integer, a numpy RandomState or a numpy Generator, got "
            f"{shown(random_state)}"
        )
    if random_state < 0:
        raise ValueError(f"random_state must not be negative, got {random_state}")


def child_seed(random_state, name):
    """Derive an independent seed for a part, so that a stack can be trained by hand.

    Parameters
    ----------
    random_state : int, RandomState, Generator or None
        Seed of the whole.
    name : str or int
        Name of the part, for example the number of a layer.

    Returns
    -------
    int
        In [0, 2**32), a valid `random_state` everywhere.
    """
    return _digest("child", seed_of(random_state), _named(name)) % 2**32


@dataclass(frozen=True)
class Stream:
    """Key and position of a counter-based random stream.

    Attributes
    ----------
    key : int
        64 bits.
    position : int
        Step that the next draw is of: how many updates or sweeps there were.
    """

    key: int
    position: int = 0

    def __post_init__(self):
        check_integer(self.key, "key", 0, 2**64 - 1)
        check_integer(self.position, "position", 0, 2**64 - 1)

    @classmethod
    def from_random_state(cls, random_state):
        """Start a stream from a seed (see :func:`seed_of`)."""
        return cls(_digest("stream", seed_of(random_state)))

    def child(self, name):
        """Return an independent stream for a part, at the same position."""
        return self._with(_child_key(self.key, _named(name)), self.position)

    def advanced(self, steps):
        """Return the stream `steps` further on."""
        return Stream(self.key, self.position + steps)

    def at(self, position):
        """Return the stream at another position, a number of updates or sweeps."""
        return self._with(self.key, position)

    @classmethod
    def _with(cls, key, position):
        """Return a stream of a key and a position that have been checked."""
        stream = object.__new__(cls)
        object.__setattr__(stream, "key", key)
        object.__setattr__(stream, "position", position)
        return stream

    def generator(self, name):
        """Return a NumPy Generator for initial values, seeded by this stream and a name."""
        return np.random.default_rng(_digest("generator", self.key, name))

    def words(self, n_rows, n_columns, kind, *, first_row=0, layer=0):
        """Return uint32 words of shape (n_rows, n_columns) at the current position."""
        out = np.empty((n_rows, n_columns), np.uint32)
        engine.random_words(out, self.key, self.position, purpose(kind, layer), first_row)
        return out

    def uniform(self, n_rows, n_columns, kind, *, first_row=0, layer=0):
        """Return float32 uniforms in (0, 1) of shape (n_rows, n_columns)."""
        words = self.words(n_rows, n_columns, kind, first_row=first_row, layer=layer)
        out = np.empty(words.shape, np.float32)
        engine.uniform(words.reshape(-1), out.reshape(-1))
        return out

    def permutation(self, n, kind, *, row=0):
        """Return a permutation of range(n), a function of the key, the position and `row`."""
        # the order of n random numbers; of 64 bits, among which equal ones are hardly ever seen
        words = self.words(1, 2 * n, kind, first_row=row).reshape(-1, 2).astype(np.uint64)
        return np.argsort(words[:, 0] << np.uint64(32) | words[:, 1], kind="stable")
