"""A visitor of the page: one WebSocket, over which drawings come and answers go.

Messages are JSON objects with a ``kind``; pictures are bytes from 0 to 255 in base64.

=============  ========================================  =========================================
from the page  with                                      answer
=============  ========================================  =========================================
``look``       ``strokes``, or ``row``: a picture        ``seen``: picture, layers by sweep, classes
``complete``   the same, and ``erased``: pixel numbers   ``completed``: single chains and their mean
``example``    ``digit``, or null for any                ``example``: a held-out picture
``dream``      ``digit``, or null for any                ``dreaming``, again and again
``wake``                                                 nothing: the dream ends
=============  ========================================  =========================================

Each answer repeats the ``id`` of its question. What cannot be answered is ``refused``, with a
``message``.
"""

import asyncio
import base64
import binascii
import contextlib
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from starlette.websockets import WebSocketDisconnect

from deepgen.demo.answers import completions_of, erased_pixels, sweeps_of
from deepgen.demo.strokes import picture_of_strokes
from deepgen.errors import TimeLimitError
from deepgen.runtime.time_limit import TimeLimit

_log = logging.getLogger("deepgen.demo")
MOST_VISITORS = 32  # at once
MOST_CHARACTERS = 2**18  # of a message; a drawing of 4,000 points has some 60,000
LONGEST = 5.0  # seconds of one answer
N_DREAMS = 6  # chains that a visitor sees
FRAME = 0.25  # seconds between two looks at a dream
LONGEST_DREAM = 600.0  # seconds; then the page has to ask again
TOO_MANY, TRY_LATER = 1009, 1013  # codes with which a WebSocket is closed


