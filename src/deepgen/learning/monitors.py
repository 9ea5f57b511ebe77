"""Callbacks that watch a run: they write numbers into its history."""

from deepgen.checks import check_integer
from deepgen.learning.hooks import require_machine
from deepgen.likelihood import free_energy
from deepgen.likelihood.trajectory import Trajectory
from deepgen.models import BoltzmannMachine
from deepgen.rows.states import as_states
from deepgen.runtime.stream import check_random_state
from deepgen.runtime.threads import check_threads

# The way from independent units to the first epoch's model is so much longer than the others.
FIRST_STEPS = 20


def check_watched(trainer, rows, name, *, states=False):
    """Raise ValueError where rows cannot be watched along a run.

    Parameters
    ----------
    trainer : Trainer
        Of a Boltzmann machine.
    rows : states of the first layer
    name : str
        What the message calls them.
    states : bool, default False
        Refuse values between states and missing variables, which have no likelihood.
    """
    visible = trainer.parameters.layers[0]
    visible.check_width(rows, name)
    if not rows.shape[0]:
        raise ValueError(f"{name} must have at least one row, got none")
    visible.check(rows, name)
    rows = visible.clipped(rows)
    if states and not visible.is_state(rows):
        raise ValueError(
            f"{name} must be states, got values between them; binarize the rows, for example "
            "X > rng.random(X.shape)"
        )
    if states and visible.missing(rows) is not None:
        raise ValueError(
            f"{name} must be whole rows, got missing variables (all-zero groups); leave such rows "
            "out, or complete them with impute"
        )


class LikelihoodMonitor:
    """Callback that tracks log Z along training, and with it the likelihood of rows.

    Chains follow the model from epoch to epoch (:class:`deepgen.Trajectory`): 20 short steps of
    100 chains and back are about 4,000 sweeps of one row, where an epoch of CD-1 or PCD-1 makes
    one for each row of the data. Training particles, where there are any, are the samples of each
    epoch's model.

    Each line of ``history_`` gets ``log_partition``, ``log_partition_error`` (half of the
    interval's width) and, with `X`, ``log_likelihood``: the mean over its rows in nats.

    Parameters
    ----------
    X : array-like or sparse matrix of shape (n_samples, n_visible) or None
        Rows to watch, held-out ones best; states, not grey values.
    n_chains : int, default 100
    n_steps : int, default 20
        Steps from one epoch's model to the next one's.
    random_state : int, default 0
    n_threads : int or None

    Notes
    -----
    The estimate knows only the modes that its chains visit. While a model learns quickly it can
    have others of great mass, which :func:`deepgen.log_partition_bracket` finds: judge a final
    model by that.

    Examples
    --------
    >>> import deepgen as dg
    >>> X = dg.datasets.sample_bars_and_stripes(500, 3, random_state=0)
    >>> monitor = dg.LikelihoodMonitor(X[:100])
    >>> rbm = dg.RBM(8, n_epochs=2, random_state=0, callbacks=[monitor]).fit(X[100:])
    >>> sorted(set(rbm.history_[-1]) & {"log_likelihood", "log_partition"})
    ['log_likelihood', 'log_partition']
    """

    # what it writes into the history
    numbers = ("log_partition", "log_partition_error", "log_likelihood")

    def __init__(self, X=None, *, n_chains=100, n_steps=20, random_state=0, n_threads=None):
        check_integer(n_chains, "n_chains")
        check_integer(n_steps, "n_steps")
        check_random_state(random_state)
        check_threads(n_threads)
        self.X = None if X is None else as_states(X)
        if X is not None and len(self.X.shape) != 2:
            raise ValueError(f"X must have shape (n_samples, n_visible), got {self.X.shape}")
        self.n_chains, self.n_steps = n_chains, n_steps
        self.random_state, self.n_threads = random_state, n_threads
        self._trajectory = self._known = None

    def is_for(self, trainer):
        """In a stack, tell whether this run is that of the lowest machine."""
        return "rows" in trainer.watchable

    def begin(self, trainer):
        """Look at the rows before any work; forget earlier runs."""
        require_machine(trainer, "LikelihoodMonitor")
        if self.X is not None:
            check_watched(trainer, self.X, "X of LikelihoodMonitor", states=True)
        self._trajectory = self._known = None

    def state(self):
        """Return the chains and the model that they are at, for a checkpoint."""
        return self._known if self._trajectory is None else self._trajectory.state()

    def restore(self, state):
        """Take back what :meth:`state` returned."""
        self._known = state

    def __call__(self, report):
        """Add this epoch's estimates to the history."""
        model = report.trainer.model()
        n_steps = self.n_steps
        if self._known is not None:
            self._trajectory = Trajectory.from_state(self._known, model, n_threads=self.n_threads)
            self._known = None
        if self._trajectory is None:
            # the layers that the run started from are independent units fitted to its data
            first = BoltzmannMachine(report.trainer.parameters.layers, model.weights)
            self._trajectory = Trajectory(
                first, self.n_chains, random_state=self.random_state, n_threads=self.n_threads
            )
            n_steps *= FIRST_STEPS
        particles = report.trainer.all_particles()
        estimate = self._trajectory.advance(model, n_steps, particles)
        report.entry["log_partition"] = estimate.value
        report.entry["log_partition_error"] = 0.5 * (estimate.upper - estimate.lower)
        if self.X is not None:
            energy = free_energy(model, self.X, n_threads=self.n_threads)
            report.entry["log_likelihood"] = float(-energy.mean() - estimate.value)


class FreeEnergyGap:
    """Callback that tells overfitting: how much less likely held-out rows are than trained ones.

    Each line of ``history_`` gets ``free_energy_train``, ``free_energy_valid`` and
    ``free_energy_gap``, the difference of the means in nats. Log Z cancels, so the gap is that of
    the mean log-likelihoods, and costs two passes over the rows. The gap of a good model is
    small; that it grows says that the model begins to learn its rows by heart (Hinton 2010,
    section 6). The free energies themselves are no measure of anything: log Z moves too.

    Parameters
    ----------
    X_train : array-like or sparse matrix of shape (n_samples, n_visible)
        Some of the rows that the model learns from; as many as there are held-out ones do.
    X_valid : array-like or sparse matrix of shape (n_samples, n_visible)
        Rows that it does not learn from.
    n_threads : int or None
    """

    # what it writes into the history
    numbers = ("free_energy_train", "free_energy_valid", "free_energy_gap")

    def __init__(self, X_train, X_valid, *, n_threads=None):
        self.X_train, self.X_valid = (
            as_states(X_train, "X_train"), as_states(X_valid, "X_valid"),
        )  # fmt: skip
        self.n_threads = n_threads

    def is_for(self, trainer):
        """In a stack, tell whether this run is that of the lowest machine."""
        return "rows" in trainer.watchable

    def begin(self, trainer):
        """Look at the rows before any work."""
        require_machine(trainer, "FreeEnergyGap")
        for name in ("X_train", "X_valid"):
            check_watched(trainer, getattr(self, name), name)

    def __call__(self, report):
        """Add this epoch's gap to the history."""
        model = report.trainer.model()
        train, valid = (
            float(free_energy(model, rows, n_threads=self.n_threads).mean())
            for rows in (self.X_train, self.X_valid)
        )
        report.entry["free_energy_train"] = train
        report.entry["free_energy_valid"] = valid
        report.entry["free_energy_gap"] = valid - train
