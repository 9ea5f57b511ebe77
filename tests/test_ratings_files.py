"""Files of models of ratings: what is kept, what is damaged, what a stranger may have made."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from model_files import config_of, metadata_of, pack, unpack
from safetensors.numpy import load as parse
from safetensors.numpy import save as serialize
from sklearn.exceptions import NotFittedError

import deepgen as dg
from deepgen.io import texts
from deepgen.io.schemas.ratings import RatingMachineSchema

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="module")
def blob(tmp_path_factory):
    """A whole, valid file with identifiers and conditional weights."""
    path = tmp_path_factory.mktemp("ratings") / "whole"
    rng = np.random.default_rng(0)
    users, items = np.nonzero(rng.random((5, 4)) < 0.8)
    values = np.arange(len(users)) % 3 + 1
    ratings = dg.Ratings.from_triples([f"u{user}" for user in users], items, values)
    dg.RatingsRBM(3, n_epochs=2, random_state=0).fit(ratings).save(path)
    return path.read_bytes()


def outcome(data, path):
    """Load bytes as a file: the error, or the model after it has answered; nothing else."""
    path.write_bytes(data)
    try:
        model = dg.load(path)
    except dg.ModelFileError as error:
        if str(path) not in str(error):
            raise AssertionError(f"the error does not name the file: {error}") from error
        return error
    with warnings.catch_warnings():  # a flipped exponent gives huge weights; still a model
        warnings.simplefilter("ignore", RuntimeWarning)
        ids, _ = model.recommend(n=3)
    assert ids.shape == (model.n_users_, 3)
    return model


def changed(blob, entries=None, tensors=None, extra=None):
    """The same file with other entries or tensors, and a checksum that fits."""
    config = {**config_of(unpack(blob)[0]), **(entries or {})}
    config["extra"] = {**config["extra"], **(extra or {})}
    arrays = {**parse(blob), **(tensors or {})}
    return serialize(arrays, metadata=metadata_of(config, arrays))


def test_a_golden_file_with_identifiers_loads():
    """Would catch another form of identifiers, by which files that users have lose their names.

    It was written once, by ``from_model(machine, "users", ["ann", 7], [-1, "7", "\\ud800"]).save``
    of the machine of ratings_v2.safetensors."""
    model, plain = dg.load(DATA / "ratings_ids_v2.safetensors"), dg.load(
        DATA / "ratings_v2.safetensors"
    )
    assert model.user_ids_.tolist() == ["ann", 7]
    assert model.item_ids_.tolist() == [-1, "7", "\ud800"]
    assert model.predict("ann", ["7", -1]).tolist() == plain.predict(0, [1, 0]).tolist()


def test_every_truncation_is_refused(blob, tmp_path):
    """Would catch a model of half of its tensors."""
    for length in range(0, len(blob), 7):
        assert isinstance(outcome(blob[:length], tmp_path / "a"), dg.ModelFileError)


def test_flipped_bits_give_a_model_or_one_error(blob, tmp_path):
    """Would catch any other error, and damage that goes unnoticed."""
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(blob), 150):
        data = bytearray(blob)
        data[place] ^= 1 << int(rng.integers(8))
        assert isinstance(outcome(bytes(data), tmp_path / "a"), dg.ModelFileError)


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"n_columns": 6}, "must be F32|missing or unknown"),
        ({"n_columns": True}, "n_columns is not valid"),
        ({"n_hidden": 0}, "n_hidden is not valid"),
        ({"n_known": -1}, "n_known is not valid"),
        ({"n_known": 0}, "missing or unknown"),
        ({"n_known": False}, "n_known is not valid"),
        ({"conditional": 1}, "neither true nor false"),
        ({"conditional": False}, "missing or unknown"),
        ({"scale": [1, 3, 2]}, "scale must ascend"),
        ({"scale": [1]}, "no valid number of values"),
        ({"scale": list(range(21))}, "no valid number of values"),
        ({"scale": [1, 2, "3"]}, "scale must ascend"),
        ({"scale": 3}, "scale must ascend"),
        ({"scale": [1, 2, 1e300]}, "differ in float32"),
        ({"edges": [1.5]}, "edges do not fit"),
        ({"edges": [2.5, 1.5]}, "edges must ascend"),
        ({"format_version": 1}, "has format version 2, not 1"),
        ({"format_version": 3}, "update deepgen"),
        ({"further": 1}, "unknown or missing entries"),
        ({"n_columns": 2**31}, "n_columns is not valid"),
    ],
)
def test_entries_that_no_machine_has_are_refused(entries, words, blob, tmp_path):
    """Would catch a count that decides over memory before it is checked, and a scale without
    order, whose ratings would be taken for others."""
    error = outcome(changed(blob, entries), tmp_path / "a")
    assert isinstance(error, dg.ModelFileError)
    with pytest.raises(dg.ModelFileError, match=words):
        raise error


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("weights", np.nan, "finite"),
        ("bias", np.inf, "finite"),
        ("conditional", 3e38, "so large that fields overflow"),
        ("weights", -3e38, "so large that fields overflow"),
        ("known_means", 1.5, "no means of binary units"),
        ("known_means", -0.5, "no means of binary units"),
    ],
)
def test_numbers_that_no_machine_has_are_refused(name, value, words, blob, tmp_path):
    """Would catch NaN that is recommended to everybody."""
    array = parse(blob)[name].copy()
    array.reshape(-1)[:] = value
    error = outcome(changed(blob, tensors={name: array}), tmp_path / "a")
    with pytest.raises(dg.ModelFileError, match=words):
        raise error


def test_a_side_that_is_none_is_refused(blob, tmp_path):
    """Would catch a model of films that answers as one of users."""
    for rows in ("films", 3, None):
        error = outcome(changed(blob, extra={"rows": rows}), tmp_path / "a")
        assert isinstance(error, dg.ModelFileError)


@pytest.mark.parametrize("ends", [[1, 2, 3, 4, 99], [9, 1, 2, 3, 20], [-1, 4, 8, 12, 20]])
def test_texts_that_end_elsewhere_are_refused(ends, blob, tmp_path):
    """Would catch identifiers that are read beyond their bytes."""
    tensors = {"texts.user_ids.ends": np.array(ends, np.int64)}
    assert isinstance(outcome(changed(blob, tensors=tensors), tmp_path / "a"), dg.ModelFileError)


def test_sizes_that_the_file_does_not_hold_are_refused(blob, tmp_path):
    """Would catch memory that is taken for what a header promises."""
    header, data = unpack(blob)
    config = config_of(header)
    config["texts"]["user_ids"] = [5, 2**40]
    header["__metadata__"] = metadata_of(config, parse(blob))
    header["texts.user_ids.bytes"]["shape"] = [2**40]
    assert isinstance(outcome(pack(header, data), tmp_path / "a"), dg.ModelFileError)
    assert "sha256" in json.dumps(header)


def test_there_may_be_more_users_than_units_of_a_layer():
    """Would catch a model of 20 million users that can be saved and not loaded: the limit is the
    one of the known rows, and the file must have all that it says."""
    n, config = 2**31 - 1, {"conditional": False, "scale": [1, 2], "edges": None}
    for sizes in ({"n_columns": n, "n_known": 5}, {"n_columns": 5, "n_known": n}):
        RatingMachineSchema().check({**config, **sizes, "n_hidden": 1})
    assert texts.shapes({"user_ids": [n, 2**40]})["texts.user_ids.ends"] == ("I64", (n,))
    with pytest.raises(ValueError, match="no valid sizes"):
        texts.shapes({"user_ids": [n + 1, 2**40]})


# ------------------------------------------------------------------------- before there is a model


@pytest.mark.parametrize(
    "ask",
    [
        lambda m: m.predict(0, 0), lambda m: m.predict_proba(0, 0), lambda m: m.recommend(),
        lambda m: m.similar_items(0), lambda m: m.item_features(), lambda m: m.transform(None),
        lambda m: m.score(None), lambda m: m.log_loss(None), lambda m: m.ndcg(None),
        lambda m: m.score_samples(None), lambda m: m.save("m"),
    ],
)  # fmt: skip
def test_what_is_not_fitted_says_so(ask, tmp_path, monkeypatch):
    """Would catch an AttributeError of an estimator that nobody has fitted."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFittedError):
        ask(dg.RatingsRBM())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"random_state": -1}, "random_state"), ({"random_state": "x"}, "random_state"),
        ({"n_threads": 1.5}, "n_threads"), ({"callbacks": [3]}, "callbacks"),
        ({"n_epochs": 2.5}, "n_epochs"), ({"n_hidden": "3"}, "n_hidden"),
    ],
)  # fmt: skip
def test_bad_common_settings_leave_the_model_as_it_was(settings, words):
    """Would catch a fitted estimator that a slip has emptied."""
    ratings = dg.Ratings.from_triples([1, 1, 2], [1, 2, 1], [1, 2, 3])
    model = dg.RatingsRBM(2, n_epochs=1, random_state=0).fit(ratings)
    before = model.model_
    with pytest.raises((ValueError, TypeError), match=words):
        model.set_params(**settings).fit(ratings)
    assert model.model_ is before
    assert model.user_ids_.tolist() == [1, 2]


def test_a_fit_on_a_matrix_forgets_the_identifiers_of_before():
    """Would catch names of users of another table."""
    ratings = dg.Ratings.from_triples(["a", "a", "b"], [1, 2, 1], [1, 2, 3])
    model = dg.RatingsRBM(2, n_epochs=1, random_state=0).fit(ratings)
    model.fit(ratings.matrix)
    assert model.user_ids_ is None
    assert model.recommend(ratings.matrix, 1)[0].dtype == np.int64
