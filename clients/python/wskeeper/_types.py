"""What the daemon tells, as Python objects.

The names are those of the API, in snake case. Keys that a later daemon adds are left out.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Union

Data = Union[str, bytes]
"""A message: `str` is a text frame, `bytes` a binary one."""

Wait = Literal["queued", "stored", "written", "confirmed"]
"""The state in which a send is answered."""

REACHED: dict[str, int] = {"queued": 0, "stored": 1, "written": 2, "confirmed": 3}
"""The states of a receipt that follow each other."""

ENDS = frozenset({"confirmed", "unknown", "expired", "dropped", "dead"})
"""The states that a receipt never leaves."""

PROBLEM = "urn:wskeeper:problem:"
"""Before the name of a problem in its type."""


@dataclass(frozen=True)
class Problem:
    """Why the daemon did not do something (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    more: Mapping[str, Any] = field(default_factory=dict)
    """Further members, as the daemon gives them."""

    @classmethod
    def read(cls, json: Any) -> Problem:
        """Reads a problem document. What is missing is left empty."""
        members: dict[str, Any] = dict(json) if isinstance(json, dict) else {}
        status = members.pop("status", 0)
        return cls(
            type=str(members.pop("type", "about:blank")),
            title=str(members.pop("title", "")),
            status=status if isinstance(status, int) else 0,
            detail=str(members.pop("detail", "")),
            more=members,
        )

    @classmethod
    def local(cls, name: str, title: str, status: int, detail: str) -> Problem:
        """A problem that the client finds before the daemon does."""
        return cls(type=PROBLEM + name, title=title, status=status, detail=detail)

    @property
    def name(self) -> str:
        """The last part of `type`, such as `outbox-full`."""
        return self.type.removeprefix(PROBLEM)

    @property
    def receipt(self) -> Receipt | None:
        """What became of the message, if one was accepted."""
        found = self.more.get("receipt")
        return Receipt.read(found) if isinstance(found, dict) else None

    def __str__(self) -> str:
        return f"{self.title or self.name} ({self.status}): {self.detail}"


@dataclass(frozen=True)
class Receipt:
    """What became of an accepted message."""

    id: str
    endpoint: str
    link: int
    state: str
    """`queued`, `stored`, `written`, `confirmed`, `unknown`, `expired`, `dropped` or `dead`."""
    bytes: int
    accepted_at: str
    updated_at: str
    generation: int | None = None
    reason: str | None = None

    @classmethod
    def read(cls, json: Mapping[str, Any]) -> Receipt:
        """Reads a receipt of the API."""
        return cls(
            id=json["id"],
            endpoint=json["endpoint"],
            link=json["link"],
            state=json["state"],
            bytes=json["bytes"],
            accepted_at=json["acceptedAt"],
            updated_at=json["updatedAt"],
            generation=json.get("generation"),
            reason=json.get("reason"),
        )

    def reached(self, state: str) -> bool:
        """Whether it is in this state or a further one."""
        return REACHED.get(self.state, -1) >= REACHED[state]

    @property
    def is_end(self) -> bool:
        """Whether it stays in this state for ever."""
        return self.state in ENDS


@dataclass(frozen=True)
class Subscription:
    """A key that a link asks its server for."""

    key: str
    state: str
    """`pending`, `active` or `refused`."""
    link: int | None = None
    why: str | None = None

    @classmethod
    def read(cls, json: Mapping[str, Any]) -> Subscription:
        """Reads a subscription of the API."""
        return cls(key=json["key"], state=json["state"], link=json.get("link"), why=json.get("why"))


@dataclass(frozen=True)
class Message:
    """A message of the remote server."""

    data: Data
    cursor: int
    link: int
    generation: int
    at: str


@dataclass(frozen=True)
class Gap:
    """What this program did not get.

    `lag`: it was too slow or away too long, and `missed` says how many entries it lost. `restart`: the daemon
    restarted, and nobody knows how many. `link`: the link was down from `from_` until `to`, which are times.
    """

    kind: str
    cursor: int
    missed: int | None = None
    from_: int | str | None = None
    to: int | str | None = None
    link: int | None = None
    generation: int | None = None
    at: str | None = None


@dataclass(frozen=True)
class LinkEvent:
    """Something about a link: `kind` is `open`, `close`, `error` or `phase`."""

    kind: str
    cursor: int
    link: int | None = None
    generation: int | None = None
    at: str | None = None
    protocol: str | None = None
    extensions: str | None = None
    code: int | None = None
    reason: str | None = None
    was_clean: bool | None = None
    cause: str | None = None
    label: str | None = None
    detail: str | None = None
    phase: str | None = None
    phase_reason: str | None = None


Event = Union[Message, Gap, LinkEvent]
"""What `events()` gives."""

_LINK_EVENTS = frozenset({"open", "close", "error", "phase"})


def decode(text: str, is_binary: bool) -> Data:
    """The data of an envelope."""
    return base64.b64decode(text) if is_binary else text


def read_event(json: Mapping[str, Any]) -> Event | None:
    """Reads an event of the envelope. `None`: it is of a type that this client does not know."""
    kind, cursor = json["type"], json["cursor"]
    if kind == "message":
        data = decode(json["data"], json.get("binary", False))
        return Message(data, cursor, json["link"], json["generation"], json["at"])
    common = {"cursor": cursor, "link": json.get("link"), "generation": json.get("generation"), "at": json.get("at")}
    if kind == "gap":
        return Gap(json["kind"], missed=json.get("missed"), from_=json.get("from"), to=json.get("to"), **common)
    if kind not in _LINK_EVENTS:
        return None
    return LinkEvent(
        kind,
        protocol=json.get("protocol"),
        extensions=json.get("extensions"),
        code=json.get("code"),
        reason=json.get("reason"),
        was_clean=json.get("wasClean"),
        cause=json.get("cause"),
        label=json.get("label"),
        detail=json.get("detail"),
        phase=json.get("phase"),
        phase_reason=json.get("phaseReason"),
        **common,
    )
