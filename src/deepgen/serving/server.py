"""uvicorn around a service: addresses, slow connections, and an end in good order."""

import math
import socket
import time

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from deepgen.serving.application import application
from deepgen.serving.guard import LOOPBACK

IDLE = 15  # seconds that a connection may be open without a request
HEAD = 10.0  # seconds in which the head of a request must have come


class _PatientNoLonger(H11Protocol):
    """A connection that is closed where a request's head does not come in time.

    uvicorn closes idle connections after a request; one that sends a byte now and then would stay.
    """

    _timer, _has_moved = None, False

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

    def handle_websocket_upgrade(self, event):
        super().handle_websocket_upgrade(event)
        self._has_moved = True  # the connection is another protocol's from here on
        self._stop_watching()

    def _watch(self):
        """Wait for a head, from its first byte on; while a request is at work, for nothing."""
        if self._has_moved or (self.cycle is not None and not self.cycle.response_complete):
            self._stop_watching()
        elif self._timer is None and not self.transport.is_closing():
            self._timer = self.loop.call_later(HEAD, self._give_up)

    def _stop_watching(self):
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self):
        self._timer = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()


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
        http=_PatientNoLonger, lifespan="on", log_config=None, access_log=False,
        server_header=False, limit_concurrency=service.limits.connections,
        timeout_keep_alive=IDLE, ws_max_size=service.limits.body,
        timeout_graceful_shutdown=math.ceil(service.limits.seconds) + 2,
    )  # fmt: skip
    return uvicorn.Server(config)
