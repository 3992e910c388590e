"""What programs do to a client: they cancel, fork, share it among threads, press Ctrl-C and close it while it works."""

from __future__ import annotations

import ast
import asyncio
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import contextmanager
from pathlib import Path

import pytest
from world import PATIENCE, Daemon, Echo, Feed, until

from wskeeper import BufferFull, Closed, KeptWebSocket, Message, ReceiptError, WskeeperError, sync
from wskeeper.sync import KeptWebSocket as SyncKeptWebSocket

Own = Callable[..., Daemon]


def run(work: Callable[[], object]) -> None:
    """Runs a coroutine, and finds out whether it leaves tasks behind."""

    async def whole() -> None:
        await asyncio.wait_for(work(), PATIENCE)  # type: ignore[arg-type]
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, left

    asyncio.run(whole())


def test_a_cancelled_recv_loses_nothing(own: Own, feed: Callable[[int], Feed]) -> None:
    peer = feed(2000)
    daemon = own(f'[endpoints.e]\nurl = "{peer.url}"\ninbox.max_messages = 5000\n')

    async def work() -> None:
        chance = random.Random(7)
        seen: list[int] = []

        async with KeptWebSocket("e", api=daemon.api, from_="oldest", max_queue=3) as ws:

            async def read() -> None:
                seen.append(int(str(await ws.recv())))

            while len(seen) < 2000:
                task = asyncio.ensure_future(read())
                for _ in range(chance.randrange(4)):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait([task])
        assert seen == list(range(2000))

    run(work)


@pytest.mark.parametrize("steps", range(0, 60, 3))
def test_a_program_may_be_cancelled_at_any_await(daemon: Daemon, steps: int) -> None:
    async def program() -> None:
        async with KeptWebSocket("echo", api=daemon.api, close_timeout=1) as ws:
            for number in range(5):
                await ws.send(str(number), wait="written")
            async for message in ws:
                if message == "4":
                    return

    async def work() -> None:
        task = asyncio.ensure_future(program())
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])

    run(work)


def test_a_cancelled_send_is_withdrawn_if_it_did_not_leave(own: Own, feed: Callable[[int], Feed]) -> None:
    peer = feed(0)
    daemon = own(f'[endpoints.e]\nurl = "{peer.url}"\nreconnect.first = "20ms"\n')

    async def work() -> None:
        async with KeptWebSocket("e", api=daemon.api) as ws:
            await ws.send("first")
            daemon.kill()
            sends = [ws.send(str(number)) for number in range(10)]
            for send in sends[::2]:
                send.cancel()
            await asyncio.to_thread(daemon.start)
            ends = await asyncio.gather(*sends, return_exceptions=True)
            await ws.send("last", wait="confirmed")
            # One at most was on its way when the daemon was killed.
            assert [isinstance(end, asyncio.CancelledError) for end in ends] == [True, False] * 5
        assert not set(peer.got) & {"0", "2", "4", "6", "8"}

    run(work)


def test_a_full_buffer_is_told_and_drained(daemon: Daemon) -> None:
    async def work() -> None:
        async with KeptWebSocket("echo", api=daemon.api, max_sends=3, max_send_bytes=100) as ws:
            sends = [ws.send("x") for _ in range(3)]
            with pytest.raises(BufferFull):
                ws.send("x")
            await ws.drain()
            sends.append(ws.send("x" * 1000))
            with pytest.raises(BufferFull):
                ws.send("x")
            assert len(await asyncio.gather(*sends)) == 4
            assert ws.buffered_amount == 0

    run(work)


def test_close_while_others_read_and_send(daemon: Daemon) -> None:
    async def work() -> None:
        ws = KeptWebSocket("echo", api=daemon.api)
        await ws.open()
        readers = [asyncio.ensure_future(ws.recv()) for _ in range(3)]
        sends = [ws.send("x" * 100_000) for _ in range(100)]
        await asyncio.sleep(0)
        await asyncio.gather(ws.close(0), ws.close(0))
        for end in await asyncio.gather(*sends, return_exceptions=True):
            assert not isinstance(end, BaseException) or isinstance(end, ReceiptError)
        ends = await asyncio.gather(*readers, return_exceptions=True)
        assert all(isinstance(end, (str, Closed)) for end in ends)
        with pytest.raises(WskeeperError):
            ws.send("x")

    run(work)


