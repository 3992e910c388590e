"""What the two objects have in common: their options, and how a call becomes an operation."""

from __future__ import annotations

import itertools
import json
import logging
import os
import secrets
import ssl as tls
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Literal

from ._address import Address
from ._core.operations import Operation, Payload
from ._core.reading import From, Reading
from ._cursor import CursorStore, FileCursor
from ._driver import Driver, Terms
from ._errors import Closed, ProblemError
from ._types import REACHED, Data, Event, Gap, Message, Subscription, Wait

log = logging.getLogger("wskeeper")

KINDS = frozenset({"message", "open", "close", "error", "phase", "gap"})


class Base:
    """An endpoint of the daemon as one object that never closes by itself."""

    def __init__(
        self,
        endpoint: str,
        *,
        api: str | None = None,
        token: str | None = None,
        ssl: tls.SSLContext | None = None,
        from_: From | int = "latest",
        cursor_store: CursorStore | str | os.PathLike[str] | None = None,
        types: Iterable[str] | None = ("message",),
        link: int | None = None,
        stream: str | None = None,
        match: Mapping[str, object] | None = None,
        gaps: Literal["event", "item"] = "event",
        on_gap: Callable[[Gap], object] | None = None,
        on_problem: Callable[[ProblemError], object] | None = None,
        open_timeout: float | None = 10.0,
        close_timeout: float = 5.0,
        max_queue: int = 1000,
        max_queue_bytes: int = 8 << 20,
        max_sends: int = 1000,
        max_send_bytes: int = 16 << 20,
    ) -> None:
        """Nothing is connected before `open()`.

        - `endpoint`: a name of the daemon's configuration.
        - `api`, `token`: where the daemon is, and its token. By default `WSKEEPER_API`, `WSKEEPER_TOKEN_FILE` and
          `WSKEEPER_TOKEN`, else the installed service's socket or `http://127.0.0.1:7700`. `ssl` is for `https` with
          authorities of your own.
        - `from_`: where reading begins: `latest`, `oldest`, or after a cursor.
        - `cursor_store`: a file, or an object with `load()` and `save()`, that keeps the cursor. What it has counts
          before `from_`.
        - `types`: events that are read, beside gaps; `None`: all.
        - `link`, `stream`, `match`: only this link, this stream, or messages with these values, such as
          `{"/s": "BTCUSDT"}`.
        - `gaps`: `event` calls `on_gap` (without it, a gap is logged), `item` has gaps among the messages.
        - `on_problem`: called when the daemon refuses a connection, or a subscription after a reconnect. Both are
          logged too. The synchronous object calls it in a thread of its own.
        - `open_timeout`, `close_timeout`: seconds for the first answer of the daemon (`None`: for ever), and for the
          last ones.
        - `max_queue`, `max_queue_bytes`: what is read ahead of the program.
        - `max_sends`, `max_send_bytes`: what may wait here until the daemon accepts it.
        """
        kinds = None if types is None else tuple(types)
        unknown = set(kinds or ()) - KINDS
        if unknown or kinds == ():
            raise ValueError(f"types has {sorted(unknown)}; it is a list of {sorted(KINDS)}")
        if gaps not in ("event", "item"):
            raise ValueError(f"gaps is {gaps!r}, not 'event' or 'item'")
        filters = [("match", f"{pointer}={json.dumps(value)}") for pointer, value in (match or {}).items()]
        if stream is not None:
            filters.append(("stream", stream))
        store = FileCursor(cursor_store) if isinstance(cursor_store, (str, os.PathLike)) else cursor_store
        self._endpoint = endpoint
        self._gaps_are_items = gaps == "item"
        self._on_gap = on_gap
        self._timeouts = open_timeout, close_timeout
        self._send_limits = max_sends, max_send_bytes
        reading = Reading(from_, types=kinds, filters=tuple(filters), max_items=max_queue, max_bytes=max_queue_bytes)
        self._terms = Terms(endpoint, Address.find(api, token), ssl, stream, link, store, on_problem)
        self._driver = Driver(self._terms, reading)
        self._process = os.getpid()
        self._name, self._sends = secrets.token_hex(16), itertools.count(1)
        self._prepare()

    def _prepare(self) -> None:
        """What else a new object needs."""

    def __repr__(self) -> str:
        state = (
            "closed" if self.closed else "connected" if self.connected else "open" if self._driver.is_open else "new"
        )
        return f"<KeptWebSocket {self._endpoint!r} at {self._terms.address} {state}>"

    @property
    def endpoint(self) -> str:
        """The name of the endpoint."""
        return self._endpoint

    @property
    def closed(self) -> bool:
        """Whether `close()` was called. Nothing else closes the object."""
        return self._driver.is_closed

    @property
    def connected(self) -> bool:
        """Whether a connection to the daemon stands now. It says nothing about the remote link."""
        return bool(self._driver.connections)

    @property
    def cursor(self) -> int | None:
        """Up to here the program is done with everything: give it as `from_` to go on there."""
        return self._driver.reading.done

    @property
    def buffered_amount(self) -> int:
        """Bytes of messages that the daemon has not answered yet."""
        return self._driver.sending.buffered_amount

    @property
    def subscriptions(self) -> Mapping[str, Subscription]:
        """The keys that this object holds, as the daemon last said."""
        return dict(self._driver.sending.subscriptions)

    def _is_of_this_process(self) -> bool:
        return os.getpid() == self._process

    def _check_process(self) -> None:
        if not self._is_of_this_process():
            raise Closed("this KeptWebSocket is of the parent process; open one of your own after a fork")

    def _send(
        self, data: Payload, settle: Callable[[object], None], wait: Wait, key: str | None, ttl: float | None,
        generation: int | None, idempotency_key: str | None,
    ) -> Operation:  # fmt: skip
        self._check_process()
        if wait not in REACHED:
            raise ValueError(f"wait is {wait!r}, not one of {list(REACHED)}")
        if idempotency_key is None:
            idempotency_key = f"{self._name}-{next(self._sends)}"
        return Operation.send(
            data,
            settle,
            now=time.monotonic(),
            wait=wait,
            key=key,
            ttl=ttl,
            generation=generation,
            idempotency_key=idempotency_key,
        )

    def _request(
        self, data: Payload, settle: Callable[[object], None], timeout: float, key: str | None, generation: int | None
    ) -> Operation:
        self._check_process()
        return Operation.request(data, settle, now=time.monotonic(), timeout=timeout, key=key, generation=generation)

    def _has_room(self) -> bool:
        """Whether one more send may be taken."""
        count, size = self._send_limits
        sending = self._driver.sending
        return not len(sending) or (len(sending) < count and sending.buffered_amount < size)

    def _shown(self, event: Event) -> tuple[bool, Data | Gap | None]:
        """Whether an iteration over messages gives this, and as what."""
        if isinstance(event, Message):
            return True, event.data
        if not isinstance(event, Gap):
            return False, None
        if self._gaps_are_items:
            return True, event
        if self._on_gap is not None:
            self._on_gap(event)
        else:
            log.warning("%s: gap: %s", self._endpoint, _sentence(event))
        return False, None


def _sentence(gap: Gap) -> str:
    if gap.kind == "lag":
        return f"{gap.missed} entries had left the inbox before they were read"
    if gap.kind == "restart":
        return "the daemon restarted, and nobody knows what arrived meanwhile"
    return f"the link {gap.link} was down from {gap.from_} to {gap.to}"
