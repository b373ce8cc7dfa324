"""Ask from Python: `Client(url).ask("faq", "今天几点开门？").answer`."""

from __future__ import annotations

import queue
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from resident import keys, protocol, scripts
from resident.errors import ErrorCode, TransportError, error_for
from resident.protocol import Answered
from resident.redis_client import Link, connect
from resident.scripts import AskCode, Asked
from resident.settings import Settings, read_settings

#: A budget is at most a day; RQ's job timeouts and Redis' TTLs mean nothing beyond.
LONGEST_BUDGET_MS = 86_400_000
#: Between two tries to reach Redis again while waiting for a reply, in seconds.
RECONNECT_PAUSE_S = 0.05


class Client:
    """Asks resident tasks through Redis; safe to share between threads.

    Each question in flight takes a connection; they are kept and used again.
    """

    def __init__(self, redis: str | redis.Redis, settings: Settings | None = None) -> None:
        """Takes a Redis URL, or a redis-py client whose connection settings are used."""
        self._redis = connect(redis) if isinstance(redis, str) else redis
        self._settings = settings or read_settings()
        self._idle: queue.LifoQueue[Link] = queue.LifoQueue()

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
        with self._link(job_id) as link:
            self._put(link, task, job_id, budget_ms, data)
            payload = _wait_for_reply(link, job_id, began + budget_ms / 1000, keep=is_own_id)
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
        while True:
            try:
                self._idle.get_nowait().close()
            except queue.Empty:
                return

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _put(self, link: Link, task: str, job_id: str, budget_ms: int, data: bytes) -> None:
        fields = {
            "data": data,
            "origin": task,
            "description": f"{protocol.function_name(task)}(…)",
            "failure_ttl": self._settings.failure_ttl,
            "success_callback_name": protocol.SUCCESS_CALLBACK,
            "failure_callback_name": protocol.FAILURE_CALLBACK,
        }
        # Safe to repeat: an id that is there already is joined, not asked twice.
        asked = _once_more(link, lambda: scripts.ask(link, task, job_id, budget_ms, fields), job_id)
        if asked.code < 0:
            _refuse(link, task, job_id, asked)

    @contextmanager
    def _link(self, job_id: str = "") -> Iterator[Link]:
        """A connection for one question; closed, not kept, if anything interrupts it."""
        try:
            link = self._idle.get_nowait()
        except queue.Empty:
            link = Link(self._redis)
        try:
            yield link
        except RedisError as error:
            link.close()
            raise TransportError(f"Redis: {error}", job_id) from error
        except BaseException:
            link.close()
            raise
        self._idle.put(link)


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


def _wait_for_reply(link: Link, job_id: str, deadline: float, *, keep: bool) -> bytes | None:
    """The reply, or None when the deadline has passed; reconnects meanwhile if it must."""
    key = keys.reply(job_id)
    lost: RedisError | None = None
    while (left_s := deadline - time.monotonic()) > 0:
        try:
            if keep:
                reply = link.call_blocking(left_s, "BLMOVE", key, key, "LEFT", "LEFT")
            else:
                reply = link.call_blocking(left_s, "BLPOP", key)
        except (RedisConnectionError, RedisTimeoutError) as error:
            lost = error
            link.close()
            time.sleep(min(RECONNECT_PAUSE_S * random.uniform(0.5, 1), left_s))  # noqa: S311
            continue
        lost = None
        if reply is not None:
            return bytes(reply if keep else reply[1])
    if lost is not None:
        raise TransportError(f"Redis was lost while waiting: {lost}", job_id) from lost
    return None


def _read_reply(payload: bytes | None, job_id: str, budget_ms: int) -> Answered:
    if payload is None:
        msg = f"No answer within {budget_ms} ms"
        raise error_for(ErrorCode.EXPIRED, msg, job_id)
    try:
        return protocol.decode_reply(payload, job_id)
    except ValueError as error:
        raise TransportError(f"What came back is {error}", job_id) from error


def _refuse(link: Link, task: str, job_id: str, asked: Asked) -> None:
    if asked.code is AskCode.OVERLOADED:
        msg = f"{asked.waiting} questions wait for {task!r} already; {asked.limit} are allowed"
        raise error_for(ErrorCode.OVERLOADED, msg, job_id)
    served = ", ".join(_tasks_served(link)) or "none"
    msg = f"No worker is ready for the task {task!r}. Tasks served now: {served}."
    raise error_for(ErrorCode.NO_WORKER, msg, job_id)


def _tasks_served(link: Link) -> list[str]:
    seconds, microseconds = link.call("TIME")
    now_ms = int(seconds) * 1000 + int(microseconds) // 1000
    names = link.call("ZRANGEBYSCORE", keys.TASKS, now_ms, "+inf")
    return sorted(name.decode(errors="replace") for name in names)
