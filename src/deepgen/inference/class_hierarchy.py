"""What a hierarchy of classes says of rows: densities by class, and draws of super-categories.

All of it in float64, by LAPACK on one thread (``runtime/blas.py``).
"""

from typing import NamedTuple

import numpy as np

from deepgen.models.class_hierarchy import ClassRows
from deepgen.runtime.blas import one_blas_thread
from deepgen.runtime.stream import SAMPLE

# Rows that the covariance of all classes counts for in that of a super-category, as a share of
# those that an inherited covariance counts for in that of a class.
SHARE_OF_ALL = 0.2
# Prior weight of a super-category of its own, in classes (the alpha of a Chinese restaurant).
OWN_CATEGORY = 1.0
# Sets of classes whose densities are kept between sweeps, which meet most of them again.
MOST_KNOWN = 100_000
# Numbers of the covariances of classes that a model keeps between calls: 64 MB of float64.
KEPT_NUMBERS = 1 << 23

# scipy is imported where it is used: who needs the core alone does not wait for it.


class Heritage(NamedTuple):
    """A covariance that a class may inherit.

    Attributes
    ----------
    log_weight : float
        Logarithm of its probability before any row of the class.
    covariance : ndarray of shape (n_components, n_components)
    """

    log_weight: float
    covariance: np.ndarray


def coordinates(model, rows):
    """Return ``(x - offset) @ weights`` of rows, float64 of shape (n_rows, n_components).

    Parameters
    ----------
    model : ClassHierarchy
    rows : ndarray of shape (n_rows, n_features)
    """
    with one_blas_thread():
        return (np.asarray(rows, np.float64) - model.offset) @ model.weights.astype(np.float64)


def class_of_rows(points):
    """Return the number of rows of a class, their mean, and their scatter around it.

    Parameters
    ----------
    points : ndarray of shape (n_rows, n_components)
        Coordinates of at least one row.

    Returns
    -------
    ClassRows
    """
    points = np.asarray(points, np.float64)
    mean = points.mean(axis=0)
    centred = points - mean
    with one_blas_thread():
        return ClassRows(len(points), mean, _symmetric(centred.T @ centred))


def joined(one, other):
    """Return number, mean and scatter of the rows of two classes together.

    As when a class gets more rows: ``S = S1 + S2 + n1 n2 / (n1 + n2) (m1 - m2) (m1 - m2)^T``.

    Parameters
    ----------
    one, other : ClassRows
    """
    count, step = one.count + other.count, other.mean - one.mean
    scatter = one.scatter + other.scatter
    scatter = scatter + (one.count * other.count / count) * np.outer(step, step)
    return ClassRows(count, one.mean + (other.count / count) * step, scatter)


def mean_posterior(known, covariance, variances):
    """Return mean and covariance of the mean of a class, given its rows and their covariance.

    With prior N(0, B), B of diagonal `variances`, and rows N(mean, C)::

        G = B (B + C / n)^-1,   mean = G m,   covariance = B - G B

    Parameters
    ----------
    known : ClassRows
    covariance : ndarray of shape (n_components, n_components)
        C, positive definite.
    variances : ndarray of shape (n_components,)

    Returns
    -------
    tuple of (ndarray of shape (n_components,), ndarray of shape (n_components, n_components))
    """
    B = np.asarray(variances, np.float64)
    with one_blas_thread():
        # B - G B = G C / n, without a difference of numbers that may be close to each other
        G = np.linalg.solve(np.diag(B) + covariance / known.count, np.diag(B)).T
        return G @ known.mean, _symmetric(G @ covariance) / known.count


def class_covariance(known, inherited, inherited_rows):
    """Return the expected covariance of the rows of a class, given its rows.

    ``(r P + S) / (r + n - 1)`` with the inherited P of r rows, the mean of an inverse Wishart
    posterior; P where `inherited_rows` is None.
    """
    if inherited_rows is None:
        return inherited
    return (inherited_rows * inherited + known.scatter) / (inherited_rows + known.count - 1)


def log_of_rows(known, inherited, variances, inherited_rows):
    """Return log p(rows of a class) given the covariance that it inherits, up to a constant.

    The density of the scatter of its rows around their mean (:func:`log_of_scatter`), times that
    of this mean, ``N(0, B + C / n)`` with C the class's expected covariance, which stands for all
    that it may be. The constant does not depend on the covariance.

    Parameters
    ----------
    known : ClassRows
    inherited : ndarray of shape (n_components, n_components)
    variances : ndarray of shape (n_components,)
    inherited_rows : float
    """
    C = class_covariance(known, inherited, inherited_rows)
    spread = np.diag(np.asarray(variances, np.float64)) + C / known.count
    at_mean = log_normal(known.mean[None], np.zeros(len(C)), spread)[0]
    return at_mean + log_of_scatter(known.scatter, known.count - 1, inherited, inherited_rows)


