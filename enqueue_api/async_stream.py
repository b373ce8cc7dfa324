"""The answer to one question as it comes, in a coroutine."""

from __future__ import annotations

import asyncio
import time
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from types import TracebackType
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError

from enqueue_api.async_link import AsyncLink
from enqueue_api.async_waiting import read_blocked, until_something
from enqueue_api.deadline import Deadline
from enqueue_api.question import Question
from enqueue_api.stream import (
    LEAVE_S,
    check_end,
    end_commands,
    leave_commands,
    still_reading_commands,
)
from enqueue_api.waiting import payload_in
from resident import keys
from resident.errors import ErrorCode, ResidentError, TransportError, error_for
from resident.link import Word
from resident.protocol import Answered
from resident.reading import RENEW_S, StreamReader
from resident.redis_client import SOCKET_TIMEOUT_S


class AsyncStream(AsyncIterator[str]):
    """The deltas of one answer, for one coroutine: `async for delta in stream`.

    It holds a connection of its own until it ends or is closed. Whoever stops in the middle closes
    it (`async with`, `aclose`), and the worker stops at its next delta; a reader that has not read
    for 15 s, or whose coroutine is cancelled while it reads, is taken to have left, too. So is one
    that lets go of it, with a ResourceWarning: when that is noticed is Python's affair.

    Errors worth catching while reading: those of Client.ask. What came before is in `text`.
    """

    def __init__(
        self,
        question: Question,
        deadline: Deadline,
        links: tuple[AsyncLink, AsyncLink],
        give_back: Callable[[AsyncLink], None],
    ) -> None:
        """Takes a question that was asked.

        Args:
            question: What was asked.
            deadline: When the budget ends.
            links: One to read, this stream's alone, and one to say that it is left.
            give_back: What takes the first of them at the end.
        """
        self.id = question.id
        self._deadline = deadline
        self._link, self._asking = links
        self._give_back = give_back
        self._reader = StreamReader(question.id)
        self._renew_at = time.monotonic() + RENEW_S
        self._may_wait = True
        self._is_over = self._is_reading = self._was_lost = False
        self._loop = asyncio.get_running_loop()
        self._error: ResidentError | None = None

    @property
    def text(self) -> str:
        """What came so far."""
        return self._reader.text

    async def answer(self) -> Answered:
        """The reply with the whole answer; reads what is left of the stream first.

        Raises:
            ResidentError: The one that ended the stream; TryAgain (cancelled) if it was closed.
        """
        async for _ in self:
            pass
        if self._error is not None:
            raise self._error
        if self._reader.answered is None:
            raise self._closed()
        return self._reader.answered

    async def aclose(self) -> None:
        """Leaves; what has not come yet will not, and who reads it is told so (cancelled)."""
        if not self._is_over:
            said = self._leave(is_broken=self._is_reading)  # the read's answer is still to come
            patience_s = min(max(self._deadline.patience_s, LEAVE_S), SOCKET_TIMEOUT_S)
            await asyncio.wait([said], timeout=patience_s)

    def __del__(self) -> None:
        if self._is_over:
            return
        with suppress(RuntimeError):  # the loop is closed, and the connections with it
            if _is_running(self._loop):
                self._leave_if_connected()
            else:  # the collector runs in any thread
                self._loop.call_soon_threadsafe(self._leave_if_connected)
        msg = f"The stream {self.id} was dropped before its end; close it, or read it in async with"
        warnings.warn(msg, ResourceWarning, source=self, stacklevel=2)

    def __aiter__(self) -> AsyncStream:
        return self

    async def __anext__(self) -> str:
        if self._is_over:
            raise StopAsyncIteration
        if self._is_reading:
            msg = "This stream is read by another coroutine already"
            raise RuntimeError(msg)
        try:
            delta = await self._next_alone()
        except TransportError as error:  # what Redis holds of this stream expires
            self._error = error
            self._end(is_broken=True)
            raise
        except ResidentError as error:
            self._error = error
            await self.aclose()
            raise
        except BaseException:  # what comes to this read is lost, so there is no other one
            self._break_off()
            raise
        if self._reader.answered is not None:
            await self.aclose()
        if not delta:
            raise StopAsyncIteration
        return delta

    async def __aenter__(self) -> AsyncStream:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def _next_alone(self) -> str:
        self._is_reading = True
        try:
            return await self._next()
        finally:
            self._is_reading = False
            if self._is_over:  # it was closed meanwhile
                self._give_back(self._link)

    async def _next(self) -> str:
        payload = await until_something(self._link, self._deadline, self._read, self.id)
        if payload is None:
            msg = f"The answer did not end within {self._deadline.budget_ms} ms"
            raise error_for(ErrorCode.EXPIRED, msg, self.id)
        self._may_wait = False
        try:
            return self._reader.read(payload)
        except ValueError as error:
            raise TransportError(f"What came back is {error}", self.id) from error

    async def _read(self) -> bytes | None:
        """What comes next, or None when it is time to say again that somebody reads."""
        if self._is_over:
            raise self._closed()
        if self._was_lost:
            look = end_commands(self.id)
            end = [await read_blocked(self._link, [one], self._deadline) for one in look]
            check_end(self.id, *end)
        self._was_lost = True
        payload = await self._read_next()
        self._was_lost = False
        return payload

    async def _read_next(self) -> bytes | None:
        is_due = time.monotonic() >= self._renew_at
        block_s = min(float(self._deadline.block_s), RENEW_S)
        commands: list[tuple[Word, ...]] = [
            *(still_reading_commands(self.id) if is_due else []),
            ("BLPOP", keys.reply(self.id), f"{block_s:.3f}"),
        ]
        popped = await read_blocked(self._link, commands, self._deadline)
        if is_due:
            self._renew_at = time.monotonic() + RENEW_S
        return payload_in(popped)

    def _leave(self, *, is_broken: bool = False) -> asyncio.Future[list[Any]]:
        """Says so without waiting for it, so that a cancelled coroutine can, too."""
        said = self._asking.call_all(leave_commands(self.id, may_wait=self._may_wait))
        self._end(is_broken=is_broken)
        return said

    def _break_off(self) -> None:
        if not self._is_over:
            self._leave(is_broken=True)

    def _leave_if_connected(self) -> None:
        if self._asking.is_open:  # else the client is closed, and is not to be opened again
            self._leave()

    def _end(self, *, is_broken: bool) -> None:
        if self._is_over:
            return
        self._is_over = True
        if is_broken:
            self._link.drop(RedisConnectionError("nobody reads any more"))
        if not self._is_reading:  # else who reads gives it back
            self._give_back(self._link)

    def _closed(self) -> ResidentError:
        return error_for(ErrorCode.CANCELLED, "This stream was closed before its end", self.id)


def _is_running(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether it is the one of this thread that runs."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False
