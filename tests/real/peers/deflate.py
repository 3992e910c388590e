"""An echo peer on Python's `websockets` that compresses: PORT BITS, the largest window both ways. Prints `listening PORT`. A text `!corrupt`
is answered by a frame that is no DEFLATE, `!bomb` by 32 MiB of zeros."""

import asyncio
import sys
import zlib

from websockets.asyncio.server import serve
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory

BITS = int(sys.argv[2])


def raw(connection, payload):
    size = len(payload)
    head = bytes([0xC2, size]) if size < 126 else bytes([0xC2, 126]) + size.to_bytes(2, "big")
    connection.transport.write(head + payload)


def bomb():
    compressor = zlib.compressobj(wbits=-15, level=9)
    return (compressor.compress(bytes(32 << 20)) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


async def echo(connection):
    async for message in connection:
        if message == "!corrupt":
            raw(connection, b"\xff" * 9)
        elif message == "!bomb":
            raw(connection, bomb())
        else:
            await connection.send(message)


async def main():
    deflate = ServerPerMessageDeflateFactory(server_max_window_bits=BITS, client_max_window_bits=BITS)
    serving = serve(
        echo, "127.0.0.1", int(sys.argv[1]), ping_interval=None, max_size=32 << 20, compression=None, extensions=[deflate]
    )
    async with serving as server:
        print("listening", server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


asyncio.run(main())