def log_of_scatter(scatter, n_rows, inherited, inherited_rows):
    """Return the log density of centred rows whose covariance is inverse Wishart around another.

    With ``v = d + 1 + r`` and the sum S of the outer products of n rows of N(0, C), where C has
    mean P and is ``IW(r P, v)``::

        log Gamma_d((v + n) / 2) - log Gamma_d(v / 2) - n d / 2 log pi
        + v / 2 log |r P| - (v + n) / 2 log |r P + S|

    (Gelman et al. 2013, "Bayesian data analysis", section 3.6.)

    Parameters
    ----------
    scatter : ndarray of shape (d, d)
    n_rows : float
    inherited : ndarray of shape (d, d)
    inherited_rows : float
    """
    from scipy.special import multigammaln

    d = len(inherited)
    if n_rows == 0:
        return 0.0
    with one_blas_thread():
        prior = inherited_rows * inherited
        v = d + 1 + inherited_rows
        value = multigammaln((v + n_rows) / 2, d) - multigammaln(v / 2, d)
        value += 0.5 * v * np.linalg.slogdet(prior)[1] - 0.5 * n_rows * d * np.log(np.pi)
        return float(value - 0.5 * (v + n_rows) * np.linalg.slogdet(prior + scatter)[1])


def log_normal(points, mean, covariance):
    """Return the log densities of points under a normal distribution, float64 of (n_points,)."""
    return _log_normal(points, mean, _root(covariance))


def _log_normal(points, mean, root):
    squares, log_root = _squares(points, mean, root)
    return -0.5 * squares - log_root - 0.5 * len(mean) * np.log(2.0 * np.pi)


def log_student(points, mean, covariance, degrees):
    """Return the log densities of points under a multivariate t distribution.

    Parameters
    ----------
    points : ndarray of shape (n_points, d)
    mean : ndarray of shape (d,)
    covariance : ndarray of shape (d, d)
        Of the distribution itself: its scale matrix is that by ``(degrees - 2) / degrees``.
    degrees : float
        Of freedom, more than 2.

    Returns
    -------
    ndarray of shape (n_points,), float64
    """
    return _log_student(points, mean, _root(covariance), degrees)


def _log_student(points, mean, root, degrees):
    from scipy.special import gammaln

    d = len(mean)
    squares, log_root = _squares(points, mean, root)
    constant = gammaln((degrees + d) / 2) - gammaln(degrees / 2)
    constant -= 0.5 * d * np.log(np.pi * (degrees - 2)) + log_root
    return constant - 0.5 * (degrees + d) * np.log1p(squares / (degrees - 2))


def _root(covariance):
    """Return the lower triangular L of ``L L^T = covariance``."""
    with one_blas_thread():
        return np.linalg.cholesky(covariance)


def _squares(points, mean, root):
    """Return ``(z - mean)^T C^-1 (z - mean)`` of each point and ``log |C| / 2``, by C's root."""
    from scipy.linalg import solve_triangular

    with one_blas_thread():
        solved = solve_triangular(root, (np.asarray(points, np.float64) - mean).T, lower=True)
        return np.square(solved).sum(axis=0), np.log(np.diagonal(root)).sum()


def _symmetric(matrix):
    return 0.5 * (matrix + matrix.T)


class ClassDensity(NamedTuple):
    """Density of a new row of a class: a mixture of a part for each covariance it may inherit.

    Attributes
    ----------
    log_weights : ndarray of shape (n_parts,)
        Logarithms of their shares.
    means : ndarray of shape (n_parts, n_components)
    roots : ndarray of shape (n_parts, n_components, n_components)
        Lower triangular L of each covariance ``L L^T`` of a new row.
    degrees : float or None
        Of freedom, of Student's t; None: normal.
    """

    log_weights: np.ndarray
    means: np.ndarray
    roots: np.ndarray
    degrees: float | None

    def log_of(self, points):
        """Return the log density of each point, float64 of shape (n_points,).

        Parameters
        ----------
        points : ndarray of shape (n_points, n_components)
            Coordinates of new rows.
        """
        parts = [
            _log_normal(points, mean, root)
            if self.degrees is None
            else _log_student(points, mean, root, self.degrees)
            for mean, root in zip(self.means, self.roots, strict=True)
        ]
        return np.logaddexp.reduce(np.array(parts) + self.log_weights[:, None], axis=0)


