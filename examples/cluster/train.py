"""
Files of rows, over the processes of an MPI job
===============================================

``mpirun -n 8 python train.py FOLDER``: an RBM on a folder of ``.npy``, ``.npz`` or Parquet files,
of which each process opens its own. Here, without a folder, a few small files are made.
"""

# %%
# Every process makes the same calls; `comm` is what they share. Without MPI, `comm` is None and one
# process does the same, with the same bits.
import importlib.util
import sys
import tempfile
from pathlib import Path

import numpy as np

import deepgen as dg

comm = dg.distributed.mpi() if importlib.util.find_spec("mpi4py") else None
is_first = comm is None or comm.rank == 0

# %%
# Process 0 makes the files; the others learn where they are.
folder = None
if len(sys.argv) > 1 and Path(sys.argv[-1]).is_dir():
    folder = sys.argv[-1]
elif is_first:
    folder = tempfile.mkdtemp()
    for number in range(4):
        rows = dg.datasets.sample_bars_and_stripes(500, 4, random_state=number)
        np.save(f"{folder}/{number}.npy", rows)
if comm is not None:
    folder = comm.broadcast(folder)

# %%
# A batch is cut among the processes, so it can be as many times larger as there are of them.
rbm = dg.RBM(
    16, rule=dg.PCD(n_particles=200), batch_size=200, n_epochs=20, random_state=0,
    communicator=comm, callbacks=[dg.Checkpoint(f"{folder}/run.checkpoint")],
).fit(dg.distributed.Shards(folder))  # fmt: skip

# %%
# log Z and scores share their chains: all processes call them. Files are written by one.
score = rbm.score(dg.datasets.sample_bars_and_stripes(200, 4, random_state=9))
if is_first:
    rbm.save(f"{folder}/rbm.safetensors")
    print(f"{score:.3f} nats a row")
