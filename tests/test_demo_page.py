"""The page of the demo behind its WebSocket: what it answers, what it refuses, what it keeps."""

import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from demo_models import QUICK, quick_models, silent
from served import served, wait_until

from deepgen.demo import machines, sessions
from deepgen.demo.answers import completions_of, erased_pixels, sweeps_of
from deepgen.demo.machines import FACTS, FILES, Recipe, page_models
from deepgen.demo.page import page_routes
from deepgen.demo.sessions import Parlour
from deepgen.demo.strokes import picture_of_strokes
from deepgen.inference.mean_field import FixedPoint, mean_field
from deepgen.serving import server

websockets = pytest.importorskip("websockets", reason="pip install 'deepgen[web]'")
from websockets.exceptions import ConnectionClosed, InvalidStatus  # noqa: E402
from websockets.sync.client import connect  # noqa: E402

SEVEN = [[[0.3, 0.2], [0.7, 0.2], [0.45, 0.85]]]
LOWER = list(range(392, 784))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the quick models."""
    folder = tmp_path_factory.mktemp("page")
    quick_models(folder)
    return folder


@pytest.fixture(scope="module")
def models(folder):
    """The quick models, taken from their folder."""
    return quick_models(folder)


@pytest.fixture(scope="module")
def client(models):
    """The page on a free port."""
    parlour = Parlour(models, 2)
    with served(models.dbm, without=["score"], further=page_routes(parlour)) as client:
        client.parlour = parlour
        yield client
    parlour.close()


@contextlib.contextmanager
def talk(client, **options):
    """A WebSocket to the page."""
    address = str(client.base_url).replace("http", "ws") + "/talk"
    with connect(address, open_timeout=20, max_size=2**22, **options) as socket:
        yield socket


def asked(socket, kind, **content):
    """The answer to one question."""
    socket.send(json.dumps({"kind": kind, "id": 7, **content}))
    answer = json.loads(socket.recv(timeout=20))
    assert answer["id"] == 7
    return answer


def bytes_of(text):
    return np.frombuffer(base64.b64decode(text), np.uint8)


# ------------------------------------------------------------------------------------ the models


def test_sweeps_end_where_mean_field_does(models):
    """Would catch sweeps that are not those of mean field, a layer 1 that has heard layer 2 before
    sweep 1, and pictures or labels of other sweeps."""
    machine, row = models.dbm.model_, picture_of_strokes(SEVEN)
    sweeps = sweeps_of(machine, row)
    known = [row[None], None, None, None]
    arrived = mean_field(machine, known, until=FixedPoint(50, 1e-3))
    n = int(arrived.n_sweeps[0])
    assert 2 < n < 50
    assert len(sweeps.first) == len(sweeps.labels) == len(sweeps.pictures) == n + 1
    for found, layer in ((sweeps.first, 1), (sweeps.second, 2), (sweeps.labels, 3)):
        assert np.abs(found[-1] - arrived.means[layer][0]).max() < 1e-3
        after = mean_field(machine, known, until=FixedPoint(2, 0.0)).means[layer][0]
        assert np.abs(found[2] - after).max() < 1e-5
    alone = 1 / (1 + np.exp(-(machine.layers[1].bias + row @ machine.weights[0])))
    assert np.abs(sweeps.first[0] - alone).max() < 1e-5
    assert not sweeps.second[0].any()
    below = machine.layers[0].bias + sweeps.first[1] @ machine.weights[0].T
    assert np.abs(sweeps.pictures[1] - 1 / (1 + np.exp(-below))).max() < 1e-5


def test_completions_keep_what_is_there(models):
    """Would catch kept pixels that change, answers that are all the same, and a mean of others."""
    row, erased = picture_of_strokes(SEVEN), erased_pixels(LOWER, 784)
    completed = completions_of(models.dbm, row, erased, random_state=0)
    assert (completed.single[:, ~erased] == row[~erased]).all()
    assert np.abs(completed.mean[~erased] - row[~erased]).max() < 1e-6
    assert len(np.unique(completed.single, axis=0)) == len(completed.single) == 4
    assert completed.mean[erased].std() < completed.single[:, erased].std(axis=1).mean()


@pytest.mark.parametrize("numbers", [None, [784], [-1], [1.5], [True], "7", [[1]], [0] * 785])
def test_erased_pixels_are_numbers_of_pixels(numbers):
    """Would catch an index error, or pixels counted from the end, for what a stranger sends."""
    with pytest.raises(ValueError, match="erased must be a list of integers from 0 to 783"):
        erased_pixels(numbers, 784)


def test_models_are_trained_once(folder, monkeypatch):
    """Would catch a minute of training at each start, and kept models that are those of another
    recipe, or damaged."""
    trained = []
    monkeypatch.setattr(
        machines, "_trained", lambda digits, recipe, say: trained.append(recipe) or 1 / 0
    )
    monkeypatch.setattr(machines, "load_digits", lambda: None)  # nor are they read
    kept = quick_models(folder)
    assert trained == []
    assert kept.facts["n_held_out"] == 1000
    assert kept.facts["n_right"] > 850
    assert set(kept.examples) == set(range(10))
    with pytest.raises(ZeroDivisionError):
        page_models(folder, Recipe(seed=1), silent)
    path = folder / FILES["classifier"]
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(ZeroDivisionError):
            quick_models(folder)
    finally:
        path.write_bytes(whole)
    text = (folder / FACTS).read_text(encoding="utf-8")
    try:
        (folder / FACTS).write_text(text[:-9], encoding="utf-8")
        with pytest.raises(ZeroDivisionError):
            quick_models(folder)
    finally:
        (folder / FACTS).write_text(text, encoding="utf-8")
    assert len(trained) == 3
    assert trained[1:] == [QUICK, QUICK]


# --------------------------------------------------------------------------------------- the page


def test_the_page_loads_nothing_from_outside(client):
    """Would catch an address of another host in the page, a policy that allows one, and a file
    that is not served."""
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy
    for path, kind in (
        ("/page.css", "text/css"), ("/page.js", "text/javascript"), ("/favicon.svg", "image/svg"),
    ):  # fmt: skip
        file = client.get(path)
        assert file.headers["content-type"].startswith(kind)
        assert path in page.text
        outside = file.text.replace("http://www.w3.org/2000/svg", "")
        assert "//" not in outside.replace("${scheme}://${location.host}", "").replace("// ", "")
    assert "http" not in page.text
    assert client.get("/facts.json").json()["n_held_out"] == 1000
    assert client.get("/healthz").status_code == 200
    assert client.post("/v1/predict", json={"rows": [[0] * 784]}).status_code == 200


def test_a_drawing_is_seen(client, models):
    """Would catch answers about another picture, bars that are not the classifier's, and bytes
    that the page would read in another order."""
    row = picture_of_strokes(SEVEN)
    with talk(client) as socket:
        answer = asked(socket, "look", strokes=SEVEN)
        assert answer["kind"] == "seen"
        assert (bytes_of(answer["picture"]) == np.rint(255 * row)).all()
        assert np.argmax(answer["classes"]) == 7
        expected = models.classifier.predict_proba(row[None])[0]
        assert np.abs(np.subtract(answer["classes"], expected)).max() < 1e-5
        sweeps = sweeps_of(models.dbm.model_, row)
        for name, values in (
            ("first", sweeps.first), ("second", sweeps.second), ("pictures", sweeps.pictures),
        ):  # fmt: skip
            assert (bytes_of(answer[name]) == np.rint(255 * values).ravel()).all()
        assert len(answer["labels"]) == len(sweeps.labels)
        assert 0.0 < answer["milliseconds"] < 5000


def test_completions_and_examples(client):
    """Would catch a picture of MNIST that is not taken as it is, or another digit than asked."""
    with talk(client) as socket:
        example = asked(socket, "example", digit=3)
        assert example["digit"] == 3
        row = example["picture"]
        seen = asked(socket, "look", row=row)
        assert seen["picture"] == row
        completed = asked(socket, "complete", row=row, erased=LOWER)
        assert completed["kind"] == "completed"
        single = bytes_of(completed["single"]).reshape(4, 784)
        assert (single[:, :392] == bytes_of(row)[:392]).all()
        assert bytes_of(completed["mean"]).shape == (784,)
        assert asked(socket, "example", digit=None)["digit"] in range(10)


def test_a_dream_goes_on_until_it_ends(client):
    """Would catch chains that begin anew at each look, a dream that goes on after its end, two
    dreams at once, and a dream that keeps other questions waiting."""
    with talk(client) as socket:
        socket.send(json.dumps({"kind": "dream", "id": 1, "digit": 3}))
        frames = [json.loads(socket.recv(timeout=20)) for _ in range(4)]
        assert [frame["n_sweeps"] for frame in frames] == [0, 1, 2, 3]
        assert {frame["kind"] for frame in frames} == {"dreaming"}
        pictures = [bytes_of(frame["pictures"]) for frame in frames]
        assert all(p.shape == (6 * 784,) for p in pictures)
        assert (pictures[0] != pictures[3]).any()
        socket.send(json.dumps({"kind": "dream", "id": 2, "digit": None}))
        socket.send(json.dumps({"kind": "look", "id": 3, "strokes": SEVEN}))
        later = [json.loads(socket.recv(timeout=20)) for _ in range(6)]
        assert [answer["id"] for answer in later if answer["id"] == 3] == [3]
        ids = [answer["id"] for answer in later if answer["kind"] == "dreaming"]
        assert ids == sorted(ids)  # none of the first after one of the second
        socket.send(json.dumps({"kind": "wake", "id": 4}))
        socket.send(json.dumps({"kind": "example", "id": 5, "digit": 1}))
        while (answer := json.loads(socket.recv(timeout=20)))["id"] != 5:
            assert answer["kind"] == "dreaming"
        with pytest.raises(TimeoutError):
            socket.recv(timeout=3 * sessions.FRAME)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "must be JSON"), ("[]", "JSON object with a kind"), ('{"kind": 3}', "a kind"),
        ('{"kind": "fly"}', "kind must be one of look, complete"), ("[" * 100_000, "nested"),
        ('{"kind": "look"}', "strokes must be a list"),
        ('{"kind": "look", "strokes": []}', "no ink"), ('{"kind": "look", "row": "A"}', "base64"),
        ('{"kind": "look", "row": "AAAA"}', "784 bytes, got 3"),
        ('{"kind": "look", "row": 5}', "base64"), ('{"kind": "dream", "digit": 10}', "0, 1, 2"),
        ('{"kind": "dream", "digit": true}', "digit must be"), ('{"kind": "look", "id": -1}', "id"),
        ('{"kind": "complete", "strokes": [[[0, 0]]], "erased": []}', "no pixel is erased"),
        ('{"kind": "look", "strokes": [[[0, NaN]]]}', "finite"),
    ],
)  # fmt: skip
def test_nonsense_is_refused_and_the_talk_goes_on(client, text, words):
    """Would catch a message that ends the talk, or the server, with a traceback."""
    with talk(client) as socket:
        socket.send(text)
        answer = json.loads(socket.recv(timeout=20))
        assert answer["kind"] == "refused"
        assert words in answer["message"]
        assert asked(socket, "look", strokes=SEVEN)["kind"] == "seen"


def test_long_messages_and_bytes_end_the_talk(client, models):
    """Would catch memory that a stranger can fill, and bytes that end in a traceback."""
    with talk(client) as socket:
        socket.send(json.dumps({"kind": "look", "pad": "x" * sessions.MOST_CHARACTERS}))
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=20)
        assert closed.value.rcvd.code == 1009
    with talk(client) as socket:
        with contextlib.suppress(ConnectionClosed):
            socket.send("x" * (client.service.limits.body + 1))
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=20)
    with talk(client) as socket:
        socket.send(b"\0")
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=20)
    wait_until(lambda: client.parlour.n_visitors == 0)


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C of another process is a matter of POSIX")
def test_the_command_serves_until_it_is_interrupted(folder):
    """Would catch a command that never says where the page is, takes other files than it keeps, or
    ends with a traceback."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from demo_models import QUICK\n"
        "from deepgen.demo import machines\n"
        "machines.Recipe = lambda seed: QUICK\n"
        "from deepgen.cli import main\n"
        "sys.exit(main(['demo', '--web', '--port', '0', '--out', sys.argv[2]]))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(Path(__file__).parent), str(folder)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        line = process.stderr.readline()
        address = next(word for word in line.split() if word.startswith("http://127.0.0.1:"))
        with connect(address.replace("http", "ws") + "/talk", open_timeout=20) as socket:
            assert asked(socket, "look", strokes=SEVEN)["kind"] == "seen"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait(30)
    assert process.returncode == 0, err
    assert err == ""
    assert str(folder) in out


