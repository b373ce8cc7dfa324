"""Reads one mailbox for all who wait at it, and hands each reply to the one with its id."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from redis.exceptions import OutOfMemoryError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from enqueue_api import outcome
from enqueue_api.async_link import AsyncLink
from enqueue_api.mailbox import Mailbox
from enqueue_api.question import Question
from enqueue_api.waiting import LOOK_EACH_S, RECONNECT_PAUSE_S, job_exists
from resident import protocol
from resident.link import Word
from resident.redis_client import SOCKET_TIMEOUT_S, may_pass

#: How long one read may block in Redis, in seconds; nobody waits for its end.
_BLOCK_S = 5.0
#: How long it may go on when there is reason to think that its connection is dead.
_DOUBTED_S = 1.0


class Delivery:
    """As long as somebody waits, it reads; a lost connection is opened again meanwhile.

    Attributes:
        trouble: Why it cannot read at the moment, if so.
    """

    def __init__(self, link: AsyncLink, ask_again: Callable[[Question], Awaitable[bool]]) -> None:
        """Takes what asks a question again that Redis has forgotten: whether it is there now."""
        self._link = link
        self._ask_again = ask_again
        self._was_lost = False
        self._asked: dict[str, Question] = {}
        self._mailbox = Mailbox()
        self._waiting: dict[str, asyncio.Future[bytes]] = {}
        self._is_wanted = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None
        self._patience: asyncio.Timeout | None = None
        self._look: asyncio.Task[RedisError | None] | None = None
        self.trouble: RedisError | None = None

    @property
    def key(self) -> str:
        """What a question names as the place for its reply."""
        return self._mailbox.key

    def expect(self, job_id: str) -> asyncio.Future[bytes]:
        """The reply to a question that will be asked; `forget` it in the end."""
        reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[job_id] = reply
        self._is_wanted.set()
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())
        return reply

    def note(self, one: Question) -> None:
        """It was asked, so that from now on Redis has it or has forgotten it."""
        self._asked[one.id] = one

    def forget(self, job_id: str) -> None:
        """Nobody waits for it any more."""
        self._asked.pop(job_id, None)
        reply = self._waiting.pop(job_id)
        if not reply.cancel() and not reply.cancelled():
            reply.exception()  # which may be nobody's by now
        if not self._waiting:
            self._is_wanted.clear()

    async def last_look(self, job_id: str, link: AsyncLink) -> bytes | None:
        """Looks over another connection for the reply that its own, maybe dead, did not bring.

        Errors worth catching: redis.exceptions.RedisError.
        """
        reply = self._waiting[job_id] = asyncio.get_running_loop().create_future()
        if self._look is None or self._look.done():  # one is enough for all whose time is over
            self._look = asyncio.create_task(self._look_by(link))
        error = await asyncio.shield(self._look)
        if error is not None and not reply.done():
            raise error
        return reply.result() if reply.done() else None

    def doubt(self) -> None:
        """There is reason to think that its connection is dead: it soon takes another."""
        soon = asyncio.get_running_loop().time() + _DOUBTED_S
        if self._patience is not None and (self._patience.when() or 0) > soon:
            self._patience.reschedule(soon)

    async def close(self) -> None:
        """Stops reading; who waits still is told so."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
            self._reading = None
        self._fail(outcome.ClientClosed())
        self._mailbox.start_over()  # what was read last must not be taken out of what comes next
        await self._link.close()

    async def _read(self) -> None:
        while True:
            if not self._is_wanted.is_set():
                self._take_out()
            await self._is_wanted.wait()
            try:
                if self._was_lost:
                    self._was_lost = not await self._are_there()
                    self.trouble = None
                # Those that are not let in yet are asked again soon; the others read on meanwhile.
                await self._read_once(RECONNECT_PAUSE_S if self._was_lost else _BLOCK_S)
                self.trouble = None
            except RedisError as error:
                self._start_over(error)
                jitter = random.uniform(0.5, 1)  # noqa: S311
                await asyncio.sleep(RECONNECT_PAUSE_S * jitter)

    async def _read_once(self, block_s: float) -> None:
        commands = self._mailbox.commands(f"{block_s:.3f}")
        answers = await self._answers_to(commands, block_s + SOCKET_TIMEOUT_S)
        replies = self._mailbox.read(answers[-1])
        self._hand_out(replies)
        if isinstance(answers[-2], OutOfMemoryError) and not replies:
            await asyncio.sleep(LOOK_EACH_S)

    def _take_out(self) -> None:
        """At once, as nobody knows when the next read comes."""
        commands = self._mailbox.take_out()
        if commands and self._link.is_open:  # else they are read again
            self._link.call_all(commands)

    async def _are_there(self) -> bool:
        """Asks those again of which there is neither a job nor, looked for after it, a reply."""
        asked = [*self._asked.values()]
        commands = [*(job_exists(one.id) for one in asked), self._mailbox.look()]
        *exist, payloads = await self._answers_to(commands, SOCKET_TIMEOUT_S)
        self._hand_out(self._mailbox.replies_in(payloads))
        lost = [
            one
            for one, exists in zip(asked, exist, strict=True)
            if not exists and one.id in self._waiting and not self._waiting[one.id].done()
        ]
        async with _answering_within(SOCKET_TIMEOUT_S):
            return all(await asyncio.gather(*map(self._ask_again, lost)))

    async def _answers_to(self, commands: list[tuple[Word, ...]], within_s: float) -> list[Any]:
        """The answers, that of a Redis which is full and refuses to block among them."""
        try:
            async with _answering_within(within_s) as self._patience:
                answers = await self._link.call_all(commands)
        finally:
            self._patience = None
        for answer in answers:
            if isinstance(answer, RedisError) and not isinstance(answer, OutOfMemoryError):
                raise answer
        return answers

    async def _look_by(self, link: AsyncLink) -> RedisError | None:
        try:
            payloads = self._mailbox.replies_in(await link.call(*self._mailbox.look()))
        except RedisError as error:
            return error
        if self._hand_out(payloads):
            self.doubt()
        return None

    def _hand_out(self, payloads: list[bytes]) -> int:
        """How many of them somebody waited for."""
        handed = 0
        for payload in payloads:
            reply = self._waiting.get(protocol.id_in_reply(payload))
            if reply is not None and not reply.done():
                reply.set_result(payload)
                handed += 1
        return handed

    def _start_over(self, error: RedisError) -> None:
        self.trouble = error
        self._was_lost = True
        self._mailbox.start_over()
        self._link.drop(error)
        if not may_pass(error):
            self._fail(error)

    def _fail(self, error: RedisError) -> None:
        for job_id, reply in self._waiting.items():
            if not reply.done():
                reply.set_exception(outcome.fault_of_redis(error, job_id))


@asynccontextmanager
async def _answering_within(seconds: float) -> AsyncIterator[asyncio.Timeout]:
    try:
        async with asyncio.timeout(seconds) as patience:
            yield patience
    except TimeoutError:
        msg = "it did not answer"
        raise RedisTimeoutError(msg) from None
