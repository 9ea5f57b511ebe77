"""Pieces of a long run that are done already, one file each."""

import io
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np

import deepgen as dg
from deepgen.errors import ModelFileError
from deepgen.io import checkpoints


def runs_folder():
    """Return `$DEEPGEN_RUNS`, else a folder beside other temporary files."""
    folder = os.environ.get("DEEPGEN_RUNS")
    return Path(folder) if folder else Path(tempfile.gettempdir()) / "deepgen-runs"


class Store:
    """Results, models and checkpoints of one table, by name.

    Delete the folder to begin anew.
    """

    def __init__(self, name):
        self.folder = runs_folder() / name
        self.folder.mkdir(parents=True, exist_ok=True)

    def once(self, name, function):
        """Return the JSON-able result of `function()`, computed once for this name.

        The seconds that it took are kept as ``seconds`` of the result.
        """
        path = self.folder / f"{name}.json"
        if path.exists():
            return json.loads(path.read_text())
        began = time.perf_counter()
        result = function()
        result.setdefault("seconds", time.perf_counter() - began)
        self._replace(path, json.dumps(result).encode())
        return result

    def arrays(self, name, function):
        """Return the arrays and numbers of `function()`, by name, computed once for this name."""
        path = self.folder / f"{name}.npz"
        if not path.exists():
            content = io.BytesIO()
            np.savez(content, **function())
            self._replace(path, content.getvalue())
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}

    def model(self, name, train):
        """Return (estimator, seconds) of `train()`, which is called once for this name."""
        path = self.folder / f"{name}.safetensors"
        seconds = self.folder / f"{name}.seconds"
        if seconds.exists():
            try:
                return dg.load(path), float(seconds.read_text())
            except (FileNotFoundError, ModelFileError):
                seconds.unlink()
        began = time.perf_counter()
        rbm = train()
        taken = getattr(rbm, "bench_seconds_", time.perf_counter() - began)
        rbm.save(path)
        self._replace(seconds, str(taken).encode())
        return rbm, taken

    def resume(self, name, trainer):
        """Bring a trainer to where :meth:`keep` was last called, if it was."""
        path = self.folder / f"{name}.run"
        if path.exists():
            checkpoints.restore(trainer, checkpoints.load(path)[1], path)

    def keep(self, name, trainer):
        """Keep the state of a trainer, replacing the last one."""
        checkpoints.save(trainer, self.folder / f"{name}.run")

    def _replace(self, path, content):
        new = path.with_name(path.name + ".new")
        new.write_bytes(content)
        new.replace(path)
