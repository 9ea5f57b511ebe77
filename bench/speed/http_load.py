"""A crowd of HTTP clients that costs little: prepared requests over connections that stay open."""

import asyncio
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Load:
    """What some clients have seen.

    Attributes
    ----------
    rate : float
        Answers a second.
    seconds : list of float
        Of each answer, ascending: from when its request was due.
    n_refused : int
        Answers of another status than 200.
    """

    rate: float
    seconds: list
    n_refused: int

    def quantile(self, share):
        """Return the seconds that a share of the answers came within."""
        return self.seconds[min(len(self.seconds) - 1, int(share * len(self.seconds)))]


def request(host, path, body, kind):
    """Return the bytes of a request that asks for an answer of the type that it has."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {kind}\r\nAccept: {kind}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class _Connection:
    """One connection that is kept open."""

    _streams = None

    async def ask(self, address, message):
        """Send a request; return the status of the answer, whose body is read to its end."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(*address)
        reader, writer = self._streams
        writer.write(message)
        head = await reader.readuntil(b"\r\n\r\n")
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                await reader.readexactly(int(value))
        return int(head.split(b" ", 2)[1])

    def close(self):
        """Close it."""
        if self._streams is not None:
            self._streams[1].close()


async def _closed(address, message, seconds, n_clients):
    """Let clients ask one request after the other."""
    end, latencies, refused = time.perf_counter() + seconds, [], 0

    async def client():
        nonlocal refused
        connection = _Connection()
        while (began := time.perf_counter()) < end:
            status = await connection.ask(address, message)
            latencies.append(time.perf_counter() - began)
            refused += status != 200
        connection.close()

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(n_clients)))
    return Load(len(latencies) / (time.perf_counter() - began), sorted(latencies), refused)


async def _paced(address, message, seconds, rate, n_clients):
    """Ask at a rate, whether answers come or not: who waits for a connection waits too."""
    latencies, refused, free = [], 0, asyncio.Queue()
    for _ in range(n_clients):
        free.put_nowait(_Connection())

    async def one(due):
        nonlocal refused
        connection = await free.get()
        status = await connection.ask(address, message)
        latencies.append(time.perf_counter() - due)
        refused += status != 200
        free.put_nowait(connection)

    began, tasks = time.perf_counter(), []
    for number in range(int(seconds * rate)):
        due = began + number / rate
        wait = due - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        tasks.append(asyncio.create_task(one(due)))
    await asyncio.gather(*tasks)
    spent = time.perf_counter() - began
    while not free.empty():
        free.get_nowait().close()
    return Load(len(latencies) / spent, sorted(latencies), refused)


def greatest_rate(address, message, seconds, n_clients=16):
    """Ask as fast as some clients can, each with one request at a time; return a :class:`Load`."""
    return asyncio.run(_closed(address, message, seconds, n_clients))


def at_rate(address, message, seconds, rate, n_clients=64):
    """Ask at a given rate, answers a second; return a :class:`Load`."""
    return asyncio.run(_paced(address, message, seconds, rate, n_clients))
