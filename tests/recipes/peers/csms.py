"""A central system of OCPP 1.6 by the package `ocpp`: PORT. It accepts each charge point that boots, starts a transaction from remote soon after, and
writes what it hears to the file `heard`."""

import asyncio
import sys
from datetime import UTC, datetime

from ocpp.routing import on
from ocpp.v16 import ChargePoint, call, call_result
from websockets.asyncio.server import serve


def now():
    return datetime.now(UTC).isoformat()


class Point(ChargePoint):
    async def route_message(self, raw):
        with open("heard", "a") as heard:
            heard.write(raw + "\n")
        await super().route_message(raw)

    @on("BootNotification")
    def boot(self, **_):
        asyncio.get_running_loop().create_task(self.begin())
        return call_result.BootNotification(now(), 1, "Accepted")

    @on("Heartbeat")
    def beat(self):
        return call_result.Heartbeat(now())

    @on("MeterValues")
    def meter(self, **_):
        return call_result.MeterValues()

    @on("StatusNotification")
    def status(self, **_):
        return call_result.StatusNotification()

    async def begin(self):
        answer = await self.call(call.RemoteStartTransaction(id_tag="card-1", connector_id=1))
        with open("heard", "a") as heard:
            heard.write(f"the charge point says {answer.status}\n")


async def main():
    async with serve(
        lambda connection: Point("CP-0001", connection).start(), "127.0.0.1", int(sys.argv[1]), subprotocols=["ocpp1.6"]
    ) as server:
        await server.serve_forever()


asyncio.run(main())
