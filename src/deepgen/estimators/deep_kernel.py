"""Covariances of features: a network under a kernel of scikit-learn."""

import numpy as np
from scipy.spatial.distance import pdist
from sklearn.base import clone
from sklearn.gaussian_process.kernels import RBF, Hyperparameter, Kernel

from deepgen.checks import shown
from deepgen.estimators.common.validation import by_pieces
from deepgen.layers.named import columns_of
from deepgen.models import Network
from deepgen.models.backprop import outputs

# Rows whose distances the length starts from, at most.
LENGTH_ROWS = 1_000


class DeepKernel(Kernel):
    """A kernel of scikit-learn that reads features of a network in place of rows.

    ``k(x, y) = base(f(x), f(y))``, f the outputs of the network, in float64. It goes wherever
    scikit-learn takes a kernel: ``GaussianProcessRegressor``, ``GaussianProcessClassifier``,
    ``SVC(kernel=...)``, ``KernelRidge(kernel=...)``, sums and products of kernels.

    The hyper-parameters that these fit are those of `base`; the network stays as it is.
    :class:`DeepGaussianProcessRegressor` learns both. Features are computed anew in each call:
    for a fit of many steps on many rows compute them once and give them to `base`.

    Parameters
    ----------
    network : Network
        ``dg.encoder(stack)`` makes one of a stack of machines. Copies of the kernel, such as
        scikit-learn's ``clone`` makes, share it.
    base : sklearn.gaussian_process.kernels.Kernel
        Its length must be of the size of distances between features: with another one all rows
        look alike, or none do. See :meth:`from_data`.

    Raises
    ------
    TypeError
        If `network` is no Network, or `base` no kernel.

    References
    ----------
    Salakhutdinov & Hinton (2008), "Using deep belief nets to learn covariance kernels for
    Gaussian processes", section 3.

    Examples
    --------
    >>> import numpy as np, deepgen as dg
    >>> from sklearn.svm import SVC
    >>> X = np.random.default_rng(0).random((100, 16)).astype(np.float32)
    >>> stack = dg.DBN((12, 8), n_epochs=2, random_state=0).fit(X)
    >>> kernel = dg.DeepKernel.from_data(dg.encoder(stack.model_), X)
    >>> SVC(kernel=kernel).fit(X, X[:, 0] > 0.5).predict(X[:3]).shape
    (3,)
    """

    def __init__(self, network, base):
        _check_network(network)
        _check_base(base)
        self.network = network
        self.base = base

    @classmethod
    def from_data(cls, network, X, base=None):
        """Return a kernel whose length is the median distance of the features of some rows.

        Parameters
        ----------
        network : Network
        X : array-like of shape (n_samples, n_features)
            Rows such as the kernel will see; no labels are needed. Of more than 1,000 some are
            taken, evenly spaced.
        base : sklearn.gaussian_process.kernels.Kernel or None
            Each parameter of it that is called ``length_scale`` is set, in a copy. None: ``RBF()``.

        Returns
        -------
        DeepKernel

        Raises
        ------
        TypeError
            If `network` is no Network, or `base` no kernel.
        ValueError
            If `X` does not fit the network, all features are the same, or `base` has no length.
        """
        kernel = cls(network, RBF() if base is None else clone(base))
        X = _as_rows(X, network)
        chosen = np.linspace(0, len(X) - 1, min(len(X), LENGTH_ROWS)).astype(np.intp)
        distances = pdist(kernel.features(X[chosen]))
        length = float(np.median(distances)) if len(distances) else 0.0
        if not length > 0.0:
            raise ValueError(
                "X must hold rows with different features, from whose distances the length is "
                f"taken, but the median distance of {len(chosen)} rows is 0; give a base with a "
                "length to dg.DeepKernel(network, base) in place of it"
            )
        lengths = {
            name: np.full(np.shape(value), length)[()]
            for name, value in kernel.base.get_params().items()
            if name.rpartition("__")[2] == "length_scale"
        }
        if not lengths:
            raise ValueError(
                f"base must have a parameter length_scale, got {base!r}; give it to "
                "dg.DeepKernel(network, base) as it is"
            )
        kernel.base.set_params(**lengths)
        return kernel

    def features(self, X):
        """Return the outputs of the network for rows: the columns that `base` compares.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_columns)

        Returns
        -------
        ndarray of shape (n_samples, n_outputs), float64

        Raises
        ------
        ValueError
            If the columns are not those of the network, or a value is not finite.
        """
        network = _check_network(self.network)  # set_params may have put another one here
        X = _as_rows(X, network)
        units = columns_of(network.inputs, network.sizes[0])
        return by_pieces(X, units, lambda states: outputs(network, states)).astype(np.float64)

    # --- what scikit-learn asks of a kernel -------------------------------------------------------

    def __call__(self, X, Y=None, eval_gradient=False):
        """Return the kernel of rows, and its gradient where asked for.

        Parameters
        ----------
        X : array-like of shape (n_samples_X, n_columns)
        Y : array-like of shape (n_samples_Y, n_columns) or None
            None: the rows of `X` again.
        eval_gradient : bool, default False
            Also return the gradient by the logarithms of the hyper-parameters of `base`; without
            `Y` alone.

        Returns
        -------
        ndarray of shape (n_samples_X, n_samples_Y), or tuple of it and an ndarray of shape \
(n_samples_X, n_samples_X, n_hyperparameters)
        """
        others = None if Y is None else self.features(Y)
        return self.base(self.features(X), others, eval_gradient=eval_gradient)

    def diag(self, X):
        """Return the kernel of each row with itself.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_columns)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        return self.base.diag(self.features(X))

    def is_stationary(self):
        """Return False: rows at the same distance may have features at any."""
        return False

    def get_params(self, deep=True):
        """Return network and base by name, and the parameters of `base` as ``base__<name>``.

        Parameters
        ----------
        deep : bool, default True
            False: without the parameters of `base`.

        Returns
        -------
        dict
        """
        parameters = {"network": self.network, "base": self.base}
        if deep:
            inner = self.base.get_params().items()
            parameters |= {f"base__{name}": value for name, value in inner}
        return parameters

    @property
    def hyperparameters(self):
        """The hyper-parameters of `base`, as ``base__<name>``."""
        return [
            Hyperparameter(f"base__{h.name}", h.value_type, h.bounds, h.n_elements)
            for h in self.base.hyperparameters
        ]

    @property
    def theta(self):
        """Logarithms of the hyper-parameters of `base` that are not fixed."""
        return self.base.theta

    @theta.setter
    def theta(self, theta):
        self.base.theta = theta

    @property
    def bounds(self):
        """Bounds of `theta`, of shape (n_hyperparameters, 2)."""
        return self.base.bounds

    def __eq__(self, other):
        return (
            type(self) is type(other)
            and self.network is other.network
            and self.base == other.base
        )

    __hash__ = None

    def __repr__(self):
        return f"DeepKernel({self.network!r}, {self.base!r})"

    def __sklearn_clone__(self):
        # a network never changes: the steps of a fit, which make copies, need not copy it
        return DeepKernel(self.network, clone(self.base))


def _check_network(network):
    """Return the network of a kernel; TypeError with a remedy unless it is one."""
    if not isinstance(network, Network):
        raise TypeError(
            f"network must be a dg.Network, got {shown(network)}; make one by dg.encoder(...) of a "
            "machine, a stack or a belief network (of a fitted dg.DBN or dg.RBM its model_); of a "
            "fitted dg.NeighbourhoodComponents or dg.DeepGaussianProcessRegressor take "
            "model_.network"
        )
    return network


def _check_base(base):
    """Raise TypeError unless `base` is a kernel of scikit-learn."""
    if not isinstance(base, Kernel):
        raise TypeError(
            "base must be a kernel of sklearn.gaussian_process.kernels, such as RBF(), got "
            f"{shown(base)}"
        )


def _as_rows(X, network):
    """Return rows as an array; ValueError unless their columns are those of the network."""
    X = np.asarray(X)
    if X.ndim != 2 or X.shape[1] != network.sizes[0]:
        raise ValueError(
            f"X must have shape (n_samples, {network.sizes[0]}), the columns that the network "
            f"reads, got {X.shape}; give rows, not features of them"
        )
    return X
