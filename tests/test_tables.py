"""Tables as people have them: `visible="auto"`, from data frames and back to them."""

import json
import pickle
import struct

import numpy as np
import pandas as pd
import pytest
from conftest import assert_same_bits
from safetensors.numpy import load as parse
from safetensors.numpy import save as serialize
from sklearn.base import clone

import deepgen as dg
from deepgen.estimators.common.tables import Table
from deepgen.io import model_files

RUN = {"n_epochs": 3, "random_state": 0, "n_threads": 1}
MODELS = {
    "rbm": lambda **more: dg.RBM(6, visible="auto", **RUN, **more),
    "dbn": lambda **more: dg.DBN((5, 4), visible="auto", **RUN, **more),
    "dbm": lambda **more: dg.DBM((5, 4), visible="auto", **RUN, **more),
    "dbm at once": lambda: dg.DBM((5, 4), visible="auto", pretrained=None, **RUN),
}


def frame_of(n_rows=200, seed=0):
    """A table with columns of every kind; a common cause makes them depend on each other."""
    rng = np.random.default_rng(seed)
    cause = rng.integers(0, 3, n_rows)
    shapes = ["bell", "flat", "knobbed", "sunken", "rare"]
    shape = np.array(shapes)[(cause + rng.integers(0, 2, n_rows)) % 4]
    return pd.DataFrame(
        {
            "shape": pd.Categorical(shape, categories=["sunken", *shapes[:3], "rare"]),
            "odor": np.array(["almond", "foul", "größe"])[cause],
            "veil": "partial",
            "bruises": rng.random(n_rows) < 0.2 + 0.3 * cause,
            "gill": (cause > 1).astype(np.int32),
            "height": 2.0 * cause + rng.normal(size=n_rows),
            "rings": rng.poisson(3 + cause),
            "code": pd.Categorical(cause * 10),
        },
        index=np.arange(n_rows) + 7,
    )


FRAME = frame_of()
WIDTH = 5 + 3 + 0 + 1 + 1 + 1 + 1 + 3


def test_columns_become_units_by_their_types():
    """Would catch a column of another type than it has, and categories in another order."""
    rbm = MODELS["rbm"]().fit(FRAME)
    kinds = {name: column.holds for name, column in zip(FRAME, rbm.table_.columns, strict=True)}
    assert kinds == {
        "shape": "categorical", "odor": "categorical", "veil": "categorical", "bruises": "binary",
        "gill": "binary", "height": "real", "rings": "real", "code": "categorical",
    }  # fmt: skip
    assert rbm.table_.columns[0].categories == ("sunken", "bell", "flat", "knobbed", "rare")
    assert rbm.table_.columns[1].categories == ("almond", "foul", "größe")
    assert rbm.n_features_in_ == 8
    assert rbm.feature_names_in_.tolist() == list(FRAME)
    visible = rbm.model_.visible
    assert visible.size == rbm.table_.width == WIDTH
    assert repr(visible) == (
        "Mixed([Softmax(size=5, n_categories=5), Softmax(size=6, n_categories=3), Binary(size=2), "
        "Gaussian(size=2)])"
    )
    states, missing = rbm.table_.read(FRAME)
    assert not missing.any()
    expected = np.hstack([
        pd.get_dummies(FRAME["shape"]), pd.get_dummies(FRAME["odor"]),
        pd.get_dummies(FRAME["code"]), FRAME[["bruises", "gill", "height", "rings"]],
    ]).astype(np.float32)  # fmt: skip
    assert_same_bits(states, expected)
    assert "Table({'shape': 'categorical'" in repr(rbm.table_)


def test_the_machine_is_that_of_the_states():
    """Would catch a table whose machine learns other rows than its states."""
    rbm = MODELS["rbm"]().fit(FRAME)
    states, _ = rbm.table_.read(FRAME)
    same = dg.RBM(6, visible=rbm.table_.units, **RUN).fit(states)
    for one, other in zip(rbm.model_.weights, same.model_.weights, strict=True):
        assert_same_bits(one, other)
    assert_same_bits(rbm.transform(FRAME), same.transform(states))
    assert_same_bits(rbm.score_samples(FRAME), same.score_samples(states))
    assert_same_bits(rbm.free_energy(FRAME), same.free_energy(states))
    wide = dg.RBM(40, visible="auto", **RUN).fit(frame_of(20).drop(columns=["shape", "code"]))
    assert wide.log_partition(n_chains=3, n_betas=5).method != "exact"
    assert np.isfinite(wide.score(frame_of(20).drop(columns=["shape", "code"])))
    draws = rbm.table_.rows(same.sample(20, random_state=1))
    pd.testing.assert_frame_equal(rbm.sample(20, random_state=1), draws)


