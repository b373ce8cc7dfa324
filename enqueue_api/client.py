"""Ask from Python: `Client(url).ask("faq", "今天几点开门？").answer`."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from types import TracebackType
from typing import Any

import redis

from enqueue_api import outcome
from enqueue_api.deadline import Deadline, check_budget
from enqueue_api.door import once_more, put, put_again, put_all, tasks_served
from enqueue_api.loan import Loan
from enqueue_api.many import Many, ask_all
from enqueue_api.outcome import Outcome
from enqueue_api.question import Question
from enqueue_api.stream import Stream
from enqueue_api.waiting import Wait
from resident import asking, protocol
from resident.asking import CancelCode, Priority
from resident.errors import ResidentError
from resident.link import Link
from resident.protocol import Answered
from resident.redis_client import SOCKET_TIMEOUT_S, connect
from resident.settings import Settings, read_settings

#: How long `cancel`, `tasks` and `ping` may take.
_LOOK_MS = int(SOCKET_TIMEOUT_S * 1000)


class Client:
    """Asks resident tasks through Redis; safe to share between threads.

    Each call takes a connection; they are kept and used again. A process that is forked makes its
    own. A call ends within its budget and 50 ms, even if Redis accepts and never answers.
    """

    def __init__(self, redis: str | redis.Redis, settings: Settings | None = None) -> None:
        """Takes a Redis URL, or a redis-py client whose connection settings are used.

        Raises ConfigurationError if the URL cannot be read.
        """
        self._redis = _client_of(redis)
        self._settings = settings or read_settings()
        self._idle: deque[Link] = deque()  # its ends are safe to share
        self._pid = os.getpid()
        #: A wait that went out with a question that is refused costs its connection. So who was
        #: refused waits in a second write, until a question is let in.
        self._was_refused = False

    def ask(
        self,
        task: str,
        question: Any,
        budget_ms: int | None = None,
        *,
        job_id: str | None = None,
        priority: str = Priority.NORMAL,
        tenant: str = "",
    ) -> Answered:
        """Asks one question and waits for its reply.

        Args:
            task: The task's name, such as "faq".
            question: What the task takes, usually a string; any JSON value.
            budget_ms: How long to wait in all; a question that is not begun by then never runs.
            job_id: An idempotency key, 1 to 64 of A-Z a-z 0-9 _ -. Whoever asks with the same
                key, anywhere, gets the same reply from one run of the model.
            priority: "high", "normal" or "low": which of the questions that wait is taken first.
            tenant: For whom it is asked, any text. Tenants that wait are served by turns.

        Raises:
            CallerError: The question, the id, the budget, the priority or the task's name is wrong.
            OperatorError: No worker is ready, or the model failed.
            TryAgain: The task has too much to do, or the budget ran out (code `expired`).
            TransportError: Redis could not be reached, or refused us.
        """
        deadline = self._deadline(budget_ms)
        lane = asking.lane_of(priority, tenant)
        one = Question.of(self._settings, task, question, deadline.budget_ms, job_id, lane=lane)
        wait = Wait(
            one.id, deadline, keep=one.is_shared, ask_again=lambda link: put_again(link, one)
        )
        with self._link(deadline, one.id) as link:
            self._let_in(link, deadline, one, wait)
            payload = wait.on(link)
        return _answer_in(payload, one.id, deadline)

    def submit(
        self,
        task: str,
        question: Any,
        budget_ms: int | None = None,
        *,
        job_id: str | None = None,
        priority: str = Priority.NORMAL,
        tenant: str = "",
    ) -> str:
        """Asks one question and does not wait; `wait`, in any process, fetches the reply.

        Args:
            task: The task's name.
            question: What the task takes, as for `ask`.
            budget_ms: How long it may wait for its turn; shorter than an answer takes now, it is
                refused (`overloaded`).
            job_id: An idempotency key, as for `ask`.
            priority: As for `ask`.
            tenant: As for `ask`.

        Returns:
            The question's id.

        Raises:
            CallerError, OperatorError, TryAgain, TransportError: As `ask` does.
        """
        deadline = self._deadline(budget_ms)
        lane = asking.lane_of(priority, tenant)
        one = Question.of(self._settings, task, question, deadline.budget_ms, job_id, lane=lane)
        with self._link(deadline, one.id) as link:
            put(link, deadline, one)
        return one.id

    def wait(self, job_id: str, budget_ms: int | None = None) -> Answered:
        """Waits for the reply to a question that was submitted, here or elsewhere.

        The reply is left until it expires (60 s), so it can be fetched again, and by others.

        Raises:
            CallerError: The id or the budget is wrong.
            OperatorError: The model failed.
            TryAgain: There was no reply within the budget (code `expired`).
            TransportError: Redis could not be reached, or refused us.
        """
        deadline = self._deadline(budget_ms)
        protocol.check_id(job_id)
        with self._link(deadline, job_id) as link:
            payload = Wait(job_id, deadline, keep=True).on(link)
        return _answer_in(payload, job_id, deadline)

    def ask_many(
        self,
        task: str,
        questions: Iterable[Any],
        budget_ms: int | None = None,
        *,
        priority: str = Priority.NORMAL,
        tenant: str = "",
    ) -> list[Outcome]:
        """Asks many questions at once and waits for all replies.

        Args:
            task: The task's name.
            questions: What the task takes, as for `ask`.
            budget_ms: How long to wait in all.
            priority: As for `ask`.
            tenant: As for `ask`.

        Returns:
            For each question, in their order, its `Answered`, or the `ResidentError` that `ask`
            would have raised for it alone: one bad question does not spoil the others.

        Raises:
            CallerError: The budget, the priority or the task's name is wrong; nothing was asked.
        """
        deadline = self._deadline(budget_ms)
        lane = asking.lane_of(priority, tenant)
        many = Many.of(self._settings, task, questions, deadline.budget_ms, lane=lane)
        if many.good:
            with self._link(deadline) as link:
                ask_all(link, many, deadline)
        return many.outcomes()

    def stream(
        self,
        task: str,
        question: Any,
        budget_ms: int | None = None,
        *,
        priority: str = Priority.NORMAL,
        tenant: str = "",
    ) -> Stream:
        """Asks one question whose answer is read as it comes; the iterator of its deltas.

        Args:
            task: The task's name, such as "chat".
            question: What the task takes, as for `ask`.
            budget_ms: How long the whole answer may take, from now to its end.
            priority: As for `ask`.
            tenant: As for `ask`.

        Raises:
            CallerError, OperatorError, TryAgain, TransportError: As `ask` does, here or while it
                is read.
        """
        deadline = self._deadline(budget_ms)
        lane = asking.lane_of(priority, tenant)
        one = Question.of(self._settings, task, question, deadline.budget_ms, lane=lane)
        return Stream(one, deadline, self._link)

    def submit_many(
        self,
        task: str,
        questions: Iterable[Any],
        budget_ms: int | None = None,
        *,
        priority: str = Priority.NORMAL,
        tenant: str = "",
    ) -> list[str]:
        """Asks many questions at once, and does not wait; `wait` fetches the reply to each.

        Nothing is sent unless all questions can be. If some are refused at the door, the others
        are on the queue, and run or expire like any other.

        Args:
            task: The task's name.
            questions: What the task takes, as for `ask`.
            budget_ms: How long each may wait for its turn.
            priority: As for `ask`.
            tenant: As for `ask`.

        Returns:
            The id of each question, in their order.

        Raises:
            CallerError, OperatorError, TryAgain, TransportError: As `ask` does.
        """
        deadline = self._deadline(budget_ms)
        protocol.check_task_name(task)
        lane = asking.lane_of(priority, tenant)
        good = [
            Question.of(self._settings, task, question, deadline.budget_ms, lane=lane)
            for question in questions
        ]
        with self._link(deadline) as link:
            refused = put_all(link, deadline, good)
        for error in refused.values():
            raise error
        return [one.id for one in good]

    def cancel(self, job_id: str) -> bool:
        """Takes a question back: it will not run, or its answer is dropped and its stream stops.

        Whoever waits for its reply gets TryAgain (`cancelled`) at once. It may be asked again.

        Returns:
            Whether there was something to cancel: a question that had no reply yet.

        Raises:
            CallerError: The id is wrong.
            TransportError: Redis could not be reached, or refused us.
        """
        deadline = Deadline(_LOOK_MS)
        protocol.check_id(job_id)
        kept_ms = int(self._settings.reply_ttl_s * 1000)
        token = protocol.new_id()
        with self._link(deadline, job_id) as link:

            def cancel() -> CancelCode:
                return asking.cancel(link, job_id, kept_ms, token=token)

            done = once_more(link, deadline, cancel, job_id)
        return done is not CancelCode.NOTHING

    def tasks(self) -> list[str]:
        """The names of the tasks that ready workers serve now."""
        deadline = Deadline(_LOOK_MS)
        with self._link(deadline) as link:
            return once_more(link, deadline, lambda: tasks_served(link))

    def ping(self) -> None:
        """Raises TransportError unless Redis answers."""
        deadline = Deadline(_LOOK_MS)
        with self._link(deadline) as link:
            once_more(link, deadline, lambda: link.call("PING"))

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

    def _let_in(self, link: Link, deadline: Deadline, one: Question, wait: Wait) -> None:
        try:
            put(link, deadline, one, None if self._was_refused else wait)
        except ResidentError:
            self._was_refused = True
            raise
        self._was_refused = False

    def _deadline(self, budget_ms: int | None) -> Deadline:
        return Deadline(check_budget(self._settings.budget_ms if budget_ms is None else budget_ms))

    def _link(self, deadline: Deadline, job_id: str = "") -> Loan:
        if self._pid != os.getpid():  # else parent and child read each other's answers
            self._idle, self._pid = deque(), os.getpid()
        return Loan(self._idle, self._redis, deadline, job_id)


def _client_of(given: str | redis.Redis) -> redis.Redis:
    return given if isinstance(given, redis.Redis) else connect(given)


def _answer_in(payload: bytes | None, job_id: str, deadline: Deadline) -> Answered:
    if payload is None:
        raise outcome.expired(deadline.budget_ms, job_id)
    return outcome.answer_in(payload, job_id)
