"""Links by Python's `websockets` that compress: what arrives on them goes to local programs, and what those send leaves on a link.

Arguments: the peer's port, the number of links, who keeps a context (none, peer, both), the port to listen on. A program chooses its link by `?link=`.
"""

import asyncio
import sys
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.client import connect
from websockets.asyncio.server import broadcast, serve
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

PEER, LINKS, CONTEXT, PORT = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
# The level is wskeeper's default.
DEFLATE = ClientPerMessageDeflateFactory(
    server_no_context_takeover=CONTEXT == "none",
    client_no_context_takeover=CONTEXT != "both",
    compress_settings={"level": 3},
)


async def main():
    programs, links = set(), []

    async def read(link):
        async for message in link:
            broadcast(programs, message)

    async def take(program):
        link = links[int(parse_qs(urlsplit(program.request.path).query).get("link", ["0"])[0])]
        programs.add(program)
        try:
            async for message in program:
                await link.send(message)
        finally:
            programs.discard(program)

    for _ in range(LINKS):
        url = f"ws://127.0.0.1:{PEER}/"
        links.append(await connect(url, proxy=None, compression=None, extensions=[DEFLATE], ping_interval=None))
    async with serve(take, "127.0.0.1", PORT, compression=None, ping_interval=None):
        await asyncio.gather(*map(read, links))


asyncio.run(main())