def test_threads_share_an_object(daemon: Daemon) -> None:
    seen: list[str] = []
    each, threads = 300, 4
    with SyncKeptWebSocket("echo", api=daemon.api, max_sends=20) as ws:

        def send(name: int) -> None:
            for number in range(each):
                ws.send(f"{name}:{number}")

        def read() -> None:
            while len(seen) < each * threads:
                try:
                    seen.append(str(ws.recv(0.2)))
                except TimeoutError:
                    continue

        crowd = [threading.Thread(target=send, args=(name,)) for name in range(threads)]
        crowd += [threading.Thread(target=read) for _ in range(threads)]
        for one in crowd:
            one.start()
        for one in crowd:
            one.join(PATIENCE)
        assert Counter(seen) == Counter(f"{name}:{number}" for name in range(threads) for number in range(each))
        until(lambda: not ws.buffered_amount)


def test_a_slow_program_holds_few_large_messages(own: Own, echo: Echo) -> None:
    room = 'inbox = { max_bytes = "64MiB" }\noutbox = { max_bytes = "64MiB" }\n'
    daemon = own(f'[endpoints.e]\nurl = "{echo.url}"\n{room}')
    held: list[int] = []
    text, count = "x" * (1 << 18), 60
    with SyncKeptWebSocket("e", api=daemon.api, from_="oldest", max_send_bytes=1 << 26) as ws:
        give = ws._give

        def watched() -> None:
            give()
            held.append(sum(len(event.data) for event, _ in ws._ready if isinstance(event, Message)))

        ws._give = watched  # type: ignore[method-assign]
        for number in range(count):
            ws.send(f"{number} {text}")
        assert ws.recv(PATIENCE) == f"0 {text}"
        until(lambda: max(held) >= sync.AHEAD_SIZE)
        for number in range(1, count):
            assert ws.recv(PATIENCE) == f"{number} {text}"
    assert max(held) <= sync.AHEAD_SIZE + len(text) + 10


def test_close_in_another_thread_ends_all_waits(own: Own) -> None:
    daemon = own('[endpoints.e]\nurl = "ws://127.0.0.1:9/"\n')
    ws = SyncKeptWebSocket("e", api=daemon.api, max_sends=1)
    ws.open()
    daemon.stop()
    ends: list[object] = []

    def wait(call: Callable[[], object]) -> None:
        try:
            ends.append(call())
        except WskeeperError as error:
            ends.append(error)

    first = ws.send("x")
    calls: list[Callable[[], object]] = [ws.recv, lambda: ws.send("y"), lambda: list(ws), ws.drain, first.result]
    crowd = [threading.Thread(target=wait, args=(call,), daemon=True) for call in calls]
    for one in crowd:
        one.start()
    ws.close(0.1)
    for one in crowd:
        one.join(PATIENCE)
        assert not one.is_alive()
    assert len(ends) == len(calls)


@contextmanager
def held(lock: threading.RLock) -> Iterator[None]:
    """Another thread has the lock, as that of the connections may at the moment of a fork."""
    has, give = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            has.set()
            give.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    has.wait()
    try:
        yield
    finally:
        give.set()
        holder.join()


def test_a_fork_has_no_part_in_it(daemon: Daemon) -> None:
    with SyncKeptWebSocket("echo", api=daemon.api) as ws:
        ws.send("before").result(PATIENCE)
        ws.send("again").result(PATIENCE)
        messages = iter(ws)
        assert next(messages) == "before"
        calls: list[Callable[[], object]] = [ws.recv, ws.recv_event, ws.close, ws.drain, ws.open]
        calls += [lambda: ws.send("x"), lambda: ws.request("x"), lambda: ws.subscribe("x"), lambda: ws.unsubscribe("x")]
        calls += [lambda: next(messages), lambda: list(ws), lambda: list(ws.events())]
        with held(ws._changes.lock):
            child = os.fork()
            if not child:
                signal.alarm(int(PATIENCE))
                refused = 0
                for call in calls:
                    try:
                        call()
                    except Closed:
                        refused += 1
                ws.__exit__(None, None, None)
                os._exit(refused)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == len(calls)
        assert next(messages) == "again"
        ws.send("after").result(PATIENCE)
        assert ws.recv(PATIENCE) == "after"


