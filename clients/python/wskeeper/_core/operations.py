"""One thing that a program asks of the daemon: a send, a request, a subscription or its end."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any, Literal, Union

from .._errors import ProblemError, ReceiptError, RequestError, SubscriptionError
from .._types import Data, Problem, Receipt

Payload = Union[str, bytes, bytearray, memoryview]
"""What can be sent."""


def checked(data: Payload) -> Data:
    """What is sent, as it is now: a buffer may be changed later, a surrogate has no UTF-8."""
    if isinstance(data, str):
        data.encode()
        return data
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data)
    raise TypeError(f"a message is str or bytes, not {type(data).__name__}")


def duration(seconds: float, name: str) -> float:
    """A duration that the daemon understands."""
    if not 0 < seconds < 1e9:
        raise ValueError(f"{name} is {seconds!r}, not a positive number of seconds")
    return float(seconds)


class Operation:
    """One thing that is asked of the daemon, and who is told what became of it."""

    __slots__ = (
        "added", "data", "first_transmitted", "generation", "is_in_doubt", "is_own", "is_settled", "key", "kind",
        "members",
        "receipt", "ref", "settle", "size", "time", "tries", "wait",
    )  # fmt: skip

    def __init__(
        self,
        kind: Literal["send", "request", "subscribe", "unsubscribe"],
        data: Data | None,
        settle: Callable[[object], None],
    ) -> None:
        self.kind = kind
        self.data = data
        self.settle = settle
        self.size = 0 if data is None else len(data.encode() if isinstance(data, str) else data)
        self.key = ""
        self.ref = 0
        self.members: dict[str, Any] = {}
        self.wait = "queued"
        self.generation: int | None = None
        self.time: float | None = None
        """`ttl` of a send, `timeout` of a request, in seconds from `added`."""
        self.added = 0.0
        self.first_transmitted: float | None = None
        self.tries = 0
        self.receipt: Receipt | None = None
        self.is_settled = False
        self.is_in_doubt = False
        """It was transmitted, and the daemon may have accepted it."""
        self.is_own = False
        """Nobody asked for it now: a key is held again after a reconnect."""

    @classmethod
    def send(
        cls, data: Payload, settle: Callable[[object], None], *, now: float, idempotency_key: str,
        wait: str = "queued", key: str | None = None, ttl: float | None = None, generation: int | None = None,
    ) -> Operation:  # fmt: skip
        """A message."""
        operation = cls("send", checked(data), settle)
        operation.added, operation.wait, operation.generation = now, wait, generation
        operation.time = None if ttl is None else duration(ttl, "ttl")
        operation.members = {"idempotencyKey": idempotency_key}
        if wait != "queued":
            operation.members["wait"] = wait
        operation._keep(key, generation)
        return operation

    @classmethod
    def request(
        cls, data: Payload, settle: Callable[[object], None], *, now: float,
        timeout: float, key: str | None = None, generation: int | None = None,
    ) -> Operation:  # fmt: skip
        """A message whose reply its caller waits for."""
        operation = cls("request", checked(data), settle)
        operation.added, operation.generation = now, generation
        operation.time = duration(timeout, "timeout")
        operation._keep(key, generation)
        return operation

    @classmethod
    def subscribe(cls, key: str, data: Payload | None, settle: Callable[[object], None]) -> Operation:
        """Holds a key."""
        operation = cls("subscribe", None if data is None else checked(data), settle)
        operation.key, operation.members = key, {"key": key}
        return operation

    @classmethod
    def unsubscribe(cls, key: str, data: Payload | None, settle: Callable[[object], None]) -> Operation:
        """Releases a key."""
        operation = cls("unsubscribe", None if data is None else checked(data), settle)
        operation.key, operation.members = key, {"key": key}
        return operation

    def _keep(self, key: str | None, generation: int | None) -> None:
        if key is not None:
            self.members["key"] = key
        if generation is not None:
            self.members["generation"] = generation

    @property
    def idempotency_key(self) -> str | None:
        """The name by which the daemon knows a repeat."""
        return self.members.get("idempotencyKey")

    def transmitted(self, now: float) -> None:
        """It leaves now."""
        self.tries += 1
        self.is_in_doubt = True
        if self.first_transmitted is None:
            self.first_transmitted = now

    def frame(self, now: float, longest: int | None) -> tuple[str, ProblemError | None]:
        """The envelope, or why there is none."""
        envelope: dict[str, Any] = {"type": self.kind, "ref": self.ref, **self.members}
        if self.time is not None:
            left = self.time - (now - self.added)
            if self.tries:
                # The daemon knows it by its name, and its time from the first try.
                left = self.time
            elif left <= 0:
                return "", self.unsent("its time was over before there was a connection to the daemon")
            envelope["ttl" if self.kind == "send" else "timeout"] = f"{max(1, int(left * 1000))}ms"
        if isinstance(self.data, str):
            envelope["data"] = self.data
        elif self.data is not None:
            envelope |= {"data": base64.b64encode(self.data).decode(), "binary": True}
        text = json.dumps(envelope, ensure_ascii=False, separators=(",", ":"))
        # A character has up to four bytes.
        if longest is not None and len(text) * 4 > longest and len(text.encode()) > longest:
            detail = (
                f"the message has {self.size} bytes, which is more than outbox.max_message of the endpoint allows, "
                "or it has too many control characters"
            )
            return "", self.refused(Problem.local("too-large", "The message is too large", 413, detail))
        return text, None

    def judged(self, receipt: Receipt) -> Receipt | ReceiptError | None:
        """What its caller is told of this receipt; `None`: nothing yet."""
        if receipt.reached(self.wait):
            return receipt
        if receipt.is_end:
            message = f"the message ended {receipt.state}" + (f" ({receipt.reason})" if receipt.reason else "")
            return ReceiptError(receipt.state, message, receipt=receipt, idempotency_key=self.idempotency_key)
        return None

    def refused(self, problem: Problem) -> ProblemError:
        """The error that a refusal is."""
        if self.kind == "send":
            return ReceiptError(
                "refused", problem=problem, receipt=problem.receipt, idempotency_key=self.idempotency_key
            )
        if self.kind == "request":
            states = {"no-reply": "no-reply", "lost": "unknown"}
            return RequestError(states.get(problem.name, "refused"), problem=problem)
        return SubscriptionError(problem)

    def unsent(self, message: str) -> ProblemError:
        """The error that it is not to leave any more, or to leave again."""
        return self.lost("unknown" if self.is_in_doubt else "unsent", message)

    def lost(self, state: str, message: str | None = None) -> ProblemError:
        """The error that the loss of the connection is."""
        if message is None:
            message = "the connection to the daemon was lost before it answered; the daemon may have accepted it"
        if self.kind == "send":
            return ReceiptError(state, message, receipt=self.receipt, idempotency_key=self.idempotency_key)
        if self.kind == "request":
            return RequestError(state, message)
        return SubscriptionError(None, message)

    def settle_once(self, result: object) -> None:
        """Tells the caller, who is told once."""
        if not self.is_settled:
            self.is_settled = True
            settle, self.settle = self.settle, _nobody
            settle(result)


def _nobody(result: object) -> None:
    """In place of a caller who has been told, so that nothing keeps what that one had to do with it."""
