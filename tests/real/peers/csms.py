"""A central system of OCPP 1.6 (v16) or 2.0.1 (v201), as the package `ocpp` has it: PORT VERSION. It wants the user CP-1 with the password
"right", and a charge point of the model One; it tells each message that it hears on stdout."""

import asyncio
import base64
import http
import importlib
import sys
from datetime import UTC, datetime

from ocpp.routing import on
from websockets.asyncio.server import serve

VERSION = sys.argv[2]
KNOWN = "Basic " + base64.b64encode(b"CP-1:right").decode()
ocpp = importlib.import_module("ocpp." + VERSION)
answers = importlib.import_module(f"ocpp.{VERSION}.call_result")


def now():
    return datetime.now(UTC).isoformat()


class Point(ocpp.ChargePoint):
    async def route_message(self, raw):
        print("heard", raw, flush=True)
        await super().route_message(raw)

    @on("BootNotification")
    def boot(self, charge_point_model=None, charging_station=None, **_):
        model = charge_point_model or charging_station["model"]
        return answers.BootNotification(now(), 1, "Accepted" if model == "One" else "Rejected")

    @on("Heartbeat")
    def beat(self):
        return answers.Heartbeat(now())

    @on("DataTransfer")
    def data(self, vendor_id, **_):
        return answers.DataTransfer("Accepted", data=vendor_id)


def known(connection, request):
    if request.headers.get("Authorization") != KNOWN:
        return connection.respond(http.HTTPStatus.UNAUTHORIZED, "this charge point is not known\n")


async def main():
    protocols = [{"v16": "ocpp1.6", "v201": "ocpp2.0.1"}[VERSION]]
    serving = serve(
        lambda connection: Point("CP-1", connection).start(),
        "127.0.0.1",
        int(sys.argv[1]),
        subprotocols=protocols,
        process_request=known,
    )
    async with serving as server:
        await server.serve_forever()


asyncio.run(main())
