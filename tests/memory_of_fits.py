"""Memory that a fit to rows of a file takes, measured in a process of its own."""

import json
import subprocess
import sys
import textwrap

FITS = """
import json, sys, threading
import numpy as np
import deepgen as dg

def anonymous():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("RssAnon")) * 1024

OPENED

def fit(n_rows):
    rows = opened(sys.argv[1], n_rows)
    peak, over = [anonymous()], threading.Event()
    def watch():
        while not over.wait(0.002):
            peak.append(anonymous())
    thread = threading.Thread(target=watch)
    thread.start()
    estimator = ESTIMATOR.fit(rows)
    estimator.transform(opened(sys.argv[1], 20_000))
    over.set()
    thread.join()
    return max(peak)

fit(20_000)
print(json.dumps([fit(int(n_rows)) for n_rows in sys.argv[2:]]))
"""


RBM = "dg.RBM(2, batch_size=5000, n_epochs=1, random_state=0, n_threads=1)"


def peaks(path, opened, *n_rows, estimator=RBM):
    """Bytes at the worst moment of fits to this many rows of a file; Linux only.

    Parameters
    ----------
    path : path-like
    opened : str
        Source of ``opened(path, n_rows)``, which returns the first rows of the file.
    *n_rows : int
        Of one fit after the other.
    estimator : str
        Source of what is fitted.
    """
    code = FITS.replace("OPENED", textwrap.dedent(opened).strip())
    code = code.replace("ESTIMATOR", estimator)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, path, *map(str, n_rows)],
        capture_output=True, text=True, timeout=600, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)
