"""Names of a data frame's columns: learned, kept in files, compared with those of later frames."""

import json
import struct
import warnings

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load as parse
from safetensors.numpy import save as serialize

import deepgen as dg
from deepgen.io import model_files
from deepgen.io.texts import tensors_of, texts_of

RUN = {"n_epochs": 1, "batch_size": 20, "random_state": 0, "n_threads": 1}
NAMES = ["age", "größe", "日本", "", "x y", "\ud800half a pair"]
X = pd.DataFrame(
    (np.random.default_rng(0).random((60, 6)) < 0.5).astype(np.uint8),
    columns=pd.Index(NAMES, dtype=object),  # pyarrow, where pandas has it, takes no half pair
)
Y = np.arange(60) % 2
MODELS = {
    "rbm": lambda: dg.RBM(3, **RUN),
    "dbn": lambda: dg.DBN((4, 3), **RUN),
    "dbm": lambda: dg.DBM((4, 3), **RUN),
    "labels": lambda: dg.DBM((4, 3), label_units=True, **RUN),
    "mixture": lambda: dg.MixtureOfBernoullis(2, random_state=0),
    "products": lambda: dg.MixtureOfProducts(2, visible="binary", random_state=0),
    "autoencoder": lambda: dg.Autoencoder(3, **RUN),
    "deep autoencoder": lambda: dg.DeepAutoencoder((4, 2), **RUN),
    "classifier": lambda: dg.DeepClassifier((4,), **RUN),
    "regressor": lambda: dg.DeepRegressor((4,), **RUN),
    "process": lambda: dg.DeepGaussianProcessRegressor((4,), **RUN),
    "hierarchy": lambda: dg.HierarchicalGaussian(2, random_state=0),
    "neighbours": lambda: dg.NeighbourhoodComponents((4,), 2, **RUN),
}


class Frames:
    def __iter__(self):
        return iter([X[:30], X[30:]])


def message_of(call, *arguments):
    with pytest.raises(ValueError, match=r"feature names|Feature names") as caught:
        call(*arguments)
    return str(caught.value)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("model", MODELS)
def test_a_file_keeps_the_names_of_columns(model, tmp_path):
    """Would catch a loaded model that takes columns in another order for those that it learned,
    and a warning about names in `fit` itself."""
    fitted = MODELS[model]().fit(X, Y)
    fitted.save(tmp_path / "m")
    again = dg.load(tmp_path / "m")
    assert again.feature_names_in_.tolist() == NAMES
    assert again.feature_names_in_.dtype == object
    method = "transform" if hasattr(fitted, "transform") else "predict"
    assert np.array_equal(getattr(again, method)(X), getattr(fitted, method)(X))
    renamed = X.set_axis(pd.Index(["ages", *NAMES[1:]], dtype=object), axis=1)
    for other in (X.iloc[:, ::-1], renamed):
        before, after = (message_of(getattr(one, method), other) for one in (fitted, again))
        assert before == after
        assert "must be in the same order" in before or "unseen at fit time" in before
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="does not have valid feature names"):
            getattr(again, method)(X.to_numpy())


def test_names_of_batches_are_names_too():
    """Would catch frames that come in batches, whose names are compared with each other only."""
    rbm = dg.RBM(3, **RUN).fit(Frames())
    assert rbm.feature_names_in_.tolist() == NAMES
    message_of(rbm.transform, X.iloc[:, ::-1])


