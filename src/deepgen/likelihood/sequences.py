"""Likelihoods of sequences, frame by frame: each frame has a machine, and a log Z, of its own."""

from dataclasses import dataclass, replace

import numpy as np

from deepgen.checks import check_instance
from deepgen.inference.free_energy import free_energy
from deepgen.inference.sequences import unfolded
from deepgen.likelihood.by_row import RowPartitions, log_partitions_by_row
from deepgen.models import check_conditional
from deepgen.models.conditional_machine import biases_of
from deepgen.rows.sequences import Sequences
from deepgen.runtime.work import Work


@dataclass(frozen=True)
class FrameLikelihoods:
    """Estimates of log p(v_t | the frames before) by frame, in nats.

    Attributes
    ----------
    free_energy : ndarray of shape (n_frames,), float64
        Of each frame under its own machine: ``log p = -free_energy - log Z``.
    partitions : RowPartitions
        log Z by frame.
    starts : ndarray of shape (n_sequences + 1,), int64
        First frame of each sequence.
    """

    free_energy: np.ndarray
    partitions: RowPartitions
    starts: np.ndarray

    @property
    def by_frame(self):
        """log p of each frame, float64, at ``partitions.value``."""
        return -self.free_energy - self.partitions.value

    @property
    def optimistic(self):
        """log p of each frame by forward annealing alone, which makes a model look better."""
        return -self.free_energy - self.partitions.forward

    def by_sequence(self):
        """Return (value, lower, upper) of log p of each sequence, float64 (n_sequences,)."""
        return self._bracket(self.starts)

    def mean(self):
        """Return (value, lower, upper) of the mean log p of a frame."""
        n_frames = len(self.free_energy)
        ends = self._bracket(np.array([0, n_frames]))
        return tuple(float(end[0]) / max(n_frames, 1) for end in ends)

    def _bracket(self, starts):
        value, lower, upper = self.partitions.sums(starts)
        energy = np.diff(np.concatenate([[0.0], np.cumsum(self.free_energy)])[starts])
        return -energy - value, -energy - upper, -energy - lower

    def report(self):
        """Return how the estimate was made and how far it can be believed, as plain data."""
        value, lower, upper = self.mean()
        by_sequence = self.by_sequence()[0] / np.diff(self.starts)
        partitions = self.partitions
        return {
            "method": partitions.method, "n_frames": len(self.free_energy),
            "value": value, "lower": lower, "upper": upper,
            "forward": float(np.mean(self.optimistic)),
            "mean_of_sequences": float(by_sequence.mean()),
            "mean_variance": float(np.mean(partitions.variance)),
        }  # fmt: skip


def frame_log_likelihoods(
    model, sequences, *, initial_state=None, n_chains=4, n_betas=1000, reverse=True,
    random_state=None, n_threads=None,
):  # fmt: skip
    """Estimate log p(v_t | v_1, ..., v_(t-1)) of all frames of some sequences.

    Parameters
    ----------
    model : ConditionalMachine
    sequences : Sequences
        Of states: means in between have no likelihood.
    initial_state : ndarray of shape (n_sequences, n_state), float32, or None
        What the frames before have left. None: ``sequences.initial``; where that is None too,
        sequences begin.
    n_chains, n_betas, reverse, random_state, n_threads
        See :func:`log_partitions_by_row`.

    Returns
    -------
    FrameLikelihoods
        Exact but for float32 where the smaller layer can be enumerated for so many frames.
    """
    check_conditional(model)
    check_instance(sequences, "sequences", Sequences, "Sequences of frames")
    frames = model.layers[0].states_of(sequences.frames, "frames")
    sequences, work = replace(sequences, frames=frames), Work(n_threads=n_threads)
    before = unfolded(model, sequences, initial_state, work=work)[0]
    context = biases_of(model.recurrence, before, work=work)
    partitions = log_partitions_by_row(
        model.machine, context, n_chains=n_chains, n_betas=n_betas, reverse=reverse,
        random_state=random_state, n_threads=n_threads,
    )  # fmt: skip
    energy = free_energy(model.machine, sequences.frames, context=context, n_threads=n_threads)
    return FrameLikelihoods(energy, partitions, sequences.starts)
