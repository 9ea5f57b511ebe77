"""The collective of processes that an MPI launcher has started, through mpi4py."""

import os
import sys
import threading
import time
import traceback

import numpy as np

from deepgen.checks import check_number
from deepgen.distributed.heartbeat import Heartbeat

# Whole numbers up to here are sent as int32: half of the bytes.
MOST_OF_INT32 = 2**31 - 1
# After this many seconds a process ends itself where MPI's own way of ending all does not return.
PATIENCE = 2.0

_known = {}  # of this process, by communicator: there is one heartbeat for each


def mpi(comm=None, *, silence=60.0):
    """Return the communicator of the processes that an MPI launcher has started.

    Every process makes the same calls: ``mpirun -n 4 python train.py``. An estimator with it reads
    its part of each batch in each process, adds what it has summed to the sums of the others, and
    takes the same step. Calls with the same communicator return the same object.

    Nothing waits forever: an exception that nobody catches ends all processes, with the rank in
    front of it; a process that is killed, or not heard of for `silence` seconds, ends the others.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm or None
        None: all processes of the job. It is duplicated, so that messages of your own do not meet
        ours.
    silence : float, default 60.0
        Seconds. A heartbeat of its own runs beside MPI, on a socket; on one machine nothing else
        can reach it. Processes of several machines must trust their network, as MPI does.

    Returns
    -------
    MpiCommunicator

    Raises
    ------
    ImportError
        Without mpi4py: ``pip install 'deepgen[mpi]'``, and mpich or another MPI.

    Examples
    --------
    In a file ``train.py``, started by ``mpirun -n 4 python train.py``::

        comm = dg.distributed.mpi()
        rows = np.load("rows.npy", mmap_mode="r")
        rbm = dg.RBM(500, batch_size=4000, random_state=0, communicator=comm).fit(rows)
        if comm.rank == 0:
            rbm.save("rbm.safetensors")
    """
    check_number(silence, "silence", 0.0)
    try:
        from mpi4py import MPI
    except ImportError as error:
        raise ImportError(
            "dg.distributed.mpi needs mpi4py and an MPI library; install them with "
            "pip install 'deepgen[mpi]' mpich"
        ) from error
    comm = MPI.COMM_WORLD if comm is None else comm
    key = MPI._handleof(comm)
    if key not in _known:
        _known[key] = MpiCommunicator(comm.Dup(), MPI, silence)
    return _known[key]


class MpiCommunicator:
    """A :class:`~deepgen.runtime.collective.Collective` over MPI; :func:`mpi` makes it.

    ``sklearn.clone`` and ``copy`` return the object itself: it is this process's connection, no
    setting. For the same reason it cannot be pickled.

    Attributes
    ----------
    rank : int
        Number of this process, from 0.
    size : int
        Number of processes.
    seconds : float
        Spent in sums so far, waiting for others included.
    """

    def __init__(self, comm, library, silence):
        self._comm, self._library = comm, library
        self.rank, self.size = comm.Get_rank(), comm.Get_size()
        self.seconds, self._since = 0.0, None
        if self.size > 1:
            _end_all_at_exceptions(self)
            Heartbeat(self, silence).start()

    def __repr__(self):
        return f"<process {self.rank} of {self.size}>"

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self

    def __reduce__(self):
        raise TypeError(
            "a communicator belongs to its process and cannot be pickled; set communicator=None "
            "first, estimator.set_params(communicator=None), and save models with save"
        )

    @property
    def waits(self):
        """Seconds that the present call has waited for other processes; 0 where there is none."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since

    def _call(self, method, *arguments):
        """Call a method of MPI's that waits for the others, and note since when it does."""
        self._since = time.monotonic()
        try:
            return method(*arguments)
        finally:
            self._since = None

    def sum(self, array, most=np.inf):
        """Replace an array, float64, by the sum of those of all processes, in place.

        See :class:`~deepgen.runtime.collective.Collective`.
        """
        began = time.perf_counter()
        small = most <= MOST_OF_INT32 and array.size > 1
        buffer = array.astype(np.int32) if small else np.ascontiguousarray(array)
        self._call(self._comm.Allreduce, self._library.IN_PLACE, buffer)
        if buffer is not array:
            array[...] = buffer
        self.seconds += time.perf_counter() - began

    def gather(self, value):
        """Return the values of all processes, a list by rank: plain data and arrays."""
        return self._call(self._comm.allgather, value)

    def broadcast(self, value):
        """Return the value of process 0, whatever the others passed."""
        return self._call(self._comm.bcast, value if self.rank == 0 else None)

    def abort(self, error):
        """Print an error of this process, and end all processes; with one process do nothing."""
        if self.size > 1:
            self.end("".join(traceback.format_exception(error)))

    def end(self, message):
        """Print a message with the rank in front of it, and end all processes of the job."""
        sys.stdout.flush()
        sys.stderr.write(
            f"deepgen: process {self.rank} of {self.size} ends the job: {message.strip()}\n"
        )
        sys.stderr.flush()
        timer = threading.Timer(PATIENCE, os._exit, (1,))
        timer.daemon = True
        timer.start()
        self._library.COMM_WORLD.Abort(1)


def _end_all_at_exceptions(communicator):
    """Let an exception that nobody catches end all processes, not this one alone."""
    before = sys.excepthook

    def end_all(kind, error, trace):
        before(kind, error, trace)
        communicator.end(f"{kind.__name__}: {error}")

    sys.excepthook = end_all
