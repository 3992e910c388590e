"""Receipts that take longer than the minute for which the daemon waits: they are asked for by HTTP."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ._core.backoff import Backoff
from ._core.operations import Operation
from ._errors import ProblemError, ProtocolError
from ._types import Receipt


class Late:
    """Sends whose receipts are asked for."""

    def __init__(self, get: Callable[..., Awaitable[Mapping[str, Any]]]) -> None:
        self._get = get
        self._tasks: dict[Operation, asyncio.Task[None]] = {}
        self._turn = asyncio.Semaphore(4)

    def add(self, operation: Operation) -> None:
        """Asks until there is something to tell its caller."""
        task = asyncio.ensure_future(self._follow(operation))
        self._tasks[operation] = task
        task.add_done_callback(lambda _: self._tasks.pop(operation, None))

    def end(self) -> None:
        """Asks no more."""
        for operation, task in list(self._tasks.items()):
            task.cancel()
            operation.settle_once(operation.lost("late", "the object was closed first"))

    async def _follow(self, operation: Operation) -> None:
        backoff, receipt = Backoff(), operation.receipt
        while receipt is not None and not operation.is_settled:
            await asyncio.sleep(backoff.delay(random.random()))
            try:
                async with self._turn:
                    receipt = Receipt.read(await self._get("v1", "messages", receipt.id))
            except ProblemError as error:
                if error.status == 404:
                    message = (
                        "the daemon knows nothing of the message any more: it restarted, or it keeps no more receipts"
                    )
                    operation.settle_once(operation.lost("unknown", message))
            except (OSError, EOFError, TimeoutError, ProtocolError, KeyError, TypeError):
                continue
            else:
                operation.receipt = receipt
                result = operation.judged(receipt)
                if result is not None:
                    operation.settle_once(result)
