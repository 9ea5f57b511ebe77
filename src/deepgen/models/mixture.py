"""Mixtures of Bernoullis, also as the kernels read them: RBMs with one softmax group."""

import numpy as np
import scipy

from deepgen._kernels import engine
from deepgen.checks import float32_array, real_array, shown
from deepgen.layers.binary import Binary

# A component is one softmax group, even of a single column, which `Softmax` would refuse.
_COMPONENT, _REAL = engine.KINDS["softmax"], engine.KINDS["gaussian"]
# Log odds are kept within +-80, so probabilities end 2e-35 from 0 and 1: nearer ones would change
# no likelihood that float32 can show.
MAX_LOGIT = 80.0


def softplus(x):
    """Return log(1 + exp(x)) in float64."""
    x = np.asarray(x, np.float64)
    return np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x)))


class BernoulliMixture:
    """Components, each with independent binary columns; plain data.

    ``p(x) = sum_k w_k prod_j p_jk^x_j (1 - p_jk)^(1 - x_j)``. It is also an RBM whose hidden
    layer is one softmax group and whose log Z is 0 (docs/math.md, "Mixture of Bernoullis"). A
    model never changes: :meth:`replace` makes another one.

    Parameters
    ----------
    log_weights : array-like of shape (n_components,)
        Logs of weights that sum to one.
    logits : array-like of shape (n_features, n_components)
        Log odds of each column in each component.

    Attributes
    ----------
    log_weights, logits : ndarray, float32, read-only

    Raises
    ------
    ValueError
        If shapes do not fit, a value is not finite, or the weights do not sum to one.
    """

    def __init__(self, log_weights, logits):
        self.log_weights = np.array(float32_array(log_weights, "log_weights"))
        self.logits = np.array(float32_array(logits, "logits"))
        n_components = self.log_weights.size
        if self.log_weights.ndim != 1 or n_components == 0:
            raise ValueError(
                f"log_weights must be a vector, one for each component, got shape "
                f"{self.log_weights.shape}"
            )
        if self.logits.ndim != 2 or self.logits.shape[1] != n_components or not len(self.logits):
            raise ValueError(
                f"logits must have shape (n_features, {n_components}), one column for each "
                f"component, got {self.logits.shape}"
            )
        for name in ("log_weights", "logits"):
            if not np.isfinite(getattr(self, name)).all():
                raise ValueError(
                    f"{name} must be finite, but contains NaN, inf or values beyond float32"
                )
            getattr(self, name).flags.writeable = False
        # float32 logs add up to one within about 1e-6; what is left is taken off below
        total = scipy.special.logsumexp(self.log_weights.astype(np.float64))
        if abs(total) > 1e-3:
            raise ValueError(
                f"the weights must sum to one, but the log of their sum is {total:g}; subtract it "
                "from log_weights"
            )
        # log p(x, k) = log w_k + sum_j (x_j logit_jk - log(1 + exp(logit_jk)))
        #             = constants[k] + x . logits[:, k],      w normalized to float64 rounding
        log_weights = self.log_weights.astype(np.float64) - total
        log_normalizers = np.zeros(n_components)
        for first in range(0, len(self.logits), 256):  # float64, without a copy of the whole
            log_normalizers += softplus(self.logits[first : first + 256]).sum(axis=0)
        self.constants = log_weights - log_normalizers
        self.constants.flags.writeable = False
        self._chains = {}

    @classmethod
    def from_means(cls, weights, means):
        """Return a mixture with these probabilities.

        Parameters
        ----------
        weights : array-like of shape (n_components,)
            Positive, summing to one.
        means : array-like of shape (n_components, n_features)
            In [0, 1]; log odds are kept within +-80.

        Raises
        ------
        ValueError
            If shapes do not fit or a value is none of these.
        """
        means = real_array(means, "means").astype(np.float64)
        weights = real_array(weights, "weights").astype(np.float64)
        if means.ndim != 2 or not ((means >= 0) & (means <= 1)).all():
            raise ValueError(
                "means must be a matrix of probabilities, (n_components, n_features), got shape "
                f"{means.shape} or values outside [0, 1]"
            )
        if not (weights > 0).all():
            raise ValueError(f"weights must be positive, got {shown(weights)}")
        with np.errstate(divide="ignore"):
            logits = np.log(means) - np.log1p(-means)
        return cls(np.log(weights), np.clip(logits, -MAX_LOGIT, MAX_LOGIT).T)

    def __repr__(self):
        return f"BernoulliMixture({self.n_components} components, {self.n_features} features)"

    def __reduce__(self):
        return BernoulliMixture, (self.log_weights, self.logits)

    @property
    def n_components(self):
        """Number of components."""
        return self.logits.shape[1]

    @property
    def n_features(self):
        """Number of columns."""
        return self.logits.shape[0]

    @property
    def weights(self):
        """Weights of the components, float64 of shape (n_components,)."""
        return np.exp(self.log_weights.astype(np.float64))

    @property
    def means(self):
        """Probability of each column, float32 of shape (n_components, n_features)."""
        means = scipy.special.expit(self.logits.astype(np.float64))
        return np.ascontiguousarray(means.T, np.float32)

    @property
    def visible(self):
        """The columns as a layer without a bias of its own."""
        return Binary(self.n_features)

    @property
    def chain(self):
        """Two layers for the kernels, columns and component, for rows without missing entries.

        The field of component k is ``constants[k] + x . logits[:, k]``, log p(x, k), so its
        softmax is p(k | x) and its log normalizer log p(x).
        """
        return self._chain("whole rows", self.constants, [self.logits])

    @property
    def chain_of_observed(self):
        """Three layers: columns, component, and a mask that is 1 where a column is observed.

        The bias of component k is ``log w_k`` alone. An observed column j sends it ``x_j logit_jk
        - log(1 + exp(logit_jk))``, the second term from the mask; a missing column sends nothing.
        """
        return self._chain("with holes", self.log_weights, [self.logits, -softplus(self.logits).T])

    @property
    def chain_of_means(self):
        """Two layers: component, and Gaussian units of precision 1 whose weights are the means.

        Given p(k | x) as states of the lower layer, the mean of the upper one is
        ``sum_k p(k | x) means[k, j]``: the expected columns.
        """
        if "means" not in self._chains:
            ones, zeros = (f(self.n_features, np.float32) for f in (np.ones, np.zeros))
            nothing = np.zeros(self.n_components, np.float32)
            layers = [
                (_COMPONENT, 1, self.n_components, nothing, None),
                (_REAL, 1, 1, zeros, ones),
            ]
            self._chains["means"] = engine.Chain(layers, [self.means])
        return self._chains["means"]

    def _chain(self, name, bias, weights):
        """Return columns, component and, with a second matrix, columns again, made once a name."""
        if name not in self._chains:  # two threads may both build it: the chains are equal
            columns = self.visible.kernel_layer()
            bias = np.ascontiguousarray(bias, np.float32)
            layers = [columns, (_COMPONENT, 1, self.n_components, bias, None), columns]
            weights = [np.ascontiguousarray(w, np.float32) for w in weights]
            self._chains[name] = engine.Chain(layers[: len(weights) + 1], weights)
        return self._chains[name]

    def replace(self, *, log_weights=None, logits=None):
        """Return a mixture with other parameters; None: as in this one."""
        return BernoulliMixture(
            self.log_weights if log_weights is None else log_weights,
            self.logits if logits is None else logits,
        )
