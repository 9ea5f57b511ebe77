"""uvicorn around a service: addresses, slow connections, and an end in good order."""

import importlib.util
import math
import socket
import time

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from deepgen.serving.application import application
from deepgen.serving.guard import LOOPBACK

IDLE = 15  # seconds that a connection may be open without a request
HEAD = 10.0  # seconds in which the head of a request must have come
LONGEST_HEAD = 2**16  # bytes, which are h11's bound too


class HeadWatch:
    """What a connection of uvicorn's has to do beside: close where a head does not come in time.

    uvicorn closes idle connections after a request; one that sends a byte now and then would stay.
    """

    _timer, _is_socket = None, False

    def connection_made(self, transport):
        super().connection_made(transport)
        self._watch()

    def data_received(self, data):
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc):
        self._stop_watching()
        super().connection_lost(exc)

    def on_response_complete(self):
        super().on_response_complete()
        self._stop_watching()

    def handle_websocket_upgrade(self, *event):
        self._is_socket = True  # which is open for as long as both sides like
        super().handle_websocket_upgrade(*event)

    def _at_work(self):
        return self.cycle is not None and not self.cycle.response_complete

    def _watch(self):
        """Wait for a head, from its first byte on; while a request is at work, for nothing."""
        if self._at_work() or self._is_socket:
            self._stop_watching()
        elif self._timer is None and not self.transport.is_closing():
            self._timer = self.loop.call_later(HEAD, self._give_up)

    def _stop_watching(self):
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self):
        self._timer = None
        if not self._at_work():
            self.transport.close()


class PlainProtocol(HeadWatch, H11Protocol):
    """Connections whose bytes h11 reads, which is there wherever uvicorn is."""


def fast_protocol():
    """Return connections whose bytes httptools reads, or None where that is not installed.

    It is C, and saves a fifth of a request's processor time.
    """
    if importlib.util.find_spec("httptools") is None:
        return None
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    class FastProtocol(HeadWatch, HttpToolsProtocol):
        """Connections of httptools, with a bound for heads: it would keep those of any length."""

        _n_bytes = 0  # of the request that comes, without its body

        def data_received(self, data):
            self._n_bytes += len(data)
            super().data_received(data)
            if self._n_bytes > LONGEST_HEAD and not self.transport.is_closing():
                if self._at_work():
                    self.transport.close()
                else:
                    self.send_400_response("The head of the request is too long.")

        def on_body(self, body):
            self._n_bytes -= len(body)
            super().on_body(body)

        def on_message_complete(self):
            self._n_bytes = 0
            super().on_message_complete()

    return FastProtocol


def is_loopback(host):
    """Tell whether a host is this machine alone."""
    return host in LOOPBACK or host.startswith("127.")


def open_socket(host, port):
    """Return a socket that listens, and the address of the service on it.

    Parameters
    ----------
    host : str
    port : int
        0: any that is free.

    Raises
    ------
    OSError
        If the host is unknown or the port is taken.
    """
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    listening = socket.create_server((host, port), family=family, backlog=512)
    name = f"[{host}]" if ":" in host else host
    return listening, f"http://{name}:{listening.getsockname()[1]}"


def serve(service, listening, *, allowed=(), further=(), started=None):
    """Serve until SIGTERM or Ctrl-C; requests on their way are answered first.

    Parameters
    ----------
    service : Service
    listening : socket
        See :func:`open_socket`.
    allowed : collection of str
        Names of the service beside those of this machine.
    further : sequence of Route
        See :func:`deepgen.serving.application.application`.
    started : callable or None
        Called without arguments when the first request can come.

    Returns
    -------
    dict
        ``n_requests`` answered, ``seconds`` of it all.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C, when all is ended.
    """
    server = make_server(service, allowed=allowed, further=further)
    began = time.monotonic()
    if started is not None:
        started()
    try:
        server.run(sockets=[listening])
    finally:
        listening.close()
    return {
        "n_requests": service.metrics.n_requests, "seconds": time.monotonic() - began
    }  # fmt: skip


def make_server(service, *, allowed=(), further=()):
    """Return the uvicorn server of a service, which ``run(sockets=[...])`` starts.

    Parameters
    ----------
    service, allowed, further
        See :func:`serve`.
    """
    config = uvicorn.Config(
        application(service, hosts=(*LOOPBACK, *allowed), further=further),
        http=fast_protocol() or PlainProtocol, lifespan="on", log_config=None, access_log=False,
        server_header=False, limit_concurrency=service.limits.connections,
        timeout_keep_alive=IDLE, ws_max_size=service.limits.body,
        timeout_graceful_shutdown=math.ceil(service.limits.seconds) + 2,
    )  # fmt: skip
    return uvicorn.Server(config)