@pytest.mark.parametrize("model", MODELS)
def test_frames_go_in_and_come_out(model, tmp_path):
    """Would catch a frame that comes back as an array, or with other types, index or names."""
    fitted = MODELS[model]().fit(FRAME)
    for n_samples in (4, 0):
        draws = fitted.sample(n_samples, n_sweeps=3, random_state=0)
        assert draws.dtypes.to_dict() == FRAME.dtypes.to_dict()
        assert draws.shape == (n_samples, 8)
        assert set(draws["odor"]) <= {"almond", "foul", "größe"}
    holes = FRAME.copy()
    rng = np.random.default_rng(1)
    for name in FRAME:
        if name not in ("bruises", "gill", "rings"):
            holes[name] = holes[name].mask(rng.random(len(holes)) < 0.3)
    options = {"n_chains": 2, "n_sweeps": 3, "random_state": 0}
    completed, deviation = fitted.impute(holes, return_std=True, **options)
    assert completed.dtypes.to_dict() == holes.dtypes.to_dict()
    assert completed.index.equals(holes.index)
    assert not completed.isna().any(axis=None)
    kept = holes.notna()
    assert (completed.astype(object) == holes.astype(object)).to_numpy()[kept.to_numpy()].all()
    assert deviation.shape == holes.shape
    assert not deviation[kept.to_numpy()].any()
    assert (deviation[:, 5][~kept["height"]] > 0.1).all()
    drawn = fitted.impute(holes, method="draw", **options)
    assert drawn.dtypes.to_dict() == holes.dtypes.to_dict()
    missing = np.zeros(FRAME.shape, np.bool_)
    missing[:3, 3] = missing[:3, 6] = True
    by_mask = fitted.impute(FRAME, missing, **options)
    assert by_mask.dtypes.to_dict() == FRAME.dtypes.to_dict()
    assert by_mask[3:].equals(FRAME[3:])
    fitted.save(tmp_path / "m")
    again = dg.load(tmp_path / "m")
    assert again.visible == "auto"
    assert_same_bits(again.transform(FRAME), fitted.transform(FRAME))
    pd.testing.assert_frame_equal(again.impute(holes, **options), completed)
    assert again.sample(2).dtypes.to_dict() == FRAME.dtypes.to_dict()
    copied = pickle.loads(pickle.dumps(fitted))
    pd.testing.assert_frame_equal(copied.impute(holes, **options), completed)
    assert not hasattr(clone(fitted), "table_")


def test_completions_follow_what_is_known():
    """Would catch a category that is completed by another one's number."""
    frame = frame_of(1_000)
    rbm = dg.RBM(12, visible="auto", learning_rate=0.2, n_epochs=150, random_state=0).fit(frame)
    holes = frame.assign(odor=None)
    completed = rbm.impute(holes, n_chains=5, n_sweeps=30, random_state=0)
    assert (completed["odor"].to_numpy() == frame["odor"].to_numpy()).mean() > 0.9
    holes = frame.assign(code=pd.Categorical([np.nan] * len(frame), categories=[0, 10]))
    codes = rbm.impute(holes, n_chains=5, n_sweeps=30, random_state=0)["code"]
    assert (codes.astype(int).to_numpy() == frame["code"].astype(int).to_numpy()).mean() > 0.9


def test_a_table_of_many_categories_is_learned_better_than_one_hot_columns():
    """Would catch groups that are binary units in disguise: these give rows with no category, and
    rows with two, a share of the probability."""
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 4, 1_000)
    columns = {}
    for number, k in enumerate((2, 3, 4, 5, 6, 7)):
        p = rng.dirichlet(np.full(k, 0.5), 4).cumsum(axis=1)[kind]
        codes = (rng.random((1_000, 1)) > p[:, :-1]).sum(axis=1)
        columns[f"c{number}"] = pd.Categorical(np.array(list("abcdefg"))[codes])
    columns["edible"] = rng.random(1_000) < 0.1 + 0.2 * kind
    columns["height"] = kind + rng.normal(size=1_000)
    frame = pd.DataFrame(columns)
    one_hot = pd.get_dummies(frame, columns=[f"c{number}" for number in range(6)])
    scores, independent = [], []
    for table in (frame, one_hot):
        learned, held_out = table[:500], table[500:]
        for n_hidden, rate, found in ((8, 0.2, scores), (1, 1e-12, independent)):
            rbm = dg.RBM(
                n_hidden, visible="auto", learning_rate=rate, n_epochs=100, random_state=0
            ).fit(learned)
            found.append(rbm.score(held_out))
    assert scores[0] > independent[0] + 0.5
    assert scores[0] > scores[1] + 2.0
    assert independent[0] > independent[1]


