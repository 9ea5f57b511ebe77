"""One model as a service: the estimator, what it can be asked, and the work on requests."""

import contextlib
import hashlib
import logging
import threading

from deepgen._version import __version__
from deepgen.checks import has_role
from deepgen.errors import TimeLimitError
from deepgen.estimators.common.documents import reads_documents
from deepgen.estimators.loading import load
from deepgen.io import model_files
from deepgen.layers.units import LARGEST_VALUE
from deepgen.runtime.time_limit import TimeLimit
from deepgen.serving.abilities import HasPartition, abilities_of, takes_texts, visible_of
from deepgen.serving.bodies import plain_array
from deepgen.serving.limits import Limits
from deepgen.serving.metrics import Metrics
from deepgen.serving.work import Workshop

WIDEST = -LARGEST_VALUE, LARGEST_VALUE  # of rows whose model has no closer limits
_log = logging.getLogger("deepgen.serving")


class Service:
    """A fitted estimator and all that answers with it; Starlette knows it as ``app.state.service``.

    Parameters
    ----------
    estimator : BaseEstimator
        Fitted; it is the service's own from here on.
    sha256 : str
        Of its file; part of the names of answers (ETag).
    limits : Limits or None
        None: the defaults.
    without : collection of str
        Endpoints that are left out.
    n_threads : int or None
        Threads that compute, each on one core. None: as many as this process may use.

    Attributes
    ----------
    abilities : dict of str to Ability
    takes_texts : bool
        Whether rows can hold texts and truth values.
    feature_names : ndarray of str or None
        Of the columns.
    range_of_values : tuple of (float, float)
        What rows of numbers can hold at the most.
    is_binary : bool
        Whether all its states are 0 and 1.
    workshop : Workshop
    metrics : Metrics
    version : str
        Of deepgen: another one may give other last bits.
    """

    version = __version__

    def __init__(self, estimator, sha256="", *, limits=None, without=(), n_threads=None):
        self.estimator, self.sha256 = estimator, sha256
        self.limits = Limits() if limits is None else limits
        self.takes_texts = takes_texts(estimator)
        self.feature_names = getattr(estimator, "feature_names_in_", None)
        visible = visible_of(estimator)
        self.range_of_values = getattr(visible, "limits", None) or WIDEST
        self.is_binary = visible is not None and visible.is_bernoulli
        vars(estimator).pop("feature_names_in_", None)  # rows of requests have no names
        if "n_threads" in estimator.get_params(deep=False):
            estimator.set_params(n_threads=1)  # a thread for each request: same results
        self.abilities = abilities_of(estimator, self.limits, without)
        self.metrics = Metrics()
        self.workshop = Workshop(estimator, self.limits, self.metrics, n_threads)
        self._partition_limit, self._failure, self._ready = None, None, threading.Event()

    @classmethod
    def of_file(cls, path, *, limits=None, without=(), n_threads=None):
        """Return the service of a model file.

        Parameters
        ----------
        path : str or path-like
        limits, without, n_threads
            See the class.

        Raises
        ------
        ModelFileError, FileNotFoundError
            See :func:`deepgen.load`.
        ValueError
            If the model answers nothing about rows.
        """
        sha256 = _checksum(path)
        while True:
            estimator, before, sha256 = load(path), sha256, _checksum(path)
            if sha256 == before:  # else it was replaced while it was read
                return cls(estimator, sha256, limits=limits, without=without, n_threads=n_threads)

    # --- life ---------------------------------------------------------------------------------

    @property
    def needs_partition(self):
        """Whether an endpoint needs one log Z, which has to be computed first."""
        return (
            "score" in self.abilities
            and has_role(self.estimator, HasPartition)
            and not reads_documents(self.estimator)
        )

    def start(self):
        """Make ready: on a thread compute log Z, where likelihoods are asked for."""
        if not self.needs_partition:
            self._ready.set()
            return
        # a year is no limit; but the end of the service ends it
        self._partition_limit = TimeLimit(365 * 86_400.0)
        threading.Thread(target=self._compute_partition, daemon=True, name="log Z").start()

    def _compute_partition(self):
        try:
            with self._partition_limit:
                self.estimator.log_partition()
        except TimeLimitError:
            return
        except Exception as error:
            self._failure = f"log Z cannot be computed: {' '.join(str(error).split())}"
            _log.exception("log Z cannot be computed")
            return
        self._ready.set()

    def stop(self):
        """End all work."""
        if self._partition_limit is not None:
            self._partition_limit.end()
        self.workshop.close()

    def why_not_ready(self, name=None):
        """Return why the service, or one endpoint, cannot answer yet; None where it can."""
        if self._ready.is_set() or name not in (None, "score"):
            return None
        return self._failure or "log Z is being computed, which likelihoods need"

    # --- what it is ---------------------------------------------------------------------------

    def card(self):
        """Return what is served, as plain data."""
        config, tensors = model_files.describe(self.estimator.model_)
        names, classes = self.feature_names, None
        with contextlib.suppress(AttributeError):  # of an estimator that knows no classes
            classes = plain_array(self.estimator.classes_)
        return {
            "estimator": type(self.estimator).__name__,
            "model": config["model"],
            "layers": config.get("layers", []),
            "n_features": int(self.estimator.n_features_in_),
            "features": None if names is None else [str(name) for name in names],
            "classes": classes,
            "n_parameters": sum(int(tensor.size) for tensor in tensors.values()),
            "sha256": self.sha256,
            "deepgen": self.version,
            "log_partition": self._partition(),
            "endpoints": {
                name: {
                    "about": ability.endpoint.about, "most_rows": ability.most_rows,
                    "fields": {field: about.about for field, about in ability.fields.items()},
                }
                for name, ability in self.abilities.items()
            },
        }  # fmt: skip

    def _partition(self):
        if not self.needs_partition or not self._ready.is_set():
            return None
        bracket = self.estimator.log_partition()
        return {
            "lower": float(bracket.lower), "value": float(bracket.value),
            "upper": float(bracket.upper), "method": bracket.method,
        }  # fmt: skip


def _checksum(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
