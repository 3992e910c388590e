"""The few questions that are asked by HTTP: requests as bytes, and answers out of bytes.

A WebSocket library has no plain requests. These are `GET`s of JSON, each on a connection of its own.
"""

from __future__ import annotations

import io
import json
from http.client import HTTPException, HTTPResponse
from typing import Any, cast

from ._address import Address
from ._errors import ProblemError, ProtocolError
from ._types import Problem

LONGEST = 16 << 20
"""Bytes of an answer."""


class _Arrived:
    """What `http.client` reads in place of a socket."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def makefile(self, _mode: str) -> io.BytesIO:
        return self._file


def request(address: Address, *segments: str) -> bytes:
    """A request, to be followed by the end of the connection."""
    headers = {"Host": address.authority, "Connection": "close", "Accept": "application/json", **address.headers()}
    lines = [f"GET {address.target(*segments)} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("ascii")


def answer(data: bytes) -> dict[str, Any]:
    """The JSON of a whole answer. An answer other than 200 is a problem."""
    response = HTTPResponse(cast(Any, _Arrived(data)))
    try:
        response.begin()
        body = response.read()
    except (HTTPException, OSError, ValueError) as error:
        raise ProtocolError(f"the answer is not HTTP: {error!r}") from error
    if response.status != 200:
        raise ProblemError(read_problem(response.status, body))
    try:
        found = json.loads(body)
    except ValueError as error:
        raise ProtocolError(f"the answer is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise ProtocolError("the answer is not an object")
    return found


def read_problem(status: int, body: bytes | bytearray | None) -> Problem:
    """The problem of an answer. Proxies answer in their own way."""
    try:
        problem = Problem.read(json.loads(body or b""))
    except ValueError:
        problem = Problem.read(None)
    if problem.status:
        return problem
    said = bytes(body or b"")[:200].decode(errors="replace").strip()
    return Problem(problem.type, f"HTTP {status}", status, said or "the answer says no more")
