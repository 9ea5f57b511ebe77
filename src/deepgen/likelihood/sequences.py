"""Likelihoods of sequences, frame by frame: each frame has a machine, and a log Z, of its own."""

from dataclasses import dataclass, replace

import numpy as np

from deepgen.checks import check_instance
from deepgen.inference.free_energy import free_energy
from deepgen.inference.sequences import unfolded
from deepgen.likelihood.by_row import RowLikelihoods, log_partitions_by_row
from deepgen.models import check_conditional
from deepgen.models.conditional_machine import biases_of
from deepgen.rows.sequences import Sequences
from deepgen.runtime.work import Work


@dataclass(frozen=True)
class FrameLikelihoods(RowLikelihoods):
    """Estimates of log p(v_t | the frames before) by frame, in nats: rows are frames.

    Attributes
    ----------
    free_energy : ndarray of shape (n_frames,), float64
        Of each frame under its own machine: ``log p = -free_energy - log Z``.
    partitions : RowPartitions
        log Z by frame.
    starts : ndarray of shape (n_sequences + 1,), int64
        First frame of each sequence.
    """

    starts: np.ndarray

    @property
    def by_frame(self):
        """log p of each frame, float64, at ``partitions.value``."""
        return self.by_row

    def by_sequence(self):
        """Return (value, lower, upper) of log p of each sequence, float64 (n_sequences,)."""
        return self.sums(self.starts)

    def report(self):
        """Return how the estimate was made and how far it can be believed, as plain data."""
        report = super().report()
        report["n_frames"] = report.pop("n_rows")
        by_sequence = self.by_sequence()[0] / np.diff(self.starts)
        return {**report, "mean_of_sequences": float(by_sequence.mean())}


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