def test_too_many_visitors_are_told_so(client, monkeypatch):
    """Would catch a server that takes on more than it can compute, and a place that stays taken
    after its visitor has left."""
    monkeypatch.setattr(sessions, "MOST_VISITORS", 2)
    wait_until(lambda: client.parlour.n_visitors == 0)
    with talk(client) as one, talk(client) as other:
        for socket in (one, other):
            assert asked(socket, "example", digit=1)["digit"] == 1
        with talk(client) as third:
            with pytest.raises(ConnectionClosed) as closed:
                third.recv(timeout=20)
            assert closed.value.rcvd.code == 1013
            assert "visitors" in closed.value.rcvd.reason
    wait_until(lambda: client.parlour.n_visitors == 0)
    with talk(client) as socket:
        assert asked(socket, "example", digit=1)["digit"] == 1


def test_pages_of_others_may_not_talk(client):
    """Would catch a page of another site that uses the machine of who has it open."""
    with pytest.raises(InvalidStatus, match="403"), talk(client, origin="http://evil.example"):
        pass


def test_a_visitor_may_be_silent(client, monkeypatch):
    """Would catch a WebSocket that is closed as if it were a request whose head does not come."""
    monkeypatch.setattr(server, "HEAD", 0.2)
    with talk(client) as socket:
        with pytest.raises(TimeoutError):
            socket.recv(timeout=1.0)
        assert asked(socket, "example", digit=1)["digit"] == 1


def test_a_visitor_who_leaves_ends_the_dream(client):
    """Would catch chains that run on for nobody."""
    with talk(client) as socket:
        socket.send(json.dumps({"kind": "dream", "id": 1, "digit": 3}))
        socket.recv(timeout=20)
    wait_until(lambda: client.parlour.n_visitors == 0)
    names = [thread.name for thread in threading.enumerate()]
    assert any(name.startswith("page") for name in names)  # the pool waits, and nothing is queued
    assert client.parlour._pool._work_queue.qsize() == 0
