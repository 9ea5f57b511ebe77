"""A service under load: slow clients, clients that leave, queues, deadlines, memory, crowds."""

import contextlib
import copy
import functools
import json
import logging
import socket
import threading
import time

import numpy as np
import pytest
from conftest import with_slow
from served import command, httpx, npy, number_of, refused, served, wait_until

import deepgen as dg
from deepgen.serving.bodies import JSON

RNG = np.random.default_rng(9)
X = (RNG.random((200, 50)) < 0.3).astype(np.uint8)
LONG = {"n": 250, "n_sweeps": 1000}


@pytest.fixture(scope="module")
def rbm():
    return dg.RBM(400, n_epochs=1, random_state=0, n_threads=1).fit(X)


@pytest.fixture(scope="module")
def large():
    """Large enough for LONG to take more than the time of the service below, on any core."""
    return dg.RBM(2000, n_epochs=1, random_state=0, n_threads=1).fit(X)


@pytest.fixture(params=["httptools", "h11"])
def reader(request, monkeypatch):
    """What reads the bytes of requests: the one of the extra, and the one that is always there."""
    from deepgen.serving import server

    if request.param == "h11":
        monkeypatch.setattr(server, "fast_protocol", lambda: None)
    elif server.fast_protocol() is None:
        pytest.skip("httptools is not installed")


@pytest.fixture
def service(large, reader):
    """A service that counts well: one thread, a short time, a short queue."""
    with served(
        copy.deepcopy(large), without=["score"], n_threads=1, seconds=0.8, queue=3
    ) as client:
        yield client


def raw(client, *parts, pause=0.0):
    """Send bytes over a connection of its own; return what comes until it is closed."""
    host, port = client.base_url.host, client.base_url.port
    with socket.create_connection((host, port), 20) as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(pause)
        answer = b""
        with contextlib.suppress(ConnectionResetError):  # closed with bytes that nobody reads
            while piece := connection.recv(65_536):
                answer += piece
    return answer


def counted(client, endpoint, status):
    """How many answers of a status there were."""
    name = f'deepgen_requests_total{{endpoint="{endpoint}",status="{status}"}} '
    return sum(
        int(line[len(name):]) for line in client.get("/metrics").text.splitlines()
        if line.startswith(name)
    )  # fmt: skip


def test_a_deadline(service):
    """Would catch work that goes on when nobody can use it any more, and a service that answers
    nobody else meanwhile."""
    began, seen = time.monotonic(), []

    def others():
        with httpx.Client(base_url=service.base_url) as client:
            for _ in range(5):
                seen.append(client.get("/healthz").elapsed.total_seconds())
                time.sleep(0.05)

    thread = threading.Thread(target=others)
    thread.start()
    answer = service.post("/v1/sample", json=LONG)
    thread.join()
    error = refused(answer, 503)
    assert "0.8 s" in error["message"]
    assert "sweeps" in error["message"]
    assert int(answer.headers["retry-after"]) >= 1
    assert time.monotonic() - began < 20
    assert min(seen) < 0.5
    wait_until(lambda: service.service.workshop._n_running == 0)


def test_quick_calls_are_made_on_the_loop(rbm):
    """Would catch calls that go to a thread and back though that costs more than they do, and slow
    ones that keep the loop from everybody else; the answers are the same."""
    rbm, threads, work = copy.deepcopy(rbm), [], 0.0

    @functools.wraps(rbm.transform)
    def transform(*args, **options):
        threads.append(threading.current_thread().name.partition("_")[0])
        end = time.thread_time() + work
        while time.thread_time() < end:
            pass
        return type(rbm).transform(rbm, *args, **options)

    with served(rbm, without=["score"], n_threads=1) as client:
        rbm.transform = transform
        shop, answers = client.service.workshop, set()

        def ask():
            answers.add(client.post("/v1/transform", json={"rows": X[:1].tolist()}).text)
            return threads[-1]

        wait_until(lambda: ask() != "deepgen")  # the first ones wait for memory and caches
        work = 0.002
        seen = [ask() for _ in range(3)]
        assert seen[0] != "deepgen"
        assert seen[1:] == ["deepgen", "deepgen"]
        assert len(answers) == 1
        assert not shop._n_running


def test_a_queue(service):
    """Would catch a queue without an end: the fifth of five waits for a time that has passed."""
    answers, threads = [], []

    def ask():
        with httpx.Client(base_url=service.base_url, timeout=30) as client:
            answers.append(client.post("/v1/sample", json=LONG))

    for _ in range(8):
        threads.append(threading.Thread(target=ask))
        threads[-1].start()
    for thread in threads:
        thread.join()
    statuses = sorted(answer.status_code for answer in answers)
    assert set(statuses) == {429, 503}
    assert statuses.count(429) >= 3
    for answer in answers:
        if answer.status_code == 429:
            refused(answer, 429)
            assert answer.headers["retry-after"] == "1"
    wait_until(lambda: service.service.workshop._n_waiting == 0)
    rows = {"rows": X[:1].tolist()}
    wait_until(lambda: service.post("/v1/transform", json=rows).status_code == 200)


