"""The models that ``deepgen train`` knows, and what each of them is trained with."""

from dataclasses import dataclass
from functools import cached_property

from deepgen.estimators import (
    DBM,
    DBN,
    RBM,
    Autoencoder,
    DeepAutoencoder,
    DeepClassifier,
    DeepGaussianProcessRegressor,
    DeepRegressor,
    MixtureOfBernoullis,
    MixtureOfProducts,
    NeighbourhoodComponents,
    RatingsRBM,
    ReplicatedSoftmax,
    TemporalRBM,
)


@dataclass(frozen=True)
class Kind:
    """One value of ``--model``.

    Attributes
    ----------
    name : str
    estimator : type
    is_network : bool
        Whether it is trained by backpropagation, by default with Adam and without weight decay.
    reads_sequences : bool
        Whether rows are frames of sequences, whose lengths stand beside them. It is trained with
        Adam and without weight decay by default, too.
    is_deep : bool
        Whether ``n_hidden`` may be several sizes.
    learns : {"classes", "numbers"} or None
        What each row has to have beside its columns: a label, or targets. None: neither.
    takes_gaps : bool
        Whether NaN among its targets is a row without one.
    starts_from : tuple of type
        Estimators whose model files ``pretrained`` may name.
    """

    name: str
    estimator: type
    is_network: bool = False
    reads_sequences: bool = False
    is_deep: bool = False
    learns: str | None = None
    takes_gaps: bool = False
    starts_from: tuple = ()

    def has(self, parameter):
        """Tell whether the estimator has a hyper-parameter of this name."""
        return parameter in self._parameters

    @cached_property
    def _parameters(self):
        return frozenset(self.estimator().get_params(deep=False))


KINDS = {
    kind.name: kind
    for kind in (
        Kind("rbm", RBM),
        Kind("dbn", DBN, is_deep=True),
        Kind("dbm", DBM, is_deep=True, starts_from=(DBM, RBM)),
        Kind("replicated-softmax", ReplicatedSoftmax),
        Kind("mixture", MixtureOfBernoullis),
        Kind("product-mixture", MixtureOfProducts),
        Kind("ratings", RatingsRBM),
        Kind("temporal", TemporalRBM, reads_sequences=True),
        Kind("autoencoder", Autoencoder, is_network=True),
        Kind("deep-autoencoder", DeepAutoencoder, is_network=True, is_deep=True,
             starts_from=(DBN, RBM)),
        Kind("classifier", DeepClassifier, is_network=True, is_deep=True, learns="classes",
             starts_from=(DBN, DBM, RBM)),
        Kind("regressor", DeepRegressor, is_network=True, is_deep=True, learns="numbers",
             starts_from=(DBN, DBM, RBM)),
        Kind("gaussian-process", DeepGaussianProcessRegressor, is_network=True, is_deep=True,
             learns="numbers", takes_gaps=True, starts_from=(DBN, RBM)),
        Kind("neighbours", NeighbourhoodComponents, is_network=True, is_deep=True,
             learns="classes", starts_from=(DBN, RBM)),
    )
}  # fmt: skip


def names_of(estimators):
    """Return the names of the models that are these estimators."""
    return tuple(name for name, kind in KINDS.items() if kind.estimator in estimators)
