"""Questions over HTTP for the load generator."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from urllib.parse import quote

from bench.load import Link, connect, received
from bench.peer import QUESTION, check


class HttpLink:
    """Asks over HTTP, and keeps the connection for as long as the server does."""

    def __init__(self, url: str, request: bytes, check: Callable[[bytes], object]) -> None:
        self._url = url
        self._request = request
        self._check = check
        self._socket: socket.socket | None = None
        self._received = b""
        self.batch = 0

    def begin(self) -> None:
        """Sends the question, over a new connection if the server has closed the last."""
        self._received = b""
        if self._socket is None:
            self._socket = connect(self._url)
        self._socket.sendall(self._request)

    def feed(self) -> bool:
        """Reads what is there; whether the body is complete."""
        assert self._socket is not None
        self._received += received(self._socket)
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found:
            return False
        length, keeps_open = _read_head(head)
        if len(body) < length:
            return False
        self._check(body)
        if not keeps_open:
            self.close()
        return True

    def fileno(self) -> int:
        """The socket's; -1 between two connections."""
        return self._socket.fileno() if self._socket else -1

    def close(self) -> None:
        """Hangs up."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def echo_links(callers: int) -> list[Link]:
    """Ask `GET /deal?question=` as a browser would, and take the question for the answer."""
    path = f"/deal?question={quote(QUESTION)}"
    request = f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()

    def is_right(body: bytes) -> None:
        check(body.decode())

    return [HttpLink(os.environ["BENCH_URL"], request, is_right) for _ in range(callers)]


def _read_head(head: bytes) -> tuple[int, bool]:
    """The body's length, and whether the server keeps the connection."""
    status, *lines = head.split(b"\r\n")
    if status[9:12] != b"200":
        msg = f"answered with {status.decode(errors='replace')}"
        raise ValueError(msg)
    fields = {name.lower(): value.strip() for name, _, value in (x.partition(b":") for x in lines)}
    keeps_open = fields.get(b"connection", b"").lower() != b"close"
    return int(fields[b"content-length"]), keeps_open and status.startswith(b"HTTP/1.1")
