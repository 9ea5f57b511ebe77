"""What decides the speed of this build on this machine, in one table."""

import os
import platform
import warnings

from deepgen._kernels import engine
from deepgen._version import __version__
from deepgen.runtime.precision import PRECISIONS, precision
from deepgen.runtime.threads import MOST_THREADS, effective_threads, threads_of


def show_config():
    """Look up what decides speed here: version, instruction set, threads.

    Returns
    -------
    dict
        ``version``, ``cpu`` (instruction set in use; ``DEEPGEN_CPU`` overrides), ``available``,
        ``openmp``, ``precision`` (see :func:`set_precision`), ``n_threads``, ``python``.
    """
    return {
        "version": __version__,
        "cpu": engine.backend(),
        "available": engine.available_backends(),
        "openmp": engine.has_openmp(),
        "precision": precision(),
        "n_threads": effective_threads(),
        "python": platform.python_version(),
    }


def warn_of_environment():
    """Warn where a variable of the environment says what this build or this machine cannot do."""
    wish, best = os.environ.get("DEEPGEN_CPU"), engine.backend()
    if wish and wish != best:
        warnings.warn(
            f"DEEPGEN_CPU must be one of {', '.join(engine.available_backends())} here, got "
            f"{wish!r}; {best} is used",
            RuntimeWarning,
            stacklevel=2,
        )
    wish = os.environ.get("DEEPGEN_PRECISION")
    if wish and wish not in PRECISIONS:
        warnings.warn(
            f"DEEPGEN_PRECISION must be one of {', '.join(PRECISIONS)}, got {wish!r}; "
            f"{precision()} is used",
            RuntimeWarning,
            stacklevel=2,
        )
    wish = os.environ.get("OMP_NUM_THREADS")
    if wish and threads_of(wish) is None:
        warnings.warn(
            f"OMP_NUM_THREADS must be an integer from 1 to {MOST_THREADS}, got {wish!r}; deepgen "
            f"uses {effective_threads()} threads",
            RuntimeWarning,
            stacklevel=2,
        )
