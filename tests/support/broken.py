"""Something that takes connections like a Redis and then breaks in one of a few ways."""

from __future__ import annotations

import os
import signal
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

#: What it says to a command of these words before it breaks off; None: it goes on saying nothing.
_HALF_A_REPLY = b"*2\r\n$14\r\nresident:rep"
WAYS: dict[str, dict[bytes, bytes | None]] = {
    "says nothing": {b"": None},
    "breaks off the ask": {b"EVAL": b"*3\r\n:1\r\n", b"BL": b"*2\r\n$3\r\n"},
    "refuses without its numbers": {b"EVAL": b"*1\r\n:-2\r\n"},
    "breaks off the reply": {b"BL": _HALF_A_REPLY},
    "answers something else": {b"BL": b":7\r\n"},
}
#: Those that answer an ask, and spoil the reply.
REPLIES = ("breaks off the reply", "answers something else")
#: What a persistent connection of PHP may bring along: an answer that an earlier request left.
OLD_ANSWER = {b"ECHO": b"*2\r\n$3\r\nkey\r\n$3\r\nold\r\n"}
#: The same, of a command that was refused.
OLD_ERROR = b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"
_QUEUED = b"*3\r\n:1\r\n:0\r\n:0\r\n"


@contextmanager
def hung(pid: int) -> Iterator[None]:
    """A real Redis that takes connections, and does nothing until this is over."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


class Broken:
    """One of them, on a free port of 127.0.0.1."""

    def __init__(self, way: str) -> None:
        self._server = _Server(("127.0.0.1", 0), _Connection)
        has_old_error = way == "has an old error"
        self._server.greeting = OLD_ERROR if has_old_error else b""
        self._server.breaks = WAYS.get(way, {} if has_old_error else OLD_ANSWER)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._server.server_address[1]}/0"

    def __enter__(self) -> Broken:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join(20)
        self._server.server_close()


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    breaks: dict[bytes, bytes | None]
    greeting: bytes


class _Connection(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        try:
            self.request.sendall(self.server.greeting)
            while sent := self.request.recv(1_000_000):
                if not self._answer(sent):
                    return
        except ConnectionError:
            pass

    def _answer(self, sent: bytes) -> bool:
        """Answers what a client says of itself, and an ask; whether to go on."""
        for word, last in self.server.breaks.items():
            if word in sent:
                if last is None:
                    return True
                good = b"" if word in (b"EVAL", b"ECHO") else self._good(sent)
                self.request.sendall(good + last)
                return False
        self.request.sendall(self._good(sent))
        return True

    def _good(self, sent: bytes) -> bytes:
        ok = sum(sent.count(word) for word in (b"CLIENT\r\n", b"SCRIPT\r\n", b"PING\r\n"))
        echoes = b"".join(b"$%b\r\n" % part for part in sent.split(b"ECHO\r\n$")[1:])
        return echoes + b"+OK\r\n" * ok + _QUEUED * sent.count(b"EVALSHA\r\n")
