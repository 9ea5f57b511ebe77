"""What tables of ratings hold our models against: biases, SVD, neighbours, EASE; other packages.

Each is fitted on (users, items, ratings) and has `predict(users, items)`.
"""

import numpy as np
from scipy import sparse
from threadpoolctl import threadpool_limits


def triples(matrix):
    """Return users, items and ratings of the stored entries of a CSR matrix, zeros too."""
    users = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    return users, matrix.indices.astype(np.int64), matrix.data.astype(np.float64)


class Biases:
    """Mean, deviations of items and of users, each divided by its count and a damping.

    Parameters
    ----------
    matrix : csr_array of shape (n_users, n_items)
    damping : tuple of float
        Ratings of zero deviation that each user and each item gets.
    n_passes : int
        Users and items take turns.
    """

    def __init__(self, matrix, *, damping=(5.0, 5.0), n_passes=10):
        users, items, ratings = triples(matrix)
        n_users, n_items = matrix.shape
        self.mean = ratings.mean()
        self.users, self.items = np.zeros(n_users), np.zeros(n_items)
        of_user = np.bincount(users, minlength=n_users) + damping[0]
        of_item = np.bincount(items, minlength=n_items) + damping[1]
        for _ in range(n_passes):
            left = ratings - self.mean - self.users[users]
            self.items = np.bincount(items, left, n_items) / of_item
            left = ratings - self.mean - self.items[items]
            self.users = np.bincount(users, left, n_users) / of_user

    def predict(self, users, items):
        """Return predictions of pairs."""
        return self.mean + self.users[users] + self.items[items]


