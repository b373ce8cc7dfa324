"""A load generator that costs little: one thread, epoll, and requests that are packed once.

A link is one connection with one question in flight. A request is a template in which only the
id changes, which is as long as the one before, so that lengths in the protocol stay true.
"""

from __future__ import annotations

import os
import random
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import unquote, urlsplit

_CHUNK = 65_536
#: An answer that takes longer than this has failed.
PATIENCE_S = 30.0
#: epoll waits in whole steps of this, rounded up; what is due sooner is waited for by looking.
_EPOLL_STEP_S = 0.001


class Link(Protocol):
    """One connection, one question in flight."""

    def begin(self) -> None:
        """Sends the next question."""

    def feed(self) -> bool:
        """Reads what is there; whether the answer is complete. Raises ValueError if wrong."""

    def fileno(self) -> int:
        """What to wait for; it may be another one after `begin`."""

    def close(self) -> None:
        """Hangs up."""

    batch: int


@dataclass
class Load:
    """What a load came to.

    Attributes:
        seconds: How long it was measured.
        times_ms: How long each answer took; in an open loop, since the question was due.
        batches: How many questions shared each answer's batch; 0 where nobody says.
    """

    seconds: float = 0.0
    times_ms: list[float] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.times_ms) / self.seconds if self.seconds else 0.0


class Ids:
    """Ids of 32 hex digits, as unique as chance makes half of them; cheap to make."""

    def __init__(self) -> None:
        self._prefix = os.urandom(8).hex()
        self._count = 0

    def next(self) -> bytes:
        """The next id."""
        self._count += 1
        return b"%s%016x" % (self._prefix.encode(), self._count)


class RedisLink:
    """Asks over a Redis connection: one write, several answers, the last of which is the reply.

    Args:
        url: Of Redis, unix:// or redis://.
        templates: Packed requests, used by turns, and the id that stands in each.
        answers: How many answers a request gets.
        check: Raises ValueError unless the last answer is right; returns the batch's size or 0.
        ids: Shared by all links.
    """

    def __init__(
        self,
        url: str,
        templates: Sequence[tuple[bytes, bytes]],
        answers: int,
        check: Callable[[object, bytes], int],
        ids: Ids,
    ) -> None:
        import hiredis  # not needed, and not everywhere, for HTTP

        self._templates = deque(templates)
        self._answers = answers
        self._check = check
        self._ids = ids
        self._id = b""
        self._missing = 0
        self._reader = hiredis.Reader()
        self._socket = connect(url)
        self.batch = 0
        password = unquote(urlsplit(url).password or "")
        if password:
            self._log_in(hiredis.pack_command(("AUTH", password)))  # type: ignore[arg-type]

    def begin(self) -> None:
        """Sends the next question."""
        template, placeholder = self._templates[0]
        self._templates.rotate(-1)
        self._id = self._ids.next()
        self._missing = self._answers
        self._socket.sendall(template.replace(placeholder, self._id))

    def feed(self) -> bool:
        """Reads what is there; whether the last answer came."""
        self._reader.feed(received(self._socket))
        while (answer := self._reader.gets()) is not False:
            if isinstance(answer, Exception):
                raise ValueError(str(answer))
            self._missing -= 1
            if not self._missing:
                self.batch = self._check(answer, self._id)
                return True
        return False

    def fileno(self) -> int:
        """The socket's."""
        return self._socket.fileno()

    def close(self) -> None:
        """Hangs up."""
        self._socket.close()

    def _log_in(self, request: bytes) -> None:
        self._socket.sendall(request)
        while (answer := self._reader.gets()) is False:
            self._reader.feed(received(self._socket))
        if isinstance(answer, Exception):
            raise answer


def ask(link: Link) -> float:
    """Asks one question and waits; returns how long that took, in ms."""
    began = time.perf_counter()
    link.begin()
    while not link.feed():
        pass
    return (time.perf_counter() - began) * 1000


def closed_loop(links: Sequence[Link], seconds: float, warm_up_s: float) -> Load:
    """Every link asks again as soon as it is answered; in the end all are at rest."""
    load = Load(seconds)
    with select.epoll() as epoll:
        _watch(links, epoll)
        busy = {_begin(link, epoll): (link, time.perf_counter()) for link in links}
        start = time.perf_counter() + warm_up_s
        while busy:
            for number in _ready(epoll):
                link, began = busy[number]
                if not link.feed():
                    continue
                del busy[number]
                now = time.perf_counter()
                if start < now <= start + seconds:
                    load.times_ms.append((now - began) * 1000)
                    load.batches.append(link.batch)
                if now <= start + seconds:
                    busy[_begin(link, epoll)] = (link, now)
    return load


def open_loop(links: Sequence[Link], rate: float, seconds: float) -> Load:
    """Questions fall due at random moments, `rate` a second, whether others are answered or not.

    With all links in use a question waits for one, and that counts into its time.
    """
    load = Load(seconds)
    idle, due = deque(links), deque(_moments(rate, seconds))
    busy: dict[int, tuple[Link, float]] = {}
    with select.epoll() as epoll:
        _watch(links, epoll)
        start = time.perf_counter()
        while due or busy:
            now = time.perf_counter() - start
            while due and idle and due[0] <= now:
                link = idle.popleft()
                busy[_begin(link, epoll)] = (link, due.popleft())
            patience_s = due[0] - now - _EPOLL_STEP_S if due and idle else PATIENCE_S
            for number, _ in epoll.poll(max(patience_s, 0.0)):
                link, since = busy[number]
                if link.feed():
                    load.times_ms.append((time.perf_counter() - start - since) * 1000)
                    load.batches.append(link.batch)
                    del busy[number]
                    idle.append(link)
    return load


def connect(url: str) -> socket.socket:
    """A stream socket to unix:///path, redis://host:port or http://host:port."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        stream = socket.socket(socket.AF_UNIX)
        stream.settimeout(PATIENCE_S)
        stream.connect(unquote(parts.path))
        return stream
    stream = socket.create_connection((parts.hostname or "", parts.port or 0), PATIENCE_S)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return stream


def _watch(links: Sequence[Link], epoll: select.epoll) -> None:
    for link in links:
        if link.fileno() >= 0:
            epoll.register(link.fileno(), select.EPOLLIN)


def _begin(link: Link, epoll: select.epoll) -> int:
    """Sends a question; a connection that was opened for it is watched from now on."""
    was_open = link.fileno() >= 0
    link.begin()
    if not was_open:
        epoll.register(link.fileno(), select.EPOLLIN)
    return link.fileno()


def _ready(epoll: select.epoll) -> list[int]:
    events = epoll.poll(PATIENCE_S)
    if not events:
        msg = f"no answer within {PATIENCE_S:.0f} s"
        raise TimeoutError(msg)
    return [number for number, _ in events]


def _moments(rate: float, seconds: float) -> list[float]:
    """When questions fall due: independent of each other, the same in every run."""
    chance = random.Random(rate)
    moments = [chance.expovariate(rate)]
    while moments[-1] < seconds:
        moments.append(moments[-1] + chance.expovariate(rate))
    return moments[:-1]


def received(stream: socket.socket) -> bytes:
    """What is there, at least one byte; ConnectionError if the other end hung up."""
    data = stream.recv(_CHUNK)
    if not data:
        msg = "the server hung up before it answered"
        raise ConnectionError(msg)
    return data
