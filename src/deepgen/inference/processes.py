"""Gaussian processes on features: marginal likelihood, its gradients, and what new rows have.

In float64, by LAPACK on one thread (``runtime/blas.py``). Exact work grows with the cube of the
number of labelled rows, memory with its square; where some inducing rows stand for all, work grows
with the number of rows times the square of the number of inducing ones.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from deepgen.runtime.blas import one_blas_thread

# New rows whose covariances with the labelled ones are in memory at a time.
PIECE_ROWS = 1_024
# Matrices of labelled rows by labelled rows that are in memory at a time, at most.
N_MATRICES = 5
# Part of the amplitude that is added to the diagonal of inducing rows: two of them may be equal.
JITTER = 1e-6
# Seconds of a value and its gradient for n labelled rows are some 1e-10 n^3 on one core of 2023.
SECONDS_OF_A_CUBE = 1e-10


class Marginal(NamedTuple):
    """The negative log marginal likelihood of targets, and its derivatives.

    Attributes
    ----------
    value : float
        ``-log p(targets)``, in nats; NaN where the covariance is not positive definite.
    by_logs : ndarray of shape (3,)
        By the logarithms of amplitude, squared length and noise.
    by_features : ndarray of shape (n_rows, n_features) or None
    """

    value: float
    by_logs: np.ndarray
    by_features: np.ndarray | None


def squared_distances(ones, others=None):
    """Return ``|a - b|^2`` of the rows of two matrices, float64 of shape (n_ones, n_others).

    Parameters
    ----------
    ones : ndarray of shape (n_ones, n_features)
    others : ndarray of shape (n_others, n_features) or None
        None: the same rows; each then has distance zero from itself, exactly.
    """
    ones = np.asarray(ones, np.float64)
    same, others = others is None, ones if others is None else np.asarray(others, np.float64)
    # in float32 the difference of the sums would lose small distances
    with one_blas_thread():
        squared = ones @ others.T
    squared *= -2.0
    squared += np.square(ones).sum(axis=1)[:, None]
    squared += np.square(others).sum(axis=1)
    np.maximum(squared, 0.0, out=squared)
    if same:
        np.fill_diagonal(squared, 0.0)
    return squared


def marginal_likelihood(features, targets, covariance, *, by_features=True):
    """Return the negative log marginal likelihood and its gradients.

    With D the squared distances, ``C = a exp(-D / 2 l)``, ``K = C + (s + floor) I`` and
    ``w = K^-1 y``::

        value = y.w / 2 + log det K / 2 + n log(2 pi) / 2
        G = dvalue/dK = (K^-1 - w w^T) / 2
        by log a: sum G C,   by log l: sum G C D / 2 l,   by log s: s trace G
        by features: 4 (diag(M 1) F - M F) with M = -G C / 2 l

    (Rasmussen & Williams 2006, "Gaussian processes for machine learning", equations 5.8 and 5.9.)

    Parameters
    ----------
    features : ndarray of shape (n_rows, n_features)
    targets : ndarray of shape (n_rows,)
    covariance : SquaredExponential
    by_features : bool, default True

    Returns
    -------
    Marginal
    """
    F, y = np.asarray(features, np.float64), np.asarray(targets, np.float64)
    with one_blas_thread():
        D = squared_distances(F)
        C = covariance.of_distances(D)
        factor = _factor(C, covariance.variance)
        if factor is None:
            nothing = np.full(F.shape, np.nan) if by_features else None
            return Marginal(float("nan"), np.full(3, np.nan), nothing)
        weights = _solved_twice(factor, y)
        value = 0.5 * y @ weights + np.log(np.diagonal(factor)).sum()
        value += 0.5 * len(y) * np.log(2.0 * np.pi)
        G = _inverse(factor)
        G -= np.outer(weights, weights)
        G *= 0.5
        by_noise = covariance.noise * np.trace(G)
        G *= C
        by_amplitude = G.sum()
        by_length = (0.5 / covariance.length**2) * np.vdot(G, D)
        slopes = None
        if by_features:
            G *= -0.5 / covariance.length**2
            slopes = 4.0 * (G.sum(axis=1)[:, None] * F - G @ F)
    return Marginal(float(value), np.array([by_amplitude, by_length, by_noise]), slopes)


# scipy.linalg and scipy.optimize are imported where they are used: who needs the core alone does
# not wait for them.


def _factor(C, variance):
    """Return the Cholesky factor of ``C + variance I``, lower; None where there is none."""
    from scipy.linalg.lapack import dpotrf

    K = np.array(C, order="F")
    K[np.diag_indices_from(K)] += variance
    if not np.isfinite(K).all():
        return None
    factor, failed = dpotrf(K, lower=True, clean=True, overwrite_a=True)
    return None if failed else factor


def _solved(factor, right, *, transposed=False):
    """Return ``L^-1 right`` of a lower factor L, or ``L^-T right``."""
    from scipy.linalg import solve_triangular

    return solve_triangular(
        factor, right, lower=True, trans="T" if transposed else "N", check_finite=False
    )


def _solved_twice(factor, right):
    """Return ``(L L^T)^-1 right`` of a lower factor L."""
    from scipy.linalg import cho_solve

    return cho_solve((factor, True), right, check_finite=False)


def _inverse(factor):
    """Return ``(L L^T)^-1`` of a lower factor L, which is overwritten."""
    from scipy.linalg.lapack import dpotri

    inverse, _ = dpotri(factor, lower=True, overwrite_c=True)
    whole = np.tril(inverse)
    whole += np.tril(inverse, -1).T
    return whole


def most_likely(features, targets, covariance, *, n_iterations=30):
    """Return the covariance of the greatest marginal likelihood for these features.

    Amplitude, length and noise move, by L-BFGS in their logarithms; the floor stays.

    Parameters
    ----------
    features, targets
        See :func:`marginal_likelihood`.
    covariance : SquaredExponential
        Where the search starts. Amplitude and squared length stay within factors of 1,000 of it,
        the noise between 1e-6 and 10 (standardized targets have variance 1).
    n_iterations : int, default 30

    Returns
    -------
    SquaredExponential
        That of `covariance` where nothing better is found.
    """
    from scipy import optimize

    start = logs_of(covariance)
    best = [np.inf, start]

    def function(logs):
        moved = with_logs(covariance, logs)
        value, slopes, _ = marginal_likelihood(features, targets, moved, by_features=False)
        if not np.isfinite(value):  # a step too far: the line search takes a shorter one
            return np.inf, np.zeros(3)
        if value < best[0]:
            best[:] = value, logs.copy()
        return value, slopes

    reach = np.log(1e3)
    bounds = [(log - reach, log + reach) for log in start[:2]] + [(np.log(1e-6), np.log(10.0))]
    optimize.minimize(
        function, start, jac=True, method="L-BFGS-B", bounds=bounds,
        options={"maxiter": n_iterations},
    )  # fmt: skip
    return with_logs(covariance, best[1])


def logs_of(covariance):
    """Return the logarithms of amplitude, squared length and noise."""
    return np.log([covariance.amplitude, covariance.length**2, covariance.noise])


def with_logs(covariance, logs):
    """Return a covariance with other logarithms of amplitude, squared length and noise.

    Raises
    ------
    ValueError
        If one of the numbers is none of a covariance.
    """
    with np.errstate(over="ignore"):  # inf is refused below
        amplitude, length, noise = (float(number) for number in np.exp(logs * [1.0, 0.5, 1.0]))
    return replace(covariance, amplitude=amplitude, length=length, noise=noise)


class ProcessPosterior:
    """The values at new rows, given the labelled rows of a model: a normal distribution.

    With c the covariances of a new row with the labelled ones, K their own with the noise, and
    L the Cholesky factor of K: mean ``c . K^-1 y``, variance ``a - |L^-1 c|^2`` and the noise
    (Rasmussen & Williams 2006, algorithm 2.1).

    Parameters
    ----------
    model : ProcessNetwork

    Attributes
    ----------
    log_likelihood : float
        ``log p(y)`` of the labelled rows, in nats; of y in its own units.

    Raises
    ------
    ValueError
        If the covariance of the labelled rows is not positive definite.
    """

    def __init__(self, model):
        self.model = model
        with one_blas_thread():
            standardized = self._learn(model.targets.astype(np.float64))
        self.log_likelihood = float(standardized) - len(model.targets) * np.log(model.scale)

    def _learn(self, y):
        """Compute what predictions need; return the log likelihood of standardized targets."""
        model = self.model
        self._basis = model.features
        C = model.covariance.of_distances(squared_distances(self._basis))
        self._factor = _needed(_factor(C, model.covariance.variance), model.covariance)
        self._weights = _solved_twice(self._factor, y)
        value = 0.5 * y @ self._weights + np.log(np.diagonal(self._factor)).sum()
        return -value - 0.5 * len(y) * np.log(2.0 * np.pi)

    def _known(self, C):
        """Return by how much the labelled rows change the covariance of the function at new rows.

        Parameters
        ----------
        C : ndarray of shape (n_rows, n_basis)
            Covariances of new rows with those that stand for the labelled ones.

        Returns
        -------
        list of (float, ndarray of shape (n_basis, n_rows))
            Signs s and matrices V: the covariance of the function at the rows is what it was
            before any target, plus the sum of all ``s V^T V``.
        """
        return [(-1.0, _solved(self._factor, C.T))]

    def mean(self, features):
        """Return the expected values of rows, float64 of shape (n_rows,).

        Parameters
        ----------
        features : ndarray of shape (n_rows, n_features)
        """
        return self._by_pieces(features, lambda C: (C @ self._weights,))[0]

    def mean_and_deviation(self, features):
        """Return expected values, and standard deviations of values around them, noise included.

        Parameters
        ----------
        features : ndarray of shape (n_rows, n_features)

        Returns
        -------
        tuple of (ndarray of shape (n_rows,), ndarray of shape (n_rows,))
        """
        covariance = self.model.covariance

        def answer(C):
            variance = np.full(len(C), covariance.amplitude)
            for sign, V in self._known(C):
                variance += sign * np.square(V).sum(axis=0)
            variance = np.maximum(variance, 0.0) + covariance.variance
            return C @ self._weights, np.sqrt(variance)

        mean, deviation = self._by_pieces(features, answer)
        return mean, deviation * self.model.scale

    def draw(self, features, n_draws, generator):
        """Draw the values of rows together, noise included: float64 of shape (n_rows, n_draws).

        Parameters
        ----------
        features : ndarray of shape (n_rows, n_features)
            Memory grows with the square of their number.
        n_draws : int
        generator : numpy.random.Generator

        Raises
        ------
        ValueError
            If noise and floor are so small that their covariance is not positive definite.
        """
        covariance = self.model.covariance
        normal = generator.standard_normal((len(features), n_draws))
        with one_blas_thread():
            C = covariance.of_distances(squared_distances(features, self._basis))
            own = covariance.of_distances(squared_distances(features))
            for sign, V in self._known(C):
                own += sign * (V.T @ V)
            # what is known of a row may round to a little more than all that there is: the noise
            # keeps the sum positive definite
            factor = _needed(_factor(own, covariance.variance), covariance)
            values = (C @ self._weights)[:, None] + factor @ normal
        return self.model.mean + self.model.scale * values

    def _by_pieces(self, features, answer):
        """Apply a function of covariances with the basis; the first answer is a mean."""
        model, found = self.model, []
        with one_blas_thread():
            for first in range(0, len(features), PIECE_ROWS):
                piece = features[first : first + PIECE_ROWS]
                D = squared_distances(piece, self._basis)
                found.append(answer(model.covariance.of_distances(D)))
        mean, *others = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return [model.mean + model.scale * mean, *others]


class InducedPosterior(ProcessPosterior):
    """The values at new rows where the function is known through its values at inducing rows.

    With Z the covariances of the inducing rows, L their Cholesky factor, C those of them with the
    n labelled rows, ``V = L^-1 C``, v the variance of a value around the function and
    ``B = I + V V^T / v``: mean ``c . L^-T B^-1 V y / v``, variance
    ``a - |L^-1 c|^2 + |B^-1/2 L^-1 c|^2`` and the noise. `log_likelihood` is a lower bound:
    ``log N(y; 0, V^T V + v I) - (n a - sum V o V) / 2v``, whose last part is what the inducing
    rows do not tell of the labelled ones (Titsias 2009, "Variational learning of inducing
    variables in sparse Gaussian processes", equations 6, 9 and 10).
    """

    def _learn(self, y):
        model, covariance = self.model, self.model.covariance
        v, n_inducing = covariance.variance, model.n_inducing
        self._basis = model.features[:n_inducing]
        Z = covariance.of_distances(squared_distances(self._basis))
        self._factor = _needed(_factor(Z, JITTER * covariance.amplitude), covariance)
        B, right, told = np.eye(n_inducing), np.zeros(n_inducing), 0.0
        for first in range(0, len(y), PIECE_ROWS):
            piece = slice(first, first + PIECE_ROWS)
            D = squared_distances(model.features[piece], self._basis)
            V = _solved(self._factor, covariance.of_distances(D).T)
            B += V @ V.T / v
            right += V @ y[piece]
            told += np.square(V).sum()
        self._inner = _needed(_factor(B, 0.0), covariance)
        half = _solved(self._inner, right)
        self._weights = _solved(self._factor, _solved(self._inner, half, transposed=True) / v,
                                transposed=True)  # fmt: skip
        value = (y @ y - half @ half / v) / v + len(y) * np.log(2.0 * np.pi * v)
        value += 2.0 * np.log(np.diagonal(self._inner)).sum()
        return -0.5 * value - 0.5 * (len(y) * covariance.amplitude - told) / v

    def _known(self, C):
        V = _solved(self._factor, C.T)
        return [(-1.0, V), (1.0, _solved(self._inner, V))]


def _needed(factor, covariance):
    """Return a Cholesky factor, or raise ValueError where there is none."""
    if factor is None:
        raise ValueError(
            "a covariance of rows is not positive definite in float64: "
            f"{covariance!r}; fit with a larger noise_floor"
        )
    return factor


def posterior_of(model):
    """Return the posterior of a model, from which means, deviations and draws of new rows come.

    The Cholesky factor in it, most of the work, is computed once and kept with the model.

    Parameters
    ----------
    model : ProcessNetwork

    Returns
    -------
    ProcessPosterior
    """
    if model.kept is None:  # two threads may both compute it: they are equal
        kind = ProcessPosterior if model.n_inducing is None else InducedPosterior
        model.kept = kind(model)
    return model.kept


def check_size(n_labelled, most, n_inducing):
    """Raise ValueError unless a process of so many labelled rows is exact, or by inducing rows.

    Parameters
    ----------
    n_labelled : int
    most : int
        The estimator's `max_exact`.
    n_inducing : int or None
        The estimator's `inducing`.
    """
    if n_labelled <= most:
        return
    if n_inducing is None:
        memory = N_MATRICES * 8 * n_labelled**2 / 1e9
        seconds = SECONDS_OF_A_CUBE * n_labelled**3
        raise ValueError(
            f"y must hold at most max_exact={most} targets where inducing is None, got "
            f"{n_labelled}: the exact process of so many takes some {memory:.1f} GB, and "
            f"{seconds:.0f} s for each of some 30 steps at the end of fit; let inducing=1000 of "
            "them stand for all, make more of y NaN (such rows still serve a greedy pretraining), "
            "or raise max_exact"
        )
    if n_inducing > most:
        raise ValueError(
            f"inducing must be at most max_exact={most} for {n_labelled} targets, got "
            f"{n_inducing}: so many are as much work as an exact process of them; lower it, or "
            "raise max_exact"
        )