def test_more_names_than_a_header_holds(tmp_path):
    """Would catch names in the header, of which no more than 1 MiB is read, and a file that is
    written and then not read."""
    names = [f"a column whose name has {number:060d} in it" for number in range(15_000)]
    wide = pd.DataFrame(np.tile(X.to_numpy(), (1, 2500)), columns=names)
    dg.RBM(2, **RUN).fit(wide).save(tmp_path / "m")
    assert dg.load(tmp_path / "m").feature_names_in_.tolist() == names
    classes = np.array([f"{number:070d}" for number in range(15_000)])
    rows = np.zeros((30_000, 2), np.uint8)
    dg.DeepClassifier((2,), n_epochs=1, batch_size=10_000).fit(rows, classes.repeat(2)).save(
        tmp_path / "c"
    )
    assert np.array_equal(dg.load(tmp_path / "c").classes_, classes)
    model = dg.RBM(3, **RUN).fit(X).model_
    with pytest.raises(ValueError, match=r"header of .* would take .* bytes"):
        model_files.save(model, tmp_path / "n", extra={"numbers": list(range(300_000))})
    assert not (tmp_path / "n").exists()


def test_files_without_names_have_none(tmp_path):
    """Would catch a model of an array that asks for names; old files have no names either."""
    dg.RBM(3, **RUN).fit(X.to_numpy()).save(tmp_path / "m")
    again = dg.load(tmp_path / "m")
    assert not hasattr(again, "feature_names_in_")
    assert "texts" not in header(tmp_path / "m")


def header(path):
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["deepgen"])


def changed(path, change):
    """Change configuration and tensors of a file, and sign it anew."""
    config, tensors = header(path), dict(parse(path.read_bytes()))
    change(config, tensors)
    del config["sha256"]
    config["sha256"] = model_files.checksum(config, tensors)
    path.write_bytes(serialize(tensors, metadata={"deepgen": json.dumps(config, sort_keys=True)}))


BYTES, ENDS = "texts.feature_names.bytes", "texts.feature_names.ends"


def with_ends(*ends):
    return lambda config, tensors: tensors.update({ENDS: np.array(ends, np.int64)})


def with_sizes(sizes):
    return lambda config, tensors: config.update(texts=sizes)


def with_names(*names):
    def change(config, tensors):
        tensors |= tensors_of("feature_names", names)
        config["texts"] = {"feature_names": [len(tensors[ENDS]), len(tensors[BYTES])]}

    return change


def twice(config, tensors):
    config["extra"]["feature_names"] = ["a"]


def not_utf8(config, tensors):
    tensors[BYTES] = np.full_like(tensors[BYTES], 0xFF)


DAMAGE = {
    "fall": (with_ends(3, 2, 6, 6, 9, 26), "end outside"),
    "beyond": (with_ends(3, 9, 15, 15, 18, 10**9), "end outside"),
    "negative": (with_ends(-3, 9, 15, 15, 18, 34), "end outside"),
    "short": (with_ends(0, 1, 2, 3, 4, 5), "end outside"),
    "no UTF-8": (not_utf8, "not UTF-8"),
    "no sizes": (with_sizes({}), "texts is not an object of sizes"),
    "a list": (with_sizes([1]), "texts is not an object of sizes"),
    "sizes of text": (with_sizes({"feature_names": ["6", 34]}), "no valid sizes"),
    "other sizes": (with_sizes({"feature_names": [6, 35]}), "must be U8 of shape"),
    "negative sizes": (with_sizes({"feature_names": [6, -1]}), "no valid sizes"),
    "another list": (with_sizes({"feature_names": [6, 34], "b": [1, 1]}), "missing or unknown"),
    "too few": (with_names("a", "b"), "must name 6 columns"),
    "twice": (twice, "a name stands in texts and in extra"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_names_are_refused(name, tmp_path):
    """Would catch offsets that are believed, and names that do not fit the model."""
    change, message = DAMAGE[name]
    path = tmp_path / "m"
    dg.RBM(3, **RUN).fit(X).save(path)
    changed(path, lambda config, tensors: None)
    assert dg.load(path).feature_names_in_.tolist() == NAMES
    changed(path, change)
    with pytest.raises(dg.ModelFileError, match=message):
        dg.load(path)


def test_texts_come_back():
    """Would catch a text that is empty, of several bytes a letter, or only one."""
    for texts in ([""], ["a"], NAMES, ["", "", ""], ["\U0001f600" * 9, "\0", "é"]):
        assert texts_of("t", tensors_of("t", texts)) == texts
