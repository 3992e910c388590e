"""Slack's Socket Mode as far as the recipe needs it: PORT GATEWAY. On PORT it gives out a URL for each connection, and takes answers at `/respond`,
whose texts are lines of the file `heard`; on GATEWAY each connection gets three slash commands, numbered on, and acknowledges them."""

import asyncio
import itertools
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from websockets.asyncio.server import serve

PORT, GATEWAY = int(sys.argv[1]), int(sys.argv[2])
numbers = itertools.count(1)


def note(line):
    with open("heard", "a") as heard:
        heard.write(line + "\n")


class Api(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        answer = {"ok": True}
        if self.path == "/respond":
            note("answered " + json.loads(body)["text"])
        elif self.headers["authorization"] == "Bearer xapp-right":
            answer["url"] = f"ws://127.0.0.1:{GATEWAY}/link/?ticket=1"
        else:
            answer = {"ok": False, "error": "invalid_auth"}
        text = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


async def serve_one(connection):
    await connection.send(json.dumps({"type": "hello", "num_connections": 1}))
    for _ in range(3):
        number = next(numbers)
        payload = {"command": "/status", "text": f"{number}", "response_url": f"http://127.0.0.1:{PORT}/respond"}
        await connection.send(json.dumps({"envelope_id": f"e-{number}", "type": "slash_commands", "payload": payload}))
        acknowledged = json.loads(await connection.recv())["envelope_id"]
        note(f"acknowledged {acknowledged}")
    await connection.wait_closed()


async def main():
    threading.Thread(target=ThreadingHTTPServer(("127.0.0.1", PORT), Api).serve_forever, daemon=True).start()
    async with serve(serve_one, "127.0.0.1", GATEWAY) as server:
        await server.serve_forever()


asyncio.run(main())
