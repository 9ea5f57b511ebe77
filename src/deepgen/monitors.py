"""Callbacks that watch a run: what they find goes into its history."""


from deepgen.checks import check_integer
from deepgen.likelihood import free_energy
from deepgen.likelihood.trajectory import Trajectory
from deepgen.models import BoltzmannMachine
from deepgen.states import as_states
from deepgen.stream import check_random_state
from deepgen.threads import check_threads

# The way from independent units to the first epoch's model is so much longer than the others.
FIRST_STEPS = 20


class LikelihoodMonitor:
    """Callback that tracks log Z along training, and with it the likelihood of rows.

    Chains follow the model from epoch to epoch (:class:`deepgen.Trajectory`): 20 short steps of
    100 chains and back cost some percent of an epoch of MNIST. Training particles, where there
    are any, are the samples of each epoch's model.

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
        self._trajectory = None

    def __call__(self, report):
        """Add this epoch's estimates to the history."""
        model = report.trainer.model()
        n_steps = self.n_steps
        if report.epoch == 1 or self._trajectory is None:
            # the layers that the run started from are independent units fitted to its data
            first = BoltzmannMachine(report.trainer.parameters.layers, model.weights)
            self._trajectory = Trajectory(
                first, self.n_chains, random_state=self.random_state, n_threads=self.n_threads
            )
            n_steps *= FIRST_STEPS
        particles = report.trainer.rule_state.particles
        estimate = self._trajectory.advance(model, n_steps, particles)
        report.entry["log_partition"] = estimate.value
        report.entry["log_partition_error"] = 0.5 * (estimate.upper - estimate.lower)
        if self.X is not None:
            energy = free_energy(model, self.X, n_threads=self.n_threads)
            report.entry["log_likelihood"] = float(-energy.mean() - estimate.value)
