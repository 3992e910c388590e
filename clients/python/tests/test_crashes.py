"""The daemon is killed in the middle of everything, and the program as well."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from world import PATIENCE, Daemon, Face, Feed, until

from wskeeper import FileCursor, Gap, ReceiptError, WskeeperError

Kept = Callable[..., Face]
Own = Callable[..., Daemon]
Peer = Callable[[int], Feed]

DURABLE = """
[endpoints.e]
url = "{url}"
reconnect.first = "20ms"
reconnect.initial = "20ms"
reconnect.max = "200ms"
outbox.durability = "disk"
inbox.durability = "{inbox}"
inbox.max_messages = 200000
inbox.max_bytes = "32MiB"
"""


def told(items: list[str | Gap], count: int) -> int:
    """Checks that no number comes twice or out of order, and that none is missing without a gap. Counts the missing."""
    last, is_told, missing = -1, False, 0
    for item in items:
        if isinstance(item, Gap):
            is_told = True
            continue
        number = int(item)
        assert number > last, f"{number} after {last}"
        assert number == last + 1 or is_told, f"{last + 1} to {number - 1} are missing, and nobody said so"
        missing += number - last - 1
        last, is_told = number, False
    assert last == count - 1
    return missing


@pytest.mark.parametrize(("inbox", "count"), [("disk", 100_000), ("memory", 20_000)])
def test_a_hundred_thousand_messages_over_two_kills(kept: Kept, own: Own, feed: Peer, inbox: str, count: int) -> None:
    # The daemon loses what it had not read of the peer, so the last ones come when it is back for good.
    last = count + 100
    peer = feed(0)
    daemon = own(DURABLE.format(url=peer.url, inbox=inbox))

    def kill_twice() -> None:
        peer.send_up_to(count)
        for so_many in (count * 3 // 10, count * 6 // 10):
            until(lambda: peer.sent >= so_many)  # noqa: B023
            daemon.kill()
            daemon.start()
        until(lambda: peer.sent >= count)
        daemon.ready("e")
        peer.send_up_to(last)

    items: list[str | Gap] = []
    with kept("e", daemon, gaps="item", from_="oldest") as ws:
        killer = threading.Thread(target=kill_twice)
        killer.start()

        def take(item: str | Gap) -> bool:
            items.append(item)
            return item == str(last - 1)

        ws.each(take)
        killer.join()
    missing = told(items, last)
    gaps = [item.kind for item in items if isinstance(item, Gap)]
    # One gap covers both, if the second kill comes before the client is back.
    assert gaps.count("restart") in (1, 2)
    assert missing < last
    print(f"{inbox}: {len(items)} items, {missing} missing, gaps {gaps}")


def test_what_is_sent_over_kills_has_an_end_and_goes_once(kept: Kept, own: Own, feed: Peer) -> None:
    peer = feed(0)
    daemon = own(DURABLE.format(url=peer.url, inbox="memory"))
    daemon.ready("e")
    sends = []
    with kept("e", daemon, close_timeout=PATIENCE) as ws:
        for number in range(3000):
            sends.append(ws.send(str(number)))
            if number in (1000, 2000):
                until(lambda: peer.got)
                daemon.kill()
                daemon.start()
        errors = [error for one in sends if (error := one.exception(PATIENCE))]
        # Its keys are on disk, so the client is in no doubt. The daemon may be: then the receipt says so.
        assert all(isinstance(error, ReceiptError) and error.receipt for error in errors)
        assert {error.receipt.reason for error in errors if isinstance(error, ReceiptError) and error.receipt} <= {
            "crash"
        }
        ids = {one.result().id for one in sends if not one.exception()}
        assert len(ids) == 3000 - len(errors)
        assert ws.sent("last", wait="confirmed")
    numbers = [int(one) for one in peer.got[:-1]]
    # At most once: what may have begun to leave when the daemon was killed is not sent again.
    assert numbers == sorted(set(numbers))
    assert len(numbers) >= 3000 - 2 * 192 - 2 * 64


def test_a_memory_outbox_that_is_killed_leaves_no_doubt_unsaid(kept: Kept, own: Own, feed: Peer) -> None:
    peer = feed(0)
    daemon = own(f'[endpoints.e]\nurl = "{peer.url}"\nreconnect.first = "20ms"\n')
    daemon.ready("e")
    sends = []
    with kept("e", daemon, close_timeout=PATIENCE) as ws:
        for number in range(3000):
            sends.append(ws.send(str(number)))
            if number == 1500:
                until(lambda: peer.got)
                daemon.kill()
                daemon.start()
        errors = [error for one in sends if (error := one.exception(PATIENCE))]
        ws.sent("last", wait="confirmed")
    assert all(isinstance(error, ReceiptError) and error.state in ("unknown", "refused") for error in errors)
    assert len(peer.got) == len(set(peer.got))


PROGRAM = """
import sys
from wskeeper.sync import KeptWebSocket
with KeptWebSocket("e", api=sys.argv[1], cursor_store=sys.argv[2], from_="oldest", gaps="item") as ws:
    for message in ws:
        print(message, flush=True)
"""


def test_a_program_that_is_killed_goes_on_after_its_cursor(own: Own, feed: Peer, tmp_path: Path) -> None:
    peer = feed(3000)
    daemon = own(DURABLE.format(url=peer.url, inbox="disk"))
    seen: list[int] = []
    for kill_after in [700, 1400, 3000]:
        command = [sys.executable, "-c", PROGRAM, daemon.api, str(tmp_path / "cursor")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
            assert program.stdout is not None
            began = len(seen)
            for line in program.stdout:
                seen.append(int(line))
                if seen[-1] + 1 >= kill_after:
                    break
            program.kill()
            assert len(seen) > began
    # Some came again, because they were not done when the program was killed. None is missing.
    steps = [after - before for before, after in pairwise(seen)]
    assert max(steps) == 1
    assert sum(step < 0 for step in steps) <= 2
    assert set(seen) == set(range(3000))


def test_a_cursor_file_is_replaced_whole(tmp_path: Path) -> None:
    store = FileCursor(tmp_path / "cursor")
    assert store.load() is None

    def write() -> None:
        for number in range(200):
            store.save(10**15 + number)

    writer = threading.Thread(target=write)
    writer.start()
    while writer.is_alive():
        found = store.load()
        assert found is None or found >= 10**15
    assert store.load() == 10**15 + 199
    assert os.listdir(tmp_path) == ["cursor"]
    for text in ("", "x", "-5", str(2**64), "9" * 5000):
        (tmp_path / "cursor").write_text(text)
        with pytest.raises(WskeeperError, match="does not hold a cursor"):
            store.load()
    (tmp_path / "cursor").write_text(str(2**64 - 1))
    assert store.load() == 2**64 - 1


def test_a_cursor_is_saved_when_its_message_is_done(kept: Kept, own: Own, feed: Peer, tmp_path: Path) -> None:
    peer = feed(10)
    daemon = own(DURABLE.format(url=peer.url, inbox="disk"))
    path = tmp_path / "cursor"

    class Failed(Exception):
        pass

    with pytest.raises(Failed), kept("e", daemon, cursor_store=path, from_="oldest") as ws:
        for message in ws:
            if message == "4":
                raise Failed
    with kept("e", daemon, cursor_store=str(path)) as ws:
        assert ws.recv() == "4"
        assert ws.recv() == "5"
    with kept("e", daemon, cursor_store=path) as ws:
        assert ws.recv() == "6"