class Parlour:
    """The room of all visitors of the page: they share its models and its pool of threads.

    Parameters
    ----------
    models : PageModels
    n_threads : int
        Answers that are computed at once.
    """

    def __init__(self, models, n_threads):
        self.models, self.n_visitors = models, 0
        self._seeds = np.random.default_rng(models.facts["recipe"]["seed"])
        self._pool = ThreadPoolExecutor(n_threads, thread_name_prefix="page")

    def seed(self):
        """Return a seed that no visitor has had: completions and dreams differ each time."""
        return int(self._seeds.integers(2**31))

    async def compute(self, function):
        """Return what a function returns, computed on a thread and within a time."""

        def in_time():
            with TimeLimit(LONGEST):
                return function()

        return await asyncio.get_running_loop().run_in_executor(self._pool, in_time)

    def close(self):
        """End: what waits is not begun."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def receive(self, socket):
        """Talk with one visitor until the WebSocket ends; the endpoint of its route."""
        await socket.accept()
        if self.n_visitors >= MOST_VISITORS:
            await socket.close(TRY_LATER, f"{MOST_VISITORS} visitors are here already")
            return
        self.n_visitors += 1
        try:
            await Session(self, socket).run()
        finally:
            self.n_visitors -= 1


class Session:
    """The talk with one visitor: questions one after the other, and a dream beside them.

    Parameters
    ----------
    parlour : Parlour
    socket : WebSocket
        Accepted.
    """

    def __init__(self, parlour, socket):
        self.parlour, self.models = parlour, parlour.models
        self._socket, self._dream = socket, None
        self._answers = {
            "look": self._look, "complete": self._complete, "example": self._example,
            "dream": self._fall_asleep, "wake": self._wake,
        }  # fmt: skip

    async def run(self):
        """Answer until the visitor leaves."""
        try:
            while True:
                text = await self._socket.receive_text()
                if len(text) > MOST_CHARACTERS:
                    await self._socket.close(TOO_MANY, "the message is too long")
                    return
                await self._answer(text)
        except (WebSocketDisconnect, KeyError):  # KeyError: bytes came where text is expected
            return
        finally:
            await self._wake({})

    async def _answer(self, text):
        question = {}
        try:
            question = _question_of(text)
            answer = self._answers.get(question["kind"])
            if answer is None:
                raise ValueError(f"kind must be one of {', '.join(self._answers)}")
            await answer(question)
        except (ValueError, TimeLimitError) as error:
            await self._send(question, "refused", message=" ".join(str(error).split()))

    async def _send(self, question, kind, **content):
        content |= {"kind": kind, "id": question.get("id")}
        await self._socket.send_text(json.dumps(content))

    # --- answers ------------------------------------------------------------------------------

    async def _look(self, question):
        row = _row_of(question)
        if not row.any():
            raise ValueError("there is nothing to see: the drawing has no ink")
        sweeps, shares = await self.parlour.compute(partial(self._seen, row))
        await self._send(
            question, "seen", picture=_bytes(row), first=_bytes(sweeps.first),
            second=_bytes(sweeps.second), labels=_numbers(sweeps.labels),
            pictures=_bytes(sweeps.pictures), classes=_numbers(shares),
            milliseconds=round(sweeps.milliseconds, 3),
        )  # fmt: skip

    def _seen(self, row):
        shares = self.models.classifier.predict_proba(row[None])[0]
        return sweeps_of(self.models.dbm.model_, row), shares

    async def _complete(self, question):
        row = _row_of(question)
        erased = erased_pixels(question.get("erased"), len(row))
        if not erased.any():
            raise ValueError("there is nothing to complete: no pixel is erased")
        completed = await self.parlour.compute(
            partial(
                completions_of, self.models.dbm, row, erased, random_state=self.parlour.seed()
            )
        )
        await self._send(
            question, "completed", single=_bytes(completed.single), mean=_bytes(completed.mean)
        )

    async def _example(self, question):
        digit = self._digit_of(question)
        rng = np.random.default_rng(self.parlour.seed())
        digit = int(rng.integers(10)) if digit is None else digit
        rows = self.models.examples[digit]
        row = rows[rng.integers(len(rows))]
        await self._send(question, "example", digit=digit, picture=_bytes(row))

    async def _fall_asleep(self, question):
        digit = self._digit_of(question)
        await self._wake(question)
        self._dream = asyncio.create_task(self._dreaming(question, digit))

    async def _wake(self, question):
        dream, self._dream = self._dream, None
        if dream is not None:
            dream.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await dream

    async def _dreaming(self, question, digit):
        """Show chains on their way, a few sweeps at a time: few at first, while much happens."""
        loop = asyncio.get_running_loop()
        try:
            chains = self.models.dbm.chains(N_DREAMS, y=digit, random_state=self.parlour.seed())
            end, n_sweeps = loop.time() + LONGEST_DREAM, 0
            while loop.time() < end:
                began = loop.time()
                pictures = await self.parlour.compute(partial(chains.run, n_sweeps, mean=True))
                await self._send(
                    question, "dreaming", digit=digit, n_sweeps=chains.n_sweeps,
                    pictures=_bytes(pictures),
                )  # fmt: skip
                n_sweeps = 1 if chains.n_sweeps < 10 else 10
                await asyncio.sleep(max(0.0, began + FRAME - loop.time()))
            await self._send(question, "slept", n_sweeps=chains.n_sweeps)
        except TimeLimitError as error:
            await self._send(question, "refused", message=str(error))
        except (WebSocketDisconnect, RuntimeError) as error:  # the visitor has left in between
            _log.debug("a dream ends: %s", error)

    def _digit_of(self, question):
        digit = question.get("digit")
        if digit is None or (type(digit) is int and digit in self.models.examples):
            return digit
        known = ", ".join(map(str, self.models.examples))
        raise ValueError(f"digit must be null or one of {known}")


def _question_of(text):
    try:
        question = json.loads(text)
    except ValueError as error:
        raise ValueError(f"a message must be JSON: {error}") from error
    except RecursionError as error:
        raise ValueError("a message must be JSON that is not nested so deeply") from error
    if not isinstance(question, dict) or not isinstance(question.get("kind"), str):
        raise ValueError("a message must be a JSON object with a kind")
    name = question.get("id")
    if not (name is None or (type(name) is int and 0 <= name < 2**53)):
        question["id"] = None
        raise ValueError("id must be an integer from 0 to 2^53, or left out")
    return question


def _row_of(question):
    """Return the picture that a question is about, drawn or taken from the examples."""
    if "row" not in question:
        return picture_of_strokes(question.get("strokes"))
    try:
        values = base64.b64decode(question["row"], validate=True)
    except (binascii.Error, TypeError, ValueError) as error:
        raise ValueError(f"row must be bytes in base64: {error}") from error
    if len(values) != 784:
        raise ValueError(f"row must be 784 bytes, got {len(values)}")
    return np.frombuffer(values, np.uint8) / np.float32(255.0)


def _bytes(values):
    """Return numbers in [0, 1] as bytes from 0 to 255, in base64."""
    greys = np.rint(255.0 * np.asarray(values, np.float32)).astype(np.uint8)
    return base64.b64encode(greys.tobytes()).decode()


def _numbers(values):
    return np.round(np.asarray(values, np.float64), 5).tolist()
