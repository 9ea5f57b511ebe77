"""What a service can be asked, and what the estimator behind it can answer: one table.

Routes, the checks of requests and the OpenAPI description are made of it.
"""

import inspect
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
from scipy import sparse

from deepgen.checks import has_role, is_integer
from deepgen.estimators import (
    DeepGaussianProcessRegressor,
    HierarchicalGaussian,
    NeighbourhoodComponents,
    RatingsRBM,
)
from deepgen.estimators.common.deep_boltzmann import (
    INFERENCES,
    DeepBoltzmannEstimator,
    has_label_units,
)
from deepgen.estimators.common.validation import table_of
from deepgen.serving.bodies import plain_array
from deepgen.serving.refusals import wrong

LARGEST_SEED = 2**53 - 1  # integers that any JSON reader keeps
MOST_WORDS = 100_000  # of one document
SHOWN = 10  # labels in a message
# BLAS rounds products of one row and of several differently, so their rows are never computed
# together with those of another request.
BY_BLAS = DeepGaussianProcessRegressor, HierarchicalGaussian, NeighbourhoodComponents


@runtime_checkable
class Transforms(Protocol):
    """An estimator that has features of rows."""

    def transform(self, X):
        """Return the features of rows."""


@runtime_checkable
class HasFreeEnergy(Protocol):
    """An estimator that tells the free energy of rows."""

    def free_energy(self, X):
        """Return the free energy of each row."""


@runtime_checkable
class ScoresRows(Protocol):
    """An estimator that tells log p(v) of rows."""

    def score_samples(self, X):
        """Return log p(v) of each row."""


@runtime_checkable
class Imputes(Protocol):
    """An estimator that completes rows."""

    def impute(self, X):
        """Return completed rows."""


@runtime_checkable
class Samples(Protocol):
    """An estimator that draws rows."""

    def sample(self, n_samples):
        """Return drawn rows."""


@runtime_checkable
class Predicts(Protocol):
    """An estimator that predicts labels, targets or components."""

    def predict(self, X):
        """Return a prediction for each row."""


@runtime_checkable
class PredictsProbabilities(Protocol):
    """An estimator that tells how probable each class or component is."""

    def predict_proba(self, X):
        """Return a probability for each row and class."""


@runtime_checkable
class HasPartition(Protocol):
    """An estimator whose likelihoods need a log Z that takes work."""

    def log_partition(self):
        """Return a bracket of log Z."""


@dataclass(frozen=True)
class Field:
    """One thing that a request can say beside its rows.

    Attributes
    ----------
    name : str
    parameter : str
        Of the estimator's method.
    about : str
    holds : {"integer", "flag", "choice", "label"}
    low, high : int
        Of an integer.
    choices : tuple
        Of a choice or a label.
    default : object
        None: the estimator's own, or that there is none.
    required : bool
    """

    name: str
    parameter: str
    about: str
    holds: str = "integer"
    low: int = 0
    high: int = LARGEST_SEED
    choices: tuple = ()
    default: object = None
    required: bool = False

    def checked(self, value):
        """Return a value that this field can have, as the estimator takes it.

        Raises
        ------
        Refusal
            422 where it is no such value.
        """
        if self.holds == "integer":
            if isinstance(value, float) and value.is_integer():  # 1.0 is an integer of JSON
                value = int(value)
            if not is_integer(value) or not self.low <= value <= self.high:
                raise wrong(self.name, f"be an integer from {self.low} to {self.high}", value)
        elif self.holds == "flag":
            if not isinstance(value, bool):
                raise wrong(self.name, "be true or false", value)
        elif self.holds == "choice":
            if value not in self.choices:
                raise wrong(self.name, f"be {' or '.join(map(repr, self.choices))}", value)
        else:
            labels = value if isinstance(value, list) else [value]
            known = ", ".join(map(repr, self.choices[:SHOWN]))
            known += ", ..." if len(self.choices) > SHOWN else ""
            if not 1 <= len(labels) <= self.high:
                raise wrong(self.name, f"have 1 to {self.high} labels", f"{len(labels)}")
            for label in labels:
                if self.place_of(label) is None:
                    raise wrong(self.name, f"be of {known}, or a list of these", label)
        return value

    def place_of(self, value):
        """Return the number of a choice, counted from 0, or None; true and 1 are two things."""
        for place, choice in enumerate(self.choices):
            if choice == value and isinstance(choice, bool) == isinstance(value, bool):
                return place
        return None

    def parsed(self, text):
        """Return the value that a text of a query has."""
        if self.holds == "integer":
            digits = text.isascii() and text.isdigit() and len(text) < 20
            return int(text) if digits else text
        if self.holds == "flag":
            return {"true": True, "false": False}.get(text, text)
        return text


