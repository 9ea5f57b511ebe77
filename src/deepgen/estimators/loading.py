"""From a file back to an estimator."""

from deepgen import storage
from deepgen.estimators.mixture import MixtureOfBernoullis
from deepgen.estimators.rbm import RBM
from deepgen.models import BernoulliMixture


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
        return MixtureOfBernoullis.from_model(model)
    if model.n_layers != 2:
        raise storage.ModelFileError(f"{path}: no estimator for a model of {model.n_layers} layers")
    rbm = RBM.from_model(model)
    seed = extra.get("score_seed", 0)
    rbm._score_seed = seed if isinstance(seed, int) and 0 <= seed < 2**64 else 0
    return rbm