def test_arrays_are_tables_too():
    """Would catch an array whose columns are all of one type, or that comes back as a frame."""
    numbers = FRAME[["gill", "height"]].to_numpy(np.float64)
    rbm = MODELS["rbm"]().fit(numbers)
    assert [column.holds for column in rbm.table_.columns] == ["binary", "real"]
    assert isinstance(rbm.sample(2), np.ndarray)
    numbers[0] = np.nan
    completed = rbm.impute(numbers, random_state=0, n_chains=1, n_sweeps=1)
    assert np.isfinite(completed).all()
    np.testing.assert_array_equal(completed[1:], numbers[1:])
    mixed = FRAME[["odor", "height"]].to_numpy(object)
    rbm = MODELS["rbm"]().fit(mixed)
    assert [column.holds for column in rbm.table_.columns] == ["categorical", "real"]
    mixed[0, 0] = None
    assert rbm.impute(mixed, random_state=0, n_chains=1, n_sweeps=1)[0, 0] in set(FRAME["odor"])
    assert rbm.sample(2).dtype == object


def test_types_of_columns_that_have_gaps():
    """Would catch a column of bools with gaps that becomes texts, and numbers in objects."""
    frame = pd.DataFrame({
        "a": pd.array([True, None, False] * 20, dtype="boolean"),
        "b": pd.Series([True, None, False] * 20, dtype=object),
        "c": pd.Series([1.5, None, 2] * 20, dtype=object),
        "d": pd.array([1, None, 7] * 20, dtype="Int64"),
        "e": [1.0, np.nan, 0.0] * 20,
        "f": pd.Series(["x", None, "y"] * 20, dtype="string"),
    })  # fmt: skip
    table = Table.of(frame)
    assert [column.holds for column in table.columns] == [
        "binary", "binary", "real", "real", "binary", "categorical"
    ]
    states, missing = table.read(frame)
    np.testing.assert_array_equal(missing, np.tile([[False], [True], [False]], (20, 6)))
    np.testing.assert_array_equal(states[1], [np.nan] * 7)
    completed = table.completed(frame, missing, np.nan_to_num(states, nan=1.0))
    assert completed.dtypes.to_dict() == frame.dtypes.to_dict()
    assert completed.iloc[1].tolist() == [True, True, 1.0, 1, 1.0, "x"]
    assert completed.iloc[1]["b"] is True
    back = table.rows(np.nan_to_num(states, nan=1.0))
    assert back["d"].dtype == "Int64"
    assert back["f"].dtype == "string"


def test_types_that_have_bounds_or_no_name_in_files(tmp_path):
    """Would catch a draw below zero that becomes 255, and a file that is written and not read."""
    frame = pd.DataFrame({
        "byte": np.array([0, 1, 2] * 20, np.uint8),
        "half": np.array([0, 1, 2] * 20, np.float16),
        "wide": np.array([0, 1, 2] * 20, np.longdouble),
        "odd": pd.arrays.SparseArray([0, 1, 2] * 20),
    })  # fmt: skip
    rbm = MODELS["rbm"]().fit(frame)
    low = rbm.table_.rows(np.full((1, 4), -3.0, np.float32))
    assert low.iloc[0].tolist() == [0, -3.0, -3.0, -3.0]
    assert low.dtypes.astype(str).tolist() == ["uint8", "float64", "float64", "float64"]
    high = rbm.table_.rows(np.full((1, 4), 3e11, np.float32))
    assert high["byte"].tolist() == [255]
    rbm.save(tmp_path / "m")
    pd.testing.assert_frame_equal(dg.load(tmp_path / "m").table_.rows(np.ones((2, 4))),
                                  rbm.table_.rows(np.ones((2, 4))))


