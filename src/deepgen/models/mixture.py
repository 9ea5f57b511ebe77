"""Mixtures of products, also as the kernels read them: RBMs with one softmax group."""

import numpy as np
import scipy

from deepgen._kernels import engine
from deepgen.checks import check_instance, float32_array, real_array, shown
from deepgen.layers.binary import Binary
from deepgen.layers.units import Units, as_vector

# A component is one softmax group, even of a single column, which `Softmax` would refuse.
_COMPONENT, _REAL = engine.KINDS["softmax"], engine.KINDS["gaussian"]


class ProductMixture:
    """Components, each with independent columns of any types that can mix; plain data.

    ``p(x) = sum_k w_k p(x - origin | field of k)``, where columns are those of `visible`, units
    without a bias of their own; only the columns of a group belong together. It is also an RBM
    whose hidden layer is one softmax group and whose log Z is 0 (docs/math.md, "Mixtures of
    products"). A model never changes: :meth:`replace` makes another one.

    Parameters
    ----------
    visible : Units
        With a size; binary, softmax, Gaussian or mixed. A bias is not read. Precisions of Gaussian
        units are those of all components.
    log_weights : array-like of shape (n_components,)
        Logs of weights that sum to one.
    fields : array-like of shape (n_features, n_components)
        Of each column in each component: log odds, log probabilities up to a constant of the
        group, precision times (mean - origin).
    origin : array-like of shape (n_features,) or None
        Taken off the rows before anything else, so that real columns far from 0 lose no digits; 0
        where a column has no precision. None: zeros.

    Attributes
    ----------
    visible, log_weights, fields, origin
        As given, arrays as float32, read-only.
    constants : ndarray of shape (n_components,), float64
        Log weights minus the log normalizers of the columns.

    Raises
    ------
    ValueError
        If shapes do not fit, a value is not finite, units cannot mix, or the weights do not sum to
        one.
    """

    _NAME_OF_FIELDS = "fields"

    def __init__(self, visible, log_weights, fields, origin=None):
        check_instance(visible, "visible", Units, "Units such as dg.Softmax(3, size=6)")
        if not visible.can_mix or visible.size is None:
            raise ValueError(
                "visible must be binary, softmax, Gaussian or mixed units that have a size, got "
                f"{visible!r}"
            )
        self.visible = visible.replace(bias=np.zeros(visible.size))
        self.log_weights = np.array(float32_array(log_weights, "log_weights"))
        self.fields = np.array(float32_array(fields, self._NAME_OF_FIELDS))
        self._check_shapes()
        origin = np.zeros(visible.size) if origin is None else origin
        self.origin = as_vector(origin, visible.size, "origin")
        if self.origin[~self._has_scale].any():
            raise ValueError("origin must be 0 in columns that are not Gaussian")
        # float32 logs add up to one within about 1e-6; what is left is taken off below
        total = scipy.special.logsumexp(self.log_weights.astype(np.float64))
        if abs(total) > 1e-3:
            raise ValueError(
                f"the weights must sum to one, but the log of their sum is {total:g}; subtract it "
                "from log_weights"
            )
        # log p(x, k) = log w_k + log base(x) + sum_j (x_j fields_jk - A_j(fields_jk))
        #             = constants[k] + log base(x) + x . fields[:, k],  w normalized in float64
        log_weights = self.log_weights.astype(np.float64) - total
        log_normalizers, normalizers = np.zeros(self.n_components), self._log_normalizers()
        for first in range(0, self.n_features, 256):  # the order of the sum is part of the bits
            log_normalizers += normalizers[first : first + 256].sum(axis=0)
        self.constants = log_weights - log_normalizers
        self.constants.flags.writeable = False
        self._chains = {}

    def _check_shapes(self):
        n_components, name = self.log_weights.size, self._NAME_OF_FIELDS
        if self.log_weights.ndim != 1 or n_components == 0:
            raise ValueError(
                f"log_weights must be a vector, one for each component, got shape "
                f"{self.log_weights.shape}"
            )
        if self.fields.shape != (self.visible.size, n_components):
            raise ValueError(
                f"{name} must have shape ({self.visible.size}, {n_components}), one column for "
                f"each component, got {self.fields.shape}"
            )
        for which, array in (("log_weights", self.log_weights), (name, self.fields)):
            if not np.isfinite(array).all():
                raise ValueError(
                    f"{which} must be finite, but contains NaN, inf or values beyond float32"
                )
            array.flags.writeable = False

    @classmethod
    def from_means(cls, visible, weights, means, origin=None):
        """Return a mixture with these means.

        Parameters
        ----------
        visible : Units
        weights : array-like of shape (n_components,)
            Positive, summing to one.
        means : array-like of shape (n_components, n_features)
            Probabilities, or means of real columns. Log odds are kept within +-80.
        origin : array-like of shape (n_features,) or None

        Raises
        ------
        ValueError
            If shapes do not fit or a value is none of these.
        """
        return cls(visible, _logs(weights), _fields(visible, means, origin), origin)

    def __repr__(self):
        return f"{type(self).__name__}({self.n_components} components, {self.n_features} features)"

    def __reduce__(self):
        return type(self), (self.visible, self.log_weights, self.fields, self.origin)

    @property
    def n_components(self):
        """Number of components."""
        return self.log_weights.size

    @property
    def n_features(self):
        """Number of columns."""
        return self.visible.size

    @property
    def n_free(self):
        """Number of free parameters: weights sum to one, and so do the columns of a group.

        A scale that training changes counts once for all components.
        """
        of_component = int(np.maximum(self.visible.widths - 1, 1).sum())
        scales = sum(part.size for _, part in self.visible.placed_parts if part.learn_precision)
        return self.n_components * of_component + scales + self.n_components - 1

    @property
    def weights(self):
        """Weights of the components, float64 of shape (n_components,)."""
        return np.exp(self.log_weights.astype(np.float64))

    @property
    def means(self):
        """Mean of each column, float32 of shape (n_components, n_features)."""
        return self._means_from_origin() + self.origin

    @property
    def has_scales(self):
        """Whether some columns have a precision, and so a base measure and an origin."""
        return self.visible.precision is not None

    @property
    def _has_scale(self):
        """Bool by column: whether it has a precision."""
        return np.concatenate([
            np.full(part.size, part.precision is not None)
            for _, part in self.visible.placed_parts
        ])  # fmt: skip

    @property
    def chain(self):
        """Two layers for the kernels, columns and component, for rows without missing entries.

        The field of component k is ``constants[k] + x . fields[:, k]``: log p(x, k) but for the
        base measure of x, so its softmax is p(k | x).
        """
        return self._chain("whole rows", self.constants, [self.fields])

    @property
    def chain_of_observed(self):
        """Three layers: columns, component, and a mask that is 1 where a column is observed.

        The bias of component k is ``log w_k`` alone. An observed column j sends it ``x_j fields_jk
        - A_j(fields_jk)``, the second term from the mask; a missing column sends nothing. That of a
        group comes from its first column: all of it is observed or nothing.
        """
        mask = -self._log_normalizers().T
        return self._chain("with holes", self.log_weights, [self.fields, mask])

    @property
    def chain_of_means(self):
        """Two layers: component, and Gaussian units of precision 1 whose weights are the means.

        Given p(k | x) as states of the lower layer, the mean of the upper one is
        ``sum_k p(k | x) (means[k, j] - origin[j])``: the expected columns.
        """
        return self._chain_of_averages("means", self._means_from_origin())

    @property
    def chain_of_squares(self):
        """The same of squared means."""
        return self._chain_of_averages("squares", self._means_from_origin() ** 2)

    def _log_normalizers(self):
        """Return those of each column in each component, float64 (n_features, n_components)."""
        return self.visible.column_log_normalizers(self.fields.T).T

    def _means_from_origin(self):
        return self.visible.mean(self.fields.T)

    def _chain_of_averages(self, name, values):
        """Return a chain from a component to numbers by column that it stands for."""
        if name not in self._chains:
            ones, zeros = (f(self.n_features, np.float32) for f in (np.ones, np.zeros))
            nothing = np.zeros(self.n_components, np.float32)
            layers = [
                (_COMPONENT, 1, self.n_components, nothing, None),
                (_REAL, 1, 1, zeros, ones),
            ]
            self._chains[name] = engine.Chain(layers, [values])
        return self._chains[name]

    def _chain(self, name, bias, weights):
        """Return columns, component and, with a second matrix, a mask, made once a name."""
        if name not in self._chains:  # two threads may both build it: the chains are equal
            bias = np.ascontiguousarray(bias, np.float32)
            layers = [
                self.visible.kernel_layer(), (_COMPONENT, 1, self.n_components, bias, None),
                Binary(self.n_features).kernel_layer(),
            ]  # fmt: skip
            weights = [np.ascontiguousarray(w, np.float32) for w in weights]
            self._chains[name] = engine.Chain(layers[: len(weights) + 1], weights)
        return self._chains[name]

    def replace(self, *, log_weights=None, fields=None):
        """Return a mixture with other parameters; None: as in this one."""
        return type(self)(
            self.visible,
            self.log_weights if log_weights is None else log_weights,
            self.fields if fields is None else fields,
            self.origin,
        )


