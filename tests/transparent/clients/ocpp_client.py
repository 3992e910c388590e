"""A charge point, as the package `ocpp` has it over `websockets`, which connects again by itself: PORT."""

import asyncio
import sys

import websockets
from ocpp.v16 import ChargePoint, call

URL = f"ws://127.0.0.1:{sys.argv[1]}/v1/endpoints/e/ws?transparent=true"


async def main():
    async for connection in websockets.connect(URL, subprotocols=["ocpp1.6"]):
        point = ChargePoint("CP-1", connection)
        listening = asyncio.create_task(point.start())
        try:
            answer = await point.call(call.BootNotification(charge_point_model="One", charge_point_vendor="Maker"))
            print("connected", connection.subprotocol, answer.status, flush=True)
            while True:
                answer = await point.call(call.Heartbeat())
                print("heard", answer.current_time, flush=True)
                await asyncio.sleep(0.1)
        except websockets.ConnectionClosed as closed:
            print("closed", closed, flush=True)
        finally:
            listening.cancel()


asyncio.run(main())
