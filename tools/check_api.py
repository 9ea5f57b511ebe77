"""Let Schemathesis ask services all that their OpenAPI descriptions allow, and what they do not.

    python -m pip install schemathesis
    python tools/check_api.py --seconds 300

Trains small models, serves each with ``deepgen serve`` on a free port, and runs Schemathesis with
all of its checks on the description that the service gives of itself: good requests must be
answered as described, bad ones refused as described, and none may end in a 500. Bodies of arrays
are whole ``.npy`` files, some of another shape. The exit code is 1 where anything is found.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import deepgen as dg

N_COLUMNS = 5
HOOKS = '''
import io
import numpy as np
import schemathesis
from hypothesis import strategies as st

def npy(rows):
    file = io.BytesIO()
    np.save(file, np.array(rows, np.float32))
    return file.getvalue()

cells = st.sampled_from([0.0, 1.0])
rows = st.lists(st.lists(cells, min_size={n}, max_size={n}), min_size=1, max_size=4)
schemathesis.openapi.media_type("application/x-npy", rows.map(npy))
'''
# A good request may take more than its time: it is refused as described.
SETTINGS = """
[checks]
not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", 503]
"""


def models():
    """Return small models of several kinds by name."""
    rng = np.random.default_rng(0)
    X, y = (rng.random((200, N_COLUMNS)) < 0.4).astype(np.uint8), np.arange(200) % 3
    run = {"n_epochs": 2, "random_state": 0}
    return {
        "rbm": dg.RBM(6, **run).fit(X),
        "dbm": dg.DBM((6,), label_units=True, pretrained=None, **run).fit(X, y),
        "mixture": dg.MixtureOfBernoullis(3, random_state=0).fit(X),
        "gaussian": dg.RBM(6, visible="gaussian", **run).fit(rng.normal(size=X.shape)),
        "classifier": dg.DeepClassifier((6,), **run).fit(X, y),
        "process": dg.DeepGaussianProcessRegressor((6,), **run).fit(X, X.sum(axis=1)),
        "hierarchy": dg.HierarchicalGaussian(3, random_state=0).fit(rng.normal(size=X.shape), y),
    }


def check(name, estimator, seconds, folder):
    """Serve a model and ask; return the exit code of Schemathesis."""
    path, hooks = folder / f"{name}.safetensors", folder / "hooks.py"
    estimator.save(path)
    hooks.write_text(HOOKS.format(n=N_COLUMNS))
    (folder / "schemathesis.toml").write_text(SETTINGS)
    server = subprocess.Popen(
        [sys.executable, "-m", "deepgen", "serve", str(path), "--port", "0"],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        address = server.stderr.readline().split()[1]
        print(f"{name} at {address}", flush=True)
        return subprocess.run(
            [program(), "run", f"{address}/openapi.json", "--checks", "all", "--max-time",
             str(seconds), "--wait-for-schema", "20", "--seed", "0", "--continue-on-failure",
             "--phases", "examples,coverage,fuzzing", "--no-color"],
            env={**os.environ, "PYTHONPATH": str(folder), "SCHEMATHESIS_HOOKS": "hooks"},
            cwd=folder, check=False,
        ).returncode  # fmt: skip
    finally:
        server.terminate()
        server.wait()
        server.stderr.close()


def program():
    """Return the path of Schemathesis, or end with what to do."""
    beside = Path(sys.executable).with_name("schemathesis")
    found = str(beside) if beside.exists() else shutil.which("schemathesis")
    if found is None:
        sys.exit("schemathesis is missing: python -m pip install schemathesis")
    return found


def main():
    """Check all models."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=300, help="for all models (%(default)s)")
    parser.add_argument("--models", nargs="+", help="some of them alone")
    arguments = parser.parse_args()
    some = {n: m for n, m in models().items() if not arguments.models or n in arguments.models}
    seconds = max(1, arguments.seconds // len(some))
    with tempfile.TemporaryDirectory() as folder:
        codes = {name: check(name, model, seconds, Path(folder)) for name, model in some.items()}
    print(", ".join(f"{name}: exit code {code}" for name, code in codes.items()))
    sys.exit(1 if any(codes.values()) else 0)


if __name__ == "__main__":
    main()
