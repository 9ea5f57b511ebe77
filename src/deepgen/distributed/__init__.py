"""Beyond one process: the communicator of a run over MPI, and rows in files of each process.

``mpi()`` gives what the parameter `communicator` of estimators takes. mpi4py is imported when it is
first called.
"""

from deepgen.distributed.mpi import mpi
from deepgen.rows.shards import Shards

__all__ = ["Shards", "mpi"]
