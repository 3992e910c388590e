"""Connections to the daemon: the local WebSocket, and a `GET`.

What a reader would get wrong: the client sends no pings. The daemon answers them late while it waits for room in an
outbox, and a program that reads slowly would not see the answer. A dead host is found by TCP.
"""

from __future__ import annotations

import asyncio
import socket
import ssl as tls
from typing import Any

from websockets.asyncio.client import ClientConnection, connect, unix_connect
from websockets.exceptions import InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from . import _http
from ._address import Address
from ._errors import ProblemError, ProtocolError
from ._within import within

ENVELOPE = Subprotocol("wskeeper.v1.json")
PATIENCE = 10.0
"""Seconds for a handshake, or for an answer."""

AHEAD = 4
"""Frames that the library reads ahead."""

KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}


async def dial(
    address: Address, endpoint: str, query: list[tuple[str, str]], ssl: tls.SSLContext | None
) -> ClientConnection:
    """Opens the local WebSocket of an endpoint."""
    options: dict[str, Any] = {
        "subprotocols": [ENVELOPE],
        "additional_headers": address.headers(),
        "compression": None,
        "max_size": None,
        "max_queue": AHEAD,
        "ping_interval": None,
        "open_timeout": PATIENCE,
        "close_timeout": 1,
    }
    if address.is_secure and ssl is not None:
        options["ssl"] = ssl
    uri = address.websocket(endpoint, query)
    try:
        if address.path is not None:
            connection = await unix_connect(address.path, uri, **options)
        else:
            connection = await connect(uri, proxy=None, **options)
    except InvalidStatus as error:
        raise ProblemError(_http.read_problem(error.response.status_code, error.response.body)) from error
    except InvalidHandshake as error:
        raise ProtocolError(f"{address} answers as no wskeeper does: {error}") from error
    if connection.subprotocol != ENVELOPE:
        await connection.close()
        raise ProtocolError(f"{address} does not speak {ENVELOPE}")
    _watch(connection)
    return connection


def _watch(connection: ClientConnection) -> None:
    """Has TCP find out whether the host is still there."""
    found = connection.transport.get_extra_info("socket")
    if found is None or found.family not in (socket.AF_INET, socket.AF_INET6):
        return
    found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEPALIVE.items():
        option = getattr(socket, name, None)
        if option is not None:
            found.setsockopt(socket.IPPROTO_TCP, option, value)


async def get(address: Address, ssl: tls.SSLContext | None, *segments: str) -> dict[str, Any]:
    """Asks for JSON."""
    return _http.answer(await within(_exchange(address, ssl, _http.request(address, *segments)), PATIENCE))


async def _exchange(address: Address, ssl: tls.SSLContext | None, request: bytes) -> bytes:
    if address.path is not None:
        reader, writer = await asyncio.open_unix_connection(address.path)
    else:
        secure = (ssl or tls.create_default_context()) if address.is_secure else None
        reader, writer = await asyncio.open_connection(address.host, address.port, ssl=secure)
    try:
        writer.write(request)
        await writer.drain()
        answer = bytearray()
        while piece := await reader.read(1 << 16):
            answer += piece
            if len(answer) > _http.LONGEST:
                raise ProtocolError(f"{address} answers with more than {_http.LONGEST} bytes")
        return bytes(answer)
    finally:
        writer.close()