@dataclass(frozen=True)
class Endpoint:
    """One thing that a service answers, under ``/v1/`` and its name.

    Attributes
    ----------
    name : str
    about : str
    role : type
        What the estimator must be, a Protocol.
    method : str
        That is called.
    values : str
        What the answer holds.
    fields : tuple of Field
    reads_rows : bool
    apart : bool
        Whether an answer is the same for a row alone and in company, so that requests can be
        computed together. Draws depend on a row's number.
    """

    name: str
    about: str
    role: type
    method: str
    values: str
    fields: tuple = ()
    reads_rows: bool = True
    apart: bool = True


_SEED = Field("seed", "random_state", "Same seed and same rows: same bytes.", default=0)
_STD = Field("std", "return_std", "Also give the deviation of each value.", "flag")
_SWEEPS = Field("n_sweeps", "n_sweeps", "Sweeps of each chain.")
_INFERENCE = Field(
    "inference", "inference", "How a deep machine infers its hidden layers; log p by TAP is no "
    "bound.", "choice", choices=INFERENCES,
)
_WORDS = Field("n_words", "n_words", "Of documents: how many words.", low=1, high=MOST_WORDS)

ENDPOINTS = {
    endpoint.name: endpoint
    for endpoint in (
        Endpoint(
            "transform", "Features of rows.", Transforms, "transform", "features, a row each",
            (Field("quantity", "quantity", "Means of hidden units, or the fields behind them.",
                   "choice", choices=("mean", "field")), _INFERENCE),
        ),
        Endpoint(
            "free_energy", "Free energy of rows, in nats: low for likely rows.", HasFreeEnergy,
            "free_energy", "a number for each row",
        ),
        Endpoint(
            "score", "log p of each row, in nats.", ScoresRows, "score_samples",
            "a number for each row", (_INFERENCE,),
        ),
        Endpoint(
            "impute", "Rows with their missing values (null, NaN) completed.", Imputes, "impute",
            "the rows, completed",
            (_SEED, Field("n_chains", "n_chains", "Chains of each row.", low=1), _SWEEPS, _WORDS,
             Field("method", "method", "Means of what is missing, or one joint draw.", "choice",
                   choices=("mean", "draw")),
             _STD),
            apart=False,
        ),
        Endpoint(
            "sample", "Rows drawn from the model.", Samples, "sample", "drawn rows",
            (Field("n", "n_samples", "How many rows.", low=1, default=1), _SEED, _SWEEPS,
             Field("y", "y", "The class of all rows, or classes that they have in turn.", "label"),
             _WORDS),
            reads_rows=False, apart=False,
        ),
        Endpoint(
            "predict", "The label, the targets or the component that rows most probably have.",
            Predicts, "predict", "a prediction for each row",
            (Field("proba", "proba", "Give the probability of each class instead.", "flag"), _STD),
        ),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Ability:
    """An endpoint as one estimator has it.

    Attributes
    ----------
    endpoint : Endpoint
    fields : dict of str to Field
        Those that the estimator's method takes, within the limits.
    most_rows : int
    apart : bool
        As the endpoint's, where the estimator's arithmetic keeps it.
    takes_gaps : bool
        Whether values can be missing in its rows.
    """

    endpoint: Endpoint
    fields: dict
    most_rows: int
    apart: bool
    takes_gaps: bool = False

    def answer(self, estimator, rows, options):
        """Call the estimator.

        Parameters
        ----------
        estimator : BaseEstimator
        rows : ndarray or None
        options : dict
            By parameter of the method.

        Returns
        -------
        tuple of (ndarray, ndarray or None)
            Values, and their deviations where these were asked for.
        """
        options = dict(options)
        method = self.endpoint.method
        if self.endpoint.role is ScoresRows:
            _require_states(estimator, rows)
        if "y" in options:
            asked = options["y"] if isinstance(options["y"], list) else [options["y"]]
            places = [self.fields["y"].place_of(label) for label in asked]
            options["y"] = np.resize(estimator.classes_[places], options["n_samples"])
        if options.pop("proba", False):
            method = "predict_proba"
        given = (rows,) if self.endpoint.reads_rows else ()
        answer = getattr(estimator, method)(*given, **options)
        if options.get("return_std"):
            return tuple(map(_as_array, answer))
        return _as_array(answer), None


def abilities_of(estimator, limits, without=()):
    """Return what an estimator can be asked, by name of the endpoint.

    Parameters
    ----------
    estimator : BaseEstimator
    limits : Limits
    without : collection of str
        Endpoints that are left out all the same.

    Returns
    -------
    dict of str to Ability

    Raises
    ------
    ValueError
        If `without` names what is no endpoint, or nothing is left.
    """
    unknown = sorted(set(without) - set(ENDPOINTS))
    if unknown:
        raise ValueError(f"without must name endpoints, {', '.join(ENDPOINTS)}, got {unknown[0]!r}")
    able = {
        name: _ability(estimator, endpoint, limits)
        for name, endpoint in ENDPOINTS.items()
        if name not in without and _can(estimator, endpoint)
    }
    if not able:
        raise ValueError(
            f"model must be one that answers about rows, got a {type(estimator).__name__}"
            f"{' and without ' + ', '.join(without) if without else ''}"
        )
    return able


def _ability(estimator, endpoint, limits):
    """Return an endpoint as an estimator has it; it is tried whether it takes gaps."""
    most_rows = limits.rows_of(_width(estimator, endpoint))
    apart = endpoint.apart and not isinstance(estimator, BY_BLAS)
    ability = Ability(endpoint, fields_of(estimator, endpoint, limits), most_rows, apart)
    if endpoint.role is Imputes:
        return replace(ability, takes_gaps="n_words" not in ability.fields)
    if not endpoint.reads_rows or endpoint.role in (ScoresRows, HasFreeEnergy):
        return ability
    gaps = np.full((1, int(estimator.n_features_in_)), np.nan)
    try:
        ability.answer(estimator, gaps.astype(object) if takes_texts(estimator) else gaps, {})
    except ValueError:
        return ability
    return replace(ability, takes_gaps=True)


def _require_states(estimator, rows):
    """Raise a refusal where rows lie between states: they have no likelihood."""
    visible = visible_of(estimator)
    if visible is None or takes_texts(estimator):
        return
    if not visible.is_state(visible.states_of(rows)):
        expected = "hold states, such as 0 and 1, for a likelihood"
        raise wrong("rows", expected, "values between them", "binarize grey values first")


def visible_of(estimator):
    """Return the layer that rows are states of; None of a network, and of Gaussian classes."""
    return getattr(estimator.model_, "visible", None)


def _can(estimator, endpoint):
    if isinstance(estimator, RatingsRBM):  # which answers about users and items
        return False
    if not has_role(estimator, endpoint.role):
        return False
    # found on the class also where scikit-learn would say that this one has no such method
    if endpoint.role is Predicts and isinstance(estimator, DeepBoltzmannEstimator):
        return has_label_units(estimator)
    return True


def fields_of(estimator, endpoint, limits):
    """Return the fields of an endpoint that an estimator's method takes, within the limits."""
    taken = inspect.signature(getattr(estimator, endpoint.method)).parameters
    highest = {"n_sweeps": limits.sweeps, "n_chains": limits.chains, "n": limits.chains}
    fields = {}
    for field in endpoint.fields:
        if field.name == "proba":
            there = has_role(estimator, PredictsProbabilities)
        elif field.name == "y":
            there = field.parameter in taken and has_label_units(estimator)
        elif field.name == "n_words":
            there = field.parameter in taken and estimator.model_.visible.takes_trials
        else:
            there = field.parameter in taken
        if not there:
            continue
        default, required = field.default, field.required
        if field.name != "proba":
            own = taken[field.parameter].default
            required = own is inspect.Parameter.empty and default is None
            if default is None and own not in (None, inspect.Parameter.empty):
                default = own
        else:
            default = False
        high, choices = highest.get(field.name, field.high), field.choices
        if field.holds == "label":
            high, choices = limits.chains, tuple(plain_array(estimator.classes_))
        if is_integer(default):
            default = min(default, high)
        fields[field.name] = replace(
            field, default=default, required=required, high=high, choices=choices
        )
    return fields


def _width(estimator, endpoint):
    """Return how many numbers a row of an answer has, at the most."""
    n_features = int(estimator.n_features_in_)
    if endpoint.name == "transform":
        return max(n_features, len(estimator.get_feature_names_out()))
    if endpoint.name == "impute":  # with deviations
        return 2 * n_features
    return n_features


def takes_texts(estimator):
    """Tell whether rows can hold texts and truth values: of a model of tables."""
    return table_of(estimator) is not None


def _as_array(answer):
    """Return an answer as an array: of sparse rows, of a data frame, of labels of any kind."""
    if hasattr(answer, "columns"):
        return answer.to_numpy(dtype=object)
    return answer.toarray() if sparse.issparse(answer) else np.asarray(answer)
