"""Home Assistant's WebSocket API as far as the recipe needs it: PORT. The door opens soon after somebody subscribes, on every connection. Services
that are called are lines of the file `heard`."""

import asyncio
import json
import sys

from websockets.asyncio.server import serve


async def serve_one(connection):
    async def say(**message):
        await connection.send(json.dumps(message))

    await say(type="auth_required", ha_version="2026.11.1")
    last = 0
    async for text in connection:
        message = json.loads(text)
        if message["type"] == "auth":
            is_right = message["access_token"] == "right"
            await say(**({"type": "auth_ok"} if is_right else {"type": "auth_invalid", "message": "Invalid access token"}))
            continue
        identifier, result = message["id"], None
        if identifier <= last:
            await say(id=identifier, type="result", success=False, error={"code": "id_reuse"})
            continue
        last = identifier
        if message["type"] == "get_states":
            result = [{"entity_id": "binary_sensor.door", "state": "off"}, {"entity_id": "light.hall", "state": "off"}]
        if message["type"] == "call_service":
            with open("heard", "a") as heard:
                heard.write(f"{message['domain']}.{message['service']} {message['target']['entity_id']}\n")
        await say(id=identifier, type="result", success=True, result=result)
        if message["type"] == "subscribe_events":
            await asyncio.sleep(0.3)
            data = {"entity_id": "binary_sensor.door", "new_state": {"state": "on"}, "old_state": {"state": "off"}}
            await say(id=identifier, type="event", event={"event_type": "state_changed", "data": data})


async def main():
    async with serve(serve_one, "127.0.0.1", int(sys.argv[1])) as server:
        await server.serve_forever()


asyncio.run(main())
