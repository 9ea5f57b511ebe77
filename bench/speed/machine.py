"""What a reader needs to know about the machine before believing a number."""

import os
import platform
import subprocess
from pathlib import Path

from bench.speed.fresh import PROJECT_ROOT


def n_cores():
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0))


def describe(n_threads):
    """Return lines about the CPU, its load, threads, BLAS and the commit."""
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    busy = os.getloadavg()[0] > 0.5 * n_cores()
    warning = " BUSY: measure again" if busy else ""
    return [
        f"cpu: {cpu_model()}, {n_cores()} cores; load average {load} (1, 5, 15 min){warning}",
        f"threads: {n_threads} for every system; BLAS of NumPy and SciPy: {blas()}",
        f"python {platform.python_version()}, {platform.system()} {platform.machine()}; "
        f"commit: {commit()}",
    ]


def cpu_model():
    """Return the CPU's name as the kernel gives it, with its widest vector extension."""
    text = Path("/proc/cpuinfo").read_text()
    fields = dict(
        (part.strip() for part in line.split(":", 1)) for line in text.splitlines() if ":" in line
    )
    flags = fields.get("flags", "").split()
    widest = next((flag for flag in ("avx512f", "avx2", "avx") if flag in flags), "no avx")
    return f"{fields.get('model name', platform.machine())} ({widest})"


def blas():
    """Return the names, versions and kernels of the BLAS libraries of this environment."""
    import numpy  # noqa: F401  (loads its BLAS)
    import scipy.linalg  # noqa: F401  (loads its BLAS)
    from threadpoolctl import threadpool_info

    found = {
        f"{pool['internal_api']} {pool['version']} {pool.get('architecture', '')}".strip()
        for pool in threadpool_info()
        if pool["user_api"] == "blas"
    }
    return ", ".join(sorted(found)) or "unknown"


def commit():
    """Return the short hash of the checked-out commit, marked where files differ from it."""
    try:
        return subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=PROJECT_ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (FileNotFoundError, subprocess.CalledProcessError):
        return "none"


def peak_memory():
    """Return the largest resident size of this process so far, in bytes.

    `VmHWM` and not `ru_maxrss`, which a new process inherits from the one that started it.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status has no VmHWM")
