"""What can go wrong: one small hierarchy below `WskeeperError`."""

from __future__ import annotations

from typing import Any

from ._types import Problem, Receipt


class WskeeperError(Exception):
    """The base of every error of this package."""


class Closed(WskeeperError):
    """The object is closed, or was never opened."""


class BufferFull(WskeeperError):
    """The client's own queue of sends is full. `await ws.drain()` waits for room."""


class Unreachable(WskeeperError):
    """`open()` found no daemon within `open_timeout`."""


class ProtocolError(WskeeperError):
    """What answers is not a wskeeper daemon, or one that this client does not understand."""


class ProblemError(WskeeperError):
    """The daemon refused something, and `problem` says why and what to do.

    The members of the problem document are attributes too: `type`, `title`, `status` and `detail`. `name` is
    the last part of `type`, such as `outbox-full`.
    """

    def __init__(self, problem: Problem | None, message: str | None = None) -> None:
        self.problem = problem
        super().__init__(message or (str(problem) if problem else "the daemon gave no reason"))

    @property
    def type(self) -> str:
        """The URN of the problem, or an empty string."""
        return self.problem.type if self.problem else ""

    @property
    def name(self) -> str:
        """The last part of `type`, such as `outbox-full`."""
        return self.problem.name if self.problem else ""

    @property
    def title(self) -> str:
        """One line."""
        return self.problem.title if self.problem else ""

    @property
    def status(self) -> int:
        """The HTTP status, or 0."""
        return self.problem.status if self.problem else 0

    @property
    def detail(self) -> str:
        """A sentence that says what happened and what to do."""
        return self.problem.detail if self.problem else ""

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)


class ReceiptError(ProblemError):
    """A message did not reach the state that its sender waits for.

    `state` is one of:

    - `refused`: the daemon did not accept it. Nothing was sent, and nothing will be.
    - `unsent`: it never left this program. It was withdrawn, or the object was closed.
    - `unknown`: the daemon may have accepted it, and may have sent it. Or the receipt says `unknown`.
    - `late`: it is accepted and still under way, and the `timeout` of the send is over.
    - `expired`, `dropped`, `dead`: the end that the receipt gives.
    """

    def __init__(
        self,
        state: str,
        message: str | None = None,
        *,
        problem: Problem | None = None,
        receipt: Receipt | None = None,
        idempotency_key: str | None = None,
    ) -> None:
        self.state = state
        self.receipt = receipt
        self.idempotency_key = idempotency_key
        super().__init__(problem, f"{state}: {message or problem or 'see the receipt'}")


class RequestError(ProblemError):
    """A request has no reply, or one that says that it failed.

    `reply` is the reply that says so. Without one, `state` is `refused` (the server was not asked), `unsent` (it never
    left this program), `no-reply` or `unknown` (the server may have acted on it).
    """

    def __init__(
        self,
        state: str,
        message: str | None = None,
        *,
        problem: Problem | None = None,
        reply: str | bytes | None = None,
    ) -> None:
        self.state = state
        self.reply = reply
        super().__init__(problem, f"{state}: {message or problem or 'see the reply'}")


class SubscriptionError(ProblemError):
    """The daemon did not take a subscription, or this object was closed first."""


def _rebuild(kind: type[ProblemError], args: tuple[Any, ...], members: dict[str, Any]) -> ProblemError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(members)
    return error
