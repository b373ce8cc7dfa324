"""A Redis that is far away: hands everything on some milliseconds later, in both directions."""

from __future__ import annotations

import select
import socket
import tempfile
import threading
import time
from collections import deque
from pathlib import Path
from types import TracebackType
from urllib.parse import quote, urlsplit, urlunsplit

from bench.load import connect, received

_LOOK_S = 0.05


class Far:
    """Listens at `url` for a Redis elsewhere; each way takes so many seconds longer."""

    def __init__(self, url: str, each_way_s: float) -> None:
        self._redis = url
        self._each_way_s = each_way_s
        self._folder = tempfile.TemporaryDirectory(prefix="far-")
        path = Path(self._folder.name) / "s"
        parts = urlsplit(url)
        login, at, _ = parts.netloc.rpartition("@")
        self.url = urlunsplit(("unix", login + at, quote(str(path)), parts.query, ""))
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        #: Each end of a connection by its other end.
        self._ends: dict[socket.socket, socket.socket] = {}
        #: When to hand on what to whom; nothing to say means to hang up.
        self._due: deque[tuple[float, socket.socket, bytes]] = deque()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Far:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        for end in (self._listener, *self._ends):
            end.close()
        self._folder.cleanup()

    def _serve(self) -> None:
        while not self._over.is_set():
            patience_s = self._due[0][0] - time.perf_counter() if self._due else _LOOK_S
            ends = [self._listener, *self._ends]
            for end in select.select(ends, (), (), min(max(patience_s, 0.0), _LOOK_S))[0]:
                self._accept() if end is self._listener else self._hear(end)
            while self._due and self._due[0][0] <= time.perf_counter():
                self._hand_on(*self._due.popleft()[1:])

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        far = connect(self._redis)
        self._ends |= {near: far, far: near}

    def _hear(self, end: socket.socket) -> None:
        try:
            data = received(end)
        except ConnectionError:
            data = b""
        other = self._ends[end]
        if not data:
            end.close()
            del self._ends[end]
        self._due.append((time.perf_counter() + self._each_way_s, other, data))

    def _hand_on(self, end: socket.socket, data: bytes) -> None:
        if end not in self._ends:
            return  # it hung up meanwhile
        try:
            if data:
                end.sendall(data)
            else:
                end.shutdown(socket.SHUT_RDWR)  # so that it is heard to hang up, and closed
        except OSError:
            end.close()
            self._ends.pop(end, None)
