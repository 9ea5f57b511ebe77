"""A model over HTTP: the estimator's own answers, and what is refused, in which words."""

import asyncio
import copy
import datetime
import json
import signal
import threading

import numpy as np
import pandas as pd
import pytest
from conftest import assert_same_bits
from served import NPY, command, httpx, npy, number_of, post_npy, refused, served, wait_until

import deepgen as dg
from deepgen.serving.abilities import ENDPOINTS, abilities_of
from deepgen.serving.bodies import JSON, json_of_arrays, wanted_type
from deepgen.serving.limits import Limits
from deepgen.serving.metrics import Metrics
from deepgen.serving.work import Workshop

RNG = np.random.default_rng(8)
X = (RNG.random((150, 20)) < 0.3).astype(np.uint8)
REAL = RNG.normal(size=(150, 20)).astype(np.float32)
WORDS = RNG.poisson(0.6, (150, 20)) + np.eye(150, 20, dtype=np.int64)
NAMES = np.array(["cat", "dog", "owl"])[np.arange(150) % 3]
DAYS = np.array([datetime.date(2020, 1, 1 + n % 2) for n in range(150)])
RUN = {"n_epochs": 1, "random_state": 0, "n_threads": 1}
TOWNS = np.array(["Ulm", "Bonn", "Trier"])[np.arange(150) % 3]
TABLE = pd.DataFrame({
    "smokes": np.arange(150) % 2 == 0, "town": TOWNS, "height": 170 + 10 * RNG.normal(size=150)
})  # fmt: skip

MADE = {
    "rbm": lambda: dg.RBM(12, **RUN).fit(X),
    "gaussian": lambda: dg.RBM(12, visible="gaussian", **RUN).fit(REAL),
    "dbn": lambda: dg.DBN((12, 9), **RUN).fit(X),
    "dbm": lambda: dg.DBM((12, 9), pretrained=None, **RUN).fit(X),
    "labels": lambda: dg.DBM((12,), pretrained=None, label_units=True, **RUN).fit(X, NAMES),
    "days": lambda: dg.DBM((12,), pretrained=None, label_units=True, **RUN).fit(X, DAYS),
    "mixture": lambda: dg.MixtureOfBernoullis(3, random_state=0).fit(X),
    "documents": lambda: dg.ReplicatedSoftmax(8, **RUN).fit(WORDS),
    "autoencoder": lambda: dg.Autoencoder(6, **RUN).fit(X),
    "classifier": lambda: dg.DeepClassifier((9,), **RUN).fit(X, NAMES),
    "regressor": lambda: dg.DeepRegressor((9,), **RUN).fit(X, REAL[:, :2]),
    "table": lambda: dg.RBM(6, visible="auto", **RUN).fit(TABLE),
    "real mixture": lambda: dg.MixtureOfProducts(3, visible="gaussian", random_state=0).fit(REAL),
    "process": lambda: dg.DeepGaussianProcessRegressor((9,), **RUN).fit(X, REAL[:, 0]),
    "neighbours": lambda: dg.NeighbourhoodComponents((9,), 3, **RUN).fit(X, NAMES),
    "hierarchy": lambda: dg.HierarchicalGaussian(4, random_state=0).fit(REAL, NAMES),
}
ROWS = {"gaussian": REAL, "real mixture": REAL, "documents": WORDS, "hierarchy": REAL}
ANSWERS = {
    "rbm": {"transform", "free_energy", "score", "impute", "sample"},
    "gaussian": {"transform", "free_energy", "score", "impute", "sample"},
    "dbn": {"transform", "score", "impute", "sample"},
    "dbm": {"transform", "score", "impute", "sample"},
    "labels": {"transform", "score", "impute", "sample", "predict"},
    "days": {"transform", "score", "impute", "sample", "predict"},
    "mixture": {"transform", "score", "impute", "sample", "predict"},
    "documents": {"transform", "free_energy", "score", "impute", "sample"},
    "autoencoder": {"transform"},
    "classifier": {"predict"},
    "regressor": {"predict"},
    "table": {"transform", "free_energy", "score", "impute", "sample"},
    "real mixture": {"transform", "score", "impute", "sample", "predict"},
    "process": {"predict"},
    "neighbours": {"transform", "predict"},
    "hierarchy": {"transform", "score", "predict"},
}


@pytest.fixture(scope="module")
def estimators():
    return {name: make() for name, make in MADE.items()}


@pytest.fixture(scope="module")
def client():
    """A service of a DBM with label units, which has most endpoints."""
    with served(MADE["labels"](), seconds=0.5, body=20_000, sweeps=500, chains=40) as client:
        yield client


def rows_of(name, n=6):
    return ROWS.get(name, X)[:n]


# ------------------------------------------------------------------------------- the same answers


