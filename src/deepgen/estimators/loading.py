"""From a file back to an estimator."""

from deepgen import storage
from deepgen.estimators.autoencoder import Autoencoder, DeepAutoencoder
from deepgen.estimators.rbm import RBM
from deepgen.estimators.supervised import DeepClassifier, DeepRegressor
from deepgen.models import Network

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
    RBM, Autoencoder, DeepAutoencoder, DeepClassifier or DeepRegressor

    Raises
    ------
    ModelFileError
        If the file is not a whole, valid model of a known version. A file never runs code.
    FileNotFoundError
        If there is no such file.
    """
    model, extra = storage.load_model(path)
    if isinstance(model, Network):
        return _around(path, model, extra)
    if model.n_layers != 2:
        raise storage.ModelFileError(f"{path}: no estimator for a model of {model.n_layers} layers")
    rbm = RBM.from_model(model)
    seed = extra.get("score_seed", 0)
    rbm._score_seed = seed if isinstance(seed, int) and 0 <= seed < 2**64 else 0
    return rbm


def _around(path, network, extra):
    name = extra.get("estimator")
    if not isinstance(name, str) or name not in _NETWORKS:
        raise storage.ModelFileError(f"{path}: no estimator named {name!r} for a network")
    kind, entries = _NETWORKS[name]
    try:
        return kind.from_model(network, *(extra.get(entry) for entry in entries))
    except ValueError as error:
        raise storage.ModelFileError(f"{path}: {error}") from None
