"""An echo peer on Python's `websockets` that compresses: PORT BITS [WORD…], the largest window both ways. Prints `listening PORT`.

Words: `forgetful` keeps no context, whatever it is asked for; `pieces` echoes in fragments with a ping between each two, and pings in the middle of
what it gets. A text `!corrupt` is answered by a frame that is no DEFLATE, `!bomb` by 32 MiB of zeros. It prints `between` for each control frame
that came between two fragments.
"""

import asyncio
import sys
import zlib

from websockets.asyncio.server import ServerConnection, serve
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.frames import Frame, Opcode

BITS, WORDS = int(sys.argv[2]), sys.argv[3:]
FRAGMENTS = (0, 1, 125, 20_000, 1 << 20)


class Connection(ServerConnection):
    is_amid = False

    def process_event(self, event):
        if isinstance(event, Frame):
            if event.opcode in (Opcode.PING, Opcode.PONG):
                if self.is_amid:
                    print("between", flush=True)
            else:
                if "pieces" in WORDS and event.opcode is not Opcode.CONT and not event.fin:
                    self.protocol.send_ping(b"between")
                    self.send_data()
                self.is_amid = not event.fin
        super().process_event(event)


async def pieces(connection, message):
    at = 0
    for size in FRAGMENTS[: 4 if len(message) < FRAGMENTS[-1] else None]:
        yield message[at : at + size]
        at += size
        await connection.ping()
    while at < len(message):
        yield message[at : at + FRAGMENTS[-1]]
        at += FRAGMENTS[-1]
        await connection.ping()


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
        elif "pieces" in WORDS:
            await connection.send(pieces(connection, message))
        else:
            await connection.send(message)


async def main():
    deflate = ServerPerMessageDeflateFactory(
        server_no_context_takeover="forgetful" in WORDS,
        client_no_context_takeover="forgetful" in WORDS,
        server_max_window_bits=BITS,
        client_max_window_bits=BITS,
    )
    serving = serve(
        echo,
        "127.0.0.1",
        int(sys.argv[1]),
        ping_interval=None,
        max_size=32 << 20,
        compression=None,
        extensions=[deflate],
        create_connection=Connection,
    )
    async with serving as server:
        print("listening", server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


asyncio.run(main())
