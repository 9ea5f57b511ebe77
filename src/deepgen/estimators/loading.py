"""From a file back to an estimator."""

import numpy as np

from deepgen import storage
from deepgen.estimators.mixture import MixtureOfBernoullis
from deepgen.estimators.rbm import RBM
from deepgen.models import BernoulliMixture
from deepgen.units import LARGEST_VALUE


def load(path):
    """Read a model file as a fitted estimator.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    RBM or MixtureOfBernoullis
        What the model in the file is.

    Raises
    ------
    ModelFileError
        If the file is not a whole, valid model of a known version. A file never runs code.
    FileNotFoundError
        If there is no such file.
    """
    model, extra = storage.load_model(path)
    if isinstance(model, BernoulliMixture):
        _require_usable(path, _is_usable_mixture(model))
        return MixtureOfBernoullis.from_model(model)
    if model.n_layers != 2:
        raise storage.ModelFileError(f"{path}: no estimator for a model of {model.n_layers} layers")
    _require_usable(path, _is_usable(model))
    rbm = RBM.from_model(model)
    seed = extra.get("score_seed", 0)
    rbm._score_seed = seed if isinstance(seed, int) and 0 <= seed < 2**64 else 0
    return rbm


def _require_usable(path, usable):
    if not usable:
        raise storage.ModelFileError(
            f"{path}: parameters so large that fields overflow, or that samples lie beyond "
            f"+-{LARGEST_VALUE:g}; no training makes such a model"
        )


def _is_usable_mixture(model):
    """Tell whether no field of the component can leave float32."""
    reach = np.abs(model.constants) + np.abs(model.logits.astype(np.float64)).sum(axis=0)
    return bool(reach.max() < np.finfo(np.float32).max)


def _is_usable(model):
    """Tell whether no field can leave float32, and no draw the range of real-valued units."""
    weights = np.abs(model.weights[0].astype(np.float64))
    reach = [
        LARGEST_VALUE if layer.precision is not None else layer.n_copies for layer in model.layers
    ]
    for layer, inputs in zip(
        model.layers, (reach[1] * weights.sum(axis=1), reach[0] * weights.sum(axis=0)), strict=True
    ):
        field = np.abs(layer.bias) + inputs
        if not field.max() < np.finfo(np.float32).max:
            return False
        if layer.precision is not None and layer is model.layers[0]:
            precision = layer.precision.astype(np.float64)
            if not (field / precision + 6.0 / np.sqrt(precision)).max() < LARGEST_VALUE:
                return False
    return True
