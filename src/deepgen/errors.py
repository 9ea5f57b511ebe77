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