class SVD:
    """Biases and products of factors, by gradient steps over small batches (Koren et al. 2009).

    Rates fall linearly to zero. A batch adds up the steps of its ratings, so that it is one of
    single ratings but for pairs of them that share a user or an item.

    Parameters
    ----------
    matrix : csr_array of shape (n_users, n_items)
    seed : int
    n_factors, n_epochs, batch_size : int
    rate, decay : float
        Decay counts once for each rating.
    """

    def __init__(
        self, matrix, seed=0, *, n_factors=50, n_epochs=20, batch_size=1000, rate=0.02, decay=0.06
    ):
        users, items, ratings = triples(matrix)
        rng, n = np.random.default_rng(seed), len(ratings)
        self.mean = ratings.mean()
        sides = []
        for count in matrix.shape:  # the last column of each is its bias
            factors = rng.normal(0.0, 0.1, (count, n_factors + 2)).astype(np.float32)
            factors[:, n_factors:] = 0.0
            sides.append(factors)
        self.users, self.items = sides
        self.users[:, n_factors], self.items[:, n_factors + 1] = 1.0, 1.0
        ratings = (ratings - self.mean).astype(np.float32)
        n_updates, done = n_epochs * -(-n // batch_size), 0
        for _ in range(n_epochs):
            order = rng.permutation(n)
            for first in range(0, n, batch_size):
                chosen = order[first : first + batch_size]
                of_user, of_item = users[chosen], items[chosen]
                p, q = self.users[of_user], self.items[of_item]
                error = (ratings[chosen] - np.einsum("ij,ij->i", p, q))[:, None]
                step = np.float32(rate * (1.0 - done / n_updates))
                for side, numbers, own, other, fixed in (
                    (self.users, of_user, p, q, n_factors),
                    (self.items, of_item, q, p, n_factors + 1),
                ):
                    change = step * (error * other - np.float32(decay) * own)
                    change[:, fixed] = 0.0  # the other side's bias is multiplied by a 1
                    sorted_by = np.argsort(numbers, kind="stable")
                    ascending = numbers[sorted_by]
                    starts = np.flatnonzero(np.diff(ascending, prepend=-1))
                    side[ascending[starts]] += np.add.reduceat(change[sorted_by], starts)
                done += 1

    def predict(self, users, items):
        """Return predictions of pairs."""
        return self.mean + np.einsum("ij,ij->i", self.users[users], self.items[items])


class EASE:
    """A linear model of all items by each other, on what biases leave (Steck 2019).

    Parameters
    ----------
    matrix : csr_array of shape (n_users, n_items)
    decay : float
    """

    def __init__(self, matrix, *, decay=500.0):
        users, items, ratings = triples(matrix)
        self.biases = Biases(matrix)
        left = (ratings - self.biases.predict(users, items)).astype(np.float32)
        self.left = sparse.csr_array((left, (users, items)), shape=matrix.shape)
        gram = (self.left.T @ self.left).toarray().astype(np.float64)
        gram[np.diag_indices_from(gram)] += decay
        inverse = np.linalg.inv(gram)
        weights = inverse / -np.diag(inverse)
        np.fill_diagonal(weights, 0.0)
        self.weights = weights.astype(np.float32)

    def predict(self, users, items):
        """Return predictions of pairs."""
        scores = self.left @ self.weights
        return self.biases.predict(users, items) + scores[users, items]


class Neighbours:
    """Means of what biases leave of a user's ratings of similar items (Koren 2010, section 2.2).

    For few items: it keeps a dense table.

    Parameters
    ----------
    matrix : csr_array of shape (n_users, n_items)
    n_neighbours : int
        The most similar of the items that the user has rated.
    damping : float
        Pairs of ratings by which a correlation is shrunk.
    """

    def __init__(self, matrix, *, n_neighbours=20, damping=100.0):
        users, items, ratings = triples(matrix)
        self.biases, self.n_neighbours = Biases(matrix), n_neighbours
        self.rated = np.zeros(matrix.shape, bool)
        self.rated[users, items] = True
        self.left = np.zeros(matrix.shape, np.float32)
        self.left[users, items] = ratings - self.biases.predict(users, items)
        known = self.rated.astype(np.float32)
        squares = (self.left**2).T @ known
        n_pairs = known.T @ known
        similar = self.left.T @ self.left / np.sqrt(np.maximum(squares * squares.T, 1e-12))
        self.similar = similar * n_pairs / (n_pairs + damping)
        np.fill_diagonal(self.similar, 0.0)

    def predict(self, users, items):
        """Return predictions of pairs."""
        out = self.biases.predict(users, items)
        for item in np.unique(items):
            places = np.flatnonzero(items == item)
            rows = users[places]
            weights = np.where(self.rated[rows], np.maximum(self.similar[item], 0.0), 0.0)
            if self.n_neighbours < weights.shape[1]:
                least = np.partition(weights, -self.n_neighbours, axis=1)[:, -self.n_neighbours]
                weights = np.where(weights >= least[:, None], weights, 0.0)
            total = np.maximum(weights.sum(axis=1), 1e-12)
            out[places] += (weights * self.left[rows]).sum(axis=1) / total
        return out


class Surprise:
    """A model of scikit-surprise; ImportError where that is not installed.

    Parameters
    ----------
    matrix : csr_array of shape (n_users, n_items)
    seed : int
    model : str
        Name of its class, with what it comes with.
    """

    def __init__(self, matrix, seed=0, *, model="SVDpp", **settings):
        import pandas as pd
        import surprise

        users, items, ratings = triples(matrix)
        reader = surprise.Reader(rating_scale=(ratings.min(), ratings.max()))
        table = pd.DataFrame({"user": users, "item": items, "rating": ratings})
        data = surprise.Dataset.load_from_df(table, reader)
        self.model = getattr(surprise, model)(random_state=seed, **settings)
        self.model.fit(data.build_full_trainset())

    def predict(self, users, items):
        """Return predictions of pairs."""
        pairs = zip(users.tolist(), items.tolist(), strict=True)
        return np.array([self.model.predict(u, i).est for u, i in pairs])


class ImplicitALS:
    """Alternating least squares of the package implicit, ratings as confidence: it only ranks.

    Parameters
    ----------
    matrix : csr_array of shape (n_users, n_items)
    seed : int
    n_factors : int
    """

    def __init__(self, matrix, seed=0, *, n_factors=50):
        from implicit.als import AlternatingLeastSquares

        with threadpool_limits(1, "blas"):  # as implicit asks for
            model = AlternatingLeastSquares(factors=n_factors, random_state=seed, num_threads=1)
            model.fit(sparse.csr_matrix(matrix.astype(np.float32)), show_progress=False)
        self.users, self.items = model.user_factors, model.item_factors

    def predict(self, users, items):
        """Return scores of pairs, which are no ratings."""
        return np.einsum("ij,ij->i", self.users[users], self.items[items])


def ridge(predictions, ratings, decay=1e-3):
    """Return the weights of a blend, the constant last, by ridge regression.

    Parameters
    ----------
    predictions : ndarray of shape (n_pairs, n_models)
    ratings : ndarray of shape (n_pairs,)
    decay : float
        Of weights that differ from equal ones, by pair; the constant has none.
    """
    n, n_models = predictions.shape
    A, equal = predictions - predictions.mean(axis=0), np.full(n_models, 1.0 / n_models)
    target = ratings - ratings.mean() - A @ equal
    weights = equal + np.linalg.solve(A.T @ A + decay * n * np.eye(n_models), A.T @ target)
    return np.append(weights, ratings.mean() - predictions.mean(axis=0) @ weights)


def blended(predictions, weights):
    """Return the predictions of a blend."""
    return predictions @ weights[:-1] + weights[-1]
