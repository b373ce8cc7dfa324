"""Ask from asyncio: `async with AsyncClient(url) as client: await client.ask("faq", "…")`."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from types import TracebackType
from typing import Any, TypeVar
from weakref import WeakSet

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from enqueue_api import outcome
from enqueue_api.async_link import AsyncLink
from enqueue_api.async_stream import AsyncStream
from enqueue_api.async_waiting import kept_reply
from enqueue_api.deadline import Deadline, check_budget
from enqueue_api.delivery import Delivery
from enqueue_api.many import Many
from enqueue_api.outcome import Outcome
from enqueue_api.question import Question
from enqueue_api.stream import leave_commands, reading_command
from resident import asking, protocol
from resident.asking import CancelCode, Priority
from resident.errors import ResidentError, TransportError
from resident.link import Word
from resident.protocol import Answered
from resident.redis_client import SOCKET_TIMEOUT_S, AsyncConnections
from resident.settings import Settings, read_settings

T = TypeVar("T")

#: How long `cancel`, `tasks` and `ping` may take.
_LOOK_MS = int(SOCKET_TIMEOUT_S * 1000)
#: How long streams may take to leave when the client is closed, in seconds.
_FAREWELL_S = 1.0
#: So many connections are kept of those on which single coroutines have waited.
_MOST_IDLE = 8


class AsyncClient:
    """Asks resident tasks through Redis, for the coroutines of one event loop.

    Any number of questions in flight share two connections: one asks, the other waits at a
    mailbox. Only where a reply is for others too (an id of one's own, and `wait`) or comes in
    deltas does a waiting coroutine take a connection for itself. A lost connection is opened again
    and the wait goes on, within each budget. A coroutine that is cancelled leaves nothing behind:
    its question is taken back, unless it had an id of one's own, whose answer others may want.

    The methods are those of `enqueue_api.client.Client`, with the same outcomes. A loop that was
    closed may be followed by another (`asyncio.run` once more); in two that run it is a
    RuntimeError.
    """

    def __init__(self, redis_url: str, settings: Settings | None = None) -> None:
        """Raises ConfigurationError if the URL cannot be read; connects with the first question."""
        self._settings = settings or read_settings()
        self._connections = AsyncConnections(redis_url)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._start_over()

    async def ask(
        self,
        task: str,
        question: Any,
        budget_ms: int | None = None,
        *,
        job_id: str | None = None,
        priority: str = Priority.NORMAL,
        tenant: str = "",
    ) -> Answered:
        """Asks one question and waits for its reply; as `Client.ask`."""
        deadline = self._begin(budget_ms)
        lane = asking.lane_of(priority, tenant)
        one = Question.of(self._settings, task, question, deadline.budget_ms, job_id, lane=lane)
        return await self._ask(one, deadline)

    async def submit(
        self,
        task: str,
        question: Any,
        budget_ms: int | None = None,
        *,
        job_id: str | None = None,
        priority: str = Priority.NORMAL,
        tenant: str = "",
    ) -> str:
        """Asks one question and does not wait; as `Client.submit`."""
        deadline = self._begin(budget_ms)
        lane = asking.lane_of(priority, tenant)
        one = Question.of(self._settings, task, question, deadline.budget_ms, job_id, lane=lane)
        try:
            await self._put(one, deadline)
        except asyncio.CancelledError:
            if not one.is_shared:  # else its id is known
                self._withdraw(one.id)
            raise
        return one.id

    async def wait(self, job_id: str, budget_ms: int | None = None) -> Answered:
        """Waits for the reply to a question that was submitted anywhere; as `Client.wait`."""
        deadline = self._begin(budget_ms)
        return await self._wait_apart(protocol.check_id(job_id), deadline)

    async def ask_many(
        self,
        task: str,
        questions: Iterable[Any],
        budget_ms: int | None = None,
        *,
        priority: str = Priority.NORMAL,
        tenant: str = "",
    ) -> list[Outcome]:
        """Asks many questions at once and waits for all replies; as `Client.ask_many`."""
        deadline = self._begin(budget_ms)
        lane = asking.lane_of(priority, tenant)
        many = Many.of(self._settings, task, questions, deadline.budget_ms, lane=lane)
        outcomes = await asyncio.gather(*[self._outcome(one, deadline) for one in many.good])
        many.note({one.id: came for one, came in zip(many.good, outcomes, strict=True)})
        return many.outcomes()

    async def stream(
        self,
        task: str,
        question: Any,
        budget_ms: int | None = None,
        *,
        priority: str = Priority.NORMAL,
        tenant: str = "",
    ) -> AsyncStream:
        """Asks one question whose answer is read as it comes; as `Client.stream`."""
        deadline = self._begin(budget_ms)
        lane = asking.lane_of(priority, tenant)
        one = Question.of(self._settings, task, question, deadline.budget_ms, lane=lane)

        async def say() -> None:  # before the question, else a quick worker would find nobody
            await self._link.call(*reading_command(one.id))

        try:
            await self._within(deadline, one.id, lambda: self._once_more(deadline, say))
            await self._put(one, deadline, is_read=True)
        except TransportError:
            raise  # what Redis holds of this stream expires
        except BaseException:  # a coroutine that is cancelled does not know whether it was asked
            self._link.call_all(leave_commands(one.id, may_wait=True))
            raise
        stream = AsyncStream(one, deadline, (self._borrow(), self._link), self._give_back)
        self._streams.add(stream)
        return stream

    async def submit_many(
        self,
        task: str,
        questions: Iterable[Any],
        budget_ms: int | None = None,
        *,
        priority: str = Priority.NORMAL,
        tenant: str = "",
    ) -> list[str]:
        """Asks many questions at once, and does not wait; as `Client.submit_many`."""
        deadline = self._begin(budget_ms)
        protocol.check_task_name(task)
        lane = asking.lane_of(priority, tenant)
        good = [
            Question.of(self._settings, task, question, deadline.budget_ms, lane=lane)
            for question in questions
        ]
        puts = [self._put(one, deadline) for one in good]
        try:
            errors = await asyncio.gather(*puts, return_exceptions=True)
        except asyncio.CancelledError:
            self._withdraw(*(one.id for one in good))
            raise
        for error in errors:
            if error is not None:
                raise error
        return [one.id for one in good]

    async def cancel(self, job_id: str) -> bool:
        """Takes a question back; as `Client.cancel`."""
        deadline = self._begin(_LOOK_MS)
        command = self._cancelling(protocol.check_id(job_id), protocol.new_id())

        async def cancel() -> CancelCode:
            return CancelCode(await self._run(command, asking.LOAD_CANCEL))

        done = await self._within(deadline, job_id, lambda: self._once_more(deadline, cancel))
        return done is not CancelCode.NOTHING

    async def tasks(self) -> list[str]:
        """The names of the tasks that ready workers serve now."""
        deadline = self._begin(_LOOK_MS)
        return await self._within(deadline, "", self._tasks_served)

    async def ping(self) -> None:
        """Raises TransportError unless Redis answers."""
        deadline = self._begin(_LOOK_MS)
        await self._within(deadline, "", lambda: self._link.call("PING"))

    async def close(self) -> None:
        """Closes all streams and connections.

        Who waits for a reply still gets a TransportError, who reads a stream TryAgain (cancelled).
        """
        if self._loop is not None and self._loop.is_closed():  # its connections went with it
            self._start_over()
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL_S):
                await asyncio.gather(*[stream.aclose() for stream in [*self._streams]])
        if self._delivery is not None:
            await self._delivery.close()
        for link in (self._link, *self._idle, *self._lent):
            await link.close()
        self._idle.clear()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def _begin(self, budget_ms: int | None) -> Deadline:
        """Of each call; the deadline is its, in the loop that runs."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            if self._loop is not None and not self._loop.is_closed():
                msg = "This AsyncClient is used in another event loop; make one for each loop"
                raise RuntimeError(msg)
            self._start_over()
            self._loop = loop
        return Deadline(check_budget(self._settings.budget_ms if budget_ms is None else budget_ms))

    def _start_over(self) -> None:
        """Without connections; those of a loop that was closed went with it."""
        self._link = AsyncLink(self._connections, asking.LOAD, asking.LOAD_CANCEL)
        self._delivery: Delivery | None = None
        self._idle: deque[AsyncLink] = deque()
        self._lent: set[AsyncLink] = set()
        self._streams: WeakSet[AsyncStream] = WeakSet()

    async def _outcome(self, one: Question, deadline: Deadline) -> Outcome:
        try:
            return await self._ask(one, deadline)
        except ResidentError as error:
            return error

    async def _ask(self, one: Question, deadline: Deadline) -> Answered:
        if one.is_shared:
            await self._put(one, deadline)
            return await self._wait_apart(one.id, deadline, lambda: self._put_again(one))
        if self._delivery is None:
            self._delivery = Delivery(AsyncLink(self._connections), self._put_again)
        reply = self._delivery.expect(one.id)
        try:
            await self._put(one, deadline, self._delivery.key)
            self._delivery.note(one)
            async with asyncio.timeout(deadline.left_s):
                payload = await reply
        except TimeoutError:
            payload = await self._late_reply(one, deadline, self._delivery)
        except asyncio.CancelledError:
            self._withdraw(one.id)
            raise
        finally:
            self._delivery.forget(one.id)
        return outcome.answer_in(payload, one.id)

    def _withdraw(self, *job_ids: str) -> None:
        """Nobody waits for them any more, so they need not run; what Redis says is dropped."""
        if self._link.is_open and job_ids:
            self._link.call_all([self._cancelling(job_id) for job_id in job_ids])

    def _cancelling(self, job_id: str, token: str = "") -> tuple[Word, ...]:
        return asking.cancel_command(job_id, int(self._settings.reply_ttl_s * 1000), token)

    async def _late_reply(self, one: Question, deadline: Deadline, delivery: Delivery) -> bytes:
        """One that was not brought; raises why there is none: Redis is away, or nobody answered."""
        if delivery.trouble:
            raise outcome.lost(delivery.trouble, one.id) from None
        try:
            async with asyncio.timeout(deadline.patience_s):
                payload = await delivery.last_look(one.id, self._link)
        except (RedisError, TimeoutError) as error:
            self._drop_if_silent()
            raise outcome.lost(error, one.id) from None
        if payload is None:
            raise outcome.expired(one.budget_ms, one.id) from None
        return payload

    def _drop_if_silent(self) -> None:
        if self._link.drop_if_silent() and self._delivery is not None:
            self._delivery.doubt()

    async def _put(
        self, one: Question, deadline: Deadline, reply_to: str = "", *, is_read: bool = False
    ) -> None:
        """Asks; raises why not if it is not let in."""
        tries = [False, True]

        async def ask() -> asking.Asked:
            job = one.asking(is_first=tries.pop(), reply_to=reply_to, is_read=is_read)
            return asking.read_asked(await self._run(asking.command(job), asking.LOAD))

        asked = await self._within(deadline, one.id, lambda: self._once_more(deadline, ask))
        if asked.code < 0:
            raise outcome.refusal(one, asked, await self._tasks_to_name(asked, deadline))

    async def _put_again(self, one: Question) -> bool:
        """Joins the question if Redis has it, and else asks again; whether it is there then."""
        reply_to = self._delivery.key if self._delivery and not one.is_shared else ""
        job = one.asking(is_first=False, reply_to=reply_to)
        return asking.read_asked(await self._run(asking.command(job), asking.LOAD)).code > 0

    async def _run(self, command: tuple[Word, ...], load: tuple[Word, ...]) -> Any:
        """Runs a script, which somebody may have made Redis forget."""
        try:
            return await self._link.call(*command)
        except NoScriptError:
            await self._link.call(*load)
        return await self._link.call(*command)

    async def _once_more(self, deadline: Deadline, call: Callable[[], Awaitable[T]]) -> T:
        """Calls; if the connection turns out to be dead, opens it and calls a second time."""
        try:
            return await call()
        except (RedisConnectionError, RedisTimeoutError):
            if deadline.is_over:
                raise
        return await call()

    async def _within(self, deadline: Deadline, job_id: str, call: Callable[[], Awaitable[T]]) -> T:
        """Calls Redis on the asking connection; raises TransportError if that fails or lasts."""
        try:
            async with asyncio.timeout(deadline.patience_s):
                return await call()
        except TimeoutError:
            self._drop_if_silent()
            raise TransportError("Redis did not answer", job_id) from None
        except RedisError as error:
            raise outcome.fault_of_redis(error, job_id) from error

    async def _tasks_to_name(self, asked: asking.Asked, deadline: Deadline) -> list[str] | None:
        """The tasks that have ready workers, if the refusal names them and they can be had."""
        if not outcome.names_tasks(asked):
            return None
        with suppress(TransportError):
            return await self._within(deadline, "", self._tasks_served)
        return None

    async def _tasks_served(self) -> list[str]:
        time = await self._link.call("TIME")
        return outcome.tasks_in(await self._link.call(*outcome.query_for_tasks(time)))

    async def _wait_apart(
        self,
        job_id: str,
        deadline: Deadline,
        ask_again: Callable[[], Awaitable[bool]] | None = None,
    ) -> Answered:
        """Waits on a connection of its own, and leaves the reply to others."""
        link = self._borrow()
        try:
            payload = await kept_reply(link, job_id, deadline, ask_again)
        except BaseException:
            link.drop(RedisConnectionError("nobody waits any more"))
            raise
        finally:
            self._give_back(link)
        if payload is None:
            raise outcome.expired(deadline.budget_ms, job_id)
        return outcome.answer_in(payload, job_id)

    def _borrow(self) -> AsyncLink:
        """A connection for one coroutine."""
        link = self._idle.pop() if self._idle else AsyncLink(self._connections)
        self._lent.add(link)
        return link

    def _give_back(self, link: AsyncLink) -> None:
        self._lent.discard(link)
        if len(self._idle) < _MOST_IDLE:
            self._idle.append(link)
        else:
            link.drop(RedisConnectionError("nobody needs it"))
