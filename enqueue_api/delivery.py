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
            await self._is_wanted.wait()
            try:
                if self._was_lost:
                    self._was_lost = not await self._are_there()
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
        async with _answering_within(within_s):
            answers = await self._link.call_all(commands)
        for answer in answers:
            if isinstance(answer, RedisError) and not isinstance(answer, OutOfMemoryError):
                raise answer
        return answers

    def _hand_out(self, payloads: list[bytes]) -> None:
        for payload in payloads:
            reply = self._waiting.get(protocol.id_in_reply(payload))
            if reply is not None and not reply.done():
                reply.set_result(payload)

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
async def _answering_within(seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        msg = "it did not answer"
        raise RedisTimeoutError(msg) from None