def test_types_of_pyarrow():
    """Would catch columns of another package's types that are taken for texts."""
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame({
        "a": pd.array([1, None, 7] * 20, dtype="int64[pyarrow]"),
        "b": pd.array([True, None, False] * 20, dtype="bool[pyarrow]"),
        "c": pd.array(["x", None, "y"] * 20, dtype="string[pyarrow]"),
    })  # fmt: skip
    table = Table.of(frame)
    assert [column.holds for column in table.columns] == ["real", "binary", "categorical"]
    states, missing = table.read(frame)
    completed = table.completed(frame, missing, np.nan_to_num(states, nan=1.0))
    assert completed.dtypes.to_dict() == frame.dtypes.to_dict()
    assert completed.iloc[1].tolist() == [1, True, "x"]
    assert table.rows(np.nan_to_num(states)).iloc[0].tolist() == [1, True, "x"]


def test_polars_frames_come_back():
    """Would catch a front end that knows pandas alone."""
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({
        "odor": FRAME["odor"].tolist(), "height": FRAME["height"].tolist(),
        "gill": FRAME["gill"].tolist(), "bruises": FRAME["bruises"].tolist(),
        "shape": polars.Series(FRAME["shape"].tolist(), dtype=polars.Categorical),
    })  # fmt: skip
    rbm = MODELS["rbm"]().fit(frame)
    draws = rbm.sample(3, n_sweeps=2)
    assert isinstance(draws, polars.DataFrame)
    assert draws.columns == frame.columns
    assert draws["height"].dtype == polars.Float64
    holes = frame.with_columns(
        polars.when(polars.col("height") > 1.0).then(None).otherwise(polars.col("height"))
        .alias("height"),
        polars.lit(None, dtype=polars.String).alias("odor"),
    )  # fmt: skip
    completed = rbm.impute(holes, n_chains=1, n_sweeps=2)
    assert completed.schema == holes.schema
    assert sum(completed.null_count().row(0)) == 0
    assert (completed["gill"] == frame["gill"]).all()


def message_of(call, *arguments):
    with pytest.raises((ValueError, TypeError)) as caught:
        call(*arguments)
    return str(caught.value)


def test_bad_cells_are_named():
    """Would catch a message about the number of a unit, of which a user knows nothing."""
    rbm = MODELS["rbm"]().fit(FRAME)
    for column, value, words in (
        ("odor", "new", "X must have one of the categories .* got 'new' in row 3, column 1"),
        ("veil", "full", "got 'full' in row 3, column 2 .'veil'"),
        ("gill", 2, r"X must be 0 or 1, .* got 2.0 in row 3, column 4 \('gill'\)"),
        ("height", np.inf, r"X must lie within .* got inf in row 3, column 5 \('height'\)"),
        ("rings", "many", r"X must be a number, got 'many' in row 3, column 6 \('rings'\)"),
    ):
        frame = FRAME.astype({column: object})
        frame.iloc[3, FRAME.columns.get_loc(column)] = value
        with pytest.raises(ValueError, match=words):
            rbm.transform(frame)
    assert "same order" in message_of(rbm.transform, FRAME[FRAME.columns[::-1]])
    assert "now missing" in message_of(rbm.transform, FRAME.drop(columns="odor"))


class Frames:
    def __iter__(self):
        return iter([FRAME, FRAME])


def test_tables_that_cannot_be_learned_are_refused_before_any_work():
    """Would catch a name or a date as a category, and an estimator that is half changed."""
    rbm = MODELS["rbm"]()
    keys = FRAME.assign(odor=[f"key {number}" for number in range(len(FRAME))])
    commas = FRAME.assign(odor=[f"{number},5" for number in range(len(FRAME))])
    for X, words in (
        (keys, "200 categories in 200 rows of column 'odor'.*leave it out"),
        (commas, "look like numbers, such as '0,5'.*decimal points"),
        (FRAME.assign(gill=pd.Timestamp("2020-01-01")), "datetime64.* in column 'gill'"),
        (FRAME.assign(odor=None), "none in column 'odor'"),
        (FRAME[["veil"]], "more than one category"),
        (FRAME.iloc[:0], "X must have"),
        (FRAME.assign(odor=[(1, 2)] * len(FRAME)), "texts, numbers or bools as categories"),
        (Frames(), "one data frame or array"),
        (np.zeros(3), "two dimensions|2D array"),
    ):
        with pytest.raises((ValueError, TypeError), match=words):
            rbm.fit(X)
        assert "table_" not in vars(rbm)
        assert "model_" not in vars(rbm)
    with pytest.raises(ValueError, match="visible must be known before the rows for partial_fit"):
        rbm.partial_fit(FRAME)
    with pytest.raises(ValueError, match="hidden must not be Gaussian"):
        dg.RBM(3, visible="auto", hidden="gaussian").fit(FRAME)
    with pytest.raises(ValueError, match="binarize needs"):
        dg.RBM(3, visible="auto", binarize=True).fit(FRAME)
    rbm.fit(FRAME).set_params(visible="gaussian").fit(FRAME[["height", "rings"]])
    assert "table_" not in vars(rbm)
    assert isinstance(rbm.sample(1), np.ndarray)


