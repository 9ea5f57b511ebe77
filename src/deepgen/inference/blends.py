"""Predictions of several models as one."""

from dataclasses import dataclass

import numpy as np

from deepgen.checks import check_number, real_array


@dataclass(frozen=True, eq=False)
class Blend:
    """A weighted sum of predictions; :func:`blend` makes it.

    Attributes
    ----------
    weights : ndarray of shape (n_models,), float64
    intercept : float
    """

    weights: np.ndarray
    intercept: float

    def predict(self, predictions):
        """Return the weighted sum of other predictions of the same models.

        Parameters
        ----------
        predictions : array-like of shape (n_models, n)
            In the order of the models in :func:`blend`.

        Returns
        -------
        ndarray of shape (n,), float64
            A little outside of the scale for a few: ``numpy.clip`` them where that matters.
        """
        predictions = _predictions(predictions)
        if len(predictions) != len(self.weights):
            raise ValueError(
                f"predictions must be those of {len(self.weights)} models, as in blend, got "
                f"{len(predictions)}"
            )
        return self.weights @ predictions + self.intercept


def blend(predictions, ratings, *, ridge=1.0):
    """Weigh the predictions of several models by ratings that none of them has learned from.

    What is made small is ``sum_i (r_i - c - sum_m w_m p_mi)^2 + ridge * sum_m (w_m - 1/M)^2``: a
    ridge regression that pulls towards the plain mean of the models (Hoerl & Kennard 1970; blends
    of recommenders: Bell, Koren & Volinsky 2007). Weights may be negative. Models that were then
    fitted anew, with these ratings too, can have the same weights.

    Parameters
    ----------
    predictions : array-like of shape (n_models, n_ratings)
        A row for each model: of any kind, such as ``model.predict(users, items)``.
    ratings : array-like of shape (n_ratings,)
        Held out from all the models: of ratings that a model has seen it is too sure.
    ridge : float, default 1.0
        In squared units of a rating: it counts little beside a thousand ratings.

    Returns
    -------
    Blend

    Raises
    ------
    ValueError
        If shapes do not fit, a number is not finite, or `ridge` is not positive.

    Examples
    --------
    >>> import numpy as np, deepgen as dg
    >>> ratings = np.array([1.0, 2.0, 4.0, 5.0])
    >>> noisy = [ratings + [0.5, -0.5, 0.5, -0.5], ratings + [-0.5, 0.5, -0.5, 0.5]]
    >>> dg.blend(noisy, ratings).weights.round(2)
    array([0.5, 0.5])
    """
    check_number(ridge, "ridge", 0.0)
    predictions, ratings = _predictions(predictions), real_array(ratings, "ratings")
    if ratings.shape != predictions.shape[1:] or not len(ratings):
        raise ValueError(
            f"ratings must have shape ({predictions.shape[1]},), one for each prediction and at "
            f"least one, got {ratings.shape}"
        )
    if not np.isfinite(ratings).all():
        raise ValueError("ratings must be finite, but contains NaN or inf")
    # with centred p (M, n) and r:  w = 1/M + (p p^T + ridge I)^-1 p (r - p^T 1/M)
    means, mean = predictions.mean(axis=1), float(ratings.mean(dtype=np.float64))
    p, r = predictions - means[:, None], ratings.astype(np.float64) - mean
    equal = np.full(len(p), 1.0 / len(p))
    gram = p @ p.T + ridge * np.eye(len(p))
    weights = equal + np.linalg.solve(gram, p @ (r - equal @ p))
    return Blend(weights, mean - float(weights @ means))


def _predictions(predictions):
    """Return predictions as float64 of shape (n_models, n); ValueError where they are none."""
    predictions = real_array(predictions, "predictions").astype(np.float64)
    if predictions.ndim != 2 or not len(predictions):
        raise ValueError(
            "predictions must have shape (n_models, n), a row for each model, got "
            f"{predictions.shape}"
        )
    if not np.isfinite(predictions).all():
        raise ValueError("predictions must be finite, but contains NaN or inf")
    return predictions
