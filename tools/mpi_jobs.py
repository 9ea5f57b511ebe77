"""Start and end many small MPI jobs, some with a failure in the middle: none may hang.

    python tools/mpi_jobs.py --jobs 200

Each job is one of ``tests/mpi_jobs.py``, with 2 to 4 processes. Those with a failure must end by
themselves with another exit code than 0, within 10 s after it; the others with 0.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

JOBS = Path(__file__).resolve().parents[1] / "tests" / "mpi_jobs.py"
GOOD = ("begins", "diverges", "other_settings", "bad_rows")
BAD = ("raises", "killed", "first_killed", "leaves")
LIMIT, HANGS = 10.0, 300.0  # seconds


def main():
    """Run the jobs; exit with 1 where one of them hangs or ends in another way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    draw, ended, slowest = random.Random(arguments.seed), Counter(), 0.0
    mpirun = shutil.which("mpirun") or str(Path(sys.executable).with_name("mpirun"))
    for number in range(arguments.jobs):
        name, size = draw.choice(GOOD + BAD), draw.choice((2, 3, 4))
        command = [mpirun, "-n", str(size), sys.executable, str(JOBS), name]
        with tempfile.TemporaryDirectory() as folder:
            failing = Path(folder) / "failing"  # when the failure came
            try:
                done = subprocess.run(
                    command, capture_output=True, text=True, check=False, timeout=HANGS,
                    env={**os.environ, "FAILING": str(failing)},
                )  # fmt: skip
            except subprocess.TimeoutExpired:
                sys.exit(f"job {number}, {name} of {size} processes, hangs")
            over, came = time.time(), failing.exists() and float(failing.read_text())
        said = f"job {number}, {name}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
        if (done.returncode == 0) != (name in GOOD):
            sys.exit(said)
        if name in BAD:
            if not came:
                sys.exit(f"over before its failure: {said}")
            slowest = max(slowest, over - came)
            if slowest > LIMIT:
                sys.exit(f"job {number}, {name}: over {slowest:.1f} s after the failure")
        ended[name] += 1
    print(f"{arguments.jobs} jobs: {dict(ended)}; over {slowest:.1f} s after a failure at most")


if __name__ == "__main__":
    main()
