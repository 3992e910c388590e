"""What a program meets, by asyncio and by threads, with the real daemon and a real peer."""

from __future__ import annotations

import concurrent.futures
import json
import threading
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from world import PATIENCE, Daemon, Echo, Face, Feed, until

from wskeeper import (
    Closed,
    Gap,
    LinkEvent,
    Message,
    ProblemError,
    ReceiptError,
    RequestError,
    Unreachable,
    WskeeperError,
)

Kept = Callable[..., Face]
Own = Callable[..., Daemon]


def test_text_stays_text_and_binary_stays_binary(kept: Kept, daemon: Daemon) -> None:
    with kept("echo", daemon) as ws:
        for data in ["hello", "", "é\u0000\U0001f600", b"\x00\xff", b"", "x" * (16 << 20)]:
            ws.sent(data)
            assert ws.recv() == data
        ws.sent(bytearray(b"abc"))
        assert ws.recv() == b"abc"


def test_messages_keep_their_order(kept: Kept, daemon: Daemon) -> None:
    with kept("echo", daemon) as ws:
        sender = threading.Thread(target=lambda: [ws.send(str(number)) for number in range(3000)])
        sender.start()
        assert list(islice(ws, 3000)) == [str(n) for n in range(3000)]
        sender.join()


@pytest.mark.parametrize(
    ("endpoint", "wait"), [("echo", "queued"), ("durable", "stored"), ("echo", "written"), ("echo", "confirmed")]
)
def test_a_receipt_has_the_state_that_was_asked_for(kept: Kept, daemon: Daemon, endpoint: str, wait: str) -> None:
    with kept(endpoint, daemon) as ws:
        receipt = ws.sent("hello", wait=wait)
        assert receipt.reached(wait)
        assert (receipt.endpoint, receipt.bytes) == (endpoint, 5)


def test_a_refusal_is_an_error_with_the_daemons_problem(kept: Kept, daemon: Daemon) -> None:
    with kept("echo", daemon) as ws:
        with pytest.raises(ReceiptError) as caught:
            ws.sent("hello", wait="stored")
        error = caught.value
        assert (error.state, error.name, error.status) == ("refused", "not-durable", 409)
        assert error.type == "urn:wskeeper:problem:not-durable"
        assert "outbox.durability" in error.detail
        assert ws.sent("still there").state


def test_a_full_outbox_is_told(kept: Kept, daemon: Daemon) -> None:
    with kept("away", daemon) as ws:
        ends = [ws.send("x", ttl=60) for _ in range(3)]
        errors = [error for end in ends if (error := end.exception(PATIENCE))]
        assert errors
        assert all(isinstance(error, ReceiptError) and error.name == "outbox-full" for error in errors)


def test_a_message_that_is_too_large_ends_no_connection(kept: Kept, daemon: Daemon) -> None:
    with kept("small", daemon) as ws:
        # The daemon refuses the first, the client the second: its envelope would be answered with a Close.
        for data in ["x" * 2000, "x" * 20000, "\u0001" * 1500]:
            with pytest.raises(ReceiptError) as caught:
                ws.sent(data)
            assert (caught.value.name, caught.value.state) == ("too-large", "refused")
        ws.sent("fits")
        assert ws.recv() == "fits"


def test_a_wrong_argument_is_found_at_once(kept: Kept, daemon: Daemon) -> None:
    with kept("echo", daemon) as ws:
        calls: list[Callable[[], object]] = [
            lambda: ws.send("\ud800").result(PATIENCE),
            lambda: ws.send("x", wait="read").result(PATIENCE),
            lambda: ws.send("x", ttl=-1).result(PATIENCE),
            lambda: ws.request("{}", timeout=0).result(PATIENCE),
        ]
        for call in calls:
            with pytest.raises(ValueError, match=r"surrogate|wait|ttl|timeout"):
                call()
        with pytest.raises(TypeError):
            ws.send(5).result(PATIENCE)


def test_a_request_has_its_reply(kept: Kept, daemon: Daemon) -> None:
    with kept("echo", daemon) as ws:
        asked = [ws.request(json.dumps({"id": f"n{number}", "n": number})) for number in range(100)]
        replies = [json.loads(one.result(PATIENCE)) for one in asked]
        assert replies == [{"id": f"n{number}", "n": number} for number in range(100)]
        with pytest.raises(RequestError) as caught:
            ws.request('{"id": 1, "error": "no"}').result(PATIENCE)
        assert caught.value.state == "error"
        assert json.loads(caught.value.reply or "") == {"id": 1, "error": "no"}
        with pytest.raises(RequestError) as caught:
            ws.request("no JSON").result(PATIENCE)
        assert (caught.value.state, caught.value.name) == ("refused", "bad-request")


