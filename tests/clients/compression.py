"""A client of the local WebSocket that compresses. Arguments: the API's socket, the window's bits both ways (0: as it is), a subprotocol or
nothing. All that it sends comes back from the endpoint's peer; it prints what was agreed on."""

import asyncio
import json
import random
import sys

from websockets.asyncio.client import unix_connect
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

SOCKET, BITS, PROTOCOL = sys.argv[1], int(sys.argv[2]), sys.argv[3]
SIZES = [0, 1, 255, 256, 16_384, 31_744, 31_745, 100_001, 1 << 20, 16 << 20]
WORDS = '{"price":12.5,"size":7,"side":"sell"} €'


def offered():
    bits = {"server_max_window_bits": BITS, "client_max_window_bits": BITS} if BITS else {"client_max_window_bits": True}
    return [ClientPerMessageDeflateFactory(**bits)]


def text(size):
    """Of so many bytes, or as many as make whole characters."""
    return (WORDS.encode() * (1 + size // len(WORDS)))[:size].decode(errors="ignore")


def said():
    for size in SIZES:
        yield text(size)
        yield random.Random(size).randbytes(size)


async def plain(ws):
    for message in said():
        await ws.send(message)
        assert await ws.recv() == message, len(message)
    # In fragments, with pings between them.
    parts = [WORDS * count for count in (1, 0, 3000)]

    async def fragments():
        for part in parts:
            await (await ws.ping())
            yield part

    await ws.send(fragments())
    assert await ws.recv() == "".join(parts)


async def enveloped(ws):
    for size in SIZES[:-1]:
        data = text(size)
        await ws.send(json.dumps({"type": "send", "data": data, "ref": size}))
        arrived, accepted = False, False
        while not (arrived and accepted):
            told = json.loads(await ws.recv())
            if told["type"] == "message":
                assert told["data"] == data
                arrived = True
            elif told["type"] == "receipt":
                assert told["ref"] == size
                accepted = True


async def main():
    url = "ws://localhost/v1/endpoints/e/ws?types=message"
    subprotocols = [PROTOCOL] if PROTOCOL else None
    connecting = unix_connect(
        SOCKET, url, subprotocols=subprotocols, compression=None, extensions=offered(), max_size=None, ping_interval=None
    )
    async with connecting as ws:
        await (enveloped if PROTOCOL else plain)(ws)
        print(ws.response.headers.get("Sec-WebSocket-Extensions", ""))


asyncio.run(main())
