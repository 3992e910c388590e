"""The README's example over the API's unix socket. Arguments: the socket, and a subprotocol or nothing. Tells how it ended."""

import asyncio
import json
import sys

from websockets.asyncio.client import unix_connect

SOCKET, PROTOCOL = sys.argv[1:]


async def main():
    url = "ws://localhost/v1/endpoints/e/ws?types=message"
    async with unix_connect(SOCKET, url, subprotocols=[PROTOCOL] if PROTOCOL else None) as ws:
        await ws.send(json.dumps({"type": "send", "data": "hello"}) if PROTOCOL else "hello")
        async for message in ws:
            if "hello" in message:
                break
    print(ws.close_code, ws.protocol.close_rcvd.code)


asyncio.run(main())