def test_a_slow_body(service):
    """Would catch a body that is waited for without an end, byte by byte."""
    head = (
        f"POST /v1/transform HTTP/1.1\r\nHost: localhost\r\nContent-Type: {JSON}\r\n"
        "Content-Length: 1000\r\n\r\n"
    )
    began = time.monotonic()
    answer = raw(service, head.encode(), b"{", b'"')
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"2 bytes came" in answer
    assert time.monotonic() - began < 15


def test_a_slow_head(service, monkeypatch):
    """Would catch connections that are held open by a byte now and then, before a request is
    whole: uvicorn has no limit for these."""
    from deepgen.serving import server

    monkeypatch.setattr(server, "HEAD", 0.3)
    for parts in ([b""], [b"GET /healthz HT"], [b"GET /hea", b"lthz", b" HTTP/1.1\r\n", b"Ho"]):
        began = time.monotonic()
        raw(service, *parts, pause=0.05)
        assert time.monotonic() - began < 10
    again = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /"
    assert raw(service, again).startswith(b"HTTP/1.1 200")


def test_a_client_that_leaves(service):
    """Would catch work for a client that has gone: it ends early, and is counted so."""
    body = json.dumps(LONG).encode()
    head = (
        f"POST /v1/sample HTTP/1.1\r\nHost: localhost\r\nContent-Type: {JSON}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    shop = service.service.workshop
    for _ in range(3):
        host, port = service.base_url.host, service.base_url.port
        with socket.create_connection((host, port), 20) as connection:
            connection.sendall(head.encode() + body)
            wait_until(lambda: shop._n_running == 1)
        began = time.monotonic()
        wait_until(lambda: shop._n_running == 0)
        assert time.monotonic() - began < 0.7  # its time would have been 0.8 s
    wait_until(lambda: counted(service, "sample", 499) == 3)
    with socket.create_connection((host, port), 20) as connection:  # in the middle of a body
        connection.sendall(head.encode())
    wait_until(lambda: service.get("/healthz").status_code == 200)


def test_a_body_behind_a_refusal(service):
    """Would catch a bound for heads that counts bodies: this one is thrown away, and the
    connection is good for another request."""
    head = "POST /v1/transform HTTP/1.1\r\nHost: localhost\r\nContent-Length: 300000\r\n\r\n"
    again = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    answer = raw(service, head.encode(), bytes(150_000), bytes(150_000), again, pause=0.1)
    assert answer.startswith(b"HTTP/1.1 415")
    assert answer.count(b"HTTP/1.1 200") == 1


def test_a_socket_stays_open(rbm, reader, monkeypatch):
    """Would catch a time for heads that ends a WebSocket, which has had its head long ago."""
    from starlette.routing import WebSocketRoute
    from websockets.sync.client import connect

    from deepgen.serving import server

    async def echo(socket):
        await socket.accept()
        await socket.send_text(await socket.receive_text())

    monkeypatch.setattr(server, "HEAD", 0.2)
    further = [WebSocketRoute("/echo", echo)]
    with served(copy.deepcopy(rbm), without=["score"], further=further) as client:
        address = str(client.base_url).replace("http", "ws", 1)
        with connect(f"{address}/echo") as mine:
            time.sleep(0.6)
            mine.send("still there")
            assert mine.recv(5) == "still there"


@pytest.mark.parametrize(
    "request_line",
    [b"\x16\x03\x01\x02\x00", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nA: " + b"a" * 200_000,
     b"POST /v1/sample HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
     b"Content-Type: application/json\r\n\r\n0\r\nA: " + b"a" * 200_000,
 b"GET / HTTP/9.9\r\n\r\n", b"GET /" + b"a" * 100_000,
     b"GET /healthz HTTP/1.1\r\n\r\n", b"POST /v1/sample HTTP/1.1\r\nHost: localhost\r\n"
     b"Content-Length: -5\r\n\r\n",
     b"POST /v1/sample HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
     b"Content-Type: application/json\r\n\r\nzzz\r\n"],
    ids=["TLS", "long head", "long tail", "version", "long", "no host", "negative", "chunk"],
)  # fmt: skip
def test_malformed_requests(service, request_line, monkeypatch):
    """Would catch bytes that are no request and end the server."""
    from deepgen.serving import server

    monkeypatch.setattr(server, "HEAD", 0.3)
    answer = raw(service, request_line)
    assert not answer or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4"))
    assert service.get("/healthz").status_code == 200


def slow_load(client, end, statuses, wrong):
    """Ask byte by byte, and stop in the middle of every other body."""
    body = json.dumps({"rows": X[:1].tolist()}).encode()
    head = (
        f"POST /v1/transform HTTP/1.1\r\nHost: localhost\r\nContent-Type: {JSON}\r\n"
        f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    turn = 0
    while time.monotonic() < end:
        whole = turn % 2 == 0
        parts = [head[:20], head[20:], body[:9], *([body[9:]] if whole else [])]
        answer, turn = raw(client, *parts, pause=0.2), turn + 1
        status = int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else 0
        statuses[status] = statuses.get(status, 0) + 1
        if status not in ({200, 429, 503} if whole else {408}):
            wrong.append(f"a slow client got {answer[:200]}")


def mixed_load(address, seconds, n_clients, expected):
    """Let clients ask all kinds of things; return how often each status came, what was wrong."""
    statuses, wrong, end = {}, [], time.monotonic() + seconds
    rows = X[:2].tolist()
    asks = [
        ("/v1/transform", {"json": {"rows": rows}}, {200}),
        ("/v1/transform", {"content": npy(X[:60]), "headers": {
            "Content-Type": "application/x-npy"}}, {200}),
        ("/v1/free_energy", {"json": {"rows": rows}}, {200}),
        ("/v1/sample", {"json": {"n": 2, "n_sweeps": 20}}, {200}),
        ("/v1/impute", {"json": {"rows": [[None] * 50], "n_chains": 2, "n_sweeps": 5}}, {200}),
        ("/v1/transform", {"json": {"rows": [[5] * 50]}}, {422}),
        ("/v1/transform", {"content": b"{", "headers": {"Content-Type": JSON}}, {400}),
        ("/v1/transform", {"content": bytes(2**20 + 1), "headers": {"Content-Type": JSON}}, {413}),
        ("/v1/score", {"json": {"rows": rows}}, {404}),
    ]  # fmt: skip
    lock = threading.Lock()

    def ask(worker):
        client = httpx.Client(base_url=address, timeout=60)
        turn = worker
        while time.monotonic() < end:
            path, request, good = asks[turn % len(asks)]
            turn += 1
            try:
                answer = client.post(path, **request)
            except httpx.TransportError as error:
                if good != {413}:  # closed while we were still sending
                    wrong.append(f"{path}: {error!r}")
                client.close()
                client = httpx.Client(base_url=address, timeout=60)
                continue
            with lock:
                statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
            if answer.status_code not in good | {429, 503}:
                wrong.append(f"{path}: {answer.status_code} {answer.text[:200]}")
            if path == "/v1/transform" and answer.status_code == 200 and "json" in request:
                found = np.array(answer.json()["values"], np.float32)
                if not np.array_equal(found, expected):
                    wrong.append("other bits")
            if worker % 16 == 15:  # some leave without a word
                client.close()
                client = httpx.Client(base_url=address, timeout=60)
        client.close()

    threads = [threading.Thread(target=ask, args=(worker,)) for worker in range(n_clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statuses, wrong


LOADS = ["2 s, 16 clients", "60 s, 64 clients"]


@pytest.mark.parametrize("load", with_slow(LOADS, LOADS[1:]))
def test_many_clients(rbm, load, tmp_path):
    """Would catch a crash, an answer for another client, memory that grows with requests, and
    counts that do not come back to zero: all endpoints, good, malformed and oversized."""
    seconds, n_clients = (int(part.split()[0]) for part in load.split(", "))
    rbm.save(tmp_path / "rbm")
    with command(tmp_path / "rbm", "--without", "score") as (process, client):
        expected = rbm.transform(X[:2])
        mixed_load(client.base_url, min(5, seconds), n_clients, expected)  # pools and caches fill
        name = "process_resident_memory_bytes"
        before, slow, slow_wrong = number_of(client, name), {}, []
        loiterer = threading.Thread(
            target=slow_load, args=(client, time.monotonic() + seconds, slow, slow_wrong)
        )
        loiterer.start()
        statuses, wrong = mixed_load(client.base_url, seconds, n_clients, expected)
        loiterer.join()
        assert not wrong + slow_wrong, (wrong + slow_wrong)[:5]
        assert {200, 408} <= set(slow)
        assert statuses[200] > 10
        assert {400, 404, 422} <= set(statuses)
        for gauge in ("deepgen_queue_length", "deepgen_running_calls"):
            wait_until(lambda gauge=gauge: number_of(client, gauge) == 0)
        grown = number_of(client, name) - before
        told = "%s, of a slow client %s; %.0f MB, %+.1f at the end"  # --log-cli-level=INFO
        logging.getLogger(__name__).info(told, statuses, slow, before / 1e6, grown / 1e6)
        assert grown < 30e6, f"{grown / 1e6:.0f} MB in {sum(statuses.values())} requests"
        assert process.poll() is None


def test_the_end_answers_what_is_on_its_way(rbm):
    """Would catch a shutdown that drops requests, or waits for work that nobody has asked for."""
    rbm, gate, answers = copy.deepcopy(rbm), threading.Event(), []

    @functools.wraps(rbm.sample)
    def sample(*args, **options):  # no machine is so fast that the first is over before the third
        gate.wait(20)
        return type(rbm).sample(rbm, *args, **options)

    rbm.sample = sample
    with served(rbm, without=["score"], n_threads=1) as client:

        def ask():
            with httpx.Client(base_url=client.base_url, timeout=30) as mine:
                answers.append(mine.post("/v1/sample", json={"n": 2, "n_sweeps": 5}))

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        shop = client.service.workshop
        wait_until(lambda: shop._n_running + shop._n_waiting == 3)
        threading.Timer(0.5, gate.set).start()  # when the end has been asked for
    for thread in threads:
        thread.join()
    assert [answer.status_code for answer in answers] == [200] * 3
