"""Runs of an RBM that are stopped and go on: settings, rows, and ways to stop; for checkpoints."""

import os
import subprocess
import sys
import textwrap

import numpy as np
from conftest import random_states

import deepgen as dg

N_ROWS, N_COLUMNS = 130, 12

RUNS = {
    "pcd": {"rule": dg.PCD(n_particles=20)},
    "momentum and average": {"optimizer": dg.SGD(momentum=0.7, averaging=0.6)},
    "adam": {"optimizer": dg.Adam(averaging=0.5), "learning_rate": dg.Linear(0.02, 0.0)},
    "cd": {"rule": dg.CD(2)},
    "sparsity": {"rule": dg.CD(sparsity=dg.Sparsity(0.1))},
    "plain": {"rule": dg.PCD(centring=False)},
    "binarize": {"binarize": True},
    "gaussian": {"visible": "gaussian", "optimizer": dg.SGD(momentum=0.5, averaging=0.5)},
    "gaussian adam": {"visible": "gaussian", "optimizer": dg.Adam(), "learning_rate": 0.01},
    "gaussian hidden": {"hidden": "gaussian", "learning_rate": 0.01},
    "softmax": {"visible": dg.Softmax(3), "rule": "cd"},
}


def rows_for(settings, seed=0):
    """Rows that a run with these settings can learn from."""
    rng = np.random.default_rng(seed)
    if settings.get("binarize"):
        return rng.random((N_ROWS, N_COLUMNS)).astype(np.float32)
    visible = settings.get("visible", "binary")
    if visible == "gaussian":
        return rng.normal(size=(N_ROWS, N_COLUMNS)).astype(np.float32)
    if isinstance(visible, dg.Softmax):
        return random_states(visible.sized(N_COLUMNS), N_ROWS, rng)
    return (rng.random((N_ROWS, N_COLUMNS)) < 0.3).astype(np.uint8)


def rbm_for(settings, callbacks=(), **others):
    """An estimator of 5 epochs of 7 updates, the last of 10 rows."""
    common = {"n_hidden": 7, "batch_size": 20, "n_epochs": 5, "random_state": 3}
    return dg.RBM(**{**common, **settings, **others, "callbacks": list(callbacks)})


def bits(rbm):
    """All that a run leaves behind and that its seed decides."""
    model = rbm.model_
    arrays = [*model.weights, *(p for l in model.layers for p in l.parameters().values())]
    if rbm._fitted.particles is not None:
        arrays += rbm._fitted.particles.states
    kept = [{k: v for k, v in entry.items() if k != "seconds"} for entry in rbm.history_]
    return [a.tobytes() for a in arrays], rbm.n_updates_, kept, rbm._fitted.score_seed


def run_python(script, *arguments):
    """Run a script in a process of its own that can import the tests."""
    folder = os.path.dirname(__file__)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([folder, *sys.path])}
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(script), *map(str, arguments)],
        capture_output=True, text=True, env=environment, timeout=600, check=False,
    )  # fmt: skip
