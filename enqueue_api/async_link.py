"""One connection to Redis on which any number of coroutines send; answers come in their order."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import suppress
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from enqueue_api.outcome import ClientClosed
from resident.link import Word, pack
from resident.redis_client import SOCKET_TIMEOUT_S, AsyncConnections, met_by_script

#: How long a connection may take to be closed, in seconds.
_CLOSING_S = 1.0


class _Exchange:
    """Commands that somebody sent together, and the answers so far."""

    def __init__(self, commands: int) -> None:
        self.sent_at = time.monotonic()
        self.answers: list[Any] = []
        self.done: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._commands = commands

    def add(self, answer: Any) -> bool:
        """Whether that was the last."""
        self.answers.append(answer)
        is_whole = len(self.answers) == self._commands
        if is_whole and not self.done.done():  # nobody may wait any more
            self.done.set_result(self.answers)
        return is_whole

    def fail(self, error: RedisError) -> None:
        if not self.done.done():
            self.done.set_exception(error)
            self.done.exception()  # nobody may want to know


class _Line:
    """One connection from its opening to its end."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._unsent: list[bytes] = []
        self._has_unsent = asyncio.Event()
        self._exchanges: deque[_Exchange] = deque()
        self.is_over = False

    @property
    def silent_since(self) -> float:
        """Since when it owes an answer."""
        return self._exchanges[0].sent_at if self._exchanges else time.monotonic()

    def send(self, commands: list[tuple[Word, ...]]) -> asyncio.Future[list[Any]]:
        exchange = _Exchange(len(commands))
        self._exchanges.append(exchange)
        self._unsent += [pack(command) for command in commands]
        self._has_unsent.set()
        return exchange.done

    def end(self, reason: RedisError) -> None:
        """Who waits for an answer gets the reason."""
        self.is_over = True
        for exchange in self._exchanges:
            exchange.fail(reason)
        self._exchanges.clear()

    async def live(self) -> None:
        sending: asyncio.Task[None] | None = None
        try:
            async with asyncio.timeout(SOCKET_TIMEOUT_S):
                await self._connection.connect()
            sending = asyncio.create_task(self._send_what_there_is())
            await self._read_answers()
        except RedisError as error:
            self.end(error)
        except (OSError, TimeoutError) as error:
            self.end(RedisConnectionError(str(error) or "it did not answer"))
        finally:
            self.end(RedisConnectionError("it broke off"))  # whatever it was: nobody hangs
            if sending is not None:
                sending.cancel()
            with suppress(RedisError, TimeoutError):
                async with asyncio.timeout(_CLOSING_S):
                    await self._connection.disconnect()

    async def _send_what_there_is(self) -> None:
        with suppress(RedisError):  # it ends the reading, too
            while True:
                await self._has_unsent.wait()
                self._has_unsent.clear()
                packed, self._unsent = b"".join(self._unsent), []
                await self._connection.send_packed_command([packed], check_health=False)

    async def _read_answers(self) -> None:
        while True:
            try:
                answer = await self._connection.read_response(disable_decoding=True)
            except ResponseError as error:
                answer = met_by_script(error)
            if self._exchanges and self._exchanges[0].add(answer):
                self._exchanges.popleft()


class AsyncLink:
    """Opens itself with the first command, and again with the next one after it was lost.

    What is sent before the event loop turns goes out in one write. Who stops waiting leaves
    nothing behind: its answer is read and dropped.
    """

    def __init__(self, connections: AsyncConnections, *first: tuple[Word, ...]) -> None:
        """Takes commands that go out first whenever it opens."""
        self._connections = connections
        self._first = list(first)
        self._line: _Line | None = None
        self._life: asyncio.Task[None] | None = None
        self._lives: set[asyncio.Task[None]] = set()

    @property
    def is_open(self) -> bool:
        """Whether there is a connection, or one is being opened."""
        return self._line is not None and not self._line.is_over

    async def call(self, *command: Word) -> Any:
        """Sends a command and returns its answer; raises it if it is an error."""
        (answer,) = await self.call_all([command])
        if isinstance(answer, Exception):
            raise answer
        return answer

    def call_all(self, commands: list[tuple[Word, ...]]) -> asyncio.Future[list[Any]]:
        """Sends commands; their answers come together, errors of Redis among them.

        Errors worth catching: redis.exceptions.ConnectionError and TimeoutError; it is not known
        then what Redis did.
        """
        if self._line is None or self._line.is_over:
            self._open()
        assert self._line is not None  # noqa: S101  (it was opened)
        return self._line.send(commands)

    def drop_if_silent(self) -> bool:
        """Drops a connection that owes an answer for longer than Redis may take; whether it did."""
        if not self._line or time.monotonic() - self._line.silent_since <= SOCKET_TIMEOUT_S:
            return False
        self.drop(RedisTimeoutError("it did not answer"))
        return True

    def drop(self, reason: RedisError) -> None:
        """Closes the connection; who waits for an answer gets the reason."""
        if self._line is not None and self._life is not None:
            self._line.end(reason)
            self._life.cancel()
        self._line = self._life = None

    async def close(self) -> None:
        """The same, and waits until the connection is closed."""
        self.drop(ClientClosed())
        await asyncio.gather(*self._lives, return_exceptions=True)

    def _open(self) -> None:
        self._line = _Line(self._connections.make())
        self._life = asyncio.create_task(self._line.live())
        self._lives.add(self._life)
        self._life.add_done_callback(self._lives.discard)
        if self._first:
            self._line.send(self._first)
