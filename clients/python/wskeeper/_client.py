"""`KeptWebSocket` for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any

from ._base import Base
from ._core.operations import Operation, Payload
from ._core.reading import Mark
from ._driver import Driver
from ._errors import BufferFull, Closed
from ._types import Data, Event, Gap, Receipt, Subscription, Wait


class KeptWebSocket(Base):
    """An endpoint of the daemon as one object that never closes by itself.

    ```python
    async with KeptWebSocket("trades") as ws:
        await ws.send("hello")
        async for message in ws:
            print(message)
    ```

    The connection to the daemon comes back by itself, and reading goes on after the last message. What may be missing
    is a `Gap`.
    """

    _mark: Mark | None = None

    async def open(self) -> None:
        """Finds the daemon.

        Raises `ProblemError` if it refuses, `Unreachable` if it is not there within `open_timeout`.
        """
        self._check_process()
        await self._driver.open(self._timeouts[0])

    async def __aenter__(self) -> KeptWebSocket:
        try:
            await self.open()
        except BaseException:
            await self.close(0)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        is_in_time = kind is None or issubclass(kind, Exception)
        await self._driver.close(self._timeouts[1] if is_in_time else 0.0, is_done=kind is None)

    async def close(self, timeout: float | None = None) -> None:
        """Ends. Closes no remote link.

        Waits until the daemon has taken all sends, at most `timeout` seconds (by default `close_timeout`).
        Sends that have no answer then fail with `ReceiptError`: `unsent`, or `unknown` if they were transmitted.
        """
        self._check_process()
        await self._driver.close(self._timeouts[1] if timeout is None else timeout)

    # Reading

    async def recv(self, timeout: float | None = None) -> Data | Gap:
        """The next message. With a `timeout`, `TimeoutError` says that none came.

        Nothing is lost when the call is cancelled, or its time is over.
        """
        while True:
            event = await self.recv_event(timeout)
            is_shown, shown = self._shown(event)
            if is_shown and shown is not None:
                return shown

    async def recv_event(self, timeout: float | None = None) -> Event:
        """The next event: a `Message`, a `Gap` or a `LinkEvent`."""
        self._check_process()
        if self._mark is not None:
            self._driver.finish(self._mark)
            self._mark = None
        event, self._mark = await self._driver.next(timeout)
        return event

    def __aiter__(self) -> AsyncIterator[Any]:
        """Iterates over messages: `str` and `bytes`, and `Gap` with `gaps="item"`."""
        self._check_process()
        return _Messages(self)

    def events(self) -> AsyncIterator[Event]:
        """Iterates over events: `Message`, `Gap` and, if `types` has them, `LinkEvent`."""
        self._check_process()
        return _Events(self._driver)

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
    ) -> asyncio.Future[Receipt]:
        """Sends a message.

        The future gives its receipt when the message has the state `wait`, or raises `ReceiptError`.
        The message is on its way whether the future is awaited or not. To cancel the future withdraws a message that
        was not transmitted. Raises `BufferFull` if too much waits here: `await drain()` first.
        """
        future: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        operation = self._send(data, settler(future), wait, key, ttl, generation, idempotency_key)
        self._submit(operation, future, timeout)
        return future

    def request(
        self,
        data: Payload,
        *,
        timeout: float = 30.0,
        key: str | None = None,
        generation: int | None = None,
    ) -> asyncio.Future[Data]:
        """Sends a request. The future gives its reply, or raises `RequestError`. The endpoint needs `requests`."""
        future: asyncio.Future[Data] = asyncio.get_running_loop().create_future()
        operation = self._request(data, settler(future), timeout, key, generation)
        self._submit(operation, future, timeout)
        return future

    def subscribe(self, key: str, message: Payload | None = None) -> asyncio.Future[Subscription]:
        """Holds a key until `unsubscribe` or `close`, over all reconnects.

        `message` is what asks the server for it, if the configuration's template does not.
        """
        self._check_process()
        future: asyncio.Future[Subscription] = asyncio.get_running_loop().create_future()
        self._submit(Operation.subscribe(key, message, settler(future)), future)
        return future

    def unsubscribe(self, key: str, message: Payload | None = None) -> asyncio.Future[None]:
        """Releases a key."""
        self._check_process()
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._submit(Operation.unsubscribe(key, message, settler(future)), future)
        return future

    async def drain(self) -> None:
        """Waits until `send` has room for a message."""
        await self._driver.room(self._has_room)

    def _submit(self, operation: Operation, future: asyncio.Future[Any], timeout: float | None = None) -> None:
        if not self._has_room() and operation.kind in ("send", "request"):
            count, size = self._send_limits
            raise BufferFull(f"{count} messages or {size} bytes wait for the daemon; `await ws.drain()` waits for room")
        self._driver.submit(operation, timeout)

        def look(future: asyncio.Future[Any]) -> None:
            if future.cancelled():
                self._driver.withdraw(operation, Closed("cancelled"))

        future.add_done_callback(look)


def settler(future: asyncio.Future[Any]) -> Any:
    """What settles a future once."""

    def settle(result: object) -> None:
        if future.done():
            return
        if isinstance(result, BaseException):
            future.set_exception(result)
        else:
            future.set_result(result)

    return settle


class _Events:
    """An iteration, which is done with an item when it is asked for the next."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._mark: Mark | None = None

    def __aiter__(self) -> _Events:
        return self

    async def __anext__(self) -> Event:
        self._finish()
        try:
            event, self._mark = await self._driver.next()
        except Closed:
            if self._driver.is_closed:
                raise StopAsyncIteration from None
            raise
        return event

    def _finish(self) -> None:
        if self._mark is not None:
            self._driver.finish(self._mark)
            self._mark = None

    def __del__(self) -> None:
        # Whoever leaves by `break` comes back for more, or closes. Whoever leaves by an exception may do neither.
        if self._mark is not None:
            self._driver.left.append(self._mark)


class _Messages(_Events):
    """The same for messages."""

    def __init__(self, owner: KeptWebSocket) -> None:
        super().__init__(owner._driver)
        self._owner = owner

    async def __anext__(self) -> Any:
        while True:
            is_shown, shown = self._owner._shown(await super().__anext__())
            if is_shown:
                return shown
