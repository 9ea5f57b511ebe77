"""What a kernel call works with, beside its arguments: scratch memory and threads."""

from typing import NamedTuple

from deepgen._kernels import engine


class Work(NamedTuple):
    """Scratch memory and threads, passed down from where a computation begins.

    Results never depend on them.

    Attributes
    ----------
    workspace : engine.Workspace or None
        Scratch memory that calls, one after the other, use again. None: each makes its own.
    n_threads : int or None
        The most that a call may use; see :func:`deepgen.runtime.threads.effective_threads`.
    """

    workspace: engine.Workspace | None = None
    n_threads: int | None = None

    def reusing(self):
        """Return the same with a workspace, where it has none: for a computation of many calls."""
        return self if self.workspace is not None else Work(engine.Workspace(), self.n_threads)


# For a call whose caller chooses neither: its own scratch memory, the usual number of threads.
ANY_WORK = Work()
