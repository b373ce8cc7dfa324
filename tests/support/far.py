"""A Redis that is far away: a relay that hands everything on some milliseconds later."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

_CHUNK = 65_536


@contextlib.contextmanager
def far_from(socket: Path, relay: Path, delay_s: float) -> Iterator[None]:
    """Listens on the path of a relay to a unix socket; each direction takes so much longer."""
    loop = asyncio.new_event_loop()
    stop = loop.create_future()
    is_up = threading.Event()

    async def serve() -> None:
        async def on_connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            there = await asyncio.open_unix_connection(socket)
            await asyncio.gather(
                hand_on(reader, there[1], delay_s), hand_on(there[0], writer, delay_s)
            )

        async with await asyncio.start_unix_server(on_connect, relay):
            is_up.set()
            await stop

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    is_up.wait(20)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stop.set_result, None)
        thread.join(20)


async def hand_on(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_s: float
) -> None:
    """Each chunk later by the delay, and none waits for the one before it to arrive."""
    loop = asyncio.get_running_loop()
    with contextlib.suppress(ConnectionError):
        while chunk := await reader.read(_CHUNK):
            loop.call_later(delay_s, writer.write, chunk)
    loop.call_later(delay_s, writer.close)
