"""scikit-learn estimators: hyper-parameters here, everything else in the core."""

from deepgen.estimators.autoencoders import Autoencoder, DeepAutoencoder
from deepgen.estimators.dbm import DBM
from deepgen.estimators.dbn import DBN
from deepgen.estimators.documents import ReplicatedSoftmax
from deepgen.estimators.gaussian_process import DeepGaussianProcessRegressor
from deepgen.estimators.hierarchical import HierarchicalGaussian
from deepgen.estimators.imputer import Imputer
from deepgen.estimators.mixture import MixtureOfBernoullis, MixtureOfProducts
from deepgen.estimators.neighbours import NeighbourhoodComponents
from deepgen.estimators.ratings import RatingsRBM
from deepgen.estimators.rbm import RBM
from deepgen.estimators.sequences import TemporalRBM
from deepgen.estimators.supervised import DeepClassifier, DeepRegressor

__all__ = [
    "DBM",
    "DBN",
    "RBM",
    "Autoencoder",
    "DeepAutoencoder",
    "DeepClassifier",
    "DeepGaussianProcessRegressor",
    "DeepRegressor",
    "HierarchicalGaussian",
    "Imputer",
    "MixtureOfBernoullis",
    "MixtureOfProducts",
    "NeighbourhoodComponents",
    "RatingsRBM",
    "ReplicatedSoftmax",
    "TemporalRBM",
]
