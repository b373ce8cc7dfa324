"""Ask from Python: `Client(url).ask("faq", "今天几点开门？").answer`."""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any

import msgspec
import redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from resident import asking, keys, protocol
from resident.asking import AskCode, Asked, Asking
from resident.errors import ErrorCode, TransportError, error_for
from resident.protocol import Answered
from resident.redis_client import SOCKET_TIMEOUT_S, Link, connect
from resident.settings import Settings, read_settings

#: A budget is at most a day; RQ's job timeouts and Redis' TTLs mean nothing beyond.
LONGEST_BUDGET_MS = 86_400_000
#: Between two tries to reach Redis again while waiting for a reply, in seconds.
RECONNECT_PAUSE_S = 0.05
#: To Redis, a block of 0 s lasts for ever.
SHORTEST_BLOCK_S = 0.001
#: So many questions go out in one write.
CHUNK = 500


class Client:
    """Asks resident tasks through Redis; safe to share between threads.

    Each question in flight takes a connection; they are kept and used again.
    """

    def __init__(self, redis: str | redis.Redis, settings: Settings | None = None) -> None:
        """Takes a Redis URL, or a redis-py client whose connection settings are used."""
        self._redis = connect(redis) if isinstance(redis, str) else redis
        self._settings = settings or read_settings()
        self._idle: deque[Link] = deque()  # its ends are safe to share

    def ask(
        self, task: str, question: Any, budget_ms: int | None = None, *, job_id: str | None = None
    ) -> Answered:
        """Asks one question and waits for its reply.

        Args:
            task: The task's name, such as "faq".
            question: What the task takes, usually a string; any JSON value.
            budget_ms: How long to wait in all; a question that is not begun by then never runs.
            job_id: An idempotency key, 1 to 64 of A-Z a-z 0-9 _ -. Whoever asks with the same
                key, anywhere, gets the same reply from one run of the model.

        Raises:
            CallerError: The question, the id, the budget or the task's name is wrong.
            OperatorError: No worker is ready, or the model failed.
            TryAgain: The task has too much to do, or the budget ran out (code `expired`).
            TransportError: Redis could not be reached, or refused us.
        """
        began = time.monotonic()
        protocol.check_task_name(task)
        budget_ms = check_budget(self._settings.budget_ms if budget_ms is None else budget_ms)
        data = protocol.encode_job_data(task, question, self._settings.max_question_bytes)
        is_own_id = job_id is not None
        job_id = protocol.new_id() if job_id is None else protocol.check_id(job_id)
        wait = Wait(keys.reply(job_id), began + budget_ms / 1000, keep=is_own_id)
        with self._link(job_id) as link:
            self._put(link, Asking(task, job_id, budget_ms, not is_own_id), data, wait)
            payload = wait.on(link, job_id)
        return _read_reply(payload, job_id, budget_ms)

    def submit_many(
        self, task: str, questions: Iterable[Any], budget_ms: int | None = None
    ) -> list[str]:
        """Asks many questions at once, and does not wait; `wait` fetches the reply to each.

        Nothing is sent unless all questions can be. If one is refused at the door, those before it
        may be on the queue, and run or expire like any other.

        Args:
            task: The task's name.
            questions: What the task takes, as for `ask`.
            budget_ms: How long each may wait for its turn.

        Returns:
            The id of each question, in their order.

        Raises:
            CallerError, OperatorError, TryAgain, TransportError: As `ask` does.
        """
        protocol.check_task_name(task)
        budget_ms = check_budget(self._settings.budget_ms if budget_ms is None else budget_ms)
        limit = self._settings.max_question_bytes
        datas = [protocol.encode_job_data(task, question, limit) for question in questions]
        jobs = [Asking(task, protocol.new_id(), budget_ms, is_new=True) for _ in datas]
        with self._link() as link:
            for start in range(0, len(jobs), CHUNK):
                chunk = slice(start, start + CHUNK)
                fields = [self._fields(task, data) for data in datas[chunk]]
                asked = asking.ask_many(link, jobs[chunk], fields)
                for job, one in zip(jobs[chunk], asked, strict=True):
                    if one.code < 0:
                        _refuse(link, job, one)
        return [job.id for job in jobs]

    def wait(self, job_id: str, budget_ms: int | None = None) -> Answered:
        """Waits for the reply to a question that was submitted; it can be fetched once.

        Raises:
            CallerError: The id or the budget is wrong.
            OperatorError: The model failed.
            TryAgain: There was no reply within the budget (code `expired`).
            TransportError: Redis could not be reached, or refused us.
        """
        began = time.monotonic()
        protocol.check_id(job_id)
        budget_ms = check_budget(self._settings.budget_ms if budget_ms is None else budget_ms)
        wait = Wait(keys.reply(job_id), began + budget_ms / 1000, keep=False)
        with self._link(job_id) as link:
            link.send_all([wait.command()])
            payload = wait.on(link, job_id)
        return _read_reply(payload, job_id, budget_ms)

    def tasks(self) -> list[str]:
        """The names of the tasks that ready workers serve now."""
        with self._link() as link:
            return _tasks_served(link)

    def ping(self) -> None:
        """Raises TransportError unless Redis answers."""
        with self._link() as link:
            _once_more(link, lambda: link.call("PING"))

    def close(self) -> None:
        """Closes the connections that are not in use."""
        while self._idle:
            with suppress(IndexError):
                self._idle.pop().close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _put(self, link: Link, job: Asking, data: bytes, wait: Wait) -> None:
        """Asks, and sends the wait along, so that it costs no round trip of its own."""
        fields = self._fields(job.task, data)
        # Safe to repeat: an id that may be there already is joined, not asked twice.
        tries = [msgspec.structs.replace(job, is_new=False), job]
        asked = _once_more(
            link, lambda: asking.ask(link, tries.pop(), fields, then=wait.command()), job.id
        )
        if asked.code < 0:
            link.close()  # it waits for a reply that will not come
            _refuse(link, job, asked)

    def _fields(self, task: str, data: bytes) -> dict[str, Any]:
        """What a caller writes of a job."""
        return {
            "data": data,
            "origin": task,
            "description": f"{protocol.function_name(task)}(…)",
            "failure_ttl": self._settings.failure_ttl,
            "success_callback_name": protocol.SUCCESS_CALLBACK,
            "failure_callback_name": protocol.FAILURE_CALLBACK,
        }

    @contextmanager
    def _link(self, job_id: str = "") -> Iterator[Link]:
        """A connection for one question; closed, not kept, if anything interrupts it."""
        try:
            link = self._idle.pop()
        except IndexError:
            link = Link(self._redis)
        try:
            yield link
        except RedisError as error:
            link.close()
            raise TransportError(f"Redis: {error}", job_id) from error
        except BaseException:
            link.close()
            raise
        self._idle.append(link)