def class_density(model, known, heritages):
    """Return the density of a new row of a class, given its rows.

    Each heritage is weighted by what the rows of the class say of it (:func:`log_of_rows`). Given
    one, a new row has mean and covariance ``m, C + V`` with (m, V) of :func:`mean_posterior`; it
    is normal where all classes share their covariance, else Student's t of ``r + n + 1`` degrees
    of freedom, as it exactly is where V is a multiple of C.

    Parameters
    ----------
    model : ClassHierarchy
    known : ClassRows
    heritages : sequence of Heritage
        See :func:`heritages_of_new` and :func:`heritages_of_known`.

    Returns
    -------
    ClassDensity
    """
    r, means, roots, weights, alone = model.inherited_rows, [], [], [], len(heritages) == 1
    for log_weight, inherited in heritages:
        C = class_covariance(known, inherited, r)
        mean, V = mean_posterior(known, C, model.variances)
        means.append(mean)
        roots.append(_root(C + V))
        weights.append(
            0.0 if alone else log_weight + log_of_rows(known, inherited, model.variances, r)
        )
    degrees = None if r is None else r + known.count + 1
    log_weights = np.array(weights) - np.logaddexp.reduce(weights)
    return ClassDensity(log_weights, np.array(means), np.array(roots), degrees)


def class_densities(model):
    """Return the densities of a new row of each known class, in their order.

    Their covariances cost more than all that a row needs of them, so the model keeps them where
    they are small; else they are made one by one.

    Parameters
    ----------
    model : ClassHierarchy

    Returns
    -------
    iterable of ClassDensity
    """
    if model.kept is not None:
        return model.kept
    densities = _class_densities(model)
    n_parts = model.n_classes * (len(model.categories) + 1)
    if n_parts * model.n_components**2 <= KEPT_NUMBERS:
        densities = model.kept = tuple(densities)
    return densities


def _class_densities(model):
    new = heritages_of_new(model)
    n_sorted = model.categories.shape[1]
    for number, known in enumerate(model.classes):
        heritages = heritages_of_known(model, number) if number < n_sorted else new
        yield class_density(model, known, heritages)


def log_predictives(model, points):
    """Return log p(row, given the rows of a class) for each known class.

    Parameters
    ----------
    model : ClassHierarchy
    points : ndarray of shape (n_points, n_components)
        Coordinates of rows.

    Returns
    -------
    ndarray of shape (n_points, n_classes), float64
        In nats; densities of coordinates.
    """
    return np.stack([density.log_of(points) for density in class_densities(model)], axis=1)


# --- super-categories -----------------------------------------------------------------------------


def heritages_of_new(model):
    """Return the covariances that a new class may inherit, each with its probability.

    In each draw it may be one more class of a super-category, whose covariance it inherits, or
    found one of its own, and inherit that of all classes. The weights are those of a Chinese
    restaurant: the number of classes of a super-category, and `OWN_CATEGORY` for its own.
    """
    if not model.categories.size:
        return [Heritage(0.0, np.eye(model.n_components))]
    n_draws, n_sorted = model.categories.shape
    weights = {}
    for draw in model.categories:
        for members in [*members_of(draw), ()]:
            weight = (len(members) or OWN_CATEGORY) / (n_sorted + OWN_CATEGORY) / n_draws
            weights[members] = weights.get(members, 0.0) + weight
    return _heritages(model, weights)


def heritages_of_known(model, number):
    """Return the covariances that a class of `fit` may inherit, each with its probability.

    In each draw that is the covariance of the other classes of its super-category. Its own rows
    are no part of it: they would count twice.
    """
    weights = {}
    for draw in model.categories:
        members = tuple(k for k in np.flatnonzero(draw == draw[number]).tolist() if k != number)
        weights[members] = weights.get(members, 0.0) + 1.0 / len(model.categories)
    return _heritages(model, weights)


def _heritages(model, weights):
    """Return the heritages of sets of classes with their weights."""
    r, d = SHARE_OF_ALL * model.inherited_rows, model.n_components
    found, classes = [], model.classes
    for members, weight in weights.items():
        n_rows, scatter = counted(classes, members, model.inherited_rows)
        covariance = (r * np.eye(d) + scatter) / (r + n_rows)
        found.append(Heritage(float(np.log(weight)), covariance))
    return found


