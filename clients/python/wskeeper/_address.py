"""Where the daemon is, and what is asked of it there."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

SERVICE = ("/run/wskeeper/api.sock", "/run/wskeeper.sock")
"""The sockets of the installed service."""

USUAL = "http://127.0.0.1:7700"
"""Where a daemon listens that was started by hand."""

VISIBLE = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True)
class Address:
    """Where the daemon's local API is."""

    host: str = "localhost"
    port: int = 80
    is_secure: bool = False
    prefix: str = ""
    """Before each path, if a proxy has put it there."""
    path: str | None = None
    """Of a unix socket."""
    token: str | None = field(default=None, repr=False)

    @classmethod
    def find(cls, api: str | None = None, token: str | None = None) -> Address:
        """As the command line finds it: `api`, else `WSKEEPER_API`, else the usual addresses; the token likewise."""
        text = api or os.environ.get("WSKEEPER_API") or _usual()
        token = token if token is not None else _token()
        if token and not VISIBLE.fullmatch(token):
            raise ValueError("the token has characters that a header cannot have")
        if text.startswith("unix:"):
            path = text.removeprefix("unix:")
            path = path[2:] if path.startswith("//") else path
            if not path:
                raise ValueError(f"{text!r} names no socket; write unix:/path/to/api.sock")
            return cls(path=path, token=token or None)
        return cls._of_url(text, token or None)

    @classmethod
    def _of_url(cls, text: str, token: str | None) -> Address:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        if (
            parts.scheme not in ("http", "https")
            or not parts.hostname
            or parts.query
            or parts.fragment
            or "@" in parts.netloc
        ):
            shown = text.rpartition("@")[2]
            raise ValueError(f"{shown!r} is not http://HOST:PORT, https://HOST or unix:/path/to/api.sock")
        is_secure = parts.scheme == "https"
        port = parts.port or (443 if is_secure else 80)
        return cls(parts.hostname, port, is_secure, parts.path.rstrip("/"), None, token)

    @property
    def authority(self) -> str:
        """Host and port, as in a URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.path is not None else f"{host}:{self.port}"

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        return f"{'https' if self.is_secure else 'http'}://{self.authority}{self.prefix}"

    def target(self, *segments: str, query: list[tuple[str, str]] | None = None) -> str:
        """The target of a request."""
        path = self.prefix + "/" + "/".join(quote(segment, safe="") for segment in segments)
        return f"{path}?{urlencode(query)}" if query else path

    def websocket(self, endpoint: str, query: list[tuple[str, str]]) -> str:
        """The URL of an endpoint's local WebSocket. It has no secret."""
        scheme = "wss" if self.is_secure else "ws"
        return f"{scheme}://{self.authority}" + self.target("v1", "endpoints", endpoint, "ws", query=query)

    def headers(self) -> dict[str, str]:
        """What each request brings."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}


def _usual() -> str:
    return next((f"unix:{path}" for path in SERVICE if Path(path).exists()), USUAL)


def _token() -> str:
    file = os.environ.get("WSKEEPER_TOKEN_FILE")
    if file:
        return Path(file).read_text(encoding="utf-8").strip()
    return os.environ.get("WSKEEPER_TOKEN", "").strip()
