"""Discord as far as the recipe needs it: PORT REST. On PORT is the gateway, where each new session and each resumed one gets two messages, numbered on; on
REST messages are posted, which are lines of the file `heard`, once for a nonce."""

import asyncio
import itertools
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from websockets.asyncio.server import serve

PORT, REST = int(sys.argv[1]), int(sys.argv[2])
numbers, sequence, nonces = itertools.count(1), itertools.count(1), set()


class Api(BaseHTTPRequestHandler):
    def do_POST(self):
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        is_known = self.headers["authorization"] == "Bot right"
        if is_known and message["nonce"] not in nonces:
            nonces.add(message["nonce"])
            with open("heard", "a") as heard:
                heard.write(f"{self.path} {message['content']}\n")
        self.send_response(200 if is_known else 401)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")


async def serve_one(connection):
    async def say(**message):
        await connection.send(json.dumps(message))

    await say(op=10, d={"heartbeat_interval": 1000})
    async for text in connection:
        message = json.loads(text)
        if message["op"] == 1:
            await say(op=11)
            continue
        if message["op"] == 2 and message["d"]["token"] == "right":
            resume = f"ws://127.0.0.1:{PORT}/"
            await say(op=0, t="READY", s=next(sequence), d={"session_id": "abc", "resume_gateway_url": resume, "user": {"id": "1"}})
        elif message["op"] == 6 and message["d"]["session_id"] == "abc":
            with open("heard", "a") as heard:
                heard.write("resumed\n")
            await say(op=0, t="RESUMED", s=next(sequence), d={})
        else:
            await connection.close(4004, "Authentication failed.")
        for _ in range(2):
            number = next(numbers)
            d = {"id": f"m{number}", "channel_id": "7", "content": f"!echo {number}", "author": {"id": "2"}}
            await say(op=0, t="MESSAGE_CREATE", s=next(sequence), d=d)


async def main():
    threading.Thread(target=ThreadingHTTPServer(("127.0.0.1", REST), Api).serve_forever, daemon=True).start()
    async with serve(serve_one, "127.0.0.1", PORT) as server:
        await server.serve_forever()


asyncio.run(main())
