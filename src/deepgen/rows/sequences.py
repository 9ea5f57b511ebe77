"""Sequences of frames: how they lie in memory, the order of their time steps, their batches."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, pairwise

import numpy as np

from deepgen.checks import check_integer, real_array, shown
from deepgen.rows.batch import Batch
from deepgen.rows.sources import shuffled
from deepgen.rows.states import as_states


@dataclass(frozen=True)
class Sequences:
    """Frames of several sequences, one sequence after the other in one array.

    Attributes
    ----------
    frames : ndarray of shape (n_frames, n_columns)
        Bytes or floats, as kernels read them; others are converted.
    lengths : ndarray of shape (n_sequences,), int64
        Frames of each sequence, 1 or more; their sum is `n_frames`.
    run_in : ndarray of shape (n_sequences,), int64, or None
        So many first frames of each sequence only bring its state to where it should be, and are
        not learned from. None: of none.
    initial : ndarray of shape (n_sequences, n_state), float32, or None
        The states that frames before these have left. None: sequences begin.

    Raises
    ------
    ValueError
        If frames are no numbers in rows and columns, or lengths do not add up to them.
    """

    frames: np.ndarray
    lengths: np.ndarray
    run_in: np.ndarray | None = None
    initial: np.ndarray | None = None

    def __post_init__(self):
        frames = as_states(self.frames, "frames")
        if not isinstance(frames, np.ndarray) or frames.ndim != 2:
            raise ValueError(
                "frames must be a dense array of shape (n_frames, n_columns), all sequences below "
                f"each other, got {shown(self.frames)}; Sequences.joined takes a list"
            )
        object.__setattr__(self, "frames", frames)
        object.__setattr__(self, "lengths", checked_lengths(self.lengths, len(frames)))

    @property
    def n_sequences(self):
        """Number of sequences."""
        return len(self.lengths)

    @property
    def shape(self):
        """(n_sequences, n_columns): a sequence is what a batch of sequences has for a row."""
        return self.n_sequences, self.frames.shape[1]

    @cached_property
    def starts(self):
        """Number of the first frame of each sequence, and after the last one `n_frames`."""
        return np.concatenate([[0], np.cumsum(self.lengths)]).astype(np.int64)

    @cached_property
    def steps(self):
        """The frames in the order of time; see :class:`TimeOrder`."""
        return TimeOrder.of(self.lengths)

    def cut(self, by_frame):
        """Return an array with a row for each frame as a list, one array for each sequence."""
        return np.split(by_frame, self.starts[1:-1])

    def learned(self):
        """Tell of each frame whether it is learned from, bool; None where all are."""
        if self.run_in is None or not self.run_in.any():
            return None
        place = np.arange(len(self.frames)) - np.repeat(self.starts[:-1], self.lengths)
        return place >= np.repeat(self.run_in, self.lengths)

    def batch(self, chosen, initial=None):
        """Return a slice of the sequences as a batch, with the states that they begin at."""
        starts = self.starts[chosen.start], self.starts[min(chosen.stop, self.n_sequences)]
        frames = self.frames[starts[0] : starts[1]]
        return Batch((Sequences(frames, self.lengths[chosen], None, initial),))

    @classmethod
    def joined(cls, arrays, run_in=None):
        """Return sequences of a list of arrays of shape (n_frames, n_columns)."""
        lengths = np.array([len(frames) for frames in arrays], np.int64)
        return cls(np.ascontiguousarray(np.concatenate(arrays)), lengths, run_in)


@dataclass(frozen=True)
class TimeOrder:
    """Frames of ragged sequences with the first frames of all first, then the second ones.

    Longer sequences come first, so that those which still go on at a step are the first rows of
    the step before: a recurrence moves slices, and no padding.

    Attributes
    ----------
    order : ndarray of shape (n_frames,), int64
        Number of each frame where sequences lie one after the other.
    starts : ndarray of shape (n_steps + 1,), int64
        Rows of step t are ``starts[t]`` to ``starts[t + 1] - 1``.
    ranks : ndarray of shape (n_sequences,), int64
        Numbers of the sequences, the longest first: the order of the rows of a step.
    ends : ndarray of shape (n_sequences,), int64
        Row of the last frame of each sequence, by number of sequence.
    """

    order: np.ndarray
    starts: np.ndarray
    ranks: np.ndarray
    ends: np.ndarray

    @classmethod
    def of(cls, lengths):
        """Return the order for sequences of these lengths."""
        lengths = np.asarray(lengths, np.int64)
        ranks = np.argsort(-lengths, kind="stable")
        first = np.concatenate([[0], np.cumsum(lengths)[:-1]])[ranks]
        longest = int(lengths.max(initial=0))
        # of the sequences by falling length, so many reach step t
        counts = np.searchsorted(-lengths[ranks], -np.arange(longest), side="left")
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        step = np.repeat(np.arange(longest), counts)
        rank = np.arange(len(step)) - starts[step]
        ends = np.empty(len(lengths), np.int64)
        ends[ranks] = starts[lengths[ranks] - 1] + np.arange(len(lengths))
        return cls(first[rank] + step, starts, ranks, ends)

    @property
    def n_steps(self):
        """Length of the longest sequence."""
        return len(self.starts) - 1

    def rows(self, step):
        """Return the slice of the rows of a step."""
        return slice(self.starts[step], self.starts[step + 1])

    def followed(self, step):
        """Return the slice of those rows of a step whose sequence has another frame."""
        going_on = self.starts[step + 2] - self.starts[step + 1]
        return slice(self.starts[step], self.starts[step] + going_on)

    def in_sequence(self, by_frame):
        """Return an array by frame, which lies in the order of time, sequence by sequence."""
        out = np.empty_like(by_frame)
        out[self.order] = by_frame
        return out


class SequenceRows:
    """A source of batches of sequences, which are cut into chunks.

    A chunk has the frames before it as its run-in, so that its first frames are not learned from
    a state that knows nothing.

    Parameters
    ----------
    sequences : Sequences
    chunk : int or None
        Most frames of a chunk that are learned from. None: sequences stay whole.
    run_in : int
        Frames before a chunk, where its sequence has them.
    augment : callable or None
        ``augment(frames, generator)`` returns another version of frames of shape (n_frames,
        n_columns), drawn by a NumPy Generator, as often as they are presented. It gets a copy.
    """

    def __init__(self, sequences, *, chunk=None, run_in=0, augment: Callable | None = None):
        self.sequences, self.augment = sequences, augment
        self.is_fixed = augment is None
        self._chunks = _chunks(sequences, chunk, run_in)

    @property
    def n_rows(self):
        """Number of chunks."""
        return len(self._chunks)

    @property
    def n_columns(self):
        """Number of columns of a frame."""
        return self.sequences.frames.shape[1]

    def pieces(self, stream=None):
        """Yield all chunks in order, one by one; augmented ones by a stream."""
        for number in range(self.n_rows):
            yield self.batch([number], stream)

    def batch(self, chosen, stream=None):
        """Return some chunks, by their numbers, as a batch.

        Parameters
        ----------
        chosen : sequence of int
        stream : Stream or None
            For chunks that are augmented, at the position of the epoch. None: as they are.
        """
        arrays = []
        for number in chosen:
            start, _, stop = self._chunks[number]
            frames = self.sequences.frames[start:stop]
            if self.augment is not None and stream is not None:
                drawn = stream.child(f"augment {stream.position}").generator(int(number))
                frames = _augmented(self.augment, frames, drawn)
            arrays.append(frames)
        run_in = np.array([learned - start for start, learned, _ in self._chunks[chosen]])
        return Batch((Sequences.joined(arrays, run_in),))

    def batches(self, batch_size, stream, *, skip=0):
        """Yield the batches of an epoch in the keyed random order of `stream`, without `skip`."""
        orders = islice(shuffled(self.n_rows, batch_size, stream), skip, None)
        return (self.batch(chosen, stream) for chosen in orders)


def _augmented(augment, frames, generator):
    """Return augmented frames; ValueError where their shape is not that of `frames`."""
    made = as_states(augment(frames.copy(), generator), "what augment returns")
    if not isinstance(made, np.ndarray) or made.shape != frames.shape:
        raise ValueError(
            "augment must return frames of the shape that it is given, a version of each frame, "
            f"{frames.shape}, got shape {made.shape}"
        )
    return made


@dataclass(frozen=True)
class Transpose:
    """An augmentation of piano rolls: all notes move by the same number of keys, drawn anew.

    Columns are keys. Moves by which a note would leave the keyboard are not drawn.

    Parameters
    ----------
    low, high : int, default -5 and 6
        Smallest and largest move: with the defaults all twelve keys are equally likely.
    """

    low: int = -5
    high: int = 6

    def __post_init__(self):
        for name in ("low", "high"):
            check_integer(getattr(self, name), name, -127, 127)
        if not self.low <= 0 <= self.high:
            raise ValueError(
                "low and high must be at most and at least 0, so that staying is a move, got "
                f"{self.low} and {self.high}"
            )

    def __call__(self, frames, generator):
        """Return frames of shape (n_frames, n_columns) moved along their columns."""
        notes = np.flatnonzero(frames.any(axis=0))
        low, high = self.low, self.high
        if len(notes):
            low = max(low, -int(notes[0]))
            high = min(high, frames.shape[1] - 1 - int(notes[-1]))
        return np.roll(frames, int(generator.integers(low, high + 1)), axis=1)


def checked_lengths(lengths, n_frames):
    """Return lengths of sequences as int64.

    Raises
    ------
    ValueError
        Unless they are whole numbers from 1 that add up to so many frames.
    """
    checked = real_array(lengths, "lengths")
    whole = checked.ndim == 1 and (checked == np.floor(checked)).all()
    if not whole or (checked < 1).any() or checked.sum() != n_frames:
        raise ValueError(
            f"lengths must be whole numbers from 1 that add up to the {n_frames} frames, got "
            f"{shown(lengths)}"
        )
    return checked.astype(np.int64, copy=False)


def _chunks(sequences, chunk, run_in):
    """Return (first frame of the run-in, first learned frame, end) of each chunk, int64."""
    chunks = []
    for start, length in zip(sequences.starts, sequences.lengths, strict=False):
        size = int(length) if chunk is None else chunk
        # pieces of nearly equal length: a last one of two frames would be a batch's shortest
        n_pieces = -(-int(length) // size)
        edges = start + np.linspace(0, length, n_pieces + 1).round().astype(np.int64)
        for first, stop in pairwise(edges):
            chunks.append((max(start, first - run_in), first, stop))
    return np.array(chunks, np.int64)
