"""The processes that share the runs of an estimator: what its communicator stands for."""

from deepgen.checks import has_role, shown
from deepgen.runtime.collective import ALONE, Collective


def collective_of(estimator):
    """Return the processes that share the runs of an estimator: its communicator, or one alone.

    Raises
    ------
    ValueError
        If the communicator is none.
    """
    communicator = estimator.communicator
    if communicator is None:
        return ALONE
    if not has_role(communicator, Collective):
        raise ValueError(
            f"communicator must be None or dg.distributed.mpi(), got {shown(communicator)}"
        )
    return communicator


def refuse_processes(estimator, method, remedy):
    """Raise ValueError where an estimator has a communicator and a method learns alone."""
    if estimator.communicator is not None:
        raise ValueError(
            f"communicator must be None for {method}, which learns in one process, got "
            f"{estimator.communicator!r}; {remedy}"
        )
