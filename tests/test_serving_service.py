"""A service: who may ask, what it says of itself, and the command that starts it."""

import copy
import signal
import threading

import numpy as np
import pytest
from conftest import assert_same_bits
from served import NPY, command, httpx, refused, served, wait_until
from served_models import ANSWERS, DAYS, ONE, X, made, small_service

import deepgen as dg
from deepgen.serving.abilities import ENDPOINTS
from deepgen.serving.bodies import JSON
from deepgen.serving.limits import Limits


@pytest.fixture(scope="module")
def estimators():
    return made()


@pytest.fixture(scope="module")
def client():
    with small_service() as client:
        yield client


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


# ------------------------------------------------------------------------- what it says of itself


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


# ----------------------------------------------------------------------------- the command line


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
