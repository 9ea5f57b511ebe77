"""How a stream of rows, and of labels beside them, begins and goes on for a DBM."""

import numpy as np
from scipy import sparse

from deepgen.estimators.common import runs, streams
from deepgen.estimators.dbm_settings import (
    first_model,
    plain_settings,
    start_of,
    stream_schedule_of,
    trainer_of,
)
from deepgen.rows.sources import ArrayRows
from deepgen.rows.states import as_states
from deepgen.rows.survey import survey
from deepgen.runtime.stream import Stream, seed_of

# Sweeps of the particles before the first update of a machine that has learned already.
SETTLE = 100


def joined(X, targets):
    """Return rows and labels side by side, as a stream keeps its first rows."""
    if targets is None:
        return X
    if sparse.issparse(X):
        return sparse.hstack([X, sparse.csr_array(targets)], format="csr")
    kind = X.dtype if X.dtype != np.bool_ else np.uint8
    return np.concatenate([X, targets.astype(kind)], axis=1)


class DeepStream:
    """How a stream of `partial_fit` begins and goes on; see :func:`streaming.run_for`.

    Rows have the one-hot labels, where there are any, beside them.

    Parameters
    ----------
    dbm : DBM
    layers : sequence of Units
        Visible and hidden, sized, without label units.
    """

    def __init__(self, dbm, layers):
        self.dbm, self.layers = dbm, layers

    def parts(self, batch):
        """Return a batch as the trainer takes it."""
        if not self.dbm.label_units:
            return batch
        rows, labels = self._cut(batch)
        return as_states(rows), labels

    def _cut(self, joint):
        whole = joint.to_dense() if hasattr(joint, "to_dense") else joint
        whole = whole.toarray() if sparse.issparse(whole) else whole
        n_columns = self.layers[0].size
        return whole[:, :n_columns], whole[:, n_columns:].astype(np.uint8)

    def _framed(self, run, seed):
        run.frame = {
            **runs.origin_of(seed), "settings": plain_settings(self.dbm),
            streams.FIRST_ROWS: None,
        }  # fmt: skip
        return run

    def _of_model(self, model, stream):
        schedule = stream_schedule_of(self.dbm, self.layers, self.dbm.batch_size)
        return trainer_of(self.dbm, model, schedule, stream)

    def _run(self, start, moments, targets, stream):
        return self._of_model(first_model(self.layers, start, moments, targets, stream), stream)

    def begin(self, rows, seed):
        """Return a new run that starts from the moments of its first rows."""
        dbm, targets = self.dbm, None
        start = start_of(dbm, stream=True)
        if dbm.label_units:
            X, targets = self._cut(rows.X)
            rows = ArrayRows(X)
        moments = survey(rows, self.layers[0], n_threads=dbm.n_threads)
        stream = Stream.from_random_state(seed)
        run = self._run(start, moments, targets, stream)
        if start is not None:
            run.begin_trained(rows.X, SETTLE)
        return self._framed(run, seed)

    def after_fit(self):
        """Return a run that goes on from the fitted model and its particles."""
        dbm, seed = self.dbm, seed_of(self.dbm.random_state)
        names = ("visible", *(f"n_hidden[{l}]" for l in range(len(self.layers) - 1)))
        n_hidden = dbm.model_.n_layers - 1 - bool(dbm.label_units)
        if n_hidden != len(self.layers) - 1:
            raise ValueError(
                f"n_hidden asks for {len(self.layers) - 1} layers, but partial_fit goes on with "
                f"{n_hidden}; call fit, or set the parameters back"
            )
        streams.check_same_layers(dbm.model_.layers[: len(self.layers)], self.layers, names)
        run = self._of_model(dbm.model_, Stream.from_random_state(seed))
        run.go_on(dbm.n_updates_, dbm.history_, dbm._particles, dbm._offsets)
        return self._framed(run, seed)

    def blank(self, seed):
        """Return a run of these layers that a checkpoint can be read into, whatever its start."""
        dbm, zeros = self.dbm, np.zeros(self.layers[0].size)
        targets = np.zeros((1, len(dbm.classes_)), np.uint8) if dbm.label_units else None
        stream = Stream.from_random_state(seed)
        run = self._run(None, (1, zeros, zeros + 1.0), targets, stream)
        return self._framed(run, seed)

    def check_first_rows(self, states):
        """Raise ValueError unless these can be the first rows of the stream, labels beside them."""
        visible, n_classes = self.layers[0], len(self.dbm.classes_) if self.dbm.label_units else 0
        if states.shape[1] != visible.size + n_classes:
            raise ValueError(f"{states.shape[1]} columns for {visible.size} and {n_classes} labels")
        rows = self._cut(states)[0] if n_classes else states
        visible.check(as_states(rows))

    def take_over(self, run):
        """Let the rate and the size of the batches change in a stream; refuse what cannot."""
        plain = plain_settings(self.dbm)
        run.frame["settings"] = streams.settings_in_stream(run.frame["settings"], plain)
