"""A cursor that outlives the program."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Protocol

from ._errors import WskeeperError

# A cursor is an unsigned number of 64 bits.
_NEWEST = 2**64 - 1
_MOST_DIGITS = 20


class CursorStore(Protocol):
    """Where a cursor is kept. Both methods are called in a thread, one call at a time."""

    def load(self) -> int | None:
        """The cursor that was saved last, if there is one."""
        ...

    def save(self, cursor: int) -> None:
        """Keeps this cursor in the place of the one before."""
        ...


class FileCursor:
    """A cursor in a file. A save replaces the file: after a crash it has the old cursor or the new one.

    One file is for one reader of one endpoint (and of one `stream` or `match`, which have cursors of their own).
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)

    def load(self) -> int | None:
        """The cursor, or `None` if there is no file. A file that has no cursor is an error, not a new beginning."""
        try:
            text = self._path.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return None
        except ValueError:
            text = ""
        # `isdigit` first: `int` has a limit of digits of its own.
        if not text.isdigit() or len(text) > _MOST_DIGITS or int(text) > _NEWEST:
            raise WskeeperError(f"{self._path} does not hold a cursor; remove it to begin without one")
        return int(text)

    def save(self, cursor: int) -> None:
        """Writes a new file beside the old one, and renames it when it is on disk."""
        folder = self._path.parent
        handle, name = tempfile.mkstemp(prefix=f".{self._path.name}.", dir=folder)
        try:
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(f"{cursor}\n")
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self._path)
        except BaseException:
            Path(name).unlink()
            raise
