"""A heartbeat beside MPI: processes notice that another one has died, hangs, or has gone home.

Process 0 has a socket to each of the others. Every second both ends send a byte. A thread of each
process listens: the end of a connection is a death, unless a farewell came first.
"""

import atexit
import secrets
import select
import socket
import threading
import time

# Seconds between two beats; what a process may wait for one that has left; what connecting takes.
BEAT, GRACE, CONNECT = 1.0, 5.0, 60.0
ALIVE, FAREWELL = b".", b"x"


class Heartbeat:
    """The heartbeat of one process.

    Parameters
    ----------
    communicator : MpiCommunicator
        Its `end` is called where another process is gone.
    silence : float
        Seconds after which a process that is not heard of counts as dead.
    """

    def __init__(self, communicator, silence):
        self._communicator, self._silence = communicator, silence
        self._links, self._heard, self._left = {}, {}, set()
        self._over = threading.Event()

    def start(self):
        """Connect the processes, all at the same time, and begin to listen."""
        communicator = self._communicator
        names = communicator.gather(socket.gethostname())
        host = "127.0.0.1" if len(set(names)) == 1 else ""
        if communicator.rank == 0:
            with socket.create_server((host, 0), backlog=communicator.size) as server:
                token = secrets.token_bytes(16)
                communicator.broadcast((host or names[0], server.getsockname()[1], token))
                server.settimeout(CONNECT)
                while len(self._links) < communicator.size - 1:
                    self._admit(server, token)
        else:
            *address, token = communicator.broadcast(None)
            link = socket.create_connection(tuple(address), CONNECT)
            link.sendall(token + communicator.rank.to_bytes(4, "little"))
            self._links[0] = link
        now = time.monotonic()
        self._heard = dict.fromkeys(self._links, now)
        for link in self._links.values():
            link.settimeout(BEAT)
        atexit.register(self.stop)
        threading.Thread(target=self._listen, name="deepgen heartbeat", daemon=True).start()

    def _admit(self, server, token):
        """Take one connection, if it is one of ours."""
        link, _ = server.accept()
        link.settimeout(CONNECT)
        said = b""
        while len(said) < len(token) + 4 and (more := link.recv(len(token) + 4 - len(said))):
            said += more
        if secrets.compare_digest(said[: len(token)], token):
            self._links[int.from_bytes(said[len(token) :], "little")] = link
        else:
            link.close()

    def stop(self):
        """Say farewell: this process ends in good order."""
        self._over.set()
        for link in self._links.values():
            try:
                link.sendall(FAREWELL)
                link.shutdown(socket.SHUT_WR)
            except OSError:
                continue  # the other end is gone too

    def _listen(self):
        while not self._over.is_set():
            trouble = self._beat()
            if trouble and not self._over.is_set():
                self._communicator.end(trouble)
                return

    def _beat(self):
        """Send and read for one beat; return what is wrong, or None."""
        open_links = {link: rank for rank, link in self._links.items() if rank not in self._left}
        for link in open_links:
            try:
                link.sendall(ALIVE)
            except OSError:
                continue  # reading tells whether there was a farewell
        began = time.monotonic()
        while (left := began + BEAT - time.monotonic()) > 0.0:
            if not open_links:
                self._over.wait(left)
                break
            for link in select.select(list(open_links), [], [], left)[0]:
                rank = open_links[link]
                try:
                    said = link.recv(256)
                except OSError:
                    said = b""
                self._heard[rank] = time.monotonic()
                if FAREWELL in said:
                    self._left.add(rank)
                    del open_links[link]
                elif not said:
                    return f"process {rank} has died"
        for rank, heard in self._heard.items():
            if rank not in self._left and time.monotonic() - heard > self._silence:
                return f"process {rank} was not heard of for {self._silence:g} s"
        if self._left and self._communicator.waits > GRACE:
            return (
                f"process {min(self._left)} has ended, and this one waits for it; call methods of "
                "an estimator with a communicator in all processes, or in one after "
                "set_params(communicator=None)"
            )
        return None