@pytest.mark.parametrize("name", [name for name in MADE if name != "table"])
def test_answers_are_the_estimator_s_own(estimators, name):
    """Would catch an endpoint that rounds, cuts or mixes up anything on the way, in JSON or in
    arrays; and a model that is asked what it cannot, or not what it can."""
    own, rows = estimators[name], rows_of(name)
    with served(copy.deepcopy(own)) as client:
        assert set(client.service.abilities) == ANSWERS[name]
        for endpoint in ("transform", "free_energy", "score"):
            if endpoint not in ANSWERS[name]:
                continue
            method = {"score": "score_samples"}.get(endpoint, endpoint)
            expected = getattr(own, method)(rows)
            answer = client.post(f"/v1/{endpoint}", json={"rows": rows.tolist()})
            found = np.array(answer.json()["values"], expected.dtype)
            assert_same_bits(found, expected)
            assert_same_bits(post_npy(client, f"/v1/{endpoint}", rows), expected)
        if "predict" in ANSWERS[name]:
            expected = own.predict(rows)
            answer = client.post("/v1/predict", json={"rows": rows.tolist()}).json()
            texts = expected.astype(str) if expected.dtype.kind == "M" else expected
            assert answer["values"] == texts.tolist()
            assert (post_npy(client, "/v1/predict", rows) == expected).all()
        if hasattr(own, "predict_proba"):
            ask = {"rows": rows.tolist(), "proba": True}
            answer = client.post("/v1/predict", json=ask).json()
            expected = own.predict_proba(rows)
            assert_same_bits(np.array(answer["values"], expected.dtype), expected)
            assert_same_bits(post_npy(client, "/v1/predict", rows, proba="true"), expected)


@pytest.mark.parametrize("name", ["rbm", "gaussian", "dbn", "dbm", "mixture"])
def test_completions_are_the_estimator_s_own(estimators, name):
    """Would catch a seed, a gap or an option that is lost on the way."""
    own, rows = estimators[name], rows_of(name).astype(np.float64)
    rows[:, 5:11] = np.nan
    chains = {} if name == "mixture" else {"n_chains": 3, "n_sweeps": 7}
    ask = {"rows": [[None if x != x else x for x in row] for row in rows.tolist()], **chains}
    with served(copy.deepcopy(own)) as client:
        for options in ({}, {"method": "draw"}, {"seed": 5}):
            expected = own.impute(
                rows, random_state=options.get("seed", 0), method=options.get("method", "mean"),
                **chains,
            )  # fmt: skip
            answer = client.post("/v1/impute", json=ask | options)
            assert_same_bits(np.array(answer.json()["values"]), expected)
            assert_same_bits(post_npy(client, "/v1/impute", rows, **chains, **options), expected)
        answer = client.post("/v1/impute", json={**ask, "std": True}).json()
        _, deviations = own.impute(rows, random_state=0, return_std=True, **chains)
        assert_same_bits(np.array(answer["deviations"], np.float32), deviations)


@pytest.mark.parametrize("name", [n for n in MADE if "sample" in ANSWERS[n] and n != "table"])
def test_samples_are_the_estimator_s_own(estimators, name):
    """Would catch another seed, another number of sweeps, and labels that are not heard."""
    own = estimators[name]
    sweeps = {} if "mixture" in name else {"n_sweeps": 9}
    more = {"y": ["cat", "owl", "cat"]} if name == "labels" else {}
    more |= {"n_words": 7} if name == "documents" else {}
    with served(copy.deepcopy(own)) as client:
        expected = own.sample(3, random_state=4, **sweeps, **more)
        expected = expected.toarray() if name == "documents" else expected
        answer = client.post("/v1/sample", json={"n": 3, "seed": 4, **sweeps, **more})
        assert_same_bits(np.array(answer.json()["values"], expected.dtype), expected)
        if name == "labels":
            answer = client.post("/v1/sample", json={"n": 5, "n_sweeps": 3, "y": ["cat", "owl"]})
            expected = own.sample(5, n_sweeps=3, y=["cat", "owl"] * 2 + ["cat"], random_state=0)
            assert answer.json()["values"] == expected.tolist()
        one = client.post("/v1/sample", json=sweeps).json()["values"]
        first = own.sample(1, random_state=0, **sweeps)
        first = first.toarray() if name == "documents" else first
        assert_same_bits(np.array(one, first.dtype), first)


def test_deviations_of_predictions(estimators):
    """Would catch a Gaussian process whose deviations cannot be asked for."""
    own = estimators["process"]
    with served(copy.deepcopy(own)) as client:
        answer = client.post("/v1/predict", json={"rows": X[:5].tolist(), "std": True}).json()
        expected = own.predict(X[:5], return_std=True)
        assert (answer["values"], answer["deviations"]) == tuple(x.tolist() for x in expected)
        headers = {"Accept": NPY}
        ask = {"rows": X[:5].tolist(), "std": True}
        assert refused(client.post("/v1/predict", json=ask, headers=headers), 422)["field"] == "std"


