"""What leaves: sends, requests and subscriptions, in order, and what happens to them when the daemon goes away.

What a reader would get wrong: a send that was transmitted and has no answer is repeated only where the daemon
certainly knows its idempotency key, so that the server never gets it twice: the daemon did not restart, or the key is
on its disk. Else it is `unknown`.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from typing import Any

from .._errors import ProblemError, ProtocolError, ReceiptError, RequestError, SubscriptionError, WskeeperError
from .._types import Problem, Receipt, Subscription, decode
from .operations import Operation

FRAMES = 192
REQUESTS = 48
BYTES = 1 << 20
"""Unanswered at once. The daemon stops reading at 256, 64 and 1 MiB; below that it always answers."""

REPEATS = 5
"""Transmissions of one send. More than that, and it is the send that ends the connection."""

KNOWN = 540.0
"""Seconds for which the daemon certainly knows an idempotency key (it keeps it for ten minutes)."""


class Sending:
    """The state of what leaves."""

    def __init__(self, told: Callable[[str, ProblemError], None] = lambda key, error: None) -> None:
        self._told = told
        """Called when the daemon refuses a key that this object had held before a reconnect."""
        self._refs = 0
        self._waiting: deque[Operation] = deque()
        self._flying: dict[int, Operation] = {}
        self._flying_bytes = 0
        self._requests = 0
        self._is_open = False
        self._is_draining = False
        self._held: dict[str, Operation] = {}
        self.subscriptions: dict[str, Subscription] = {}
        """The keys that this object holds, as the daemon last said."""
        self.buffered_amount = 0
        """Bytes of messages that the daemon has not answered."""
        self.max_frame: int | None = None
        """The longest frame that the daemon takes."""

    def __len__(self) -> int:
        """Operations that have no answer."""
        return len(self._waiting) + len(self._flying)

    @property
    def has_work(self) -> bool:
        """Whether a connection is needed."""
        return bool(self._waiting or self._flying or self._held)

    def add(self, operation: Operation) -> None:
        """Takes an operation, behind those before it."""
        self._refs += 1
        operation.ref = self._refs
        self.buffered_amount += operation.size
        if operation.kind == "subscribe":
            self._held[operation.key] = operation
        elif operation.kind == "unsubscribe":
            self._held.pop(operation.key, None)
            self.subscriptions.pop(operation.key, None)
        self._waiting.append(operation)

    def withdraw(self, operation: Operation, error: WskeeperError) -> None:
        """Its caller does not want it any more. What was transmitted goes on, without its caller."""
        if operation.ref in self._flying or operation.is_settled:
            operation.settle_once(error)
        elif operation in self._waiting:
            self._waiting.remove(operation)
            if self._held.get(operation.key) is operation:
                del self._held[operation.key]
            self._end(operation, error)

    def next_frame(self, now: float) -> str | None:
        """The next frame to transmit, if one may be transmitted now."""
        while self._is_open and not self._is_draining and self._waiting:
            operation = self._waiting[0]
            if not self._has_room_for(operation):
                return None
            self._waiting.popleft()
            frame, error = operation.frame(now, self.max_frame)
            if error is not None:
                self._end(operation, error)
                continue
            operation.transmitted(now)
            self._flying[operation.ref] = operation
            self._flying_bytes += operation.size
            self._requests += operation.kind == "request"
            return frame
        return None

    def _has_room_for(self, operation: Operation) -> bool:
        if not self._flying:
            return True
        if operation.kind == "request" and self._requests >= REQUESTS:
            return False
        return len(self._flying) < FRAMES and self._flying_bytes + operation.size <= BYTES

    def received(self, text: str) -> Operation | None:
        """Takes a frame of the daemon. Answers with a send that has its receipt and waits for a further state."""
        try:
            frame: dict[str, Any] = json.loads(text)
            return self._answer(frame)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ProtocolError(f"the daemon sent a frame that is not an answer: {error!r}") from error

    def _answer(self, frame: dict[str, Any]) -> Operation | None:
        operation = self._flying.get(frame.get("ref") or 0)
        if operation is None:
            # An event, or the answer to what nobody waits for.
            return None
        kind = frame["type"]
        if kind == "receipt":
            return self._take_receipt(operation, Receipt.read(frame["receipt"]))
        if kind == "reply":
            data = decode(frame["data"], frame.get("binary", False))
            self._end(operation, RequestError("error", reply=data) if frame.get("error") else data)
        elif kind == "subscription":
            subscription = Subscription.read(frame["subscription"])
            if operation.key in self._held:
                self.subscriptions[operation.key] = subscription
            self._end(operation, subscription)
        elif kind == "unsubscribed":
            self._end(operation, None)
        elif kind == "problem":
            self._take_problem(operation, Problem.read(frame["problem"]))
        return None

    def _take_receipt(self, operation: Operation, receipt: Receipt) -> Operation | None:
        operation.receipt = receipt
        result = operation.judged(receipt)
        if result is not None:
            self._end(operation, result)
            return None
        # The daemon has it and waits no longer. Its caller does.
        self._land(operation)
        self.buffered_amount -= operation.size
        return None if operation.is_settled else operation

    def _take_problem(self, operation: Operation, problem: Problem) -> None:
        if problem.name in ("draining", "undecided"):
            # Nothing was accepted, or the first try decides: it is sent again, by the next daemon or by this one.
            if problem.name == "draining":
                self._is_draining, operation.is_in_doubt = True, operation.tries > 1
            self._land(operation)
            self._wait_again([operation])
            return
        if operation.kind == "subscribe" and self._held.get(operation.key) is operation:
            del self._held[operation.key]
            self.subscriptions.pop(operation.key, None)
        self._end(operation, operation.refused(problem))

    def opened(self, now: float, *, is_same_run: bool = True, is_durable: bool = False) -> None:
        """A connection is open. Decides about everything that has no answer."""
        again: list[Operation] = []
        self._forget_own()
        waited = [one for one in self._waiting if one.is_in_doubt]
        for operation in sorted([*self._flying.values(), *waited], key=lambda one: one.ref):
            if operation in waited:
                self._waiting.remove(operation)
            self._land(operation)
            if operation.kind == "unsubscribe":
                # The daemon has released all keys of the connection that was lost.
                self._end(operation, None)
            elif self._may_repeat(operation, now, is_same_run, is_durable):
                again.append(operation)
            else:
                self._end(operation, operation.lost("unknown"))
        if not is_same_run:
            for operation in [one for one in self._waiting if one.generation is not None]:
                self._waiting.remove(operation)
                self._end(
                    operation,
                    operation.unsent("the daemon restarted, and its connections have other numbers now"),
                )
        self._wait_again(again)
        pending = {one.key for one in self._waiting if one.kind == "subscribe"}
        self._waiting.extendleft(self._hold_again(key) for key in reversed(self._held) if key not in pending)
        self._is_open, self._is_draining = True, False

    def _forget_own(self) -> None:
        for operation in [one for one in (*self._flying.values(), *self._waiting) if one.is_own]:
            if operation in self._waiting:
                self._waiting.remove(operation)
            self._end(operation, None)

    @staticmethod
    def _may_repeat(operation: Operation, now: float, is_same_run: bool, is_durable: bool) -> bool:
        if operation.kind == "subscribe":
            return True
        if operation.kind != "send" or operation.tries >= REPEATS or operation.first_transmitted is None:
            return False
        is_known = is_same_run or (is_durable and operation.generation is None)
        return is_known and now - operation.first_transmitted < KNOWN

    def _hold_again(self, key: str) -> Operation:
        """The operation that asks for a key that was held before the connection was lost."""
        held = self._held[key]

        def settle(result: object) -> None:
            if isinstance(result, SubscriptionError):
                self._told(key, result)

        self._refs += 1
        again = Operation.subscribe(key, held.data, settle)
        again.ref, again.is_own = self._refs, True
        self._held[key] = again
        self.buffered_amount += again.size
        return again

    def lost(self) -> None:
        """The connection is lost. Nothing is decided before the next one."""
        self._is_open = False

    def ends(self) -> None:
        """The object is closed: nothing more will be transmitted or answered."""
        self._is_open = False
        self._held.clear()
        for operation in list(self._flying.values()):
            self._end(operation, operation.lost("unknown", "the object was closed before the daemon answered"))
        while self._waiting:
            operation = self._waiting.popleft()
            self._end(operation, operation.unsent("the object was closed first"))

    def _wait_again(self, operations: list[Operation]) -> None:
        """Puts operations back in their order: ahead of all that came later."""
        if operations:
            self._waiting = deque(sorted([*operations, *self._waiting], key=lambda one: one.ref))

    def _land(self, operation: Operation) -> None:
        if self._flying.pop(operation.ref, None) is not None:
            self._flying_bytes -= operation.size
            self._requests -= operation.kind == "request"

    def _end(self, operation: Operation, result: object) -> None:
        self._land(operation)
        self.buffered_amount -= operation.size
        operation.settle_once(result)


__all__ = ["Operation", "ReceiptError", "Sending"]
