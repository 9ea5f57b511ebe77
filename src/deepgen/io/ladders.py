"""Files of ladders of models, which stand beside that of the model itself."""

from deepgen.checks import check_instance
from deepgen.errors import ModelFileError
from deepgen.inference.trajectories import TrajectoryTempering
from deepgen.io import model_files
from deepgen.io.schemas.ladders import MOST_MODELS
from deepgen.io.schemas.registry import schema_for


def save_ladder(ladder, path):
    """Write a ladder of models to a file, atomically; :func:`load_ladder` reads it.

    A file of an estimator holds its last model alone: with this beside it, samples and brackets of
    the loaded estimator can still go along the training.

    Parameters
    ----------
    ladder : TrajectoryTempering
        Such as :meth:`deepgen.ModelLadder.sampler`, or with the rungs of
        :func:`deepgen.placed_rungs`.
    path : str or path-like
        By custom ending in ``.safetensors``.

    Raises
    ------
    TypeError
        If it is no ladder.
    ValueError
        If the file format does not know a layer, or :func:`load_ladder` would refuse the numbers.
    OSError
        If the file cannot be written; an existing file is unharmed.
    """
    check_instance(
        ladder, "ladder", TrajectoryTempering,
        "a dg.TrajectoryTempering, such as sampler() of a dg.ModelLadder",
    )  # fmt: skip
    if len(ladder.models) > MOST_MODELS:
        raise ValueError(
            f"ladder must have at most {MOST_MODELS:,} models, got {len(ladder.models):,}; keep "
            "every other one, or those of dg.placed_rungs"
        )
    if not schema_for(ladder).is_usable(ladder):
        raise ValueError(
            "ladder has a model with parameters so large that fields overflow, and could not be "
            "loaded again; train with a smaller learning rate"
        )
    model_files.save(ladder, path)


def load_ladder(path):
    """Read the ladder of models that :func:`save_ladder` wrote.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    TrajectoryTempering

    Raises
    ------
    ModelFileError
        If the file is not a whole, valid ladder of a known version. A file never runs code.
    FileNotFoundError
        If there is no such file.

    Examples
    --------
    >>> import deepgen as dg, tempfile, pathlib
    >>> X = dg.datasets.sample_bars_and_stripes(200, 3, random_state=0)
    >>> steps = dg.ModelLadder(4)
    >>> rbm = dg.RBM(8, n_epochs=2, random_state=0, callbacks=[steps]).fit(X)
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "ladder.safetensors"
    >>> dg.save_ladder(steps.sampler(), path)
    >>> rbm.sample(3, n_sweeps=20, sampler=dg.load_ladder(path), random_state=0).shape
    (3, 9)
    """
    ladder, _ = model_files.load_model(path)
    if not isinstance(ladder, TrajectoryTempering):
        raise ModelFileError(
            f"{path}: a {type(ladder).__name__}, no ladder of models; read it with dg.load"
        )
    if not schema_for(ladder).is_usable(ladder):
        raise ModelFileError(
            f"{path}: parameters so large that fields overflow; no training makes such a model"
        )
    return ladder
