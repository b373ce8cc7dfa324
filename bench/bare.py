"""The least that Python can do: a list, a loop, a list. No jobs, no deadlines, no books."""

from __future__ import annotations

import socket
from typing import Any

import hiredis

_CHUNK = 65_536


class BareLink:
    """A unix socket to Redis with hiredis on both directions, and nothing else."""

    def __init__(self, path: str, password: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        self._reader = hiredis.Reader()
        self.call(("AUTH", password))

    def call(self, *commands: tuple[Any, ...]) -> Any:
        """Sends the commands in one write; returns the answer to the last of them."""
        self._socket.sendall(b"".join(hiredis.pack_command(command) for command in commands))
        answer = None
        for _ in commands:
            while (answer := self._reader.gets()) is False:
                self._reader.feed(self._socket.recv(_CHUNK))
        return answer


def serve(link: BareLink) -> None:
    """Answers `bare:queue` until it is ended."""
    while True:
        _, message = link.call(("BLPOP", "bare:queue", 0))
        job_id, _, question = message.partition(b" ")
        key = b"bare:reply:" + job_id
        link.call(("RPUSH", key, question), ("EXPIRE", key, 60))


def ask(link: BareLink, job_id: str, question: str) -> Any:
    """One question; push and wait go out in one write."""
    key = f"bare:reply:{job_id}"
    return link.call(
        ("RPUSH", "bare:queue", f"{job_id} {question}"),
        ("BLPOP", key, 5),
    )[1]