@pytest.mark.parametrize("name", ["process", "neighbours", "hierarchy"])
def test_rows_that_round_with_their_company_stay_alone(estimators, name):
    """Would catch rows of several requests in one product of BLAS, whose last bits depend on how
    many there are: the answer would depend on who else asks."""
    own, rows = estimators[name], rows_of(name, 40)
    expected = [own.predict_proba(rows[n : n + 1])[0].tolist() if name != "process" else
                own.predict(rows[n : n + 1])[0] for n in range(40)]  # fmt: skip
    more = {} if name == "process" else {"proba": True}
    with served(copy.deepcopy(own), n_threads=1, wait=0.05) as client:
        found = [None] * 40

        def ask(first):
            with httpx.Client(base_url=client.base_url, timeout=30) as mine:
                for n in range(first, 40, 8):
                    ask = {"rows": rows[n : n + 1].tolist(), **more}
                    answer = mine.post("/v1/predict", json=ask)
                    found[n] = answer.json()["values"][0]

        threads = [threading.Thread(target=ask, args=(first,)) for first in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == expected


def test_missing_words(estimators):
    """Would catch the number of words that is left out, or not asked for."""
    own = estimators["documents"]
    with served(copy.deepcopy(own)) as client:
        ask = {"rows": WORDS[:3].tolist(), "n_words": 5, "n_sweeps": 4, "n_chains": 2}
        found = np.array(client.post("/v1/impute", json=ask).json()["values"], np.float32)
        assert_same_bits(found, own.impute(WORDS[:3], 5, n_sweeps=4, n_chains=2, random_state=0))
        del ask["n_words"]
        error = refused(client.post("/v1/impute", json=ask), 422)
        assert error["field"] == "n_words"


def test_tables(estimators):
    """Would catch texts and truth values that a model of tables knows and a service refuses, and
    an answer that JSON has no word for."""
    own = estimators["table"]
    rows = [[True, "Ulm", 171.5], [False, None, None], [None, "Trier", 180]]
    with served(copy.deepcopy(own)) as client:
        frame = pd.DataFrame(rows, columns=TABLE.columns, dtype=object)
        features = client.post("/v1/transform", json={"rows": rows}).json()["values"]
        assert_same_bits(np.array(features, np.float32), own.transform(frame))
        ask = {"rows": rows, "n_chains": 3, "n_sweeps": 5}
        completed = client.post("/v1/impute", json=ask).json()["values"]
        expected = own.impute(frame, n_chains=3, n_sweeps=5, random_state=0)
        assert completed == np.asarray(expected, dtype=object).tolist()
        assert completed[0][1] == "Ulm"
        drawn = client.post("/v1/sample", json={"n": 4, "n_sweeps": 5}).json()["values"]
        assert {type(cell) for cell in drawn[0]} == {bool, str, float}
        error = refused(client.post("/v1/transform", json={"rows": [["x", "Rome", 3]]}), 422)
        assert (error["field"], error["row"]) == ("rows", 0)
        headers = {"Accept": NPY}
        refused(client.post("/v1/sample", json={"n_sweeps": 1}, headers=headers), 406)


def test_requests_together_have_the_bits_of_each_alone(estimators):
    """Would catch a row that depends on its company, and answers that go to another client: many
    clients at once, rows of one to three, of two types of numbers."""
    own = estimators["rbm"]
    with served(copy.deepcopy(own), n_threads=1, wait=0.02, queue=1000) as client:
        wrong, start = [], threading.Barrier(24)

        def ask(worker):
            with httpx.Client(base_url=client.base_url, timeout=30) as mine:
                start.wait()
                for turn in range(8):
                    first = (7 * worker + 3 * turn) % 140
                    rows = X[first : first + 1 + turn % 3]
                    rows = rows.astype(np.float64) if worker % 2 else rows
                    path, method = (
                        ("/v1/transform", own.transform), ("/v1/free_energy", own.free_energy)
                    )[turn % 2]  # fmt: skip
                    if not np.array_equal(post_npy(mine, path, rows), method(rows)):
                        wrong.append((worker, turn))

        threads = [threading.Thread(target=ask, args=(worker,)) for worker in range(24)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong


def test_small_requests_that_wait_are_computed_together(estimators):
    """Would catch calls of the model for each request, requests of several kinds in one call, and
    one that waits for others though no thread is at work."""
    own, go_on, answers = copy.deepcopy(estimators["rbm"]), threading.Event(), []
    metrics, limits = Metrics(), Limits(wait=0.05)
    able = abilities_of(own, limits)

    class Busy:
        endpoint, apart = able["sample"].endpoint, False

        def answer(self, estimator, rows, options):
            go_on.wait(30)
            return np.zeros((1, 1)), None

    async def run():
        shop = Workshop(own, limits, metrics, n_threads=1)
        alone = shop.begin(able["transform"], X[:1], {}, lambda values, _: values)
        await asyncio.wait_for(alone.answer, 30)
        tasks = [shop.begin(Busy(), None, {"n_samples": 1}, lambda values, _: values)]
        while "running_calls 1" not in metrics.text():
            await asyncio.sleep(0.001)
        for number in range(6):
            rows = X[number : number + 2]
            tasks.append(shop.begin(able["transform"], rows, {}, lambda values, _: values))
        for number in range(3):
            rows = X[number : number + 1]
            tasks.append(shop.begin(able["free_energy"], rows, {}, lambda values, _: values))
        await asyncio.sleep(0.2)
        go_on.set()
        answers.extend([await asyncio.wait_for(task.answer, 30) for task in tasks])
        shop.close()

    asyncio.run(run())
    for number in range(6):
        assert_same_bits(answers[1 + number], own.transform(X[number : number + 2]))
    for number in range(3):
        assert_same_bits(answers[7 + number], own.free_energy(X[number : number + 1]))
    assert "deepgen_calls_total 4\n" in metrics.text()  # alone, busy, and one of either kind


def test_one_bad_request_in_company(estimators):
    """Would catch a request that fails because another one beside it has a bad value."""
    own = estimators["rbm"]
    with served(copy.deepcopy(own), n_threads=1, wait=0.2) as client:
        busy = threading.Thread(
            target=client.post, args=("/v1/sample",), kwargs={"json": {"n": 200, "n_sweeps": 1000}}
        )
        busy.start()
        wait_until(lambda: number_of(client, "deepgen_running_calls") == 1)
        answers = {}

        def ask(name, row):
            with httpx.Client(base_url=client.base_url, timeout=30) as mine:
                answers[name] = mine.post("/v1/transform", json={"rows": [row]})

        bad = [0.5] * 19 + [7.0]
        rows = {"bad": bad, "good": [0.25] * 20, "another": [0.75] * 20}
        threads = [threading.Thread(target=ask, args=item) for item in rows.items()]
        for thread in threads:
            thread.start()
        for thread in [*threads, busy]:
            thread.join()
        error = refused(answers["bad"], 422)
        assert (error["row"], error["column"], error["got"]) == (0, 19, "7.0")
        found = np.array(answers["good"].json()["values"], np.float32)
        assert_same_bits(found, own.transform(np.full((1, 20), 0.25)))
        assert answers["another"].status_code == 200


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_of_json_lose_nothing(dtype):
    """Would catch digits that are cut: of all sizes, also below the normal ones, of both types."""
    bits = RNG.integers(0, 2**63, 40_000, dtype=np.int64)
    values = bits.view(np.float64) if dtype == np.float64 else bits.view(np.float32)
    values = values[np.isfinite(values)][:30_000].reshape(-1, 10)
    text = json_of_arrays({"values": values})
    assert_same_bits(np.array(json.loads(text)["values"], dtype), values)
    gaps = np.array([[np.nan, np.inf, 1.0]], dtype)
    assert json.loads(json_of_arrays({"a": gaps})) == {"a": [[None, None, 1.0]]}


# -------------------------------------------------------------------------------------- refusals

ONE = [[0] * 20]


def nested(n):
    return b'{"rows": ' + b"[" * n + b"]" * n + b"}"


BAD_JSON = {
    "no JSON": (b"{", 400, "body"),
    "no object": (b"[1]", 400, "body"),
    "no text": (b"\xff\xfe", 400, "body"),
    "NaN": (b'{"rows": [[NaN]]}', 400, "body"),
    "brackets": (nested(5_000), 400, "body"),
    "a long number": (b'{"seed": ' + b"9" * 5_000 + b"}", 400, "body"),
    "no rows": (b"{}", 422, "rows"),
    "empty": (b"", 422, "rows"),
    "null": (b'{"rows": null}', 422, "rows"),
    "a number": (b'{"rows": 3}', 422, "rows"),
    "no row": (b'{"rows": []}', 422, "rows"),
    "one row, not a list of rows": (json.dumps({"rows": ONE[0]}).encode(), 422, "rows"),
    "narrow": (b'{"rows": [[1, 0]]}', 422, "rows"),
    "ragged": (json.dumps({"rows": [ONE[0], [1]]}).encode(), 422, "rows"),
    "deep": (json.dumps({"rows": [[[0]] * 20]}).encode(), 422, "rows"),
    "texts": (json.dumps({"rows": [["1"] * 20]}).encode(), 422, "rows"),
    "truth values": (json.dumps({"rows": [[True] * 20]}).encode(), 422, "rows"),
    "a truth value": (json.dumps({"rows": [[True] + [0] * 19]}).encode(), 422, "rows"),
    "beyond the range": (json.dumps({"rows": [[2] + [0] * 19]}).encode(), 422, "rows"),
    "beyond float": (b'{"rows": [[' + b"1" + b"0" * 400 + b", 0" * 19 + b"]]}", 422, "rows"),
    "infinite": (b'{"rows": [[1e999' + b", 0" * 19 + b"]]}", 422, "rows"),
    "an unknown field": (json.dumps({"rows": ONE, "quantitty": 1}).encode(), 422, "quantitty"),
    "a wrong choice": (json.dumps({"rows": ONE, "quantity": "mode"}).encode(), 422, "quantity"),
    "a choice of no type": (json.dumps({"rows": ONE, "quantity": []}).encode(), 422, "quantity"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_JSON)
def test_malformed_json(client, case):
    """Would catch a body that ends in a 500, takes the process down, or is read as something
    else; the answer names the field, what was expected, and what came."""
    body, status, field = BAD_JSON[case]
    answer = client.post("/v1/transform", content=body, headers={"Content-Type": JSON})
    error = refused(answer, status)
    assert error["field"] == field
    assert error["expected"]
    assert error["got"] is not None
    assert len(answer.content) < 2_000
    assert "Traceback" not in answer.text


def header(text):
    text = text.ljust(118 - 11).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


GOOD = "{'descr': '|u1', 'fortran_order': False, 'shape': (1, 20), }"
BAD_NPY = {
    "empty": (b"", 400),
    "no array": (b"PK\x03\x04 and more", 400),
    "half a header": (header(GOOD)[:40], 400),
    "too few values": (header(GOOD) + bytes(19), 400),
    "too many values": (header(GOOD) + bytes(21), 400),
    "a header that lies": (header(GOOD.replace("(1, 20)", "(4000, 20)")) + bytes(20), 400),
    "more rows than there can be": (header(GOOD.replace("(1, 20)", "(10**9, 20)")), 400),
    "a billion rows": (header(GOOD.replace("(1, 20)", "(1000000000, 20)")) + bytes(20), 422),
    "negative": (header(GOOD.replace("(1, 20)", "(-1, 20)")) + bytes(20), 422),
    "three axes": (header(GOOD.replace("(1, 20)", "(1, 2, 10)")) + bytes(20), 422),
    "narrow": (header(GOOD.replace("(1, 20)", "(2, 10)")) + bytes(20), 422),
    "objects": (header(GOOD.replace("|u1", "|O")) + bytes(160), 422),
    "texts": (header(GOOD.replace("|u1", "<U1")) + bytes(80), 422),
    "complex": (header(GOOD.replace("|u1", "<c16")) + bytes(320), 422),
    "a record": (header(GOOD.replace("'|u1'", "[('a', '|u1')]")) + bytes(20), 422),
    "code": (header("__import__('os').abort()"), 400),
    "brackets": (header("(" * 100), 400),
    "another version": (b"\x93NUMPY\x09\x00" + bytes(200), 400),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_NPY)
def test_malformed_npy(client, case):
    """Would catch memory that a header asks for, a pickle that is read, and a 500."""
    body, status = BAD_NPY[case]
    error = refused(
        client.post("/v1/transform", content=body, headers={"Content-Type": NPY}), status
    )
    assert error["field"] in ("rows", "body")


def test_arrays_of_any_layout(client):
    """Would catch columns that are read as rows, and bytes in the other order."""
    rows = np.asfortranarray(RNG.random((5, 20)))
    expected = post_npy(client, "/v1/transform", np.ascontiguousarray(rows))
    assert_same_bits(post_npy(client, "/v1/transform", rows), expected)
    assert_same_bits(post_npy(client, "/v1/transform", rows.astype(">f8")), expected)
    holes = rows.copy()
    holes[:, 3] = np.nan
    ask = {"rows": [[None if x != x else x for x in row] for row in holes.tolist()]}
    found = np.array(client.post("/v1/transform", json=ask).json()["values"], np.float32)
    assert_same_bits(found, post_npy(client, "/v1/transform", holes))


@pytest.mark.parametrize(
    ("path", "ask", "field"),
    [
        ("sample", {"n": 0}, "n"),
        ("sample", {"n": 41}, "n"),
        ("sample", {"n": True}, "n"),
        ("sample", {"n": 1.5}, "n"),
        ("sample", {"n_sweeps": 501}, "n_sweeps"),
        ("sample", {"n_sweeps": -1}, "n_sweeps"),
        ("sample", {"seed": -1}, "seed"),
        ("sample", {"seed": 2**60}, "seed"),
        ("sample", {"seed": "0"}, "seed"),
        ("sample", {"y": "cow"}, "y"),
        ("sample", {"y": []}, "y"),
        ("sample", {"y": [None]}, "y"),
        ("sample", {"y": ["cat"] * 41}, "y"),
        ("sample", {"y": True}, "y"),
        ("score", {"rows": [[0.5] * 20]}, "rows"),
        ("score", {"rows": [[None] * 20]}, "rows"),
        ("sample", {"rows": ONE}, "rows"),
        ("impute", {"rows": ONE, "n_chains": 41}, "n_chains"),
        ("impute", {"rows": ONE, "n_chains": 0}, "n_chains"),
        ("impute", {"rows": ONE, "std": 1}, "std"),
        ("predict", {"rows": ONE, "proba": "yes"}, "proba"),
    ],
)
def test_fields_out_of_bounds(client, path, ask, field):
    """Would catch a number that makes work or memory without a bound."""
    error = refused(client.post(f"/v1/{path}", json=ask), 422)
    assert error["field"] == field
    assert error["expected"]
    assert error["got"] is not None


@pytest.mark.parametrize(
    ("path", "query", "field"),
    [
        ("transform", {"quantitty": "mean"}, "quantitty"),
        ("transform", {"quantity": "mode"}, "quantity"),
        ("transform", {"rows": "1"}, "rows"),
        ("impute", {"seed": "one"}, "seed"),
        ("impute", {"std": "true"}, "std"),
        ("impute", "seed=1&seed=2", "seed"),
    ],
)
def test_options_in_the_address(client, path, query, field):
    """Would catch an option beside an array that is ignored or misread, and one given twice."""
    headers = {"Content-Type": NPY, "Accept": NPY}
    answer = client.post(f"/v1/{path}", content=npy(X[:1]), params=query, headers=headers)
    assert refused(answer, 422)["field"] == field


def test_the_body_counts_before_the_address(client):
    """Would catch an option beside JSON that is ignored, or that takes the body's place."""
    own = client.service.estimator
    for ask, quantity in (({}, "field"), ({"quantity": "mean"}, "mean")):
        answer = client.post("/v1/transform?quantity=field", json={"rows": ONE, **ask})
        found = np.array(answer.json()["values"], np.float32)
        assert_same_bits(found, own.transform(np.array(ONE), quantity=quantity))


def test_a_deep_machine_is_asked_how_it_infers(estimators):
    """Would catch an inference that is not heard, and one that a machine with labels takes."""
    own = estimators["dbm"]
    with served(own) as client:
        answer = client.post("/v1/score", json={"rows": ONE, "inference": "tap"})
        found = np.array(answer.json()["values"])
    assert_same_bits(found, own.score_samples(np.array(ONE), inference="tap"))
    with served(estimators["labels"]) as client:
        answer = client.post("/v1/score", json={"rows": ONE, "inference": "tap"})
    assert answer.status_code == 422


def test_bodies_are_counted_as_they_arrive(client):
    """Would catch a limit that believes Content-Length, or that reads all before it looks."""
    sent = []

    def endless():
        while True:
            sent.append(1)
            yield bytes(1_000)

    headers = {"Content-Type": JSON}
    assert refused(client.post("/v1/transform", content=bytes(20_001), headers=headers), 413)
    try:
        answer = client.post("/v1/transform", content=endless(), headers=headers)
        refused(answer, 413)
    except httpx.TransportError:  # closed while we were still sending
        pass
    assert len(sent) < 5_000
    assert client.get("/healthz").status_code == 200


def test_rows_are_counted(estimators):
    """Would catch rows beyond the limit, and an answer that is far larger than its request."""
    with served(copy.deepcopy(estimators["rbm"]), rows=10, without=["score"]) as client:
        assert client.post("/v1/transform", json={"rows": X[:10].tolist()}).status_code == 200
        error = refused(client.post("/v1/transform", json={"rows": X[:11].tolist()}), 422)
        assert (error["expected"], error["got"]) == ("be 1 to 10 in a request", "11")
    with served(copy.deepcopy(estimators["rbm"]), values=60, without=["score"]) as client:
        assert client.service.abilities["transform"].most_rows == 3
        assert client.service.abilities["impute"].most_rows == 1
        refused(client.post("/v1/sample", json={"n": 4}), 422)


def test_other_addresses_and_methods(client):
    """Would catch a page of another framework, and a model that does not say what it can."""
    error = refused(client.post("/v1/free_energy", json={}), 404)
    assert "transform, score, impute, sample, predict" in error["message"]
    refused(client.get("/"), 404)
    refused(client.get("/v1/../../etc/passwd"), 404)
    answer = client.get("/v1/transform")
    refused(answer, 405)
    assert answer.headers["allow"] == "POST"
    refused(client.put("/healthz"), 405)
    for kind in ("text/plain", "multipart/form-data", ""):
        answer = client.post("/v1/transform", content=b"{}", headers={"Content-Type": kind})
        assert refused(answer, 415)["field"] == "Content-Type"
    answer = client.post("/v1/sample", content=npy(X), headers={"Content-Type": NPY})
    refused(answer, 415)
    answer = client.post("/v1/transform", json={"rows": ONE}, headers={"Accept": "text/html"})
    assert refused(answer, 406)["field"] == "Accept"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, JSON), ("*/*", JSON), (NPY, NPY), (f"{NPY};q=0.5, */*;q=0.1", NPY),
        (f"{JSON}, {NPY};q=0.9", JSON), (f"{JSON};q=0, {NPY};q=0.1", NPY),
        ("text/html, application/*", JSON), (f"{NPY};q=x", None), ("", JSON),
    ],
)  # fmt: skip
def test_accept(accept, expected):
    """Would catch a browser's header that gets an array, and a client's that does not."""
    if expected is None:
        with pytest.raises(Exception, match="Accept must be"):
            wanted_type(accept)
    else:
        assert wanted_type(accept) == expected