def test_a_request_without_reply_ends_in_time(kept: Kept, own: Own) -> None:
    peer = Echo("--half-open")
    daemon = own(f'[endpoints.mute]\nurl = "{peer.url}"\nrequests = {{ id = "/id", reply = "/id" }}\n')
    with kept("mute", daemon) as ws, pytest.raises(RequestError) as caught:
        ws.request('{"id": 1}', timeout=0.2).result(PATIENCE)
    assert (caught.value.state, caught.value.status) == ("no-reply", 504)
    peer.end()


def test_a_subscription_is_held_until_it_is_released(kept: Kept, daemon: Daemon) -> None:
    path = "/v1/endpoints/echo/subscriptions"

    def keys() -> Any:
        return {one["key"] for one in daemon.get(path)["items"]}

    with kept("echo", daemon) as ws:
        assert ws.subscribe("a").result(PATIENCE).key == "a"
        ws.subscribe("b").result(PATIENCE)
        assert keys() >= {"a", "b"}
        ws.unsubscribe("b").result(PATIENCE)
        assert keys() & {"a", "b"} == {"a"}
    until(lambda: not keys() & {"a", "b"}, "a closed object holds nothing")


def test_subscriptions_come_back_with_the_daemon(kept: Kept, own: Own, echo: Echo) -> None:
    daemon = own(f'[endpoints.e]\nurl = "{echo.url}"\nsubscriptions = {{ add = {{ text = "+${{key}}" }} }}\n')
    with kept("e", daemon) as ws:
        for key in "abc":
            ws.subscribe(key).result(PATIENCE)
        ws.unsubscribe("b").result(PATIENCE)
        daemon.kill()
        daemon.start()

        def held() -> Any:
            return [one["key"] for one in daemon.get("/v1/endpoints/e/subscriptions")["items"]]

        until(lambda: held() == ["a", "c"], "its keys are held again")


def test_what_is_refused_at_first_is_raised(
    kept: Kept, daemon: Daemon, own: Own, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ProblemError) as caught:
        kept("nowhere", daemon).open()
    assert (caught.value.status, caught.value.name) == (404, "not-found")
    monkeypatch.setenv("WSKEEPER_TEST_TOKEN", "s3cret")
    token = '[[api.tokens]]\nname = "me"\ntoken = "${env:WSKEEPER_TEST_TOKEN}"\nscopes = ["read", "send"]\n'
    guarded = own(f'{token}[endpoints.e]\nurl = "ws://127.0.0.1:9/"\n')
    with pytest.raises(ProblemError) as caught:
        kept("e", guarded).open()
    assert caught.value.status == 401
    with kept("e", guarded, token="s3cret") as ws:
        assert ws.sent("x").state == "queued"
        assert "s3cret" not in repr(ws.ws)


def test_no_daemon_at_first_is_raised(kept: Kept, own: Own) -> None:
    daemon = own("")
    daemon.end()
    with pytest.raises(Unreachable, match=r"within 0.3 s: .*refused"):
        kept("e", daemon, open_timeout=0.3).open()
    with pytest.raises(Closed):
        kept("e", daemon).sent("x")


def test_a_unix_socket_does_too(kept: Kept, own: Own, echo: Echo, tmp_path: Path) -> None:
    daemon = own(f'[endpoints.e]\nurl = "{echo.url}"\n', f"unix:{tmp_path}/api.sock")
    with kept("e", daemon) as ws:
        ws.sent("hello")
        assert ws.recv() == "hello"


def test_events_tell_of_links_too(kept: Kept, own: Own) -> None:
    peer = Echo("--close-code", "4000", "--close-reason", "enough", "--close-after", "10ms")
    daemon = own(f'[endpoints.e]\nurl = "{peer.url}"\n')
    with kept("e", daemon, types=None, from_="oldest") as ws:
        seen: list[LinkEvent] = []
        for event in ws.events():
            if isinstance(event, LinkEvent):
                seen.append(event)
            if [one for one in seen if one.kind == "close"]:
                break
    assert {"open", "close", "phase"} <= {event.kind for event in seen}
    assert (seen[-1].code, seen[-1].reason, seen[-1].link) == (4000, "enough", 0)
    peer.end()


