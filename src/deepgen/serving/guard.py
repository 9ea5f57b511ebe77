"""What stands before all routes: who may ask, headers of every answer, and what is counted."""

import ipaddress
import logging
import re
import time
from urllib.parse import urlsplit

from starlette.requests import ClientDisconnect

from deepgen.serving.bodies import JSON, json_bytes
from deepgen.serving.refusals import Refusal

_log = logging.getLogger("deepgen.serving")
LOOPBACK = ("localhost", "127.0.0.1", "::1")
# A route that needs more, such as a page with a script of its own, sets its own policy.
HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
    b"cache-control": b"no-cache",
}
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\[\]:/@?#\s]+)(?::\d{1,5})?")
NAMES = ("healthz", "readyz", "metrics", "openapi.json")  # of endpoints that are counted by name


def host_of(text):
    """Return the name or address in a ``Host`` header, without brackets and port; None: neither."""
    parts = _HOST.fullmatch(text)
    return parts and parts[1].strip("[]").lower()


def is_address(name):
    """Tell whether a host is an address and no name."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class Guard:
    """ASGI middleware: checks hosts and origins, sets headers, counts, and turns errors into JSON.

    A page of another site can make a browser send requests to a service on the same machine, under
    a name of its own (DNS rebinding). So only the names in `hosts` are answered, and addresses,
    which no name server can turn; and an ``Origin``, which browsers send, must be one of them.

    Parameters
    ----------
    app : callable
    hosts : collection of str
    metrics : Metrics
    endpoints : collection of str
        Names under ``/v1/`` that are counted each by itself.
    most_bytes : int
        Of a body. Where more would come after an answer, the connection is closed with it.
    """

    def __init__(self, app, hosts, metrics, endpoints, most_bytes):
        self.app, self.metrics, self.most_bytes = app, metrics, most_bytes
        self.hosts = frozenset(host.lower() for host in hosts)
        self._counted = {f"/v1/{name}": name for name in (*endpoints, "model")}
        self._counted |= {f"/{name}": name for name in NAMES}

    async def __call__(self, scope, receive, send):
        """Handle one request, or one WebSocket."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        refusal = self._refusal_of(scope["headers"])
        if scope["type"] == "websocket":
            if refusal is not None:
                await send({"type": "websocket.close", "code": 1008})
                return
            await self.app(scope, receive, send)
            return
        began, status, whole = time.perf_counter(), 499, not self._may_be_long(scope["headers"])

        async def receive_and_see():
            nonlocal whole
            message = await receive()
            whole = whole or (message["type"] == "http.request" and not message.get("more_body"))
            return message

        async def send_with_headers(message):
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                there = {name for name, _ in message["headers"]}
                further = [item for item in HEADERS.items() if item[0] not in there]
                if not whole:
                    further.append((b"connection", b"close"))
                message = {**message, "headers": [*message["headers"], *further]}
            await send(message)

        try:
            if refusal is not None:
                await send_refusal(refusal, send_with_headers)
            else:
                await self.app(scope, receive_and_see, send_with_headers)
        except ClientDisconnect:
            status = 499  # nobody hears more
        except Exception:
            _log.exception("%s %s failed", scope["method"], scope["path"])
            if status != 499:  # half of an answer is on its way
                raise
            failed = Refusal(500, "the service has failed; its log says how")
            await send_refusal(failed, send_with_headers)
        finally:
            name = self._counted.get(scope["path"], "other")
            self.metrics.answered(name, status, time.perf_counter() - began)

    def _may_be_long(self, headers):
        """Tell whether more of a body may come than is thrown away for the sake of a connection."""
        for name, value in headers:
            if name == b"transfer-encoding":
                return True
            if name == b"content-length":
                return not (len(value) < 19 and value.isdigit() and int(value) <= self.most_bytes)
        return False

    def _refusal_of(self, headers):
        """Return why a request is not answered at all, or None."""
        hosts = [value for name, value in headers if name == b"host"]
        host = host_of(hosts[0].decode("latin-1")) if len(hosts) == 1 else None
        if host is None or not self._is_ours(host):
            expected = f"name this service, {', '.join(sorted(self.hosts))} or an address"
            got = "none" if not hosts else repr(hosts[0][:80].decode("latin-1"))
            message = f"Host must {expected}, got {got}; deepgen serve --allow-host adds names"
            return Refusal(403, message, "Host", expected, got)
        for name, value in headers:
            if name == b"origin":
                origin = value[:200].decode("latin-1")
                try:
                    came_from = urlsplit(origin).hostname
                except ValueError:
                    came_from = None
                if came_from is None or came_from.lower() != host:
                    expected = "be of a page of this service"
                    message = f"Origin must {expected}, got {origin!r}"
                    return Refusal(403, message, "Origin", expected, repr(origin))
        return None

    def _is_ours(self, host):
        return host in self.hosts or is_address(host)


async def send_refusal(refusal, send):
    """Send a refusal as the whole answer of an ASGI request."""
    body = json_bytes(refusal.body())
    headers = [(b"content-type", JSON.encode()), (b"content-length", str(len(body)).encode())]
    headers += [(n.lower().encode(), text.encode()) for n, text in refusal.headers.items()]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
