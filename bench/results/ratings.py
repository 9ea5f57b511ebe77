"""What tables of ratings share: fits that are kept, blends, and the numbers of a row."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import deepgen as dg
from bench.results.rating_baselines import blended, ridge, triples
from bench.results.report import spread
from deepgen.estimators.common.ratings import ndcg_of_users

SEEDS = (0, 1, 2)
PLACES = 10  # of NDCG


@dataclass(frozen=True)
class Entry:
    """A model of a table.

    Attributes
    ----------
    name : str
    make : callable
        From (training ratings, seed) to what has `predict(users, items)`; ImportError where a
        package is missing.
    bars : str
        What the table must reach and what it aims at.
    n_seeds : int
        1 for what no seed changes, or takes long.
    ranks_only : bool
        Whether its predictions are no ratings.
    """

    name: str
    make: Callable
    bars: str = ""
    n_seeds: int = len(SEEDS)
    ranks_only: bool = False

    def seeds(self, quick):
        """Return the seeds of a table or of its quick form."""
        return SEEDS[: 1 if quick else self.n_seeds]


@dataclass(frozen=True)
class Blend:
    """A ridge regression of validation ratings on the predictions of some entries, by name."""

    name: str
    of: tuple
    bars: str = ""


def rbm(**settings):
    """Return what fits a RatingsRBM with these settings on one thread."""

    def make(matrix, seed):
        return dg.RatingsRBM(**settings, random_state=seed, n_threads=1).fit(matrix)

    return make


def fitted(store, key, entry, data, seed, *, blends):
    """Return the predictions and numbers of one fit, which is made once.

    Returns
    -------
    dict
        `test`, predictions of the test ratings; `medians`, where the model has them; `validation`,
        of the validation ratings after learning from the rest, if `blends`; `nll` of a test rating
        and `seconds` of processor time of the fit to `data.train`, `epoch` its share of one epoch;
        NaN where there is none.
    """

    def fit():
        began = time.process_time()
        model = entry.make(data.train, seed)
        seconds = time.process_time() - began
        arrays = {"seconds": seconds, "nll": np.nan, "epoch": np.nan}
        users, items, _ = triples(data.test)
        arrays["test"] = np.asarray(model.predict(users, items), np.float32)
        if isinstance(model, dg.RatingsRBM):
            arrays["nll"] = model.log_loss(data.test)
            arrays["epoch"] = seconds / model.n_epochs_
            if model.model_.scale.edges is not None:
                arrays["medians"] = medians(model, users, items)
        if blends:
            users, items, _ = triples(data.validation)
            model = entry.make(data.rest, seed)
            arrays["validation"] = np.asarray(model.predict(users, items), np.float32)
        return arrays

    return store.arrays(f"{key}-{entry.name}-{seed}", fit)


def medians(model, users, items):
    """Return the medians of continuous ratings that fell into bins, (n_pairs,).

    Within a bin probability is even; the outermost bins are as wide as their means say.
    """
    p = np.cumsum(model.predict_proba(users, items).astype(np.float64), axis=1)
    values, edges = model.scale_, np.array(model.model_.scale.edges)
    low, high = 2.0 * values[0] - edges[0], 2.0 * values[-1] - edges[-1]
    edges = np.concatenate([[low], edges, [high]])
    rows, number = np.arange(len(p)), np.minimum((p < 0.5).sum(axis=1), p.shape[1] - 1)
    below = np.where(number > 0, p[rows, number - 1], 0.0)
    share = np.clip((0.5 - below) / np.maximum(p[rows, number] - below, 1e-12), 0.0, 1.0)
    return (edges[number] + share * (edges[number + 1] - edges[number])).astype(np.float32)


def judged(test, predictions, bounds, *, ranks_only=False):
    """Return RMSE, mean absolute error and NDCG of predictions, those beyond the scale cut off.

    Parameters
    ----------
    test : csr_array
    predictions : ndarray of shape (n_ratings,)
    bounds : tuple of float
        Lowest and highest rating.
    ranks_only : bool
        Whether there are no errors to take.
    """
    users, _, ratings = triples(test)
    low, high = bounds
    # the gains of one to five stars, for any scale: 2^0 - 1 to 2^4 - 1
    gains = 4.0 * (ratings - low) / (high - low)
    found = {"ndcg": ndcg_of_users(users, predictions, gains, PLACES)}
    error = np.clip(predictions.astype(np.float64), low, high) - ratings
    found["rmse"] = np.nan if ranks_only else float(np.sqrt(np.mean(error * error)))
    found["mae"] = np.nan if ranks_only else float(np.mean(np.abs(error)))
    return found


def of_blend(validation, parts, bounds):
    """Return the test predictions of a blend: its weights are those of the validation ratings.

    Parameters
    ----------
    validation : csr_array
    parts : list of dict
        From :func:`fitted`.
    bounds : tuple of float
        Beyond them predictions are cut off before they are blended.
    """
    ratings = triples(validation)[2]
    inputs = {
        part: np.clip(np.stack([one[part] for one in parts], axis=1).astype(np.float64), *bounds)
        for part in ("validation", "test")
    }
    return blended(inputs["test"], ridge(inputs["validation"], ratings))


def results(store, splits, entries, blends, *, bounds, quick):
    """Yield (name, bars, numbers) of each entry and blend; numbers are a list by seed.

    Numbers of a seed are means over the splits. What is not installed is left out.

    Parameters
    ----------
    store : Store
    splits : dict
        From a name to what a loader returns.
    entries, blends : sequences of Entry and of Blend
    bounds : tuple of float
    quick : bool
    """
    parts = {name for blend in blends for name in blend.of}
    fits = {}
    for entry in entries:
        try:
            for seed in entry.seeds(quick):
                for split, data in splits.items():
                    fits[entry.name, seed, split] = fitted(
                        store, split, entry, data, seed, blends=entry.name in parts
                    )
        except ImportError as error:
            yield entry.name, str(error), []
            continue
        yield entry.name, entry.bars, [
            _mean([
                _numbers(data.test, fits[entry.name, seed, split], bounds, entry.ranks_only)
                for split, data in splits.items()
            ])
            for seed in entry.seeds(quick)
        ]  # fmt: skip
    n_seeds = {entry.name: len(entry.seeds(quick)) for entry in entries}
    for blend in blends:
        by_seed = []
        for seed in SEEDS[: max(n_seeds[name] for name in blend.of)]:
            by_split = []
            for split, data in splits.items():
                # of a model without a seed there is one fit for all
                members = [fits[n, min(seed, n_seeds[n] - 1), split] for n in blend.of]
                predictions = of_blend(data.validation, members, bounds)
                seconds = float(sum(member["seconds"] for member in members))
                by_split.append({**judged(data.test, predictions, bounds), "seconds": seconds})
            by_seed.append(_mean(by_split))
        yield blend.name, blend.bars, by_seed


def _numbers(test, fit, bounds, ranks_only):
    found = judged(test, fit["test"], bounds, ranks_only=ranks_only)
    if "medians" in fit:
        found["mae of medians"] = judged(test, fit["medians"], bounds)["mae"]
    return {**found, **{name: float(fit[name]) for name in ("nll", "seconds", "epoch")}}


def _mean(numbers):
    return {name: float(np.mean([one[name] for one in numbers])) for name in numbers[0]}


def cell(by_seed, name, digits):
    """Return mean (standard deviation) of a number, or nothing where a model has none."""
    values = [numbers[name] for numbers in by_seed if np.isfinite(numbers.get(name, np.nan))]
    return spread(values, digits) if values else ""


def star_row(data, name, bars, by_seed):
    """Return the row of a table of stars: what it is of, its bars, its numbers."""
    return (
        data, name, cell(by_seed, "rmse", 4), bars, cell(by_seed, "ndcg", 4),
        cell(by_seed, "nll", 3), len(by_seed), plain(by_seed, "seconds", 1),
        plain(by_seed, "epoch", 2),
    )  # fmt: skip


STAR_COLUMNS = (
    "data", "model", "RMSE", "must / aim", "NDCG@10", "NLL, nats", "seeds", "CPU s to fit",
    "CPU s an epoch",
)  # fmt: skip


def plain(by_seed, name, digits):
    """Return the mean alone of a number, or nothing where a model has none."""
    values = [numbers[name] for numbers in by_seed if np.isfinite(numbers.get(name, np.nan))]
    return f"{np.mean(values):.{digits}f}" if values else ""
