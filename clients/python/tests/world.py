"""A daemon, peers, and the two objects behind one face: what the cases are written against."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM
from types import TracebackType
from typing import Any

import websockets.sync.server as server
from websockets.exceptions import ConnectionClosed

import wskeeper
import wskeeper.sync

BINARY = os.environ.get("WSKEEPER_BINARY", "wskeeper")
PATIENCE = 30.0
"""Longer than anything takes that works."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def until(what: Callable[[], Any], said: str = "") -> Any:
    """Waits for a condition."""
    end = time.monotonic() + PATIENCE
    while not (found := what()):
        assert time.monotonic() < end, f"it did not come to that in time: {said or what}"
        time.sleep(0.01)  # Between two looks.
    return found


class Daemon:
    """The real program."""

    def __init__(self, folder: Path, endpoints: str, listen: str | None = None) -> None:
        self.folder = folder
        self.port = free_port()
        self.api = listen or f"127.0.0.1:{self.port}"
        self._file = folder / "wskeeper.toml"
        self._file.write_text(
            f'[api]\nlisten = "{self.api}"\nchaos = true\n[storage]\ndir = "{folder}/store"\n{endpoints}'
        )
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        with (self.folder / "daemon.log").open("ab") as log:
            self._process = subprocess.Popen([BINARY, "run", "--config", str(self._file)], stderr=log)
        until(lambda: self.answers() or self.has_ended())
        assert not self.has_ended(), (self.folder / "daemon.log").read_text()

    def answers(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.get("/livez") is not None
        return False

    def has_ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def stop(self) -> None:
        """Stands still from now on."""
        assert self._process is not None
        self._process.send_signal(SIGSTOP)
        state = Path(f"/proc/{self._process.pid}/stat")
        until(lambda: state.read_text().rpartition(")")[2].split()[0] == "T", "it stands still")

    def go_on(self) -> None:
        assert self._process is not None
        self._process.send_signal(SIGCONT)

    def kill(self) -> None:
        """As the kernel does when memory is short."""
        self.end(SIGKILL)

    def end(self, number: int = SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.send_signal(SIGCONT)
            self._process.wait(PATIENCE)
            self._process = None

    def get(self, path: str) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        with contextlib.closing(connection):
            if self.api.startswith("unix:"):
                connection.sock = socket.socket(socket.AF_UNIX)
                connection.sock.connect(self.api.removeprefix("unix:"))
            connection.request("GET", path, headers={"Host": "localhost"})
            response = connection.getresponse()
            body = response.read()
        return json.loads(body) if response.status == 200 else None

    def ready(self, *endpoints: str) -> None:
        for endpoint in endpoints:
            until(partial(self._is_ready, endpoint), f"{endpoint} is ready")

    def _is_ready(self, endpoint: str) -> bool:
        return bool(self.get(f"/v1/links/{endpoint}/0")["phase"] == "ready")


class Echo:
    """`wskeeper echo`."""

    def __init__(self, *options: str) -> None:
        command = [BINARY, "echo", "--listen", "127.0.0.1:0", "--quiet", *options]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()

    def end(self) -> None:
        self._process.kill()
        self._process.wait(PATIENCE)
        assert self._process.stdout is not None
        self._process.stdout.close()


class Feed:
    """A peer that sends the numbers up to `count`, each once, whoever reads; and keeps what it gets."""

    def __init__(self, count: int = 0) -> None:
        self.sent, self.got = 0, list[str]()
        self._count, self._has_ended = count, False
        self._changed = threading.Condition()
        self._server = server.serve(self._serve, "127.0.0.1", 0, compression=None, max_size=None)
        port = self._server.socket.getsockname()[1]
        self.url = f"ws://127.0.0.1:{port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def send_up_to(self, count: int) -> None:
        """The numbers below this one are sent from now on."""
        with self._changed:
            self._count = count
            self._changed.notify_all()

    def _serve(self, connection: server.ServerConnection) -> None:
        threading.Thread(target=self._read, args=(connection,), daemon=True).start()
        with contextlib.suppress(ConnectionClosed):
            while True:
                with self._changed:
                    while self.sent >= self._count and not self._has_ended and not connection.close_code:
                        self._changed.wait()
                    if self._has_ended or connection.close_code:
                        return
                    number = self.sent
                    self.sent += 1
                connection.send(str(number))

    def _read(self, connection: server.ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            for message in connection:
                self.got.append(str(message))
        with self._changed:
            self._changed.notify_all()

    def end(self) -> None:
        with self._changed:
            self._has_ended = True
            self._changed.notify_all()
        self._server.shutdown()


class Face:
    """What both objects can do, in the same words."""

    kind = ""
    ws: Any

    def open(self) -> None:
        raise NotImplementedError

    def close(self, timeout: float | None = None) -> None:
        raise NotImplementedError

    def leave(self) -> None:
        """No more is done with it."""

    def send(self, data: Any, **options: Any) -> Future[wskeeper.Receipt]:
        raise NotImplementedError

    def request(self, data: Any, **options: Any) -> Future[wskeeper.Data]:
        raise NotImplementedError

    def subscribe(self, key: str, message: Any = None) -> Future[wskeeper.Subscription]:
        raise NotImplementedError

    def unsubscribe(self, key: str) -> Future[None]:
        raise NotImplementedError

    def recv(self, timeout: float = PATIENCE) -> Any:
        raise NotImplementedError

    def events(self) -> Iterator[wskeeper.Event]:
        raise NotImplementedError

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError

    def each(self, take: Callable[[Any], bool]) -> None:
        """Iterates as a program does, until `take` says that it is enough."""
        raise NotImplementedError

    def __enter__(self) -> Face:
        self.open()
        return self

    def __exit__(self, kind: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None) -> None:
        self.exit(kind)

    def exit(self, kind: type[BaseException] | None) -> None:
        raise NotImplementedError

    def sent(self, data: Any, **options: Any) -> wskeeper.Receipt:
        return self.send(data, **options).result(PATIENCE)


class Threads(Face):
    """`wskeeper.sync`."""

    kind = "sync"

    def __init__(self, endpoint: str, **options: Any) -> None:
        self.ws = wskeeper.sync.KeptWebSocket(endpoint, **options)
        self.open, self.close = self.ws.open, self.ws.close  # type: ignore[method-assign]
        self.send, self.request = self.ws.send, self.ws.request  # type: ignore[method-assign]
        self.subscribe, self.unsubscribe = self.ws.subscribe, self.ws.unsubscribe  # type: ignore[method-assign]
        self.events = self.ws.events  # type: ignore[method-assign]

    def exit(self, kind: type[BaseException] | None) -> None:
        self.ws.__exit__(kind, None, None)

    def recv(self, timeout: float = PATIENCE) -> Any:
        return self.ws.recv(timeout)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.ws)

    def each(self, take: Callable[[Any], bool]) -> None:
        for item in self.ws:
            if take(item):
                return


class Loop(Face):
    """`wskeeper` for asyncio, in a loop of its own."""

    kind = "asyncio"

    def __init__(self, endpoint: str, **options: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._turn = asyncio.Lock()
        self.ws = wskeeper.KeptWebSocket(endpoint, **options)

    def _run(self, work: Coroutine[Any, Any, Any]) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def open(self) -> None:
        try:
            self._run(self.ws.open()).result(PATIENCE)
        except BaseException:
            self.close(0)
            raise

    def close(self, timeout: float | None = None) -> None:
        self._run(self.ws.close(timeout)).result(PATIENCE)

    def exit(self, kind: type[BaseException] | None) -> None:
        self._run(self.ws.__aexit__(kind, None, None)).result(PATIENCE)

    def leave(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _when_there_is_room(self, call: Callable[[], asyncio.Future[Any]]) -> Future[Any]:
        async def work() -> Any:
            async with self._turn:
                await self.ws.drain()
                future = call()
            return await future

        return self._run(work())

    def send(self, data: Any, **options: Any) -> Future[wskeeper.Receipt]:
        return self._when_there_is_room(lambda: self.ws.send(data, **options))

    def request(self, data: Any, **options: Any) -> Future[wskeeper.Data]:
        return self._when_there_is_room(lambda: self.ws.request(data, **options))

    def subscribe(self, key: str, message: Any = None) -> Future[wskeeper.Subscription]:
        return self._when_there_is_room(lambda: self.ws.subscribe(key, message))

    def unsubscribe(self, key: str) -> Future[None]:
        return self._when_there_is_room(lambda: self.ws.unsubscribe(key))

    def recv(self, timeout: float = PATIENCE) -> Any:
        return self._run(self.ws.recv(timeout)).result(PATIENCE * 2)

    def events(self) -> Iterator[wskeeper.Event]:
        return self._steps(self.ws.events())

    def __iter__(self) -> Iterator[Any]:
        return self._steps(aiter(self.ws))

    def each(self, take: Callable[[Any], bool]) -> None:
        async def work() -> None:
            async for item in self.ws:
                if take(item):
                    return

        self._run(work()).result(PATIENCE * 2)

    def _steps(self, steps: Any) -> Iterator[Any]:
        while True:
            try:
                yield self._run(steps.__anext__()).result(PATIENCE)
            except StopAsyncIteration:
                return


FACES: tuple[type[Threads] | type[Loop], ...] = (Threads, Loop)
