"""The pure core, against all that a daemon and a network can do."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from wskeeper import Gap, Message, ProtocolError, ReceiptError, RequestError, WskeeperError
from wskeeper._core.backoff import Backoff, Runs
from wskeeper._core.operations import Operation
from wskeeper._core.reading import Reading
from wskeeper._core.sending import BYTES, FRAMES, REQUESTS, Sending


def problem(name: str) -> dict[str, Any]:
    return {"type": f"urn:wskeeper:problem:{name}", "title": name, "status": 429, "detail": name}


class Sends(RuleBasedStateMachine):
    """A program, the core, and a daemon that takes each idempotency key once in a run, or for ever on disk."""

    def __init__(self) -> None:
        super().__init__()
        self.sending = Sending()
        self.now = 0.0
        self.results: dict[int, list[object]] = {}
        self.made: list[Operation] = []
        self.line: list[dict[str, Any]] = []
        self.run, self.run_of_last, self.is_up = 0, 0, False
        self.accepted: list[tuple[int, str]] = []
        self.known: set[tuple[int, str]] = set()
        self.is_durable = False

    @initialize(is_durable=st.booleans())
    def begin(self, is_durable: bool) -> None:
        self.is_durable = is_durable

    def make(self, build: Any, size: int = 0) -> None:
        number = len(self.made)
        self.results[number] = []
        operation: Operation = build(self.results[number].append)
        operation.size = operation.size and size
        self.made.append(operation)
        self.sending.add(operation)

    @rule(
        size=st.sampled_from([0, 10, BYTES // 3, 2 * BYTES]),
        wait=st.sampled_from(["queued", "confirmed"]),
        bound=st.booleans(),
    )
    def send(self, size: int, wait: str, bound: bool) -> None:
        key, generation = f"k{len(self.made)}", 3 if bound else None
        self.make(
            lambda settle: Operation.send(
                "x", settle, now=self.now, idempotency_key=key, wait=wait, generation=generation
            ),
            size,
        )

    @rule()
    def request(self) -> None:
        self.make(lambda settle: Operation.request("{}", settle, now=self.now, timeout=30))

    @rule(key=st.sampled_from("ab"), holds=st.booleans())
    def hold(self, key: str, holds: bool) -> None:
        build = Operation.subscribe if holds else Operation.unsubscribe
        self.make(lambda settle: build(key, None, settle))

    @precondition(lambda self: self.is_up)
    @rule(many=st.integers(1, 300))
    def transmit(self, many: int) -> None:
        for _ in range(many):
            text = self.sending.next_frame(self.now)
            if text is None:
                break
            self.line.append(json.loads(text))
        assert len(self.sending._flying) <= FRAMES
        assert self.sending._requests <= REQUESTS

    @precondition(lambda self: self.line)
    @rule(answer=st.sampled_from(["ok", "late", "refused", "draining", "undecided", "silence"]))
    def answer(self, answer: str) -> None:
        frame = self.line.pop(0)
        said: dict[str, Any] = {"ref": frame["ref"]}
        if answer == "silence":
            self.accept(frame)
            return
        if answer in ("refused", "draining", "undecided"):
            said |= {"type": "problem", "problem": problem("outbox-full" if answer == "refused" else answer)}
        elif frame["type"] == "send":
            self.accept(frame)
            state = "written" if answer == "late" else "confirmed"
            receipt = {
                "id": "i",
                "endpoint": "e",
                "link": 0,
                "state": state,
                "bytes": 1,
                "acceptedAt": "",
                "updatedAt": "",
            }
            said |= {"type": "receipt", "receipt": receipt}
        elif frame["type"] == "request":
            said |= {"type": "reply", "data": "{}", "error": answer == "late"}
        elif frame["type"] == "subscribe":
            said |= {"type": "subscription", "subscription": {"key": frame["key"], "state": "active"}}
        else:
            said |= {"type": "unsubscribed", "key": frame["key"]}
        late = self.sending.received(json.dumps(said))
        assert late is None or (answer == "late" and not late.is_settled)

    def accept(self, frame: dict[str, Any]) -> None:
        if frame["type"] != "send":
            return
        key = (0 if self.is_durable and "generation" not in frame else self.run, frame["idempotencyKey"])
        if key not in self.known:
            self.known.add(key)
            self.accepted.append((self.run, frame["idempotencyKey"]))

    @precondition(lambda self: self.is_up)
    @rule(arrives=st.integers(0, 300), restarts=st.booleans())
    def lose(self, arrives: int, restarts: bool) -> None:
        """The first of what is under way arrives at the daemon. Its answers are lost."""
        for frame in self.line[:arrives]:
            self.accept(frame)
        self.line.clear()
        self.sending.lost()
        self.is_up = False
        self.run += restarts

    @precondition(lambda self: not self.is_up)
    @rule(seconds=st.sampled_from([0.1, 5.0, 300.0]))
    def connect(self, seconds: float) -> None:
        self.now += seconds
        self.sending.opened(self.now, is_same_run=self.run == self.run_of_last, is_durable=self.is_durable)
        self.run_of_last, self.is_up = self.run, True

    @rule(which=st.integers(0, 10))
    def give_up(self, which: int) -> None:
        if which < len(self.made):
            self.sending.withdraw(self.made[-1 - which], WskeeperError("cancelled"))

    @invariant()
    def nothing_is_settled_twice_or_accepted_twice(self) -> None:
        assert all(len(results) <= 1 for results in self.results.values())
        keys = [key for _, key in self.accepted]
        assert len(keys) == len(set(keys)), "a message went twice"
        assert self.sending.buffered_amount >= 0

    def teardown(self) -> None:
        late = [one for one in self.made if one.receipt is not None and not one.is_settled]
        self.sending.ends()
        for operation, results in zip(self.made, self.results.values(), strict=True):
            assert len(results) == (operation not in late)
        assert (self.sending.buffered_amount, len(self.sending)) == (0, 0)
        accepted = {key for _, key in self.accepted}
        for operation, results in zip(self.made, self.results.values(), strict=True):
            for result in results:
                # What is said never to have left has not left, and what was accepted is never said to be unsent.
                if isinstance(result, (ReceiptError, RequestError)) and result.state == "unsent":
                    assert not operation.tries or operation.idempotency_key not in accepted


TestSends = Sends.TestCase
TestSends.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def event(cursor: int, **members: Any) -> str:
    return json.dumps(
        {"type": "message", "cursor": cursor, "link": 0, "generation": 1, "at": "", "data": str(cursor), **members}
    )


def lag(start: int, to: int, missed: int | None) -> str:
    kind = "restart" if missed is None else "lag"
    return json.dumps({"type": "gap", "kind": kind, "cursor": to, "missed": missed, "from": start, "to": to})


@given(
    st.lists(st.tuples(st.sampled_from(["entry", "repeat", "lag", "take", "finish", "reconnect"]), st.integers(0, 50)))
)
def test_nothing_is_handed_over_twice_and_a_hole_is_told(steps: list[tuple[str, int]]) -> None:
    reading = Reading("oldest", max_items=5)
    newest, handed, marks = 0, list[Any](), list[Any]()
    for step, number in steps:
        if step == "entry" and reading.has_room:
            newest += 1
            assert reading.received(event(newest))
        elif step == "repeat" and newest:
            assert not reading.received(event(max(1, newest - number)))
        elif step == "lag" and reading.has_room:
            reading.received(lag(newest + 1, newest + 1 + number, number + 1))
            newest += 1 + number
        elif step == "take" and (taken := reading.take()):
            handed.append(taken[0])
            marks.append(taken[1])
        elif step == "finish" and marks:
            before = reading.done or 0
            reading.finish(marks.pop(number % len(marks)))
            assert before <= (reading.done or 0) <= min([mark.cursor for mark in marks] or [newest])
        elif step == "reconnect" and newest:
            assert ("from", str(newest)) in reading.query()
        assert len(reading) <= 5
    cursor = 0
    for item in handed:
        assert item.cursor > cursor
        assert isinstance(item, Gap) or item.cursor == cursor + 1
        cursor = item.cursor


def test_a_restart_may_set_the_numbers_back() -> None:
    reading = Reading(100)
    assert not reading.received(event(7))
    assert reading.received(lag(5, 5, None))
    assert reading.received(event(6))
    assert dict(reading.query())["from"] == "6"


def test_a_long_item_is_read_alone() -> None:
    reading = Reading("oldest", max_bytes=10)
    reading.received(event(1, data="x" * 1000))
    assert not reading.has_room
    taken = reading.take()
    assert taken is not None
    assert isinstance(taken[0], Message)
    assert reading.has_room


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 1e4), st.floats(0, 10))
def test_a_daemon_is_taken_for_the_same_only_if_it_is(
    began: float, heard_after: float, passed: float, answers_in: float
) -> None:
    """One daemon is heard of; another begins later and is asked for its uptime, in whole seconds."""
    runs = Runs()
    heard = began + heard_after
    runs.heard(heard)
    restarted = heard + passed
    asked = restarted + answers_in
    uptime = float(int(asked - restarted))
    if passed > 0.001:
        assert not runs.is_same(asked, uptime)
    # And the same one, asked two seconds after it was heard of, if it is older than a second.
    if heard_after > 1.001:
        assert runs.is_same(heard + 2, float(int(heard + 2 - began)))


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=60))
def test_a_delay_is_never_longer_than_its_limit(tries: list[tuple[float, bool]]) -> None:
    backoff, limit = Backoff(), 0.1
    for chance, stood in tries:
        if stood:
            backoff.stood(0.0, True)
            limit = 0.1
        assert 0 <= backoff.delay(chance) <= limit
        limit = min(5.0, limit * 2)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"type": "message"}', '{"type": "message", "cursor": "x", "data": 1}', "null"]
)
def test_what_is_no_envelope_is_one_error(text: str) -> None:
    with pytest.raises(ProtocolError):
        Reading("oldest").received(text)


@given(st.text())
def test_no_frame_breaks_the_core(text: str) -> None:
    for receive in (Reading("oldest").received, Sending().received):
        with contextlib.suppress(ProtocolError):
            receive(text)
