"""`KeptWebSocket` for programs without asyncio. Threads may share one.

What a reader would get wrong: the connections live in a thread of their own, with an event loop. So a program that
computes, sleeps or stands in a debugger loses nothing and answers pings.
A fork copies the lock as it is, and not the thread that would release it. So whatever takes it first looks
whether it runs in the process that made the object.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from types import TracebackType
from typing import Any, TypeVar

from ._base import Base
from ._core.operations import Operation, Payload
from ._core.reading import Mark
from ._errors import BufferFull, Closed, WskeeperError
from ._types import Data, Event, Gap, Message, Receipt, Subscription, Wait

T = TypeVar("T")

log = logging.getLogger("wskeeper")

LOOK = 0.5
"""Seconds after which whoever waits looks up. In CPython a signal that comes just before a wait begins does not end it:
Ctrl-C would not end a program that waits without a limit."""

AHEAD = 256
"""Items that wait in the program's hands; fewer than a quarter, and more are fetched."""

AHEAD_SIZE = 4 << 20
"""Their characters and bytes, above which none is fetched."""


def _size(event: Event) -> int:
    return len(event.data) if isinstance(event, Message) else 0


class _Told(Future[T]):
    """A future whose failure is logged if nobody looks at it, as asyncio does."""

    _is_seen = False

    _changes: _Changes | None = None

    def result(self, timeout: float | None = None) -> T:
        self._wait(timeout)
        return super().result(0)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        self._wait(timeout)
        return super().exception(0)

    def _wait(self, timeout: float | None) -> None:
        self._is_seen = True
        if self._changes is None:
            # Once, however often it is asked for: a callback cannot be taken back.
            self._changes = _Changes.of(self)
        self._changes.until(lambda: self.done() or None, timeout)

    def __del__(self) -> None:
        if not self._is_seen and self.done() and not self.cancelled():
            error = super().exception()
            if error is not None:
                log.error("a failure that nobody looked at: %s", error)


