"""Daemons and peers, and the two faces."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from world import FACES, Daemon, Echo, Face, Feed

# A machine under load is no fault.
settings.register_profile("kept", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("kept")

# The background of a shell has it ignored, and the programs of these tests would ignore it too.
signal.signal(signal.SIGINT, signal.default_int_handler)

ENDPOINTS = """
[endpoints.echo]
url = "{echo}"
[endpoints.echo.outbox]
max_message = "16MiB"
max_bytes = "64MiB"
[endpoints.echo.inbox]
max_message = "16MiB"
max_bytes = "64MiB"
[endpoints.echo.requests]
id = "/id"
reply = "/id"
error = {{ has = ["/error"] }}
[endpoints.echo.subscriptions]
add = {{ json = {{ subscribe = "${{key}}" }} }}
remove = {{ json = {{ unsubscribe = "${{key}}" }} }}
[endpoints.durable]
url = "{echo}"
outbox.durability = "disk"
inbox.durability = "disk"
[endpoints.away]
url = "ws://127.0.0.1:9/"
outbox.max_messages = 2
[endpoints.small]
url = "{echo}"
outbox.max_message = "1KiB"
[endpoints.lag]
url = "{echo}"
inbox.max_messages = 10
inbox.max_bytes = "8MiB"
"""


@pytest.fixture(scope="session")
def echo() -> Iterator[Echo]:
    peer = Echo()
    yield peer
    peer.end()


@pytest.fixture(scope="session")
def daemon(tmp_path_factory: pytest.TempPathFactory, echo: Echo) -> Iterator[Daemon]:
    """One for all cases that do it no harm."""
    found = Daemon(tmp_path_factory.mktemp("daemon"), ENDPOINTS.format(echo=echo.url))
    found.ready("echo", "durable", "small", "lag")
    yield found
    found.end()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    """Makes a daemon that may be killed."""
    made: list[Daemon] = []

    def make(endpoints: str, listen: str | None = None) -> Daemon:
        made.append(Daemon(tmp_path, endpoints, listen))
        return made[-1]

    yield make
    for one in made:
        one.kill()


@pytest.fixture
def feed() -> Iterator[Callable[[int], Feed]]:
    """Makes a peer that sends numbers."""
    made: list[Feed] = []

    def make(count: int = 0) -> Feed:
        made.append(Feed(count))
        return made[-1]

    yield make
    for one in made:
        one.end()


@pytest.fixture(params=FACES, ids=lambda face: face.kind)
def kept(request: pytest.FixtureRequest) -> Iterator[Callable[..., Face]]:
    """Makes an object of either kind."""
    made: list[Face] = []

    def make(endpoint: str, daemon: Daemon, **options: Any) -> Face:
        made.append(request.param(endpoint, api=daemon.api, **options))
        return made[-1]

    yield make
    for one in made:
        one.close(0)
        one.leave()