SYNC = """
import sys
from wskeeper.sync import KeptWebSocket
with KeptWebSocket("echo", api=sys.argv[1]) as ws:
    print("reads", flush=True)
    for message in ws:
        pass
"""
ASYNC = """
import asyncio, sys
from wskeeper import KeptWebSocket
async def main():
    async with KeptWebSocket("echo", api=sys.argv[1]) as ws:
        print("reads", flush=True)
        async for message in ws:
            pass
asyncio.run(main())
"""
FORGETFUL = """
import sys
from wskeeper.sync import KeptWebSocket
ws = KeptWebSocket("echo", api=sys.argv[1])
ws.open()
print("reads", flush=True)
ws.recv()
"""


@pytest.mark.parametrize("time_of_it", range(4))
@pytest.mark.parametrize("program", [SYNC, ASYNC, FORGETFUL], ids=["sync", "asyncio", "without close"])
def test_ctrl_c_ends_a_program_that_reads(daemon: Daemon, program: str, time_of_it: int) -> None:
    command = [sys.executable, "-c", program, daemon.api]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "reads\n"
        # At once, and when it waits.
        time.sleep(time_of_it / 100)
        child.send_signal(signal.SIGINT)
        began = time.monotonic()
        try:
            _, said = child.communicate(timeout=PATIENCE)
        finally:
            child.kill()
        assert time.monotonic() - began < 5
        assert said.rstrip().endswith("KeyboardInterrupt")


def test_no_thread_waits_without_a_limit_or_by_a_condition() -> None:
    """A signal that comes just before such a wait begins does not end it, and one within a condition breaks it."""
    tree = ast.parse(Path(sync.__file__).read_text())
    awaited = {ast.unparse(node.value) for node in ast.walk(tree) if isinstance(node, ast.Await)}
    waits = ("acquire", "get", "join", "result", "exception", "wait")
    endless = [
        ast.unparse(call)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)
        if call.func.attr in waits and not call.args and not call.keywords
    ]
    # A lock that is new, and a future that is done.
    assert set(endless) - awaited == {"changed.acquire()", "super().exception()"}
    assert not [node for node in ast.walk(tree) if ast.unparse(node) in ("threading.Condition", "threading.Event")]


def test_who_waits_and_looks_up_leaves_nothing_behind(own: Own) -> None:
    daemon = own('[endpoints.e]\nurl = "ws://127.0.0.1:9/"\n')
    with SyncKeptWebSocket("e", api=daemon.api) as ws:
        receipt = ws.send("x", wait="confirmed")
        for _ in range(20):
            with pytest.raises(TimeoutError):
                ws.recv(0.001)
            with pytest.raises(FutureTimeout):
                receipt.result(0.001)
        assert not ws._changes._waiting
        # One of the object's own, which counts what is unanswered.
        assert len(receipt._done_callbacks) <= 2  # type: ignore[attr-defined]
        ws.close(0)


def test_a_failure_that_nobody_looks_at_is_logged(daemon: Daemon, caplog: pytest.LogCaptureFixture) -> None:
    with SyncKeptWebSocket("echo", api=daemon.api) as ws:
        ws.send("x", wait="stored")
    until(lambda: "not-durable" in caplog.text or "stored" in caplog.text)


def test_large_messages_pass_both_ways_beside_short_ones(daemon: Daemon, echo: Echo) -> None:
    async def work() -> None:
        async with KeptWebSocket("echo", api=daemon.api, max_send_bytes=64 << 20) as ws:
            big = os.urandom(15 << 20)
            sends = [ws.send(data) for data in (big, "short", big, "short")]
            assert [await ws.recv(PATIENCE) for _ in sends] == [big, "short", big, "short"]
            await asyncio.gather(*sends)

    run(work)
