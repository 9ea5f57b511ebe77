"""Minimizers over large chunks of rows: several evaluations of one function each update."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from deepgen.checks import check_integer, has_role


@runtime_checkable
class Minimizer(Protocol):
    """A method that makes a function of one vector small by line searches, batch by batch."""

    def minimize(self, function, start):
        """Return a better vector than `start`; see :meth:`ConjugateGradient.minimize`."""


def is_minimizer(value):
    """Tell whether `value` is a :class:`Minimizer`: it takes no steps, and has no learning rate."""
    return has_role(value, Minimizer)


@dataclass(frozen=True)
class ConjugateGradient:
    """Nonlinear conjugate gradient (Polak and Ribiere 1969), from ``scipy.optimize``.

    Each batch is a chunk: a function of its own that a few line searches make smaller. Take
    batches of 1,000 to 10,000 rows. There is no learning rate. Hinton & Salakhutdinov (2006)
    fine-tuned with three line searches.

    Parameters
    ----------
    n_line_searches : int, default 3
    """

    n_line_searches: int = 3

    def __post_init__(self):
        check_integer(self.n_line_searches, "n_line_searches")

    def minimize(self, function, start):
        """Return a better vector than `start`.

        Parameters
        ----------
        function : callable
            Takes a float64 vector, returns its value and its gradient.
        start : ndarray of shape (n,), float64
        """
        return _minimize(function, start, "CG", {"maxiter": self.n_line_searches})


@dataclass(frozen=True)
class LBFGS:
    """Quasi-Newton steps of limited memory (Liu and Nocedal 1989), from ``scipy.optimize``.

    See :class:`ConjugateGradient`; the memory begins anew with each chunk.

    Parameters
    ----------
    n_line_searches : int, default 3
    """

    n_line_searches: int = 3

    def __post_init__(self):
        check_integer(self.n_line_searches, "n_line_searches")

    def minimize(self, function, start):
        """Return a better vector than `start`; see :meth:`ConjugateGradient.minimize`."""
        return _minimize(function, start, "L-BFGS-B", {"maxiter": self.n_line_searches})


def _minimize(function, start, method, options):
    from scipy.optimize import minimize  # slow to import, and few need it

    best = [np.inf, start]

    def watched(x):
        value, gradient = function(x)
        if value < best[0]:
            best[:] = value, x.copy()
        return value, gradient

    minimize(watched, start, jac=True, method=method, options=options)
    return best[1]
