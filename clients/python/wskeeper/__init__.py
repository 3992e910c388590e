"""A WebSocket that stays open: the client of wskeeper for Python.

`KeptWebSocket` is for asyncio, `wskeeper.sync.KeptWebSocket` for threads. Both hold an endpoint of the wskeeper
daemon on this machine.
"""

from ._client import KeptWebSocket
from ._cursor import CursorStore, FileCursor
from ._errors import (
    BufferFull,
    Closed,
    ProblemError,
    ProtocolError,
    ReceiptError,
    RequestError,
    SubscriptionError,
    Unreachable,
    WskeeperError,
)
from ._types import Data, Event, Gap, LinkEvent, Message, Problem, Receipt, Subscription, Wait

__all__ = [
    "BufferFull",
    "Closed",
    "CursorStore",
    "Data",
    "Event",
    "FileCursor",
    "Gap",
    "KeptWebSocket",
    "LinkEvent",
    "Message",
    "Problem",
    "ProblemError",
    "ProtocolError",
    "Receipt",
    "ReceiptError",
    "RequestError",
    "Subscription",
    "SubscriptionError",
    "Unreachable",
    "Wait",
    "WskeeperError",
]

__version__ = "0.1.0"
