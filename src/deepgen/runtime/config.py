"""What decides the speed of this build on this machine, in one table."""

import platform

from deepgen._kernels import engine
from deepgen._version import __version__
from deepgen.runtime.precision import precision
from deepgen.runtime.threads import effective_threads


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
