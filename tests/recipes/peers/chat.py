"""A chat that knows users by their tokens: PORT. `/v1/anna` is for whoever brings `Bearer token-of-anna`. What a user sends comes back with the name."""

import asyncio
import http
import sys

from websockets.asyncio.server import serve


def known(connection, request):
    user = request.path.rsplit("/", 1)[1]
    if request.headers.get("Authorization") != f"Bearer token-of-{user}":
        return connection.respond(http.HTTPStatus.UNAUTHORIZED, "this token is not known\n")
    connection.user = user


async def serve_one(connection):
    async for text in connection:
        await connection.send(f"{connection.user} said {text}")


async def main():
    async with serve(serve_one, "127.0.0.1", int(sys.argv[1]), process_request=known) as server:
        await server.serve_forever()


asyncio.run(main())
