"""Hears what a client sends to Redis, whatever it is made of."""

from __future__ import annotations

import selectors
import socket
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import hiredis

from bench.load import connect

_CHUNK = 65_536
_LOOK_S = 0.05


class Relay:
    """Passes one connection on to Redis; `url` is where a client shall connect."""

    def __init__(self, url: str) -> None:
        self._redis = url
        self._folder = tempfile.TemporaryDirectory(prefix="relay-")
        path = Path(self._folder.name) / "s"
        parts = urlsplit(url)
        login, at, _ = parts.netloc.rpartition("@")
        self.url = urlunsplit(("unix", login + at, quote(str(path)), "", ""))
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._heard = bytearray()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._pass_on)

    def __enter__(self) -> Relay:
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
        self._listener.close()
        self._folder.cleanup()

    def commands(self) -> list[tuple[bytes, ...]]:
        """All that was sent so far."""
        reader = hiredis.Reader()
        reader.feed(bytes(self._heard))
        heard: list[Any] = []
        while (command := reader.gets()) is not False:
            heard.append(tuple(command))
        return heard

    def _pass_on(self) -> None:
        self._listener.settimeout(_LOOK_S)
        while not self._over.is_set():
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            with client, connect(self._redis) as redis, selectors.DefaultSelector() as selector:
                selector.register(client, selectors.EVENT_READ, redis)
                selector.register(redis, selectors.EVENT_READ, client)
                self._pass_bytes(client, selector)

    def _pass_bytes(self, client: socket.socket, selector: selectors.BaseSelector) -> None:
        while not self._over.is_set():
            for key, _ in selector.select(_LOOK_S):
                source: Any = key.fileobj
                data = source.recv(_CHUNK)
                if not data:
                    return
                if source is client:
                    self._heard += data
                key.data.sendall(data)