# -------------------------------------------------------------------------------------- who asks


def test_hosts_and_origins(estimators):
    """Would catch DNS rebinding, a page of another site that posts, and CORS that lets it read."""
    with served(
        copy.deepcopy(estimators["rbm"]), without=["score"], allowed=["Model.example"]
    ) as client:
        for host in ("localhost", "127.0.0.1:9", "[::1]:80", "model.example:80", "10.1.2.3"):
            assert client.get("/healthz", headers={"Host": host}).status_code == 200, host
        for host in ("evil.example", "localhost.evil.example", "", "a@localhost", "localhost:x"):
            error = refused(client.get("/healthz", headers={"Host": host}), 403)
            assert error["field"] == "Host"
        same = client.base_url.host
        ask = {"json": {"n_sweeps": 1}}
        good = client.post("/v1/sample", headers={"Origin": f"http://{same}"}, **ask)
        assert good.status_code == 200
        assert not [name for name in good.headers if name.startswith("access-control")]
        for origin in ("http://evil.example", "null", "http://[", ""):
            answer = client.post("/v1/sample", headers={"Origin": origin}, **ask)
            assert refused(answer, 403)["field"] == "Origin"
        answer = client.options("/v1/sample", headers={"Access-Control-Request-Method": "POST"})
        refused(answer, 405)


