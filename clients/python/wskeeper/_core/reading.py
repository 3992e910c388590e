"""What arrives: where reading goes on, what waits for the program, and how far the program has come.

What a reader would get wrong: an item counts as done when its reader comes back for the next one, not when it is
handed over. So a program that dies in the middle of an item gets it again.
"""

from __future__ import annotations

import json
from collections import deque
from typing import Literal

from .._errors import ProtocolError
from .._types import Event, Gap, Message, read_event

From = Literal["latest", "oldest"]

WEIGHT = 256
"""Bytes that an item counts beside its data."""


class Mark:
    """An item in the hands of a reader."""

    __slots__ = ("cursor", "is_done")

    def __init__(self, cursor: int) -> None:
        self.cursor = cursor
        self.is_done = False


class Reading:
    """The state of what arrives."""

    def __init__(
        self,
        from_: From | int = "latest",
        *,
        types: tuple[str, ...] | None = ("message",),
        filters: tuple[tuple[str, str], ...] = (),
        max_items: int = 1000,
        max_bytes: int = 8 << 20,
    ) -> None:
        if isinstance(from_, str) and from_ not in ("latest", "oldest"):
            raise ValueError(f"from_ is {from_!r}, not 'latest', 'oldest' or a cursor")
        self._from = from_
        self._types = types
        self._filters = filters
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._bytes = 0
        self._queue: deque[Event] = deque()
        self._handed: deque[Mark] = deque()
        self.cursor: int | None = from_ if isinstance(from_, int) else None
        """Up to here everything has been received."""
        self.done: int | None = self.cursor
        """Up to here the program has dealt with everything."""

    @property
    def needs_position(self) -> bool:
        """Whether the newest cursor has to be asked for before the first connection."""
        return self.cursor is None and self._from == "latest"

    def begin_at(self, cursor: int) -> None:
        """Reading begins after this cursor."""
        if self.needs_position:
            self.cursor = self.done = cursor

    def resume_at(self, cursor: int) -> None:
        """Reading goes on after this cursor, which an earlier program has saved."""
        self.cursor = self.done = cursor

    def query(self) -> list[tuple[str, str]]:
        """The query of the next connection."""
        where = self._from if self.cursor is None else str(self.cursor)
        query = [("from", str(where)), *self._filters]
        if self._types is not None:
            query.append(("types", ",".join(self._types)))
        return query

    @property
    def has_room(self) -> bool:
        """Whether one more item may be read from the connection."""
        return not self._queue or (len(self._queue) < self._max_items and self._bytes < self._max_bytes)

    def received(self, text: str) -> bool:
        """Takes a frame of the daemon; says whether there is more for the program now."""
        try:
            event = read_event(json.loads(text))
        except (ValueError, KeyError, TypeError) as error:
            raise ProtocolError(f"the daemon sent a frame that is not an event: {error!r}") from error
        if event is None or not self._is_new(event):
            return False
        self.cursor = event.cursor
        self._queue.append(event)
        self._bytes += _weight(event)
        return True

    def _is_new(self, event: Event) -> bool:
        """Nothing is handed over twice. Only after a restart numbers may be lower, if a clock was set back."""
        if isinstance(event, Gap) and event.kind == "restart":
            return True
        return self.cursor is None or event.cursor > self.cursor

    def __len__(self) -> int:
        return len(self._queue)

    def take(self) -> tuple[Event, Mark] | None:
        """The next item, and the mark by which its reader says that it is done with it."""
        if not self._queue:
            return None
        event = self._queue.popleft()
        self._bytes -= _weight(event)
        mark = Mark(event.cursor)
        self._handed.append(mark)
        return event, mark

    def finish(self, mark: Mark) -> None:
        """A reader is done with an item. Those before it may be in other hands still."""
        mark.is_done = True
        while self._handed and self._handed[0].is_done:
            self.done = self._handed.popleft().cursor

    def finish_all(self) -> None:
        """All readers are done with what they have."""
        if self._handed:
            self.done = self._handed[-1].cursor
            self._handed.clear()


def _weight(event: Event) -> int:
    return WEIGHT + (len(event.data) if isinstance(event, Message) else 0)