class Wait:
    """Waits for one reply until a moment of the monotonic clock."""

    def __init__(self, key: str, deadline: float, *, keep: bool) -> None:
        self._key = key
        self._deadline = deadline
        self._keep = keep

    def command(self) -> tuple[Any, ...]:
        """The command that blocks until the reply is there, or until the deadline."""
        seconds = f"{max(self._left_s(), SHORTEST_BLOCK_S):.3f}"
        if self._keep:
            return ("BLMOVE", self._key, self._key, "LEFT", "LEFT", seconds)
        return ("BLPOP", self._key, seconds)

    def on(self, link: Link, job_id: str) -> bytes | None:
        """The reply, or None when the deadline has passed; the command has been sent once.

        Raises:
            TransportError: Redis was lost, and did not come back in time.
        """
        while True:
            try:
                reply = link.read(max(self._left_s(), 0.0) + SOCKET_TIMEOUT_S)
            except (RedisConnectionError, RedisTimeoutError) as lost:
                self._send_again(link, job_id, lost)
            else:
                return bytes(reply if self._keep else reply[1]) if reply else None

    def _send_again(self, link: Link, job_id: str, lost: RedisError) -> None:
        while (left_s := self._left_s()) > 0:
            link.close()
            time.sleep(min(RECONNECT_PAUSE_S * random.uniform(0.5, 1), left_s))  # noqa: S311
            try:
                link.send_all([self.command()])
            except (RedisConnectionError, RedisTimeoutError) as error:
                lost = error
            else:
                return
        raise TransportError(f"Redis was lost while waiting: {lost}", job_id) from lost

    def _left_s(self) -> float:
        return self._deadline - time.monotonic()


def check_budget(budget_ms: Any) -> int:
    """Returns the budget; raises CallerError (invalid_question) if it cannot be one."""
    is_int = isinstance(budget_ms, int) and not isinstance(budget_ms, bool)
    if not is_int or not 1 <= budget_ms <= LONGEST_BUDGET_MS:
        msg = f"A budget is a whole number of ms from 1 to {LONGEST_BUDGET_MS}, not {budget_ms!r}"
        raise error_for(ErrorCode.INVALID_QUESTION, msg)
    return int(budget_ms)


def _once_more(link: Link, call: Callable[[], Any], job_id: str = "") -> Any:
    """Calls; if the connection turns out to be dead, opens it and calls a second time."""
    try:
        return call()
    except (RedisConnectionError, RedisTimeoutError):
        link.close()
    try:
        return call()
    except RedisError as error:
        raise TransportError(f"Redis could not be reached: {error}", job_id) from error


def _read_reply(payload: bytes | None, job_id: str, budget_ms: int) -> Answered:
    if payload is None:
        msg = f"No answer within {budget_ms} ms"
        raise error_for(ErrorCode.EXPIRED, msg, job_id)
    try:
        return protocol.decode_reply(payload, job_id)
    except ValueError as error:
        raise TransportError(f"What came back is {error}", job_id) from error


def _refuse(link: Link, job: Asking, asked: Asked) -> None:
    if asked.code is AskCode.CONFLICT:
        msg = f"Another question was asked with the id {job.id!r}"
        raise error_for(ErrorCode.CONFLICT, msg, job.id)
    if asked.code is AskCode.TOO_LATE:
        msg = f"An answer of {job.task!r} takes {asked.waiting} ms now, longer than the budget"
        raise error_for(ErrorCode.OVERLOADED, msg, job.id)
    if asked.code is AskCode.OVERLOADED:
        msg = f"{asked.waiting} questions wait for {job.task!r} already; {asked.limit} are allowed"
        raise error_for(ErrorCode.OVERLOADED, msg, job.id)
    served = ", ".join(_tasks_served(link)) or "none"
    msg = f"No worker is ready for the task {job.task!r}. Tasks served now: {served}."
    raise error_for(ErrorCode.NO_WORKER, msg, job.id)


def _tasks_served(link: Link) -> list[str]:
    seconds, microseconds = link.call("TIME")
    now_ms = int(seconds) * 1000 + int(microseconds) // 1000
    names = link.call("ZRANGEBYSCORE", keys.TASKS, now_ms, "+inf")
    return sorted(name.decode(errors="replace") for name in names)