def test_headers_of_security(client):
    """Would catch an answer, of an error too, that a browser could take for a page."""
    for answer in (client.get("/healthz"), client.get("/none"), client.post("/v1/transform")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert answer.headers["x-frame-options"] == "DENY"
        assert "server" not in answer.headers


def test_further_routes_stand_beside(estimators):
    """Would catch an application that a page, or a WebSocket, cannot be added to."""
    from starlette.responses import HTMLResponse
    from starlette.routing import Route, WebSocketRoute

    async def page(request):
        name = type(request.app.state.service.estimator).__name__
        policy = {"Content-Security-Policy": "default-src 'self'"}
        return HTMLResponse(f"<h1>{name}</h1>", headers=policy)

    async def echo(socket):
        await socket.accept()
        await socket.send_text(await socket.receive_text())
        await socket.close()

    further = [Route("/", page), WebSocketRoute("/chains", echo)]
    with served(copy.deepcopy(estimators["rbm"]), without=["score"], further=further) as client:
        answer = client.get("/")
        assert answer.text == "<h1>RBM</h1>"
        assert answer.headers["content-security-policy"] == "default-src 'self'"
        assert client.get("/healthz").status_code == 200
        from websockets.exceptions import InvalidStatus
        from websockets.sync.client import connect

        address = str(client.base_url).replace("http", "ws") + "/chains"
        with connect(address) as socket:
            socket.send("on")
            assert socket.recv() == "on"
        with pytest.raises(InvalidStatus, match="403"):
            connect(address, origin="http://evil.example").__enter__()


# --------------------------------------------------------------------------- what it says of itself


def test_answers_have_names(client):
    """Would catch an answer that is computed again though the client has it, and one name for two
    answers."""
    ask = {"rows": ONE, "n_chains": 2, "n_sweeps": 2}
    first, again = (client.post("/v1/impute", json=ask) for _ in range(2))
    assert first.content == again.content
    names = {first.headers["etag"]}
    assert again.headers["etag"] in names
    for other in ({"seed": 1}, {"n_sweeps": 3}):
        names.add(client.post("/v1/impute", json=ask | other).headers["etag"])
    names.add(client.post("/v1/transform", json={"rows": ONE}).headers["etag"])
    names.add(
        client.post("/v1/transform", json={"rows": ONE}, headers={"Accept": NPY}).headers["etag"]
    )
    assert len(names) == 5
    headers = {"If-None-Match": first.headers["etag"]}
    refused(client.post("/v1/impute", json=ask, headers=headers), 412)
    for path in ("/v1/model", "/openapi.json"):
        etag = client.get(path).headers["etag"]
        assert client.get(path, headers={"If-None-Match": f'"x", {etag}'}).status_code == 304


def test_card(estimators):
    """Would catch a card that lies, of classes, columns or endpoints."""
    with served(copy.deepcopy(estimators["days"])) as client:
        card = client.get("/v1/model").json()
        assert [day[:10] for day in card["classes"]] == ["2020-01-01", "2020-01-02"]
        assert card["n_features"] == 20
        assert set(card["endpoints"]) == ANSWERS["days"]
        assert card["log_partition"]["lower"] <= card["log_partition"]["upper"]
        assert "n_words" not in card["endpoints"]["sample"]["fields"]
        drawn = client.post("/v1/sample", json={"y": card["classes"][1], "n_sweeps": 3}).json()
        expected = estimators["days"].sample(1, y=DAYS[1], n_sweeps=3, random_state=0)
        assert drawn["values"] == expected.tolist()
    with served(copy.deepcopy(estimators["table"])) as client:
        assert client.get("/v1/model").json()["features"] == ["smokes", "town", "height"]


@pytest.mark.parametrize("name", ["labels", "documents", "mixture", "table", "regressor"])
def test_openapi_is_that_of_the_routes(estimators, name):
    """Would catch a description of endpoints or fields that are not there, or that lacks some."""
    with served(copy.deepcopy(estimators[name])) as client:
        description = client.get("/openapi.json").json()
        paths = {path for path in description["paths"] if path.startswith("/v1/")}
        assert paths == {f"/v1/{name}" for name in (*ANSWERS[name], "model")}
        for endpoint, ability in client.service.abilities.items():
            post = description["paths"][f"/v1/{endpoint}"]["post"]
            body = post["requestBody"]["content"][JSON]["schema"]
            rows = {"rows"} if ENDPOINTS[endpoint].reads_rows else set()
            assert set(body["properties"]) == set(ability.fields) | rows
            asked = {parameter["name"] for parameter in post["parameters"]}
            assert asked == (set(ability.fields) if rows else set())


def test_metrics(client):
    """Would catch counts that a client's addresses can make without end, and a class of a
    histogram that is not added up."""
    client.post("/v1/transform", json={"rows": ONE})
    for number in range(5):
        client.get(f"/nothing/{number}")
    text = client.get("/metrics").text
    assert "nothing" not in text
    assert 'deepgen_requests_total{endpoint="transform",status="200"}' in text
    numbers = dict(
        line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")
    )
    counts = [float(n) for key, n in numbers.items() if 'bucket{endpoint="transform"' in key]
    assert counts == sorted(counts)
    assert counts[-1] == float(numbers['deepgen_request_seconds_count{endpoint="transform"}'])
    assert float(numbers["process_cpu_seconds_total"]) > 0


def test_score_waits_for_log_z(estimators, monkeypatch):
    """Would catch a service that says it is ready before it can answer, or whose first scores wait
    for log Z until their time is over."""
    own, go_on = copy.deepcopy(estimators["rbm"]), threading.Event()
    whole = type(own).log_partition
    monkeypatch.setattr(dg.RBM, "log_partition", lambda self: go_on.wait(30) and whole(self))
    threading.Timer(0.6, go_on.set).start()
    seen = {}

    from deepgen.serving.server import make_server, open_socket
    from deepgen.serving.service import Service

    service = Service(own)
    server = make_server(service)
    listening, address = open_socket("127.0.0.1", 0)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        with httpx.Client(base_url=address) as client:
            wait_until(lambda: server.started)
            for path in ("/readyz", "/healthz"):
                seen[path] = client.get(path).status_code
            seen["score"] = client.post("/v1/score", json={"rows": ONE})
            seen["transform"] = client.post("/v1/transform", json={"rows": ONE}).status_code
            wait_until(lambda: client.get("/readyz").status_code == 200)
            assert client.post("/v1/score", json={"rows": ONE}).status_code == 200
    finally:
        server.should_exit = True
        thread.join()
        listening.close()
    assert (seen["/readyz"], seen["/healthz"], seen["transform"]) == (503, 200, 200)
    assert "log Z" in refused(seen["score"], 503)["message"]
    assert seen["score"].headers["retry-after"]


@pytest.mark.parametrize(
    ("without", "message"),
    [(["scores"], "without must name endpoints.* 'scores'"), (list(ENDPOINTS), "model must")],
)
def test_refused_services(estimators, without, message):
    """Would catch a slip that leaves an endpoint open which was to be closed."""
    from deepgen.serving.service import Service

    with pytest.raises(ValueError, match=message):
        Service(copy.deepcopy(estimators["rbm"]), without=without)


@pytest.mark.parametrize("name", ["body", "rows", "sweeps", "chains", "values", "queue"])
def test_limits_are_numbers(name):
    """Would catch a limit that lets everything pass."""
    with pytest.raises(ValueError, match=name):
        Limits(**{name: 0})


# ------------------------------------------------------------------------------- the command line


def test_command(tmp_path, estimators):
    """Would catch a command that does not say where it listens, does not end at Ctrl-C and
    SIGTERM, or leaves the requests on their way without an answer."""
    path = tmp_path / "rbm.safetensors"
    estimators["rbm"].save(path)
    for number, code in ((signal.SIGINT, 0), (signal.SIGTERM, -signal.SIGTERM)):
        with command(path) as (process, client):
            answers = []
            ask = {"n": 20, "n_sweeps": 1000}
            slow = threading.Thread(
                target=lambda to, ask, answers: answers.append(to.post("/v1/sample", json=ask)),
                args=(client, ask, answers),
            )
            slow.start()
            slow.join(0.05)
            process.send_signal(number)
            slow.join()
            assert answers[0].status_code == 200
            assert process.wait(30) == code
            out = process.stdout.read()
            assert ("requests answered at http://127.0.0.1:" in out) == (code == 0)


def test_a_file_that_changes(tmp_path, estimators):
    """Would catch a service that reads its file again while it runs, and one that after a restart
    with another file takes answers of the old one for its own."""
    path, ask = tmp_path / "model", {"rows": X[:2].tolist()}
    answers = []
    for name in ("rbm", "dbm"):
        estimators[name].save(path)
        with command(path, "--without", "score") as (_, client):
            answers.append(client.post("/v1/transform", json=ask))
            found = np.array(answers[-1].json()["values"], np.float32)
            assert_same_bits(found, estimators[name].transform(X[:2]))
            path.write_bytes(b"")  # in place, as cp does
            names = {"If-None-Match": answers[0].headers["ETag"]}
            again = client.post("/v1/transform", json=ask, headers=names)
            assert again.status_code == (412 if name == "rbm" else 200)
            assert client.post("/v1/transform", json=ask).content == answers[-1].content
    assert answers[0].headers["ETag"] != answers[1].headers["ETag"]


def test_command_that_cannot(tmp_path, capsys, estimators):
    """Would catch a traceback where a file is no model, or one that answers about users."""
    from cli_runs import fails

    text = tmp_path / "text"
    text.write_text("no model")
    fails(capsys, 1, "serve", text)
    assert "No such file" in fails(capsys, 1, "serve", tmp_path / "none")
    ratings = dg.RatingsRBM(3, n_epochs=1, random_state=0).fit(
        dg.Ratings.from_triples([0, 0, 1, 1], [0, 1, 0, 1], [1, 2, 2, 1])
    )
    ratings.save(tmp_path / "ratings")
    assert "answers about rows" in fails(capsys, 1, "serve", tmp_path / "ratings")
    path = tmp_path / "rbm"
    estimators["rbm"].save(path)
    assert "without must name" in fails(capsys, 1, "serve", path, "--without", "scores")
