"""Beyond one process: runs over MPI, rows in files of each process, answers for partitions.

``mpi()`` gives what the parameter `communicator` of estimators takes; ``map_rows`` asks a fitted
model through Dask. mpi4py and Dask are imported when they are first needed.
"""

from deepgen.distributed.maps import map_rows
from deepgen.distributed.mpi import mpi
from deepgen.rows.shards import Shards

__all__ = ["Shards", "map_rows", "mpi"]
