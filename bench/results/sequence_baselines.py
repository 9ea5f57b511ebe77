"""What stands beside models of sequences: the last frame, and linear models of the last frames."""

import numpy as np
from scipy.special import expit, log_expit


def past_of(sequences, order):
    """Return (frames, inputs) of all frames: `order` frames before each, the newest one first.

    Frames before a sequence are zeros.

    Parameters
    ----------
    sequences : list of ndarray of shape (n_frames, n_features)
    order : int
    """
    inputs = []
    for frames in sequences:
        padded = np.concatenate([np.zeros((order, frames.shape[1])), frames])
        shifted = [padded[order - k - 1 : len(padded) - k - 1] for k in range(order)]
        inputs.append(np.concatenate(shifted, axis=1))
    return np.concatenate(sequences).astype(np.float64), np.concatenate(inputs)


class Frequencies:
    """Keys independent of the past and of each other, as often down as in training."""

    def __init__(self, train):
        frames = np.concatenate(train)
        self.p = (frames.sum(axis=0) + 1.0) / (len(frames) + 2.0)

    def log_likelihoods(self, sequences):
        """Return log p by frame, in nats."""
        frames = np.concatenate(sequences)
        return (frames * np.log(self.p) + (1 - frames) * np.log1p(-self.p)).sum(axis=1)


class Copies:
    """Each key by itself, given whether it was down in the last frame: a copy with errors."""

    def __init__(self, train):
        now, before = past_of(train, 1)
        self.p = [
            ((now * (before == b)).sum(axis=0) + 0.5) / ((before == b).sum(axis=0) + 1.0)
            for b in (0, 1)
        ]

    def log_likelihoods(self, sequences):
        """Return log p by frame, in nats."""
        now, before = past_of(sequences, 1)
        p = np.where(before, self.p[1], self.p[0])
        return (now * np.log(p) + (1 - now) * np.log1p(-p)).sum(axis=1)


class Logistic:
    """Logistic regressions of each key on all keys of the last frames.

    Frames with the same past share a field: what is summed over frames is summed over pasts that
    differ, which are few.

    Parameters
    ----------
    train : list of ndarray
    order : int
    decay : float
        Half of it times the sum of squared weights is added to the loss of all frames.
    """

    def __init__(self, train, order=1, decay=10.0, n_iterations=100):
        from scipy.optimize import minimize

        now, past = past_of(train, order)
        bits, which, counts = np.unique(
            np.packbits(past.astype(bool), axis=1), axis=0, return_inverse=True, return_counts=True
        )
        down = np.zeros((len(bits), now.shape[1]))
        np.add.at(down, which.ravel(), now)
        counts = counts[:, None].astype(np.float64)
        past = np.unpackbits(bits, axis=1)[:, : past.shape[1]].astype(np.float64)
        past = np.column_stack([past, np.ones(len(past))])
        self.order, shape = order, (past.shape[1], now.shape[1])
        penalty = np.full((shape[0], 1), decay)
        penalty[-1] = 0.0

        def loss(flat):
            weights = flat.reshape(shape)
            field = past @ weights
            # log(1 + exp(field)) where a key is up, less the field where it is down
            value = -(counts * log_expit(-field)).sum() - (down * field).sum()
            slope = past.T @ (counts * expit(field) - down) + penalty * weights
            return value + 0.5 * (penalty * weights**2).sum(), slope.ravel()

        start = np.zeros(shape)
        start[-1] = np.log((down.sum(axis=0) + 1.0) / (len(now) - down.sum(axis=0) + 1.0))
        done = minimize(
            loss, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": n_iterations}
        )
        self.weights = done.x.reshape(shape)

    def log_likelihoods(self, sequences):
        """Return log p by frame, in nats."""
        now, past = past_of(sequences, self.order)
        field = np.column_stack([past, np.ones(len(past))]) @ self.weights
        return (now * log_expit(field) + (1 - now) * log_expit(-field)).sum(axis=1)


def shrunk(covariance, share):
    """Return a covariance with a share of it replaced by its diagonal; 1: the diagonal alone."""
    return (1.0 - share) * covariance + share * np.diag(np.diag(covariance))


class Ridge:
    """Linear autoregression of real values with normal noise.

    Parameters
    ----------
    train : list of ndarray
        Standardized.
    order : int
    penalty : float
    """

    def __init__(self, train, order, penalty=1.0):
        now, past = past_of(train, order)
        past = np.column_stack([past, np.ones(len(past))])
        diagonal = np.full(past.shape[1], penalty)
        diagonal[-1] = 0.0
        self.order = order
        self.weights = np.linalg.solve(past.T @ past + np.diag(diagonal), past.T @ now)
        left = now - past @ self.weights
        self.covariance = left.T @ left / len(left)

    def predict(self, sequences):
        """Return the mean of each frame given those before."""
        _, past = past_of(sequences, self.order)
        return np.column_stack([past, np.ones(len(past))]) @ self.weights

    def log_densities(self, sequences, shrinkage=1.0):
        """Return log p by frame in nats, with normal noise; see :func:`shrunk`."""
        left = np.concatenate(sequences) - self.predict(sequences)
        factor = np.linalg.cholesky(shrunk(self.covariance, shrinkage))
        z = np.linalg.solve(factor, left.T)
        constant = 0.5 * left.shape[1] * np.log(2 * np.pi) + np.log(np.diag(factor)).sum()
        return -0.5 * (z**2).sum(axis=0) - constant