class BernoulliMixture(ProductMixture):
    """Components, each with independent binary columns; plain data.

    ``p(x) = sum_k w_k prod_j p_jk^x_j (1 - p_jk)^(1 - x_j)``: the :class:`ProductMixture` of binary
    units, whose fields are log odds.

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

    _NAME_OF_FIELDS = "logits"

    def __init__(self, log_weights, logits):
        logits = float32_array(logits, "logits")
        if logits.ndim != 2 or not len(logits):
            raise ValueError(
                f"logits must have shape (n_features, {np.size(log_weights)}), one column for each "
                f"component, got {logits.shape}"
            )
        super().__init__(Binary(len(logits)), log_weights, logits)

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
        means = real_array(means, "means")
        n_features = means.shape[1] if means.ndim == 2 and means.shape[1] else 1
        return cls(_logs(weights), _fields(Binary(n_features), means, None))

    def __reduce__(self):
        return BernoulliMixture, (self.log_weights, self.logits)

    @property
    def logits(self):
        """Log odds of each column in each component."""
        return self.fields

    def _means_from_origin(self):
        means = scipy.special.expit(self.logits.astype(np.float64))
        return np.ascontiguousarray(means.T, np.float32)

    def replace(self, *, log_weights=None, logits=None):
        """Return a mixture with other parameters; None: as in this one."""
        return BernoulliMixture(
            self.log_weights if log_weights is None else log_weights,
            self.logits if logits is None else logits,
        )


def mixture_of(visible, log_weights, fields, origin=None):
    """Return the mixture of these columns: a :class:`BernoulliMixture` of binary units."""
    if visible.is_bernoulli:
        return BernoulliMixture(log_weights, fields)
    return ProductMixture(visible, log_weights, fields, origin)


def _logs(weights):
    """Return the logs of weights, after a check that they are positive."""
    weights = real_array(weights, "weights").astype(np.float64)
    if not (weights > 0).all():
        raise ValueError(f"weights must be positive, got {shown(weights)}")
    return np.log(weights)


def _fields(visible, means, origin):
    """Return the fields of components with these means, float32 (n_features, n_components)."""
    means = real_array(means, "means").astype(np.float64)
    low, high = (-np.inf, np.inf) if visible.limits is None else visible.limits
    if means.ndim != 2 or not ((means >= low) & (means <= high)).all():
        values = "of numbers" if visible.limits is None else "of probabilities"
        outside = "NaN" if visible.limits is None else "values outside [0, 1]"
        raise ValueError(
            f"means must be a matrix {values}, (n_components, n_features), got shape "
            f"{means.shape} or {outside}"
        )
    visible.check_width(means, "means")
    if origin is not None:
        means = means - as_vector(origin, visible.size, "origin")
    return visible.field_of(means).T
