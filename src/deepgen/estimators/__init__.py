"""scikit-learn estimators: hyper-parameters here, everything else in the core."""

from deepgen.estimators.mixture import MixtureOfBernoullis
from deepgen.estimators.rbm import RBM

__all__ = ["RBM", "MixtureOfBernoullis"]
