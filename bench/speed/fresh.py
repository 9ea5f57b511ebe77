"""Call a function in a fresh process: `call` on one side, this file as a script on the other."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

PROJECT_ROOT = Path(__file__).resolve().parents[2]


class Failed(Exception):
    """The call raised, or took too long; the message is its last line."""


def call(function, *, python=sys.executable, n_threads, timeout, **arguments):
    """Run `function(**arguments)` in a new process and return its JSON-able result.

    Parameters
    ----------
    function : callable
        A module-level function whose module the other interpreter can import.
    python : str
        Interpreter to run; peers may live in an environment of their own.
    n_threads : int
        Upper bound for OpenMP and for every BLAS, set before anything is imported.
    timeout : float
        Seconds after which the process is stopped.

    Raises
    ------
    Failed
        Missing packages included: the message says which.
    """
    threads = {
        name: str(n_threads)
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    }
    request = json.dumps([function.__module__, function.__name__, arguments])
    try:
        done = subprocess.run(
            [python, "-m", "bench.speed.fresh", request],
            cwd=PROJECT_ROOT,
            env=os.environ | threads,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
    except FileNotFoundError:
        raise Failed(f"no interpreter {python!r}") from None
    except subprocess.TimeoutExpired:
        raise Failed(f"stopped after {timeout:.0f} s") from None
    if done.returncode != 0:
        last_lines = done.stderr.strip().splitlines()[-1:]
        raise Failed(last_lines[0] if last_lines else f"exit status {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def main():
    """Answer one `call`: the last line printed is the result."""
    module, name, arguments = json.loads(sys.argv[1])
    result = getattr(importlib.import_module(module), name)(**arguments)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
