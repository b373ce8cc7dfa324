"""TCP relays between Redis and its clients, which can cut, refuse and slow what goes through."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from types import TracebackType
from urllib.parse import urlsplit, urlunsplit

_CHUNK = 65_536
_PATIENCE_S = 20.0


class Relay:
    """One way to Redis; `url` is where its clients connect. For the network's loop only."""

    def __init__(self, url: str) -> None:
        self.delay_s = 0.0
        self.is_refusing = False
        self._redis = urlsplit(url)
        self._ends: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.url = ""

    async def open(self) -> None:
        """Listens on a free port of 127.0.0.1."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        login, at, _ = self._redis.netloc.rpartition("@")
        self.url = urlunsplit(self._redis._replace(netloc=f"{login}{at}127.0.0.1:{port}"))

    def lead_to(self, url: str) -> None:
        """Resets all connections; whoever comes again reaches another Redis."""
        self._redis = urlsplit(url)
        self.cut()

    async def close(self) -> None:
        """Cuts everything and listens no more."""
        self.is_refusing = True
        if self._server:
            self._server.close()
        self.cut()

    def cut(self) -> None:
        """Resets all connections; what was on its way is gone."""
        for end in list(self._ends):
            end.transport.abort()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._connect(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_refusing:
            writer.transport.abort()
            return
        with contextlib.suppress(OSError):
            await self._relay(reader, writer)
        writer.transport.abort()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(
            self._redis.hostname, self._redis.port
        )
        self._ends |= {writer, far_writer}
        try:
            await asyncio.gather(
                self._hand_on(reader, far_writer), self._hand_on(far_reader, writer)
            )
        finally:
            self._ends -= {writer, far_writer}
            far_writer.transport.abort()

    async def _hand_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Each chunk later by the delay, in their order; the end of the one ends the other."""
        loop = asyncio.get_running_loop()
        chunks: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def write() -> None:
            while True:
                due, chunk = await chunks.get()
                if (left_s := due - loop.time()) > 0:
                    await asyncio.sleep(left_s)
                if not chunk:
                    break
                writer.write(chunk)
            writer.close()

        writing = asyncio.create_task(write())
        chunk = b"?"
        try:
            while chunk:
                chunk = await reader.read(_CHUNK)
                chunks.put_nowait((loop.time() + self.delay_s, chunk))
            await writing
        finally:
            writing.cancel()


class Network:
    """Some relays in a thread of their own, each a way to the same Redis."""

    def __init__(self, url: str, ways: int) -> None:
        self._relays = [Relay(url) for _ in range(ways)]
        self._is_up = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def __enter__(self) -> Network:
        self._thread.start()
        if not self._is_up.wait(_PATIENCE_S):
            msg = "the relays do not listen"
            raise RuntimeError(msg)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._call(lambda: self._over.set())
        self._thread.join(_PATIENCE_S)

    def url(self, way: int) -> str:
        """Where the clients of this way connect."""
        return self._relays[way].url

    def cut(self, way: int) -> None:
        """Resets all connections of a way."""
        self._call(self._relays[way].cut)

    def refuse(self, way: int, is_refusing: bool) -> None:
        """Takes no new connections until told otherwise; those that there are, are reset."""

        def change() -> None:
            self._relays[way].is_refusing = is_refusing
            if is_refusing:
                self._relays[way].cut()

        self._call(change)

    def lead_to(self, way: int, url: str) -> None:
        """Resets all connections of a way, and lets it lead to another Redis from now on."""
        self._call(lambda: self._relays[way].lead_to(url))

    def slow(self, way: int, delay_s: float) -> None:
        """Lets each byte take so much longer in each direction from now on."""

        def change() -> None:
            self._relays[way].delay_s = delay_s

        self._call(change)

    def _call(self, change: Callable[[], object]) -> None:
        self._loop.call_soon_threadsafe(change)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        for relay in self._relays:
            await relay.open()
        self._is_up.set()
        await self._over.wait()
        for relay in self._relays:
            await relay.close()
        await asyncio.sleep(0.05)  # for the relays to notice
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
