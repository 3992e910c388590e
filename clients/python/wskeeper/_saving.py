"""Saves the cursor of what the program is done with, one save at a time, the newest value each time.

What a reader would get wrong: a save that was begun goes on in its thread when its task is cancelled. So each has a
number, and an older one never replaces a newer one.
"""

from __future__ import annotations

import asyncio
import logging
import threading

from ._core.reading import Reading
from ._cursor import CursorStore

log = logging.getLogger("wskeeper")


class Saving:
    """The cursor on its way to its store."""

    def __init__(self, store: CursorStore, reading: Reading) -> None:
        self._store = store
        self._reading = reading
        self._lock = threading.Lock()
        self._begun = self._saved = 0
        self._newest: int | None = None
        self._is_done = asyncio.Event()

    async def load(self) -> None:
        """Reading goes on where an earlier program was."""
        cursor = await asyncio.get_running_loop().run_in_executor(None, self._store.load)
        if cursor is not None:
            self._reading.resume_at(cursor)
        self._newest = self._reading.done

    def wake(self) -> None:
        """The program is done with something."""
        self._is_done.set()

    async def run(self) -> None:
        """Saves, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            while self._reading.done == self._newest:
                self._is_done.clear()
                await self._is_done.wait()
            number, self._newest = self._next(), self._reading.done
            await loop.run_in_executor(None, self._save, number, self._newest)

    def save_last(self) -> None:
        """Saves at once, if the program is done with anything."""
        if self._begun or self._reading.done != self._newest:
            self._save(self._next(), self._reading.done)

    def _next(self) -> int:
        self._begun += 1
        return self._begun

    def _save(self, number: int, cursor: int | None) -> None:
        try:
            with self._lock:
                if number > self._saved and cursor is not None:
                    self._store.save(cursor)
                    self._saved = number
        except Exception:
            log.exception("the cursor %s was not saved", cursor)
