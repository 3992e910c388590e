"""An echo peer on Python's `websockets`, which does on command what real servers do to their clients.

Usage: peer.py PORT. Prints `listening PORT`. Echoes text as text and binary as binary; text that begins with `!` is a command:
`!close CODE REASON`, `!rst` (TCP reset), `!ping` (pings and answers `pong MILLISECONDS`), `!big BYTES PIECE` (sends so much binary
data 0, 1, … 250, 0, … as one message, in fragments of PIECE bytes where that is not 0), `!pace SECONDS` (messages and pings at a
steady pace for so long, and in the end a report on the pongs). Path `/refuse/STATUS/TIMES` refuses that many upgrades,
`/refuse/STATUS/TIMES/SECONDS` with Retry-After; then it is a plain echo again. It never pings unless told to.

SIGTERM ends it in order: Close 1001 to everyone.
"""

import asyncio
import http
import json
import signal
import socket
import struct
import sys
import time

from websockets.asyncio.server import serve

refused = {}


def refuse(connection, request):
    parts = request.path.split("?")[0].strip("/").split("/")
    if parts[0] != "refuse":
        return None
    count = refused.get(request.path, 0)
    if count >= int(parts[2]):
        return None
    refused[request.path] = count + 1
    response = connection.respond(http.HTTPStatus(int(parts[1])), "not now\n")
    if len(parts) > 3:
        response.headers["Retry-After"] = parts[3]
    return response


async def pace(connection, seconds):
    """A message of 8 KiB each 20 ms and a ping each tenth; the report says how many pings were ever unanswered at once."""
    pongs, most, number = [], 0, 0
    for number in range(int(seconds * 50)):
        await connection.send(f"{number:08192d}")
        if number % 10 == 0:
            pongs.append(await connection.ping(f"ping {number}"))
            most = max(most, sum(not pong.done() for pong in pongs))
        await asyncio.sleep(0.02)
    await asyncio.gather(*pongs)
    await connection.send(json.dumps({"messages": number + 1, "pings": len(pongs), "unanswered": most}))


async def command(connection, words):
    if words[0] == "!close":
        await connection.close(int(words[1]), " ".join(words[2:]))
    elif words[0] == "!rst":
        raw = connection.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.transport.abort()
    elif words[0] == "!ping":
        begin = time.monotonic()
        await (await connection.ping())
        await connection.send(f"pong {(time.monotonic() - begin) * 1000:.0f}")
    elif words[0] == "!pace":
        await pace(connection, float(words[1]))
    elif words[0] == "!big":
        size, piece = int(words[1]), int(words[2])
        data = (bytes(range(251)) * (size // 251 + 1))[:size]
        await connection.send([data[at : at + piece] for at in range(0, size, piece)] if piece else data)


async def echo(connection):
    async for message in connection:
        if isinstance(message, str) and message.startswith("!"):
            # Not awaited: the pong is read by the loop that would wait for it.
            asyncio.ensure_future(command(connection, message.split(" ")))
        else:
            await connection.send(message)


async def main():
    port = int(sys.argv[1])
    async with serve(
        echo, "127.0.0.1", port, process_request=refuse, ping_interval=None, max_size=4 << 20, compression=None
    ) as server:
        print("listening", server.sockets[0].getsockname()[1], flush=True)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, server.close)
        await server.wait_closed()


asyncio.run(main())
