"""Errors that have a name of their own."""


class DivergedError(ArithmeticError):
    """Training produced a parameter that is not finite.

    The estimator keeps the last good model.

    Attributes
    ----------
    parameter : str
        The parameter that went first, for example ``"weights[0]"``.
    epoch : int
        Epoch, counted from 1.
    learning_rate : float
        Learning rate of the step.
    """

    def __init__(self, parameter, epoch, learning_rate):
        super().__init__(
            f"training diverged: {parameter} is not finite in epoch {epoch} at learning rate "
            f"{learning_rate:g}; the last good model is kept. Lower learning_rate, or scale the "
            "data if they are real-valued."
        )
        self.parameter = parameter
        self.epoch = epoch
        self.learning_rate = learning_rate


class ModelFileError(ValueError):
    """A file is not a model that this version of deepgen can read."""


class TimeLimitError(TimeoutError):
    """A computation took longer than its :class:`TimeLimit`; nothing of it is kept.

    Attributes
    ----------
    seconds : float
        The limit.
    n_sweeps : int
        Sweeps of single chains that were made until then.
    """

    def __init__(self, seconds, n_sweeps):
        super().__init__(seconds, n_sweeps)
        self.seconds, self.n_sweeps = seconds, n_sweeps

    def __str__(self):
        return (
            f"stopped by the time limit of {self.seconds:g} s after {self.n_sweeps:,} sweeps of "
            "single chains; ask for fewer rows, chains or sweeps, or allow more seconds"
        )
