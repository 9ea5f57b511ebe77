"""A model over HTTP: what is refused, and in which words?"""

import copy
import json

import numpy as np
import pytest
from conftest import assert_same_bits
from served import NPY, httpx, npy, post_npy, refused, served
from served_models import ONE, X, made, small_service

from deepgen.serving.bodies import JSON, wanted_type


@pytest.fixture(scope="module")
def estimators():
    return made()


@pytest.fixture(scope="module")
def client():
    with small_service() as client:
        yield client


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
    rows = np.asfortranarray(np.random.default_rng(0).random((5, 20)))
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
