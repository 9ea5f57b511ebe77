"""From a file back to an estimator."""

from dataclasses import dataclass

import numpy as np

from deepgen.estimators.autoencoders import Autoencoder, DeepAutoencoder
from deepgen.estimators.common.fitting import FittingEstimator
from deepgen.estimators.common.tables import AUTO, Table
from deepgen.estimators.dbm import DBM
from deepgen.estimators.dbn import DBN
from deepgen.estimators.documents import ReplicatedSoftmax
from deepgen.estimators.gaussian_process import DeepGaussianProcessRegressor
from deepgen.estimators.hierarchical import HierarchicalGaussian
from deepgen.estimators.mixture import MixtureOfBernoullis, MixtureOfProducts
from deepgen.estimators.neighbours import NeighbourhoodComponents
from deepgen.estimators.ratings import RatingsRBM
from deepgen.estimators.rbm import RBM
from deepgen.estimators.sequences import TemporalRBM
from deepgen.estimators.supervised import DeepClassifier, DeepRegressor
from deepgen.inference.trajectories import TrajectoryTempering
from deepgen.io import model_files
from deepgen.io.classes import classes_of_plain
from deepgen.io.schemas.registry import schema_for
from deepgen.layers.units import LARGEST_VALUE
from deepgen.models import (
    BeliefNetwork,
    BernoulliMixture,
    BoltzmannMachine,
    ClassHierarchy,
    ConditionalMachine,
    NeighbourNetwork,
    Network,
    PosteriorNetwork,
    ProcessNetwork,
    ProductMixture,
    RatingMachine,
)
from deepgen.rows.identifiers import Identifiers


@dataclass(frozen=True)
class Saved:
    """How an estimator comes back from a file.

    Attributes
    ----------
    estimator : type
        With ``from_model(model, *entries)``.
    models : tuple of type
        What its files hold.
    entries : tuple of str
        What else they say, beside the estimator's name, that `from_model` takes.
    """

    estimator: type
    models: tuple
    entries: tuple = ()


# A new estimator is one line.
ESTIMATORS = {
    saved.estimator.__name__: saved
    for saved in (
        Saved(RBM, (BoltzmannMachine,)),
        Saved(ReplicatedSoftmax, (BoltzmannMachine,)),
        Saved(DBM, (BoltzmannMachine,), ("classes",)),
        Saved(DBN, (BeliefNetwork,)),
        Saved(MixtureOfBernoullis, (BernoulliMixture,)),
        Saved(MixtureOfProducts, (ProductMixture,)),
        Saved(Autoencoder, (Network,)),
        Saved(DeepAutoencoder, (Network,)),
        Saved(DeepClassifier, (Network, PosteriorNetwork), ("classes",)),
        Saved(DeepRegressor, (Network, PosteriorNetwork), ("one_target",)),
        Saved(DeepGaussianProcessRegressor, (ProcessNetwork,)),
        Saved(NeighbourhoodComponents, (NeighbourNetwork,), ("classes",)),
        Saved(HierarchicalGaussian, (ClassHierarchy,), ("classes",)),
        Saved(RatingsRBM, (RatingMachine,), ("rows", "user_ids", "item_ids")),
        Saved(TemporalRBM, (ConditionalMachine,)),
    )
}


def load(path):
    """Read a model file as a fitted estimator.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    RBM, ReplicatedSoftmax, DBN, DBM, MixtureOfBernoullis, MixtureOfProducts, Autoencoder,
    DeepAutoencoder, DeepClassifier, DeepRegressor, DeepGaussianProcessRegressor,
    NeighbourhoodComponents, HierarchicalGaussian, RatingsRBM or TemporalRBM
        It knows the names of the columns that it was fitted on, and refuses a data frame with
        others, or in another order.

    Raises
    ------
    ModelFileError
        If the file is not a whole, valid model of a known version. A file never runs code.
    FileNotFoundError
        If there is no such file.
    """
    model, extra = model_files.load_model(path)
    if not schema_for(model).is_usable(model):
        raise model_files.ModelFileError(
            f"{path}: parameters so large that fields overflow, or that samples lie beyond "
            f"+-{LARGEST_VALUE:g}; no training makes such a model"
        )
    if isinstance(model, TrajectoryTempering):
        raise model_files.ModelFileError(
            f"{path}: a ladder of models, no estimator; read it with dg.load_ladder"
        )
    saved = _saved_by(model, extra.get("estimator"))
    if saved is None:
        raise model_files.ModelFileError(
            f"{path}: no estimator named {extra.get('estimator')!r} for a {type(model).__name__}"
        )
    try:
        extra = {**extra, "classes": classes_of_plain(extra.get("classes"))}
        for name in ("user_ids", "item_ids"):
            if name in extra:
                extra[name] = Identifiers.from_texts(extra[name], name).values
        estimator = saved.estimator.from_model(model, *(extra.get(name) for name in saved.entries))
    except ValueError as error:
        raise model_files.ModelFileError(f"{path}: no estimator for this model ({error})") from None
    names = extra.get("feature_names")
    if "table" in extra:
        try:
            table = Table.from_plain(extra["table"], extra.get("categories"), names)
            if table.units.form != model.visible.form:
                raise ValueError("its table is that of other units")
        except ValueError as error:
            raise model_files.ModelFileError(f"{path}: {error}") from None
        estimator.visible, estimator.table_ = AUTO, table
        estimator.n_features_in_ = len(table.columns)
    if names is not None:
        whole = isinstance(names, list) and all(isinstance(name, str) for name in names)
        if not whole or len(names) != estimator.n_features_in_:
            raise model_files.ModelFileError(
                f"{path}: feature_names must name {estimator.n_features_in_} columns"
            )
        estimator.feature_names_in_ = np.array(names, dtype=object)
    seed = extra.get("score_seed", 0)
    if isinstance(estimator, FittingEstimator) and isinstance(seed, int) and 0 <= seed < 2**64:
        estimator._fitted.score_seed = seed
    return estimator


def _saved_by(model, name):
    """Look an estimator's name up; a file without one is that of the usual one for its model."""
    saved = ESTIMATORS.get(name) if isinstance(name, str) else None
    if saved is not None and isinstance(model, saved.models):
        return saved
    if isinstance(model, BoltzmannMachine):
        if model.n_layers == 2 and model.visible.takes_trials:
            return ESTIMATORS["ReplicatedSoftmax"]
        return ESTIMATORS["RBM" if model.n_layers == 2 else "DBM"]
    usual = {
        BeliefNetwork: "DBN", BernoulliMixture: "MixtureOfBernoullis",
        ProductMixture: "MixtureOfProducts",
        ProcessNetwork: "DeepGaussianProcessRegressor",
        NeighbourNetwork: "NeighbourhoodComponents", ClassHierarchy: "HierarchicalGaussian",
        ConditionalMachine: "TemporalRBM",
    }  # fmt: skip
    return ESTIMATORS.get(usual.get(type(model)))
