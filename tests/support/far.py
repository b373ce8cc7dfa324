"""A Redis that is far away: a relay that hands everything on some milliseconds later."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

_CHUNK = 65_536


@contextlib.contextmanager
def far_from(socket: Path, path: Path, delay_s: float) -> Iterator[None]:
    """Listens on a path for a unix socket elsewhere; each direction takes so much longer."""
    relay = _Relay(socket, path, delay_s)
    thread = threading.Thread(target=lambda: asyncio.run(relay.serve()))
    thread.start()
    assert relay.is_up.wait(20)
    try:
        yield
    finally:
        relay.stop()
        thread.join(20)


class _Relay:
    """All of it lives in one event loop, which ends with everything that it opened."""

    def __init__(self, socket: Path, path: Path, delay_s: float) -> None:
        self.is_up = threading.Event()
        self._socket = socket
        self._path = path
        self._delay_s = delay_s
        self._writers: list[asyncio.StreamWriter] = []

    async def serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        server = await asyncio.start_unix_server(self._connect, self._path)
        self.is_up.set()
        await self._over.wait()
        server.close()
        for writer in self._writers:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_unix_connection(self._socket)
        self._writers += (writer, far_writer)
        await asyncio.gather(self._hand_on(reader, far_writer), self._hand_on(far_reader, writer))

    async def _hand_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Each chunk later by the delay, and none waits for the one before it to arrive."""
        with contextlib.suppress(ConnectionError):
            while chunk := await reader.read(_CHUNK):
                self._loop.call_later(self._delay_s, writer.write, chunk)
        self._loop.call_later(self._delay_s, writer.close)
