"""Models that a run has passed through, kept as a ladder for samplers and log Z."""

from deepgen.checks import check_integer
from deepgen.inference.trajectories import TrajectoryTempering, independent
from deepgen.models import BoltzmannMachine


class ModelLadder:
    """Callback that keeps models of a fit, thinned, as the rungs of a ladder.

    The first rung is without weights, at the biases that the run started from. Early updates
    change a model most, so models are kept at equal steps of the square root of the number of
    updates; where there are more than twice `n_models`, every second one is dropped and the steps
    double.

    Parameters
    ----------
    n_models : int, default 12
        At least as many stay where the run is long enough, and at most twice as many.

    Attributes
    ----------
    models : list of BoltzmannMachine
        From the first on; empty before a run.

    Raises
    ------
    TypeError
        If the run is none of a Boltzmann machine.

    Examples
    --------
    >>> import deepgen as dg
    >>> X = dg.datasets.sample_bars_and_stripes(500, 3, random_state=0)
    >>> ladder = dg.ModelLadder(4)
    >>> rbm = dg.RBM(8, n_epochs=3, random_state=0, callbacks=[ladder]).fit(X)
    >>> rbm.sample(2, n_sweeps=10, sampler=ladder.sampler(), random_state=0).shape
    (2, 9)
    """

    def __init__(self, n_models=12):
        check_integer(n_models, "n_models", 2)
        self.n_models = n_models
        self.models, self._places, self._known = [], [], None

    def is_for(self, trainer):
        """In a stack, tell whether this run is that of the lowest machine."""
        return "rows" in trainer.watchable

    def begin(self, trainer):
        """Keep the model that the run begins with, without its weights."""
        if "machine" not in trainer.watchable:
            raise TypeError(
                f"ModelLadder needs a run of a Boltzmann machine, got a {type(trainer).__name__}; "
                "leave it out of the callbacks"
            )
        self.models, self._places, self._known = [independent(trainer.model())], [0], None

    def between_updates(self, trainer):
        """Keep the model after an update whose time has come."""
        if self._known is not None:
            self._take_up(trainer.model())
        # n models at the squares of n: the differences of their roots are equal
        if trainer.n_updates < self._next():
            return
        self.models.append(trainer.model())
        self._places.append(trainer.n_updates)
        if len(self.models) > 2 * self.n_models:
            kept = [0, *range(2, len(self.models), 2)]
            self.models = [self.models[number] for number in kept]
            self._places = [self._places[number] for number in kept]

    def end(self, trainer, error):
        """Take up the models of a checkpoint whose run was over already."""
        if self._known is not None:
            self._take_up(trainer.model())

    def _next(self):
        """Return the number of updates after which the next model is kept."""
        if len(self._places) < 2:
            return 1
        roots = [place**0.5 for place in self._places[-2:]]
        return (2.0 * roots[1] - roots[0]) ** 2

    def __call__(self, report):
        """Leave the history alone; models are kept between updates."""

    def sampler(self):
        """Return the models as a :class:`deepgen.TrajectoryTempering`.

        Raises
        ------
        ValueError
            If no run has been followed yet.
        """
        if not self.models:
            raise ValueError(
                "a ladder needs the models of a run, got none yet; pass this ModelLadder to an "
                "estimator in callbacks, and fit it"
            )
        return TrajectoryTempering(tuple(self.models))

    def state(self):
        """Return the models as plain arrays, for a checkpoint."""
        if self._known is not None:
            return self._known
        return {
            "places": list(self._places),
            "layers": [[layer.parameters() for layer in m.layers] for m in self.models],
            "weights": [list(m.weights) for m in self.models],
        }

    def restore(self, state):
        """Take back what :meth:`state` returned."""
        self._known = state

    def _take_up(self, model):
        """Make the models that a checkpoint has told, of the form of `model`."""
        known, self._known = self._known, None
        self._places = list(known["places"])
        self.models = [
            BoltzmannMachine(
                [units.replace(**vectors)
                 for units, vectors in zip(model.layers, layers, strict=True)],
                weights, observed=model.observed,
            )
            for layers, weights in zip(known["layers"], known["weights"], strict=True)
        ]  # fmt: skip
