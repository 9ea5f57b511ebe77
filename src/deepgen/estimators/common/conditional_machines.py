"""The problem whose run is that of a conditional machine: `TemporalRBM`."""

from dataclasses import is_dataclass

import numpy as np

from deepgen.estimators.common.fitting import Problem
from deepgen.estimators.common.hyperparameters import asked_units, sized, visible_units
from deepgen.estimators.common.plain_settings import plain_setting, plain_settings
from deepgen.estimators.common.validation import Survey
from deepgen.layers.named import as_units
from deepgen.learning.optimizers import Adam
from deepgen.learning.rules import CD
from deepgen.learning.schedules import Linear, as_schedule
from deepgen.learning.sequences import Restraint, SequenceTrainer, starting_machine
from deepgen.learning.starts import first_hidden
from deepgen.rows.fingerprint import RowOrder
from deepgen.runtime.stream import Stream

# Where the learning rate of Adam starts, by whether values are bounded; it falls to zero.
USUAL_RATES = {True: 0.01, False: 0.003}
USUAL_UPDATES, MOST_EPOCHS = 5000, 200
PRESENTATIONS = 8  # of augmented frames, whose means the first biases are fitted to
# Lengths are told apart by rows (length, number of the sequence modulo this). The second column
# says nothing that the order of the rows does not, but the sums in checkpoints are of both.
TURN = 7


class SequencesProblem(Problem):
    """The training of a conditional machine.

    Parameters
    ----------
    estimator : TemporalRBM
    rows : SequenceRows
    """

    @property
    def units(self):
        """None: values were checked when sequences were read."""
        return

    def surveyed(self):
        """Measure the frames, and tell them, in this order and cut like this, from others."""
        frames, lengths = self.rows.sequences.frames, self.rows.sequences.lengths
        order = RowOrder(self.estimator.n_threads)
        order.add(np.column_stack([lengths, np.arange(len(lengths)) % TURN]).astype(np.float32))
        told = order.tree()
        order = RowOrder(self.estimator.n_threads)
        for first in range(0, len(frames), 8192):
            order.add(frames[first : first + 8192])
        own = order.tree()
        tree = {"sum": own["sum"] + told["sum"], "size": float(np.hypot(own["size"], told["size"]))}
        return Survey(self.rows.n_rows, *_moments(frames)[1:], tree)

    def settings(self, n_rows):
        """Return the settings that decide the bits of a run, as plain data."""
        estimator = self.estimator
        n_epochs = estimator.n_epochs
        if n_epochs is None:
            updates = -(-n_rows // estimator.batch_size)
            n_epochs = min(max(USUAL_UPDATES // updates, 1), MOST_EPOCHS)
        augment = estimator.augment
        if augment is not None and not is_dataclass(augment):
            augment = getattr(augment, "__qualname__", type(augment).__qualname__)
        return plain_settings(
            estimator,
            {
                "n_epochs": int(n_epochs), "n_samples": int(n_rows),
                "learning_rate": schedule_of(estimator), "visible": asked_units(estimator),
                "augment": plain_setting(augment),
            },
        )  # fmt: skip

    def start(self, seed):
        """Return the model that learning starts from."""
        estimator, rows = self.estimator, self.rows
        stream = Stream.from_random_state(seed)
        visible = visible_units(estimator, estimator.n_features_in_)
        frames = rows.sequences.frames
        if rows.augment is not None:
            drawn = stream.child("presentations")
            frames = np.concatenate([
                batch.states[0].frames for place in range(PRESENTATIONS)
                for batch in rows.pieces(drawn.at(place))
            ])  # fmt: skip
            frames = visible.states_of(frames, "what augment returns")
        asked = as_units("binary", "hidden")
        hidden = sized(asked, int(estimator.n_hidden), "hidden", f"n_hidden={estimator.n_hidden}")
        is_window = estimator.recurrence == "window"
        return starting_machine(
            (visible, first_hidden(hidden)), estimator.recurrence, _moments(frames), stream,
            n_state=int(estimator.order if is_window else estimator.n_recurrent),
            sequences=rows.sequences if rows.augment is None else None,
        )  # fmt: skip

    def run(self, beginning):
        """Return the run."""
        stream = Stream.from_random_state(beginning.seed)
        run = trainer_of(
            self.estimator, self.start(beginning.seed), stream,
            as_schedule(schedule_of(self.estimator)),
        )  # fmt: skip
        run.frame = beginning.frame
        beginning.take_over(run)
        return run


def trainer_of(estimator, model, stream, schedule):
    """Return the run of a model that the settings of an estimator ask for.

    Parameters
    ----------
    estimator : TemporalRBM
    model : ConditionalMachine
    stream : Stream
    schedule : callable
        Learning rate by progress.

    Returns
    -------
    SequenceTrainer
    """
    optimizer = Adam(weight_decay=0.0) if estimator.optimizer is None else estimator.optimizer
    return SequenceTrainer(
        model, CD(estimator.n_gibbs, centring=False), optimizer, schedule, stream=stream,
        batch_size=estimator.batch_size, n_threads=estimator.n_threads,
        restraint=Restraint(estimator.dropout, estimator.recurrence_decay),
    )  # fmt: skip


def schedule_of(estimator):
    """Return the learning rate of a run: the estimator's, or the usual one."""
    if estimator.learning_rate is not None:
        return estimator.learning_rate
    return Linear(USUAL_RATES[bool(asked_units(estimator).is_bounded)], 0.0)


def _moments(frames):
    """Return the number of frames, and mean and variance of their columns in float64."""
    mean = frames.mean(axis=0, dtype=np.float64)
    square = np.square(frames, dtype=np.float64).mean(axis=0)
    return len(frames), mean, np.maximum(square - mean**2, 0.0)