def are_definite(model):
    """Tell whether all covariances are positive definite that the classes of a model have.

    Those of a model that was learned are. Scatters from elsewhere may be no sums of squares.

    Parameters
    ----------
    model : ClassHierarchy
    """
    new, n_sorted = heritages_of_new(model), model.categories.shape[1]
    try:
        with one_blas_thread():
            for number, known in enumerate(model.classes):
                heritages = heritages_of_known(model, number) if number < n_sorted else new
                for _, inherited in heritages:
                    np.linalg.cholesky(inherited)
                    np.linalg.cholesky(class_covariance(known, inherited, model.inherited_rows))
            for _, inherited in new:
                np.linalg.cholesky(inherited)
    except np.linalg.LinAlgError:
        return False
    return True


def members_of(draw):
    """Return the super-categories of a draw as tuples of numbers of classes, in their order."""
    return [tuple(np.flatnonzero(draw == k).tolist()) for k in dict.fromkeys(draw.tolist())]


def counted(classes, members, inherited_rows):
    """Return rows and scatter of classes, as they count for the covariance of a super-category.

    A class with more rows counts as `inherited_rows` of them: however many it has, they tell of
    its own covariance, which is one that varies around that of its super-category.

    Parameters
    ----------
    classes : sequence of ClassRows
    members : sequence of int
    inherited_rows : float

    Returns
    -------
    tuple of (float, ndarray of shape (n_components, n_components) or 0.0)
    """
    n_rows, scatter = 0.0, 0.0
    for known in (classes[k] for k in members if classes[k].count > 1):
        share = min(1.0, inherited_rows / (known.count - 1))
        n_rows += share * (known.count - 1)
        scatter = scatter + share * known.scatter
    return n_rows, scatter


def draw_categories(classes, inherited_rows, stream, *, n_sweeps=12, n_draws=2):
    """Draw super-categories of classes from their posterior, by Gibbs sweeps.

    The prior is a Chinese restaurant process of weight `OWN_CATEGORY`. Classes of a
    super-category have rows of one covariance, inverse Wishart around I, which is integrated
    over exactly (:func:`log_of_scatter`); a class counts as at most `inherited_rows` rows
    (:func:`counted`), and where its mean is tells nothing. A sweep takes each class out and puts
    it back given the others (Neal 2000, "Markov chain sampling methods for Dirichlet process
    mixture models", algorithm 3). It begins with all classes together.

    Parameters
    ----------
    classes : sequence of ClassRows
        In coordinates in which the covariance of all classes is I.
    inherited_rows : float
    stream : Stream
    n_sweeps : int
    n_draws : int
        The states after the last so many sweeps.

    Returns
    -------
    ndarray of shape (n_draws, n_classes), int64
        Numbers of super-categories, from 0 in the order of their first class.
    """
    d, r = classes[0].scatter.shape[0], SHARE_OF_ALL * inherited_rows
    known = {}

    def evidence(members):
        key = tuple(sorted(members))
        if key not in known:
            n_rows, scatter = counted(classes, key, inherited_rows)
            known[key] = log_of_scatter(scatter, n_rows, np.eye(d), r)
        return known[key]

    groups, drawn = [list(range(len(classes)))], []
    for sweep in range(n_sweeps):
        uniforms = stream.at(sweep).uniform(1, len(classes), SAMPLE)[0]
        for number, uniform in enumerate(uniforms):
            groups = [[k for k in group if k != number] for group in groups]
            groups = [group for group in groups if group] + [[]]
            logs = np.array([
                np.log(len(group) or OWN_CATEGORY) + evidence([*group, number]) - evidence(group)
                for group in groups
            ])  # fmt: skip
            shares = np.exp(logs - logs.max()).cumsum()
            place = int(np.searchsorted(shares, float(uniform) * shares[-1]))
            groups[min(place, len(groups) - 1)].append(number)
            groups = [group for group in groups if group]
        drawn.append(_numbered(groups, len(classes)))
        if len(known) > MOST_KNOWN:
            known.clear()
    return np.array(drawn[-n_draws:])


def _numbered(groups, n_classes):
    """Return the number of each class's group, from 0 in the order of first classes."""
    numbers = np.empty(n_classes, np.int64)
    for number, group in enumerate(sorted(groups, key=min)):
        numbers[group] = number
    return numbers
