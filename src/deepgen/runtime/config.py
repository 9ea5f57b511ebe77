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
    threads = os.environ.get("OMP_NUM_THREADS")
    among, backends = "must be one of {}", engine.available_backends()
    for name, is_right, expected, used in (
        (
            "DEEPGEN_CPU", os.environ.get("DEEPGEN_CPU") == engine.backend(),
            f"{among.format(', '.join(backends))} here", f"{engine.backend()} is used",
        ),
        (
            "DEEPGEN_PRECISION", os.environ.get("DEEPGEN_PRECISION") in PRECISIONS,
            among.format(", ".join(PRECISIONS)), f"{precision()} is used",
        ),
        (
            "OMP_NUM_THREADS", threads is not None and threads_of(threads) is not None,
            f"must be an integer from 1 to {MOST_THREADS}",
            f"deepgen uses {effective_threads()} threads",
        ),
    ):  # fmt: skip
        wish = os.environ.get(name)
        if wish and not is_right:
            warnings.warn(
                f"{name} {expected}, got {wish!r}; {used}", RuntimeWarning, stacklevel=2
            )
