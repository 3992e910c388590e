"""Binance's market streams as far as the recipes need them: PORT EACH. Trades of the streams that are asked for come in turn, numbered on over all
connections, EACH of them on a connection, some milliseconds apart; then it is silent."""

import asyncio
import itertools
import json
import sys

from websockets.asyncio.server import serve

EACH = int(sys.argv[2])
numbers = itertools.count(1)


async def trades(connection, streams):
    while not streams:
        await asyncio.sleep(0.002)
    for turn in range(EACH):
        stream = streams[turn % len(streams)]
        number = next(numbers)
        trade = {"e": "trade", "E": 1672515782136, "s": stream.split("@")[0].upper(), "t": number, "p": f"{number}.5", "q": "0.25"}
        await connection.send(json.dumps({"stream": stream, "data": trade}))
        await asyncio.sleep(0.002)


async def serve_one(connection):
    streams = []
    sending = asyncio.create_task(trades(connection, streams))
    async for text in connection:
        asked = json.loads(text)
        if asked["method"] == "SUBSCRIBE":
            streams += asked["params"]
        await connection.send(json.dumps({"result": None, "id": asked["id"]}))
    sending.cancel()


async def main():
    async with serve(serve_one, "127.0.0.1", int(sys.argv[1])) as server:
        await server.serve_forever()


asyncio.run(main())
