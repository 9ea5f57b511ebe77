"""Answers for partitions: pieces equal the whole, to the bit."""

import importlib.util
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from mpi_jobs import BITS, COMMON

import deepgen as dg
from deepgen.distributed import map_rows, maps

dask = pytest.importorskip("dask", reason="needs dask")
array = pytest.importorskip("dask.array", reason="needs dask")
X = np.tile(BITS, (3, 1))
GUIDE = Path(__file__).parents[1] / "docs" / "guide" / "cluster.md"


@pytest.fixture(scope="module")
def rbm():
    return dg.RBM(7, **COMMON).fit(X)


@pytest.fixture(scope="module")
def file(rbm, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "rbm.safetensors"
    rbm.save(path)
    return path


@pytest.fixture
def rows():
    return array.from_array(X, chunks=((50, 1, 200, 40), (12,)))


@pytest.mark.parametrize("method", ["transform", "free_energy", "score_samples"])
def test_pieces_are_the_whole(file, rows, method):
    """Would catch chunks in another order, or a shape or type that Dask was told wrongly."""
    found = map_rows(file, method, rows)
    wanted = getattr(dg.load(file), method)(X)
    assert found.shape == wanted.shape
    assert found.dtype == wanted.dtype
    np.testing.assert_array_equal(found.compute(scheduler="sync"), wanted)


@pytest.mark.parametrize("method", ["impute", "sample"])
def test_draws_do_not_depend_on_partitions(file, rows, method):
    """Would catch pieces that draw the same numbers, or those of another row."""
    options = {"random_state": 3, "n_sweeps": 5}
    if method == "impute":
        options["method"] = "draw"
        holes = np.where(np.arange(12) == 4, np.nan, X)
        found = map_rows(file, method, rows.map_blocks(lambda x: np.where(
            np.arange(12) == 4, np.nan, x), dtype=float), options=options)  # fmt: skip
        wanted = dg.load(file).impute(holes, **options)
    else:
        found = map_rows(file, method, 100, options=options, chunk_rows=33)
        wanted = dg.load(file).sample(100, **options)
    np.testing.assert_array_equal(found.compute(scheduler="sync"), wanted)


def test_classes_of_a_classifier(rows):
    """Would catch answers of one dimension whose chunks have two."""
    classifier = dg.DeepClassifier((5,), **COMMON).fit(X, np.arange(len(X)) % 3)
    for method in ("predict", "predict_proba"):
        found = map_rows(classifier, method, rows).compute(scheduler="sync")
        np.testing.assert_array_equal(found, getattr(classifier, method)(X))


def test_a_worker_reads_the_file_once(file, rows, monkeypatch):
    """Would catch a model that is loaded for every partition."""
    calls = []
    monkeypatch.setattr(maps, "load", lambda path: calls.append(path) or dg.load(path))
    maps._loaded.cache_clear()
    map_rows(file, "transform", rows).compute(scheduler="sync")
    assert len(calls) == 1


def test_row_groups_of_parquet_files_are_partitions(file, tmp_path):
    """Would catch rows of several files or row groups that are named alike."""
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow")
    table = pytest.importorskip("pyarrow").table
    for number, some in enumerate(np.split(X, [60, 60])):
        columns = {f"column {j}": some[:, j] for j in range(12)}
        parquet.write_table(table(columns), tmp_path / f"{number}.parquet", row_group_size=50)
    found = map_rows(file, "transform", tmp_path)
    assert found.numblocks[0] == 7
    np.testing.assert_array_equal(found.compute(scheduler="sync"), dg.load(file).transform(X))


def test_likelihoods_of_categories_are_mapped():
    """Would catch a row of zeros, which is no state of softmax units, that is scored to learn of
    what type the answer is."""
    rows = np.eye(3, dtype=np.uint8)[np.arange(120) % 3].reshape(30, 12)
    rbm = dg.RBM(4, visible=dg.Softmax(3), **COMMON).fit(rows)
    found = map_rows(rbm, "score_samples", array.from_array(rows, chunks=(7, 12)))
    np.testing.assert_array_equal(found.compute(scheduler="sync"), rbm.score_samples(rows))


def test_a_users_estimator_stays_as_it_is(rows):
    """Would catch a map that sets threads of the estimator it is given, and a seed of NumPy's that
    is taken for none."""
    rbm = dg.RBM(7, **{**COMMON, "n_threads": 2}).fit(X)
    map_rows(rbm, "transform", rows).compute(scheduler="sync")
    assert rbm.n_threads == 2
    options = {"random_state": np.int64(3), "n_sweeps": 2}
    found = map_rows(rbm, "sample", 5, options=options).compute(scheduler="sync")
    np.testing.assert_array_equal(found, rbm.sample(5, **options))


@pytest.mark.parametrize(("model", "method", "options", "message"), [
    (5, "transform", None, "model must be the name of a file of `save`, or a fitted estimator"),
    (None, "predict", None, "method must be one that RBM has, transform, .* got 'predict'"),
    (None, "transform", [1], "options must be None or a dict"),
    (None, "sample", {"random_state": 1, "first_row": 5}, "must not hold 'first_row'"),
])  # fmt: skip
def test_models_without_the_method_are_refused(rbm, rows, model, method, options, message):
    """Would catch an AttributeError, and an option that is overwritten without a word."""
    with pytest.raises((ValueError, TypeError), match=message):
        map_rows(rbm if model is None else model, method, rows, options=options)


@pytest.mark.parametrize(("method", "rows_of", "options", "message"), [
    ("fit", lambda rows: rows, None, "method must be one of transform"),
    ("transform", lambda rows: X, None, "rows must be a dask array"),
    ("transform", lambda rows: rows[rows[:, 0] > 0], None, "compute_chunk_sizes"),
    ("sample", lambda rows: 5, None, "integer 'random_state' for sample"),
    ("impute", lambda rows: rows, {"random_state": None}, "integer 'random_state' for impute"),
])  # fmt: skip
def test_what_cannot_be_mapped_is_refused(file, rows, method, rows_of, options, message):
    """Would catch an error that only a worker raises, hours later; and draws that no call of the
    whole could give."""
    with pytest.raises((ValueError, TypeError), match=message):
        map_rows(file, method, rows_of(rows), options=options)


def recipe(name):
    """The block of the guide that begins with a comment on a package; 50 rows are many here."""
    if not GUIDE.exists():
        pytest.skip("an installed wheel has no guide")
    (block,) = re.findall(rf"^```text\n(# {name}: .*?)^```", GUIDE.read_text(), re.M | re.S)
    return compile(block.replace("65_536", "50"), f"recipe for {name}", "exec")


def needs(package, more=True):
    """A mark of a test that needs a package, and what else it says."""
    there = importlib.util.find_spec(package) is not None
    return pytest.mark.skipif(not (there and more), reason=f"needs {package}")


@pytest.mark.slow
@needs("ray")
def test_the_recipe_for_ray_is_the_whole(file):
    """Would catch a recipe whose draws depend on where its pieces begin."""
    import ray

    holes = np.where(np.arange(12) == 4, np.nan, X)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    try:
        names = {"ray": ray, "dg": dg, "path": str(file), "rows": holes}
        exec(recipe("Ray"), names)
        wanted = dg.load(file).impute(holes, random_state=0)
        np.testing.assert_array_equal(np.concatenate(names["pieces"]), wanted)
    finally:
        ray.shutdown()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning")
@needs("pyspark", shutil.which("java"))
def test_the_recipe_for_spark_is_the_whole(file):
    """Would catch a recipe that Spark refuses, or features of another row."""
    pd = pytest.importorskip("pandas", reason="needs pandas")
    from pyspark.sql import SparkSession

    settings = {"spark.ui.enabled": "false", "spark.driver.host": "127.0.0.1"}
    spark = SparkSession.builder.master("local[2]").config(map=settings).getOrCreate()
    try:
        columns = [f"column_{j}" for j in range(12)]
        frame = spark.createDataFrame(X.tolist(), columns)
        names = {"dg": dg, "pd": pd, "path": str(file), "n_hidden": 7, "spark_frame": frame}
        exec(recipe("Spark"), names)
        found = np.array(names["answers"].collect(), np.float32)
        wanted = dg.load(file).transform(X)
        in_order = [x[np.lexsort(x.T)] for x in (found, wanted)]
        np.testing.assert_array_equal(*in_order)
    finally:
        spark.stop()
