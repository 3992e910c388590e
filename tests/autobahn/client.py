"""Plays every case of the Autobahn test suite through the daemon: client.py BINARY SERVER API REPORTS, the second and third of which are ports.

A program on a local WebSocket sends back what it gets, so both ends of the daemon take part. Each case is an endpoint of its own: its link
is opened for the case and stays closed after it.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

BINARY, SERVER, API, REPORTS = sys.argv[1:5]
LONGEST = 32 << 20
PATIENCE = 600
PASSED = ("OK", "NON-STRICT", "INFORMATIONAL")


async def case_count():
    async with connect(f"ws://127.0.0.1:{SERVER}/getCaseCount", open_timeout=PATIENCE) as server:
        return int(await server.recv())


def configuration(count):
    sections = [
        f"""
[api]
listen = "127.0.0.1:{API}"
[log]
level = "error"
[limits]
memory = "2GiB"
[defaults]
start = "lazy"
compression = "auto"
compression_context = "both"
outcomes = [{{ match = {{ code = "1000-4999" }}, then = "stay_closed" }}]
inbox = {{ max_bytes = "{LONGEST}B", max_message = "{LONGEST}B" }}
outbox = {{ max_bytes = "{LONGEST}B", max_message = "{LONGEST}B" }}
"""
    ]
    for case in range(1, count + 1):
        sections.append(f'[endpoints.c{case}]\nurl = "ws://127.0.0.1:{SERVER}/runCase?case={case}&agent=wskeeper"\n')
    return "".join(sections)


async def play(case):
    """Sends back what comes until the case ends. A case may end before the program is connected."""
    url = f"ws://127.0.0.1:{API}/v1/endpoints/c{case}/ws?transparent=true&link=0&timeout=2s"
    try:
        async with asyncio.timeout(PATIENCE):
            async with connect(url, max_size=LONGEST, compression=None, ping_interval=None, open_timeout=PATIENCE) as program:
                async for message in program:
                    await program.send(message)
    except (ConnectionClosed, InvalidStatus):
        pass
    except TimeoutError:
        print(f"case {case} in order is not over after {PATIENCE} s: it fails", flush=True)


async def wait_for_api():
    for _ in range(600):
        try:
            (await asyncio.open_connection("127.0.0.1", int(API)))[1].close()
            return
        except OSError:
            await asyncio.sleep(0.1)
    sys.exit("the daemon does not start")


async def main():
    count = await case_count()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "wskeeper.toml")
        path.write_text(configuration(count))
        daemon = subprocess.Popen([BINARY, "run", "--config", path])
        try:
            await wait_for_api()
            for case in range(1, count + 1):
                await play(case)
                if case % 25 == 0 or case == count:
                    print(f"{case} of {count} cases", flush=True)
        finally:
            daemon.terminate()
            daemon.wait()
    async with connect(f"ws://127.0.0.1:{SERVER}/updateReports?agent=wskeeper", open_timeout=PATIENCE) as server:
        async for _ in server:
            pass
    judge(count)


def judge(count):
    cases = json.loads(Path(REPORTS, "index.json").read_text())["wskeeper"]
    passed = 0
    for case, result in sorted(cases.items(), key=lambda item: [int(part) for part in item[0].split(".")]):
        is_passed = result["behavior"] in PASSED and result["behaviorClose"] in PASSED
        passed += is_passed
        if not is_passed:
            print(f"case {case}: {result['behavior']}, closing {result['behaviorClose']}; see {result['reportfile']}")
    words = {word: sum(result["behavior"] == word for result in cases.values()) for word in PASSED}
    print(f"{passed} of {count} passed: " + ", ".join(f"{number} {word}" for word, number in words.items()))
    sys.exit(passed < count)


asyncio.run(main())
