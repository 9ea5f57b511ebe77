"""From a file back to an estimator."""

import numpy as np

from deepgen.estimators.autoencoders import Autoencoder, DeepAutoencoder
from deepgen.estimators.dbm import DBM
from deepgen.estimators.dbn import DBN
from deepgen.estimators.mixture import MixtureOfBernoullis
from deepgen.estimators.rbm import RBM
from deepgen.estimators.supervised import DeepClassifier, DeepRegressor
from deepgen.io import model_files
from deepgen.layers.units import LARGEST_VALUE
from deepgen.models import BeliefNetwork, BernoulliMixture, Network, PosteriorNetwork

# Names of estimators around networks, and what else their files say.
_NETWORKS = {
    "Autoencoder": (Autoencoder, ()),
    "DeepAutoencoder": (DeepAutoencoder, ()),
    "DeepClassifier": (DeepClassifier, ("classes",)),
    "DeepRegressor": (DeepRegressor, ("one_target",)),
}


def load(path):
    """Read a model file as a fitted estimator.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    RBM, DBN, DBM, MixtureOfBernoullis, Autoencoder, DeepAutoencoder, DeepClassifier or
    DeepRegressor

    Raises
    ------
    ModelFileError
        If the file is not a whole, valid model of a known version. A file never runs code.
    FileNotFoundError
        If there is no such file.
    """
    model, extra = model_files.load_model(path)
    if isinstance(model, BernoulliMixture):
        _require_usable(path, _is_usable_mixture(model))
        return MixtureOfBernoullis.from_model(model)
    if isinstance(model, Network):
        _require_usable(path, _is_usable_network(model))
        return _around(path, model, extra)
    if isinstance(model, PosteriorNetwork):
        _require_usable(path, _is_usable(model.machine) and _is_usable_network(model.network))
        return _around(path, model, extra)
    if isinstance(model, BeliefNetwork):
        _require_usable(path, _is_usable_belief_network(model))
        return _with_seed(DBN.from_model(model), extra)
    _require_usable(path, _is_usable(model))
    if model.n_layers == 2 and extra.get("estimator") != "DBM":
        return _with_seed(RBM.from_model(model), extra)
    try:
        return _with_seed(DBM.from_model(model, extra.get("classes")), extra)
    except ValueError as error:
        raise model_files.ModelFileError(f"{path}: no estimator for this model ({error})") from None


def _with_seed(estimator, extra):
    """Give an estimator the seed that its likelihoods are estimated with."""
    seed = extra.get("score_seed", 0)
    estimator._fitted.score_seed = seed if isinstance(seed, int) and 0 <= seed < 2**64 else 0
    return estimator


def _require_usable(path, usable):
    if not usable:
        raise model_files.ModelFileError(
            f"{path}: parameters so large that fields overflow, or that samples lie beyond "
            f"+-{LARGEST_VALUE:g}; no training makes such a model"
        )


def _is_usable_mixture(model):
    """Tell whether no field of the component can leave float32."""
    reach = np.abs(model.constants) + _absolute_sums(model.logits)[1]
    return bool(reach.max() < np.finfo(np.float32).max)


def _is_usable_network(network):
    """Tell whether no field can leave float32 for inputs in [-1, 1]."""
    reach = 1.0
    for layer in network.layers:
        owner = layer if layer.tied_to is None else network.layers[layer.tied_to]
        by_row, by_column = _absolute_sums(owner.weights)
        inputs = by_column if layer.tied_to is None else by_row
        field = (np.abs(layer.bias.astype(np.float64)) + reach * inputs).max()
        if not field < np.finfo(np.float32).max:
            return False
        reach = field if layer.activation in ("linear", "rectified") else 1.0
    return True


def _around(path, network, extra):
    name = extra.get("estimator")
    if not isinstance(name, str) or name not in _NETWORKS:
        raise model_files.ModelFileError(f"{path}: no estimator named {name!r} for a network")
    kind, entries = _NETWORKS[name]
    try:
        return kind.from_model(network, *(extra.get(entry) for entry in entries))
    except ValueError as error:
        raise model_files.ModelFileError(f"{path}: {error}") from None


def _absolute_sums(weights):
    """Sum absolute values by row and by column in float64, without a copy of the whole."""
    by_row, by_column = np.empty(weights.shape[0]), np.zeros(weights.shape[1])
    for first in range(0, len(weights), 256):
        piece = np.abs(weights[first : first + 256])
        by_row[first : first + 256] = piece.sum(axis=1, dtype=np.float64)
        by_column += piece.sum(axis=0, dtype=np.float64)
    return by_row, by_column


def _is_usable(model):
    """Tell whether no field can leave float32, and no draw the range of real-valued units."""
    reach = [
        LARGEST_VALUE if layer.precision is not None else layer.n_copies for layer in model.layers
    ]
    inputs = [np.zeros(layer.size) for layer in model.layers]
    for l, matrix in enumerate(model.weights):
        by_row, by_column = _absolute_sums(matrix)
        inputs[l] += reach[l + 1] * by_row
        inputs[l + 1] += reach[l] * by_column
    for layer, most in zip(model.layers, inputs, strict=True):
        field = np.abs(layer.bias) + most
        if not field.max() < np.finfo(np.float32).max:
            return False
        if layer.precision is not None and layer is model.layers[0]:
            precision = layer.precision.astype(np.float64)
            if not (field / precision + 6.0 / np.sqrt(precision)).max() < LARGEST_VALUE:
                return False
    return True


def _is_usable_belief_network(model):
    """Tell whether none of its parts has fields or draws that are not usable."""
    machines = [m for layer in model.layers for m in (layer.downward, layer.upward)]
    return all(_is_usable(machine) for machine in [*machines, model.top])
