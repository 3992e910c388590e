"""Does with asyncio what the core decides: dials, reads, writes, waits, saves.

What a reader would get wrong: there are two connections, each made when it is first needed. A program that reads
slowly stops the reading of its own messages only, and the answers to its sends arrive on the other one.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import ssl as tls
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from . import _dial
from ._address import Address
from ._core.backoff import Backoff, Runs
from ._core.facts import Facts
from ._core.operations import Operation
from ._core.reading import Mark, Reading
from ._core.sending import Sending
from ._cursor import CursorStore
from ._errors import Closed, ProblemError, ProtocolError, Unreachable, WskeeperError
from ._late import Late
from ._saving import Saving
from ._types import Event
from ._within import within

log = logging.getLogger("wskeeper")
now = time.monotonic

GRACE = 5.0
"""Seconds that the daemon has, beyond a request's own time, to answer it."""

FAILURES = (OSError, EOFError, TimeoutError, ConnectionClosed, ProblemError, ProtocolError)
"""What a lost or refused connection raises."""


@dataclass
class Terms:
    """What the program asked for."""

    endpoint: str
    address: Address
    ssl: tls.SSLContext | None
    stream: str | None
    link: int | None
    store: CursorStore | None
    on_problem: Callable[[ProblemError], object] | None


class Driver:
    """The IO of one object."""

    def __init__(self, terms: Terms, reading: Reading) -> None:
        self.terms = terms
        self.reading = reading
        self.sending = Sending(self._refused_key)
        self.is_closed = False
        self.is_open = False
        self.left: list[Mark] = []
        """Items of iterations that were left: they are done when somebody reads on, or by an orderly end."""
        self.connections: set[str] = set()
        """Which of the two connections stand now: `reading`, `sending`."""
        self._runs = Runs()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._late = Late(self._get)
        self._wants_to_send = asyncio.Event()
        self._arrived = asyncio.Event()
        self._has_room = asyncio.Event()
        self._answered = asyncio.Event()
        self._saving = Saving(terms.store, reading) if terms.store is not None else None
        self._told: str | None = None

    # Opening and closing

    async def open(self, timeout: float | None) -> None:
        """Finds the daemon, and where reading begins. A daemon that does not answer is asked again."""
        self._check()
        if self.is_open:
            return
        if self._saving is not None:
            await self._saving.load()
        failure: list[BaseException] = []
        try:
            await within(self._find(failure), timeout)
        except TimeoutError:
            why = f": {describe(failure[-1])}" if failure else ""
            raise Unreachable(f"no daemon answers at {self.terms.address} within {timeout} s{why}") from None
        self.is_open = True

    async def _find(self, failure: list[BaseException]) -> None:
        backoff = Backoff()
        while True:
            try:
                daemon = await self._get("v1", "daemon")
                endpoint = await self._get("v1", "endpoints", self.terms.endpoint)
            except (OSError, EOFError, TimeoutError, ProtocolError) as error:
                failure.append(error)
            except ProblemError as error:
                if error.status < 500:
                    raise
                failure.append(error)
            else:
                self._take_facts(endpoint)
                self._runs.heard(now())
                log.debug("%s: found wskeeper %s at %s", self.terms.endpoint, daemon.get("version"), self.terms.address)
                return
            await asyncio.sleep(backoff.delay(random.random()))

    def _take_facts(self, endpoint: dict[str, Any]) -> Facts:
        facts = Facts.read(endpoint, self.terms.stream)
        if facts.cursor is not None:
            self.reading.begin_at(facts.cursor)
        self.sending.max_frame = facts.longest_frame
        return facts

    async def close(self, timeout: float, *, is_done: bool = True) -> None:
        """Waits until the daemon has everything, for so long; then ends."""
        is_first = not self.is_closed
        if is_first:
            self.is_closed = True
            if is_done:
                self.reading.finish_all()
            try:
                await within(self._all_answered(), timeout if self.is_open else 0)
            except TimeoutError:
                log.debug("%s: closed with %d unanswered", self.terms.endpoint, len(self.sending))
            finally:
                self._tear_down()
        while left := [task for task in self._tasks.values() if not task.done()]:
            _, stubborn = await asyncio.wait(left, timeout=GRACE)
            if is_first:
                # The first time, they say goodbye to the daemon.
                for task in stubborn:
                    task.cancel()

    async def _all_answered(self) -> None:
        while len(self.sending):
            self._answered.clear()
            await self._answered.wait()

    def _tear_down(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        self.sending.ends()
        self._late.end()
        self._arrived.set()
        self._answered.set()
        if self._saving is not None and self.is_open:
            self._saving.save_last()

    def _check(self) -> None:
        if self.is_closed:
            raise Closed(f"the KeptWebSocket of {self.terms.endpoint!r} is closed")

    # Connections

    def start(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        if name not in self._tasks and not self.is_closed:
            self._tasks[name] = asyncio.ensure_future(self._keep(name, run))

    async def _keep(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Connects again and again."""
        backoff = Backoff()
        while True:
            began = now()
            try:
                await run()
            except FAILURES as error:
                was_used = name in self.connections
                backoff.stood(now() - began if was_used else 0.0, was_used)
                self._tell(error)
            finally:
                self.connections.discard(name)
            await asyncio.sleep(backoff.delay(random.random()))

    def _tell(self, error: BaseException) -> None:
        """Once for each change of the reason, or a daemon that is away for an hour fills a log."""
        said = describe(error)
        if said == self._told:
            return
        self._told = said
        log.warning(
            "%s: no connection to the daemon at %s: %s; trying again", self.terms.endpoint, self.terms.address, said
        )
        if isinstance(error, ProblemError):
            self._report(error)

    def _report(self, error: ProblemError) -> None:
        if self.terms.on_problem is not None:
            try:
                self.terms.on_problem(error)
            except Exception:
                log.exception("%s: on_problem failed", self.terms.endpoint)

    def _refused_key(self, key: str, error: ProblemError) -> None:
        log.warning("%s: the subscription to %r is lost: %s", self.terms.endpoint, key, error)
        self._report(error)

    async def _dial(self, name: str, query: list[tuple[str, str]]) -> ClientConnection:
        link = [] if self.terms.link is None else [("link", str(self.terms.link))]
        return await _dial.dial(self.terms.address, self.terms.endpoint, query + link, self.terms.ssl)

    async def _get(self, *segments: str) -> dict[str, Any]:
        return await _dial.get(self.terms.address, self.terms.ssl, *segments)

    def _stands(self, name: str) -> None:
        self.connections.add(name)
        if self._told is not None:
            log.info("%s: connected to the daemon again", self.terms.endpoint)
            self._told = None

    # What arrives

    def take(self) -> tuple[Event, Mark] | None:
        """The next item, if there is one now."""
        while self.left:
            self.finish(self.left.pop())
        taken = self.reading.take()
        if taken is not None:
            self._has_room.set()
        return taken

    def finish(self, mark: Mark) -> None:
        """The program is done with an item."""
        if not self.is_closed:
            self.reading.finish(mark)
            if self._saving is not None:
                self.start("saving", self._saving.run)
                self._saving.wake()

    async def next(self, timeout: float | None = None) -> tuple[Event, Mark]:
        """The next item. Nothing is lost if the caller is cancelled."""
        until = None if timeout is None else now() + timeout
        while (taken := self._take_open()) is None:
            try:
                await within(self.arrival(), None if until is None else until - now())
            except TimeoutError:
                raise TimeoutError("no message came in time") from None
        return taken

    def _take_open(self) -> tuple[Event, Mark] | None:
        self._check()
        if not self.is_open:
            raise Closed("open the KeptWebSocket first: `async with`, or `await ws.open()`")
        self.start_reading()
        return self.take()

    async def arrival(self) -> None:
        """Waits until there is an item."""
        while not len(self.reading):
            self._check()
            self._arrived.clear()
            await self._arrived.wait()

    def start_reading(self) -> None:
        """Reads from now on. A daemon that is not read from keeps what arrives in its inbox."""
        self.start("reading", self._read)

    async def _read(self) -> None:
        await self._room()
        connection = await self._dial("reading", self.reading.query())
        try:
            self._stands("reading")
            while True:
                await self._room()
                if self.reading.received(await received(connection)):
                    self._arrived.set()
        finally:
            await connection.close()

    async def _room(self) -> None:
        while not self.reading.has_room:
            self._has_room.clear()
            await self._has_room.wait()

    # What leaves

    def submit(self, operation: Operation, timeout: float | None = None) -> None:
        """Takes an operation, which is settled later, within its time if it has one."""
        self._check()
        if not self.is_open:
            raise Closed("open the KeptWebSocket first: `async with`, or `await ws.open()`")
        self.sending.add(operation)
        self.start("sending", self._send)
        self._wants_to_send.set()
        if timeout is not None:
            asyncio.get_running_loop().call_later(timeout, self._expire, operation)

    def _expire(self, operation: Operation, is_late: bool = False) -> None:
        if operation.is_settled:
            return
        if not operation.is_in_doubt:
            self.withdraw(operation, operation.unsent("its time was over before it was transmitted"))
        elif operation.kind == "request" and not is_late:
            # The daemon says how it ended.
            asyncio.get_running_loop().call_later(GRACE, self._expire, operation, True)
        else:
            state = "late" if operation.receipt is not None else "unknown"
            self.withdraw(operation, operation.lost(state, "its time is over"))

    def withdraw(self, operation: Operation, error: WskeeperError) -> None:
        """Its caller does not wait any more. If it was not transmitted, it will not be."""
        self.sending.withdraw(operation, error)
        self._answered.set()

    async def room(self, has_room: Callable[[], bool]) -> None:
        """Waits until sends have been answered so that there is room."""
        while not has_room():
            self._check()
            self._answered.clear()
            await self._answered.wait()

    async def _send(self) -> None:
        while not self.sending.has_work:
            self._wants_to_send.clear()
            await self._wants_to_send.wait()
        connection = await self._dial("sending", [("types", "gap")])
        answers: asyncio.Task[None] | None = None
        try:
            await self._begin_to_send()
            answers = asyncio.ensure_future(self._take_answers(connection))
            await self._write(connection, answers)
        finally:
            self.sending.lost()
            if answers is not None:
                answers.cancel()
                await asyncio.wait([answers])
            await connection.close()

    async def _begin_to_send(self) -> None:
        """Asks which daemon this is.

        When the connection stands: so the daemon that is asked is the one at its other end.
        """
        facts = self._take_facts(await self._get("v1", "endpoints", self.terms.endpoint))
        daemon = await self._get("v1", "daemon")
        answered = now()
        is_same_run = self._runs.is_same(answered, float(daemon.get("uptimeSeconds", 0)))
        self._stands("sending")
        self._runs.heard(answered)
        self.sending.opened(answered, is_same_run=is_same_run, is_durable=facts.is_durable)
        self._answered.set()

    async def _write(self, connection: ClientConnection, answers: asyncio.Task[None]) -> None:
        wake: asyncio.Task[bool] | None = None
        try:
            while not answers.done():
                frame = self.sending.next_frame(now())
                if frame is not None:
                    await connection.send(frame)
                    continue
                # What ended without leaving has made room.
                self._answered.set()
                self._wants_to_send.clear()
                wake = asyncio.ensure_future(self._wants_to_send.wait())
                await asyncio.wait([wake, answers], return_when=asyncio.FIRST_COMPLETED)
                wake.cancel()
            answers.result()
        finally:
            if wake is not None:
                wake.cancel()

    async def _take_answers(self, connection: ClientConnection) -> None:
        while True:
            text = await received(connection)
            self._runs.heard(now())
            late = self.sending.received(text)
            if late is not None:
                self._late.add(late)
            self._answered.set()
            self._wants_to_send.set()


async def received(connection: ClientConnection) -> str:
    """The next frame, which is text."""
    frame = await connection.recv()
    if not isinstance(frame, str):
        raise ProtocolError("the daemon sent a binary frame")
    return frame


def describe(error: BaseException) -> str:
    """A failure in one line."""
    if isinstance(error, ConnectionClosed) and error.rcvd is not None:
        return f"closed with {error.rcvd.code} {error.rcvd.reason}".strip()
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__
