"""The routes of a service, and the ASGI application that they make."""

import asyncio
import contextlib
import hashlib
import time
from functools import partial

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from deepgen.serving.abilities import ENDPOINTS
from deepgen.serving.bodies import (
    JSON,
    NPY,
    check_range,
    given_in_query,
    json_bytes,
    json_of_arrays,
    npy_bytes,
    options_of,
    read_json,
    rows_of_json,
    rows_of_npy,
    wanted_type,
)
from deepgen.serving.guard import LOOPBACK, Guard
from deepgen.serving.openapi import describe
from deepgen.serving.refusals import Refusal, wrong
from deepgen.serving.service import WIDEST

# Bodies of more bytes are read on a thread: the loop answers others meanwhile.
LARGE = 2**16


def application(service, *, hosts=LOOPBACK, further=()):
    """Return the application of a service, for uvicorn or another ASGI server.

    Parameters
    ----------
    service : Service
        Its life is that of the application.
    hosts : collection of str
        Names under which it is asked, beside addresses.
    further : sequence of Route, WebSocketRoute or Mount
        Beside those of :func:`routes`, before them: a page, say. They find the service as
        ``request.app.state.service``, and headers of theirs stand.

    Returns
    -------
    Starlette
    """

    @contextlib.asynccontextmanager
    async def life(app):
        service.start()
        yield
        service.stop()

    app = Starlette(
        routes=[*further, *routes(service)],
        middleware=[
            Middleware(
                Guard, hosts=hosts, metrics=service.metrics, endpoints=tuple(ENDPOINTS),
                most_bytes=service.limits.body,
            )
        ],
        exception_handlers={Refusal: _refused, HTTPException: partial(_of_starlette, service)},
        lifespan=life,
    )
    app.state.service = service
    return app


def routes(service):
    """Return the routes of a service: one for each of its abilities, and those about itself.

    Parameters
    ----------
    service : Service

    Returns
    -------
    list of Route
    """
    description, card = describe(service), None

    async def healthz(request):
        return JSONResponse({"status": "ok"})

    async def readyz(request):
        reason = service.why_not_ready()
        if reason is not None:
            raise Refusal(503, reason, headers={"Retry-After": "5"})
        return JSONResponse({"status": "ready"})

    async def metrics(request):
        return PlainTextResponse(service.metrics.text(), media_type="text/plain; version=0.0.4")

    async def openapi(request):
        return _cached(request, description)

    async def model(request):
        nonlocal card
        if card is None or (card["log_partition"] is None and service.needs_partition):
            card = service.card()
        return _cached(request, card)

    about = {
        "/healthz": healthz, "/readyz": readyz, "/metrics": metrics, "/openapi.json": openapi,
        "/v1/model": model,
    }  # fmt: skip
    return [
        *(Route(path, answer, methods=["GET"]) for path, answer in about.items()),
        *(
            Route(f"/v1/{name}", partial(_answer, service, name), methods=["POST"])
            for name in service.abilities
        ),
    ]


def _cached(request, content):
    """Answer with JSON that seldom changes, or say that the client has it."""
    body = json_bytes(content)
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    if _has_already(request, etag):
        return Response(status_code=304, headers={"ETag": etag})
    return Response(body, media_type=JSON, headers={"ETag": etag})


def _has_already(request, etag):
    names = request.headers.get("if-none-match", "").split(",")
    return any(name.strip().removeprefix("W/") == etag for name in names)


async def _refused(request, refusal):
    return JSONResponse(refusal.body(), refusal.status, refusal.headers)


async def _of_starlette(service, request, error):
    """Answer where no route fits: what there is, in the form of all refusals."""
    path, names = request.url.path, ", ".join(service.abilities)
    name = path.removeprefix("/v1/")
    if error.status_code == 404 and name in ENDPOINTS:
        who = type(service.estimator).__name__
        message = f"this model ({who}) has no {name}; it answers {names}"
    elif error.status_code == 404:
        message = f"there is no such address; /v1/ has model, {names}"
    elif error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "another method")
        message = f"{request.method} is no method of this address; it takes {allowed}"
    else:
        message = error.detail
    refusal = Refusal(error.status_code, message, headers=dict(error.headers or {}))
    return await _refused(request, refusal)


# ------------------------------------------------------------------------------------ one request


