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
    """Warn where a variable of the environment says what this build or this machine cannot do.

    What is used instead is looked up only then: to count the cores reads a file.
    """
    cpu, wish, threads = map(
        os.environ.get, ("DEEPGEN_CPU", "DEEPGEN_PRECISION", "OMP_NUM_THREADS")
    )
    if cpu and cpu != engine.backend():
        backends = ", ".join(engine.available_backends())
        _warn("DEEPGEN_CPU", f"must be one of {backends} here", f"{engine.backend()} is used")
    if wish and wish not in PRECISIONS:
        expected = f"must be one of {', '.join(PRECISIONS)}"
        _warn("DEEPGEN_PRECISION", expected, f"{precision()} is used")
    if threads and threads_of(threads) is None:
        expected = f"must be an integer from 1 to {MOST_THREADS}"
        _warn("OMP_NUM_THREADS", expected, f"deepgen uses {effective_threads()} threads")


def _warn(name, expected, used):
    """Warn of a variable, where ``import deepgen`` stands."""
    message = f"{name} {expected}, got {os.environ[name]!r}; {used}"
    warnings.warn(message, RuntimeWarning, stacklevel=3)