class _Changes:
    """What both threads look at, and how one tells the other.

    `threading.Condition` would do, but is written in Python: Ctrl-C in the middle of it leaves its lock taken, or
    releases it twice. A lock that is written in C is taken by `with`, or is not.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._waiting: deque[threading.Lock] = deque()

    @classmethod
    def of(cls, future: Future[Any]) -> _Changes:
        """Those of a future: it is done, once."""
        changes = cls()

        def tell(_: object) -> None:
            with changes.lock:
                changes.tell()

        future.add_done_callback(tell)
        return changes

    def tell(self) -> None:
        """Something has changed. Called with the lock."""
        while self._waiting:
            self._waiting.popleft().release()

    def until(self, look: Callable[[], T | None], timeout: float | None = None) -> T | None:
        """Looks, with the lock, until there is something to give. `None`: there was not in time."""
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            with self.lock:
                if (found := look()) is not None:
                    return found
                left = LOOK if until is None else min(LOOK, until - time.monotonic())
                if left <= 0:
                    return None
                changed = threading.Lock()
                changed.acquire()
                self._waiting.append(changed)
            if not changed.acquire(timeout=left):
                # Nobody has told it, or somebody is about to.
                with self.lock, contextlib.suppress(ValueError):
                    self._waiting.remove(changed)


class KeptWebSocket(Base):
    """An endpoint of the daemon as one object that never closes by itself.

    ```python
    with KeptWebSocket("trades") as ws:
        ws.send("hello").result()
        for message in ws:
            print(message)
    ```

    The connection to the daemon comes back by itself, and reading goes on after the last message. What may be missing
    is a `Gap`.
    """

    def _prepare(self) -> None:
        self._changes = _Changes()
        self._ready: deque[tuple[Event, Mark]] = deque()
        self._ready_size = 0
        self._finished: list[Mark] = []
        self._left: list[Mark] = []
        self._marks: dict[int, Mark] = {}
        self._readers = itertools.count(-1, -1)
        self._is_called = False
        self._wants = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._unanswered = 0
        self._unanswered_bytes = 0

    # Opening and closing

    def open(self) -> None:
        """Finds the daemon.

        Raises `ProblemError` if it refuses, `Unreachable` if it is not there within `open_timeout`.
        """
        self._check_process()
        with self._changes.lock:
            if self._driver.is_closed:
                raise Closed(f"the KeptWebSocket of {self._endpoint!r} is closed")
            if self._thread is not None:
                return
            loop = self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(
                target=self._run, args=(loop,), name=f"wskeeper {self._endpoint}", daemon=True
            )
            self._thread.start()
        try:
            self._wait_for(self._driver.open(self._timeouts[0]))
        except BaseException:
            self.close(0)
            raise

    @staticmethod
    def _run(loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
        finally:
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

    def __enter__(self) -> KeptWebSocket:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._is_of_this_process():
            return
        is_in_time = kind is None or issubclass(kind, Exception)
        self._close(self._timeouts[1] if is_in_time else 0.0, is_done=kind is None)

    def close(self, timeout: float | None = None) -> None:
        """Ends. Closes no remote link.

        Waits until the daemon has taken all sends, at most `timeout` seconds (by default `close_timeout`).
        Sends that have no answer then fail with `ReceiptError`: `unsent`, or `unknown` if they were transmitted.
        """
        self._check_process()
        self._close(self._timeouts[1] if timeout is None else timeout, is_done=True)

    def _close(self, timeout: float, *, is_done: bool) -> None:
        with self._changes.lock:
            thread, loop = self._thread, self._loop
            if thread is None or loop is None or not thread.is_alive():
                self._driver.is_closed = True
                self._changes.tell()
                return
            if thread is threading.current_thread():
                raise WskeeperError("a callback cannot close the object that calls it")
        try:
            self._wait_for(self._end(timeout, is_done))
        finally:
            with self._changes.lock:
                self._changes.tell()
            loop.call_soon_threadsafe(loop.stop)
        while thread.is_alive():
            thread.join(LOOK)

    async def _end(self, timeout: float, is_done: bool) -> None:
        self._hand_over(is_done)
        await self._driver.close(timeout, is_done=False)

    def _wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        """What the thread of the connections answers."""
        loop = self._loop
        if loop is None or loop.is_closed():
            work.close()
            raise Closed(f"the KeptWebSocket of {self._endpoint!r} is closed")
        future = asyncio.run_coroutine_threadsafe(work, loop)
        _Changes.of(future).until(lambda: future.done() or None)
        return future.result(0)

    # Reading

    def recv(self, timeout: float | None = None) -> Data | Gap:
        """The next message.

        With a `timeout`, `TimeoutError` says that none came. Threads that share the object get one each.
        """
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            is_shown, shown = self._shown(self._take(threading.get_ident(), until))
            if is_shown and shown is not None:
                return shown

    def recv_event(self, timeout: float | None = None) -> Event:
        """The next event: a `Message`, a `Gap` or a `LinkEvent`."""
        return self._take(threading.get_ident(), None if timeout is None else time.monotonic() + timeout)

    def __iter__(self) -> Iterator[Any]:
        """Iterates over messages: `str` and `bytes`, and `Gap` with `gaps="item"`."""
        for event in self.events():
            is_shown, shown = self._shown(event)
            if is_shown:
                yield shown

    def events(self) -> Iterator[Event]:
        """Iterates over events: `Message`, `Gap` and, if `types` has them, `LinkEvent`."""
        self._check_process()
        reader = next(self._readers)
        try:
            while True:
                try:
                    event = self._take(reader, None)
                except Closed:
                    if self._driver.is_closed:
                        return
                    raise
                yield event
        finally:
            # Whoever leaves by `break` comes back for more, or closes. Whoever leaves by an exception may do neither.
            if self._is_of_this_process():
                with self._changes.lock:
                    mark = self._marks.pop(reader, None)
                    if mark is not None:
                        self._left.append(mark)

    def _take(self, reader: int, until: float | None) -> Event:
        self._check_process()
        with self._changes.lock:
            self._finish(reader)
            self._finished += self._left
            self._left.clear()
        left = None if until is None else until - time.monotonic()
        taken = self._changes.until(lambda: self._next(reader), left)
        if taken is None:
            raise TimeoutError("no message came in time")
        return taken[0]

    def _next(self, reader: int) -> tuple[Event] | None:
        """Called with the lock."""
        if not self._ready:
            if self._driver.is_closed:
                raise Closed(f"the KeptWebSocket of {self._endpoint!r} is closed")
            self._call()
            return None
        event, self._marks[reader] = self._ready.popleft()
        self._ready_size -= _size(event)
        if len(self._ready) < AHEAD // 4 or len(self._finished) >= AHEAD:
            self._call()
        return (event,)

    def _finish(self, reader: int) -> None:
        mark = self._marks.pop(reader, None)
        if mark is not None:
            self._finished.append(mark)

    def _call(self) -> None:
        """Has the other thread look at what is finished and wanted here. Called with the lock."""
        if self._loop is None:
            raise Closed("open the KeptWebSocket first: `with`, or `ws.open()`")
        if not self._is_called:
            self._is_called = True
            self._loop.call_soon_threadsafe(self._look)

    def _look(self) -> None:
        self._hand_over(False)
        self._driver.start("fetching", self._fetch)
        self._wants.set()

    async def _fetch(self) -> None:
        """Hands items over as long as this side has room. Runs in the thread of the connections."""
        self._driver.start_reading()
        while True:
            if self._has_space():
                await self._driver.arrival()
                self._give()
            else:
                self._wants.clear()
                await self._wants.wait()

    def _give(self) -> None:
        with self._changes.lock:
            while self._has_space() and (taken := self._driver.take()) is not None:
                self._ready.append(taken)
                self._ready_size += _size(taken[0])
            self._changes.tell()

    def _has_space(self) -> bool:
        return len(self._ready) < AHEAD and self._ready_size < AHEAD_SIZE

    def _hand_over(self, is_done: bool) -> None:
        """Tells the core what the program is done with."""
        with self._changes.lock:
            self._is_called = False
            finished, self._finished = self._finished, []
            if is_done:
                finished += [*self._marks.values(), *self._left]
                self._marks.clear()
                self._left.clear()
        for mark in finished:
            self._driver.finish(mark)

    # Sending

    def send(
        self,
        data: Payload,
        *,
        wait: Wait = "queued",
        key: str | None = None,
        ttl: float | None = None,
        generation: int | None = None,
        idempotency_key: str | None = None,
        timeout: float | None = None,
    ) -> Future[Receipt]:
        """Sends a message.

        The future gives its receipt when the message has the state `wait`, or raises `ReceiptError`.
        The message is on its way whether anybody looks at the future or not. To cancel the future withdraws a message
        that was not transmitted. If too much waits here, the call blocks until there is room.
        """
        future: Future[Receipt] = _Told()
        settle = self._settler(future)
        operation = self._send(data, settle, wait, key, ttl, generation, idempotency_key)
        self._submit(operation, future, timeout)
        return future

    def request(
        self, data: Payload, *, timeout: float = 30.0, key: str | None = None, generation: int | None = None
    ) -> Future[Data]:
        """Sends a request. The future gives its reply, or raises `RequestError`. The endpoint needs `requests`."""
        future: Future[Data] = _Told()
        self._submit(self._request(data, self._settler(future), timeout, key, generation), future, timeout)
        return future

    def subscribe(self, key: str, message: Payload | None = None) -> Future[Subscription]:
        """Holds a key until `unsubscribe` or `close`, over all reconnects.

        `message` is what asks the server for it, if the configuration's template does not.
        """
        future: Future[Subscription] = _Told()
        self._submit(Operation.subscribe(key, message, self._settler(future)), future)
        return future

    def unsubscribe(self, key: str, message: Payload | None = None) -> Future[None]:
        """Releases a key."""
        future: Future[None] = _Told()
        self._submit(Operation.unsubscribe(key, message, self._settler(future)), future)
        return future

    def drain(self) -> None:
        """Waits until `send` has room for a message and does not block."""
        self._check_process()
        self._changes.until(lambda: self._has_room() or self._driver.is_closed or None)

    def _has_room(self) -> bool:
        count, size = self._send_limits
        return not self._unanswered or (self._unanswered < count and self._unanswered_bytes < size)

    def _submit(self, operation: Operation, future: Future[Any], timeout: float | None = None) -> None:
        self._check_process()
        loop = self._changes.until(lambda: self._start(operation, timeout))
        future.add_done_callback(lambda ended: self._count(operation, ended, loop))

    def _start(self, operation: Operation, timeout: float | None) -> asyncio.AbstractEventLoop | None:
        """Has the other thread begin with it, where there is room. Called with the lock."""
        if self._loop is None:
            raise Closed("open the KeptWebSocket first: `with`, or `ws.open()`")
        if self._driver.is_closed:
            raise Closed(f"the KeptWebSocket of {self._endpoint!r} is closed")
        if operation.kind in ("send", "request") and not self._has_room():
            if threading.current_thread() is self._thread:
                raise BufferFull("a callback cannot wait for room")
            return None
        self._unanswered += 1
        self._unanswered_bytes += operation.size
        # With the lock: messages of one thread, and of several, leave in the order of their calls.
        self._loop.call_soon_threadsafe(self._begin, operation, timeout)
        return self._loop

    def _begin(self, operation: Operation, timeout: float | None) -> None:
        try:
            self._driver.submit(operation, timeout)
        except WskeeperError:
            operation.settle_once(operation.lost("unsent", "the object is closed"))

    def _count(self, operation: Operation, future: Future[Any], loop: asyncio.AbstractEventLoop | None) -> None:
        """Something is answered, or its caller does not want it any more."""
        if not self._is_of_this_process():
            return
        with self._changes.lock:
            self._unanswered -= 1
            self._unanswered_bytes -= operation.size
            self._changes.tell()
        if future.cancelled() and loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._driver.withdraw, operation, Closed("cancelled"))

    @staticmethod
    def _settler(future: Future[Any]) -> Callable[[object], None]:
        def settle(result: object) -> None:
            if not future.set_running_or_notify_cancel():
                return
            if isinstance(result, BaseException):
                future.set_exception(result)
            else:
                future.set_result(result)

        return settle


__all__ = ["KeptWebSocket"]