async def _answer(service, name, request):
    """Answer a request about rows: read, check, compute, write."""
    began, ability = time.perf_counter(), service.abilities[name]
    reason = service.why_not_ready(name)
    if reason is not None:
        raise Refusal(503, reason, headers={"Retry-After": "5"})
    wanted, kind = wanted_type(request.headers.get("accept")), _kind_of(request, ability)
    body = await _read(request, service.limits)
    etag = _etag_of(service, request, body, wanted)
    if _has_already(request, etag):
        raise Refusal(
            412, "If-None-Match names this answer: the client has it already", "If-None-Match",
            "name another answer", etag, headers={"ETag": etag},
        )  # fmt: skip
    query = list(request.query_params.multi_items())
    parse = partial(_parsed, service, ability, kind, body, query)
    rows, options = parse() if len(body) <= LARGE else await asyncio.to_thread(parse)
    if wanted == NPY and options.get("return_std"):
        raise wrong("std", f"be false where the answer is {NPY}, which holds one array", "true")
    finish = partial(_written, service, wanted, options)
    task = service.workshop.begin(ability, rows, options, finish)
    answer = await _unless_gone(request, service.workshop, task)
    spent = 1e3 * (time.perf_counter() - began)
    headers = {"ETag": etag, "Server-Timing": f"total;dur={spent:.2f}"}
    return Response(answer, media_type=wanted, headers=headers)


def _kind_of(request, ability):
    """Return the type of a body after a check; without a body it is that of an empty object."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    known = (JSON, NPY) if ability.endpoint.reads_rows else (JSON,)
    if not kind and not ability.endpoint.reads_rows:  # a body may be left out
        return JSON
    if kind not in known:
        expected = f"be {' or '.join(known)}"
        raise wrong("Content-Type", expected, kind[:80] or "none", status=415)
    return kind


async def _read(request, limits):
    """Return the body of a request, counted as it arrives."""
    too_large = wrong(
        "body", f"have at most {limits.body:,} bytes", "more", "cut the rows into several requests",
        status=413,
    )  # fmt: skip
    said = request.headers.get("content-length", "")
    if said.isascii() and said.isdigit() and (len(said) > 18 or int(said) > limits.body):
        raise too_large
    parts, n_bytes = [], 0
    try:
        async with asyncio.timeout(limits.seconds):
            async for part in request.stream():
                n_bytes += len(part)
                if n_bytes > limits.body:
                    raise too_large
                parts.append(part)
    except TimeoutError:
        raise Refusal(
            408, f"the body did not arrive within {limits.seconds:g} s; {n_bytes:,} bytes came",
            "body", f"arrive within {limits.seconds:g} s", f"{n_bytes:,} bytes",
            headers={"Connection": "close"},
        ) from None  # fmt: skip
    return b"".join(parts)


def _etag_of(service, request, body, wanted):
    """Return the name of an answer: the same for the same model, request and version."""
    digest = hashlib.sha256()
    for part in (
        service.sha256, service.version, request.url.path, request.url.query,
        request.headers.get("content-type", ""), wanted,
    ):  # fmt: skip
        digest.update(part.encode() + b"\0")
    digest.update(body)
    return f'"{digest.hexdigest()[:32]}"'


def _parsed(service, ability, kind, body, query):
    """Return the rows of a request, or None, and its options."""
    n_columns = int(service.estimator.n_features_in_)
    given = given_in_query(query, ability.fields)
    if kind == NPY:
        options = options_of(given, ability.fields)
        rows = rows_of_npy(body, n_columns, ability.most_rows)
        check_range(rows, *WIDEST)
        return rows, options
    given |= read_json(body)  # what the body says counts
    if not ability.endpoint.reads_rows:
        if "rows" in given:
            raise wrong("rows", f"be left out: {ability.endpoint.name} reads none", "some")
        options = options_of(given, ability.fields)
        if options["n_samples"] > ability.most_rows:
            raise wrong("n", f"be at most {ability.most_rows}", options["n_samples"])
        return None, options
    options = options_of(given, ability.fields)
    rows = rows_of_json(
        given.get("rows"), n_columns, ability.most_rows, texts=service.takes_texts
    )
    check_range(rows, *WIDEST)
    return rows, options


def _written(service, wanted, options, values, deviations):
    """Return an answer as bytes; on the thread that has computed it."""
    if wanted == NPY:
        return npy_bytes(values)
    answer = {"values": values}
    if deviations is not None:
        answer["deviations"] = deviations
    if options.get("proba"):
        with contextlib.suppress(AttributeError):  # components have no names
            answer["classes"] = service.estimator.classes_
    return json_of_arrays(answer)


async def _unless_gone(request, workshop, task):
    """Wait for an answer; where the client leaves before, let the work end."""
    if task.answer.done():
        return task.answer.result()
    gone = asyncio.ensure_future(_until_gone(request))
    try:
        answer = await workshop.answer_of(task, gone)
    finally:
        gone.cancel()
    if answer is None:
        raise ClientDisconnect
    return answer


async def _until_gone(request):
    while (await request.receive())["type"] != "http.disconnect":
        pass
