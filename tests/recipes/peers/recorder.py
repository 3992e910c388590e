"""A server that writes each message that it gets as a line of the file `heard`, and answers {"id": …} by {"ack": …}: PORT DELAY, the seconds that
each message takes."""

import asyncio
import json
import sys

from websockets.asyncio.server import serve


async def serve_one(connection):
    async for text in connection:
        await asyncio.sleep(float(sys.argv[2]))
        with open("heard", "a") as heard:
            heard.write(text + "\n")
        message = json.loads(text)
        if "id" in message:
            await connection.send(json.dumps({"ack": message["id"]}))


async def main():
    async with serve(serve_one, "127.0.0.1", int(sys.argv[1])) as server:
        await server.serve_forever()


asyncio.run(main())