def changed(path, change):
    """Change the configuration of a file, and sign it anew."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    config = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["deepgen"])
    tensors = dict(parse(data))
    change(config["extra"])
    del config["sha256"]
    config["sha256"] = model_files.checksum(config, tensors)
    path.write_bytes(serialize(tensors, metadata={"deepgen": json.dumps(config, sort_keys=True)}))


DAMAGE = {
    "no object": lambda extra: extra.update(table=[1]),
    "no kinds": lambda extra: extra["table"].pop("kinds"),
    "unknown": lambda extra: extra["table"]["kinds"].__setitem__(0, "dates"),
    "a type": lambda extra: extra["table"]["dtypes"].__setitem__(0, "datetime64[ns]"),
    "of numbers": lambda extra: extra["table"]["dtypes"].__setitem__(0, "int64"),
    "of texts": lambda extra: extra["table"]["dtypes"].__setitem__(5, "category"),
    "no type": lambda extra: extra["table"]["dtypes"].__setitem__(0, 3),
    "shorter": lambda extra: extra["table"]["dtypes"].pop(),
    "container": lambda extra: extra["table"].update(container="os"),
    "few": lambda extra: extra["categories"].pop(),
    "many": lambda extra: extra["table"]["n_categories"].__setitem__(0, 10**12),
    "none": lambda extra: extra.pop("categories"),
    "no JSON": lambda extra: extra["categories"].__setitem__(0, "{"),
    "a list": lambda extra: extra["categories"].__setitem__(0, "[1]"),
    "twice": lambda extra: extra["categories"].__setitem__(0, extra["categories"][1]),
    "other units": lambda extra: extra["table"]["kinds"].__setitem__(3, "real"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_tables_are_refused(name, tmp_path):
    """Would catch the entries of a file that are believed."""
    MODELS["rbm"]().fit(FRAME).save(tmp_path / "m")
    changed(tmp_path / "m", lambda extra: None)
    dg.load(tmp_path / "m").transform(FRAME)
    changed(tmp_path / "m", DAMAGE[name])
    with pytest.raises(dg.ModelFileError, match="table"):
        dg.load(tmp_path / "m")


def test_a_run_goes_on_from_a_checkpoint(tmp_path):
    """Would catch a checkpoint that does not know its table, or takes another one."""
    whole = MODELS["rbm"]().fit(FRAME)
    path = tmp_path / "c"

    def stop(report):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        MODELS["rbm"](callbacks=[dg.Checkpoint(path), stop]).fit(FRAME)
    again = MODELS["rbm"]().fit(FRAME, resume=path)
    assert_same_bits(again.model_.weights[0], whole.model_.weights[0])
    with pytest.raises(ValueError, match=r"rows|visible"):
        MODELS["rbm"]().fit(frame_of(seed=1), resume=path)


def test_a_table_with_gaps_teaches_what_is_there():
    """Would catch a missing category that is taken for none of them, and a real gap that is zero:
    three kinds of rows, a fifth of whose cells are empty, are told apart nearly as without gaps."""
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 3, 400)
    whole = pd.DataFrame({
        "colour": np.array(["red", "green", "blue"])[kind],
        "size": pd.Categorical.from_codes(np.where(rng.random(400) < 0.9, kind, 0), list("abc")),
        "big": kind > 1,
        "height": 5.0 + 2.0 * kind + rng.normal(0.0, 0.3, 400),
    })  # fmt: skip
    holes = rng.random(whole.shape) < 0.2
    torn = whole.astype(object).mask(holes)
    torn["height"] = torn["height"].astype(float)
    rbm = dg.RBM(16, visible="auto", random_state=0).fit(torn)
    assert rbm.table_.columns[0].holds == "categorical"
    completed = rbm.impute(torn, random_state=0)
    for column in ("colour", "size", "big"):
        gaps = holes[:, whole.columns.get_loc(column)]
        right = (completed[column][gaps] == whole[column].astype(object)[gaps]).mean()
        assert right > 0.75  # guessing: 0.33, 0.43, 0.67
    gaps = holes[:, 3]
    error = np.abs(completed["height"][gaps] - whole["height"][gaps]).mean()
    assert error < 0.8  # of the column's mean 1.4
    assert rbm.transform(torn).shape == (400, 16)
