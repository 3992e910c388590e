"""What the daemon says about an endpoint, as far as it matters here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .._errors import ProtocolError


@dataclass(frozen=True)
class Facts:
    """An endpoint now."""

    cursor: int | None
    """The newest of its inbox, or of the stream."""
    longest_frame: int
    """The longest envelope that its local WebSocket takes."""
    is_durable: bool
    """Accepted messages, and their idempotency keys, survive the daemon."""

    @classmethod
    def read(cls, endpoint: Mapping[str, Any], stream: str | None) -> Facts:
        """Reads `GET /v1/endpoints/{name}`."""
        try:
            outbox, cursor = endpoint["config"]["outbox"], endpoint["totals"]["inboxCursor"]
            if stream is not None:
                cursor = next((one["cursor"] for one in endpoint["streams"] if one["name"] == stream), None)
            # Twice the message and 4 KiB: docs/memory.md.
            return cls(cursor, 2 * int(outbox["maxMessageBytes"]) + 4096, outbox["durability"] == "disk")
        except (KeyError, TypeError, ValueError) as error:
            raise ProtocolError(f"the daemon shows an endpoint that is not understood: {error!r}") from error