def test_reading_begins_where_it_is_told_to(kept: Kept, own: Own, echo: Echo) -> None:
    daemon = own(f'[endpoints.e]\nurl = "{echo.url}"\n')
    with kept("e", daemon) as ws:
        for number in range(5):
            ws.sent(str(number))
        events = list(islice(ws.events(), 5))
    messages = [event for event in events if isinstance(event, Message)]
    assert [message.data for message in messages] == ["0", "1", "2", "3", "4"]
    with kept("e", daemon, from_="oldest") as ws:
        assert ws.recv() == "0"
    with kept("e", daemon, from_=messages[2].cursor) as ws:
        assert ws.recv() == "3"
        assert ws.recv() == "4"
    # What arrives after `open` is not missed, however late the program begins to read.
    with kept("e", daemon) as ws:
        ws.sent("5", wait="confirmed")
        until(lambda: daemon.get("/v1/links/e/0")["receivedMessages"] == 6)
        assert ws.recv() == "5"


def test_a_filter_passes_on_what_it_names(kept: Kept, daemon: Daemon) -> None:
    with kept("echo", daemon, match={"/s": "b", "/n": 2}) as ws:
        for symbol, number in [("a", 2), ("b", 1), ("b", 2)]:
            ws.sent(json.dumps({"s": symbol, "n": number}))
        assert json.loads(ws.recv()) == {"s": "b", "n": 2}


def test_a_program_that_waits_for_receipts_while_it_reads_does_not_wait_for_ever(kept: Kept, daemon: Daemon) -> None:
    with kept("echo", daemon, max_queue=1) as ws:
        for number in range(50):
            ws.send(str(number))
        for message in ws:
            ws.sent("answer to " + message, wait="written")
            if message == "49":
                break


def test_a_slow_program_gets_a_gap_and_delays_nobody(kept: Kept, daemon: Daemon) -> None:
    # More than the program's 256, the inbox and what the kernel takes for a connection, which grows.
    total = 600
    with kept("lag", daemon, max_queue=1, gaps="item") as slow, kept("lag", daemon, gaps="item") as quick:
        slow.sent("first")
        assert (slow.recv(), quick.recv()) == ("first", "first")
        for number in range(total):
            slow.sent(str(number).ljust(200_000), wait="confirmed")
            assert quick.recv().startswith(str(number))
        seen, missed = 0, 0
        while seen + missed < total:
            item = slow.recv()
            if isinstance(item, Gap):
                assert item.kind == "lag"
                missed += item.missed or 0
            else:
                seen += 1
        assert missed > 0


def test_a_daemon_that_stands_still_costs_time_only(kept: Kept, own: Own, echo: Echo) -> None:
    daemon = own(f'[endpoints.e]\nurl = "{echo.url}"\n')
    with kept("e", daemon) as ws:
        ws.sent("before")
        daemon.stop()
        sends = [ws.send(f"{number}") for number in range(500)]
        with pytest.raises((TimeoutError, concurrent.futures.TimeoutError)):
            sends[-1].result(0.3)
        daemon.go_on()
        assert all(one.result(PATIENCE) for one in sends)
        assert [ws.recv() for _ in range(501)] == ["before", *map(str, range(500))]


def test_close_waits_for_what_was_sent(kept: Kept, daemon: Daemon) -> None:
    ws = kept("echo", daemon)
    ws.open()
    sends = [ws.send(str(number)) for number in range(500)]
    if ws.kind == "asyncio":
        # They are in its hands by then.
        until(lambda: ws.sent("last"))
    ws.close()
    assert all(one.result(0).state for one in sends)
    ws.close()
    with pytest.raises(WskeeperError):
        ws.recv()


def test_a_message_that_never_left_says_so(kept: Kept, own: Own, echo: Echo) -> None:
    daemon = own(f'[endpoints.e]\nurl = "{echo.url}"\n')
    ws = kept("e", daemon)
    ws.open()
    daemon.kill()
    timed, plain = ws.send("x", timeout=0.2), ws.send("y")
    with pytest.raises(ReceiptError) as caught:
        timed.result(PATIENCE)
    assert caught.value.state == "unsent"
    ws.close(0.1)
    with pytest.raises(ReceiptError) as caught:
        plain.result(PATIENCE)
    assert caught.value.state == "unsent"


def test_a_restart_loses_a_memory_inbox_and_says_so(kept: Kept, own: Own, feed: Callable[[int], Feed]) -> None:
    peer = feed(10)
    daemon = own(f'[endpoints.e]\nurl = "{peer.url}"\nreconnect.first = "50ms"\n')
    with kept("e", daemon, gaps="item", from_="oldest") as ws:
        assert [ws.recv() for _ in range(10)] == [str(number) for number in range(10)]
        daemon.kill()
        daemon.start()
        daemon.ready("e")
        peer.send_up_to(20)
        gap = ws.recv()
        assert isinstance(gap, Gap)
        assert gap.kind == "restart"
        assert gap.missed is None
        assert [ws.recv() for _ in range(10)] == [str(number) for number in range(10, 20)]
