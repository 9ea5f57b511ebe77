"""Beyond one process: the communicator of a run over MPI.

``mpi()`` gives what the parameter `communicator` of estimators takes. mpi4py is imported when it is
first called.
"""

from deepgen.distributed.mpi import mpi

__all__ = ["mpi"]
