"""A limit in time.

`asyncio.wait_for` of Python 3.10 and 3.11 forgets that its caller was cancelled, if its work ends in the same moment.
A task that was cancelled by `close()` would go on for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def within(work: Coroutine[Any, Any, T], seconds: float | None) -> T:
    """The result of some work, or `TimeoutError`. The work is cancelled with its caller."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait([task], timeout=seconds)
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        raise
    if not task.done():
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        raise TimeoutError(f"not done within {seconds} s")
    return task.result()
