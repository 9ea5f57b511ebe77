"""The processes that share the runs of an estimator, and whether they make the same call."""

from deepgen.checks import has_role, shown
from deepgen.runtime.collective import ALONE, Collective, require_same


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


def require_same_call(collective, estimator, settings, survey):
    """Raise ValueError, in all processes, where one of them fits something else than the first.

    Callbacks are told by their types: those that talk to other processes, `Checkpoint` for one,
    would wait in vain for a process that lacks them.

    Parameters
    ----------
    collective : Collective
    estimator : BaseEstimator
    settings : dict
        Plain data: what decides the bits of the run, but for the rows.
    survey : Survey
        Of the rows, which are told by their order and means.
    """
    callbacks = estimator.get_params(deep=False).get("callbacks") or ()
    told = {
        **settings, "X": [survey.order, survey.mean.tobytes()],
        "callbacks": [type(callback).__qualname__ for callback in callbacks],
    }  # fmt: skip
    require_same(collective, told)
