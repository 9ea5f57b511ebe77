"""A model over HTTP: are the answers the estimator's own, alone and in company?"""

import asyncio
import copy
import json
import threading

import numpy as np
import pandas as pd
import pytest
from conftest import assert_same_bits
from served import NPY, httpx, number_of, post_npy, refused, served, wait_until
from served_models import ANSWERS, MADE, TABLE, WORDS, X, made, rows_of

from deepgen.serving.abilities import abilities_of
from deepgen.serving.bodies import json_of_arrays
from deepgen.serving.limits import Limits
from deepgen.serving.metrics import Metrics
from deepgen.serving.work import Workshop


@pytest.fixture(scope="module")
def estimators():
    return made()


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
    bits = np.random.default_rng(0).integers(0, 2**63, 40_000, dtype=np.int64)
    values = bits.view(np.float64) if dtype == np.float64 else bits.view(np.float32)
    values = values[np.isfinite(values)][:30_000].reshape(-1, 10)
    text = json_of_arrays({"values": values})
    assert_same_bits(np.array(json.loads(text)["values"], dtype), values)
    gaps = np.array([[np.nan, np.inf, 1.0]], dtype)
    assert json.loads(json_of_arrays({"a": gaps})) == {"a": [[None, None, 1.0]]}
