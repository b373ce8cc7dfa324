"""Waiting for replies over one connection; a Redis that is lost meanwhile is tried again."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from typing import Any, TypeVar

from redis.exceptions import InvalidResponse, OutOfMemoryError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from enqueue_api import outcome
from enqueue_api.deadline import Deadline
from enqueue_api.mailbox import SENSELESS, Mailbox
from enqueue_api.outcome import Outcome
from resident import keys, protocol
from resident.errors import TransportError
from resident.link import Link, Word
from resident.redis_client import may_pass

T = TypeVar("T")

#: Between two tries to reach Redis again while waiting for a reply, in seconds.
RECONNECT_PAUSE_S = 0.05
#: Between two tries to wake a Redis that has not noticed the end of a block, in seconds.
WAKE_EACH_S = 0.004
#: After a connection was lost, how long to wait until the question is asked again, in seconds.
ASK_AGAIN_S = 1.0
#: Between two looks at a Redis that is full, and so refuses to block, in seconds.
LOOK_EACH_S = 0.01


class Wait:
    """Waits for the reply to one question.

    A reply that is kept stays for others who wait for it, and for another try. One that is not may
    go the way of a connection that was lost, of which Redis does not know yet: it is served there
    first. Then nothing but another run brings an answer, and so the question is asked again.
    """

    def __init__(
        self,
        job_id: str,
        deadline: Deadline,
        *,
        keep: bool,
        ask_again: Callable[[Link], bool] | None = None,
    ) -> None:
        """Takes what to do when Redis was lost, which may have forgotten the question.

        It says whether the question is there now; it must be safe to repeat.
        """
        self._job_id = job_id
        self._key = keys.reply(job_id)
        self._deadline = deadline
        self._keep = keep
        self._ask_again = ask_again
        self._is_sent = self._was_lost = self._may_go_astray = False

    def command(self) -> tuple[Word, ...]:
        """The command that blocks until the reply is there; for somebody else to send."""
        self._may_go_astray |= self._is_sent and not self._keep  # the first was lost
        self._is_sent = True
        return self._blocking()

    def _blocking(self) -> tuple[Word, ...]:
        block_s = self._deadline.block_within(ASK_AGAIN_S if self._may_go_astray else math.inf)
        if self._keep:
            return ("BLMOVE", self._key, self._key, "LEFT", "LEFT", block_s)
        return ("BLPOP", self._key, block_s)

    def on(self, link: Link) -> bytes | None:
        """The reply, or None when the deadline has passed.

        Raises:
            TransportError: Redis was lost, and did not come back in time.
        """
        return until_something(link, self._deadline, self._read, self._job_id)

    def _read(self, link: Link) -> bytes | None:
        if self._was_lost and self._ask_again is not None:
            self._may_go_astray = not self._keep
            if not self._ask_again(link):
                time.sleep(min(RECONNECT_PAUSE_S, self._deadline.left_s))
                return None
        self._was_lost = True
        is_sent, self._is_sent = self._is_sent, False
        if not is_sent:
            link.send_all([self._blocking()])
        reply = self._read_reply(link)
        self._was_lost = self._may_go_astray
        return payload_in(reply)

    def _read_reply(self, link: Link) -> Any:
        (reply,) = read_blocked(link, self._deadline)
        if isinstance(reply, OutOfMemoryError):  # the reply comes although Redis is full
            reply = link.call("LINDEX", self._key, "0")
            if reply is None:
                time.sleep(min(LOOK_EACH_S, self._deadline.left_s))
        return reply


class WaitForMany:
    """Waits for the replies to many questions, which come to one mailbox."""

    def __init__(
        self,
        mailbox: Mailbox,
        job_ids: set[str],
        deadline: Deadline,
        ask_again: Callable[[Link, set[str]], bool],
    ) -> None:
        """Takes what asks those again that Redis has forgotten: whether all are there now."""
        self._mailbox = mailbox
        self._waiting = job_ids
        self._deadline = deadline
        self._ask_again = ask_again
        self._was_lost = False
        self._outcomes: dict[str, Outcome] = {}

    def on(self, link: Link) -> dict[str, Outcome]:
        """What came of each by its id."""
        late: TransportError | None = None
        if self._waiting:
            try:
                until_something(link, self._deadline, self._read)
            except TransportError as error:
                late = error
        for job_id in self._waiting - self._outcomes.keys():
            self._outcomes[job_id] = (
                TransportError(late.message, job_id)
                if late
                else outcome.expired(self._deadline.budget_ms, job_id)
            )
        return self._outcomes

    def _read(self, link: Link) -> bool | None:
        """Reads what is there; True when nothing is waited for any more."""
        if self._was_lost and not self._are_there(link):
            time.sleep(min(RECONNECT_PAUSE_S, self._deadline.left_s))
            return self._has_all
        self._was_lost = True
        commands = self._mailbox.commands(self._deadline.block_s)
        try:
            link.send_all(commands)
            for _ in commands[:-2]:
                link.read(link.timeout_s)
            first, answer = read_blocked(link, self._deadline, 1)
            replies = self._mailbox.read(answer)
        except RedisError:
            self._mailbox.start_over()
            raise
        self._was_lost = False
        self._take(replies)
        if isinstance(first, OutOfMemoryError) and not replies:
            time.sleep(min(LOOK_EACH_S, self._deadline.left_s))
        return self._has_all

    def _are_there(self, link: Link) -> bool:
        """Asks those again of which there is neither a job nor, looked for after it, a reply."""
        open_ids = [*(self._waiting - self._outcomes.keys())]
        link.send_all([*map(job_exists, open_ids), self._mailbox.look()])
        exist = [link.read(link.timeout_s) for _ in open_ids]
        self._take(self._mailbox.replies_in(link.read(link.timeout_s)))
        gone = {job_id for job_id, exists in zip(open_ids, exist, strict=True) if not exists}
        lost = gone - self._outcomes.keys()
        return not lost or self._ask_again(link, lost)

    def _take(self, payloads: list[bytes]) -> None:
        for payload in payloads:
            job_id = protocol.id_in_reply(payload)
            if job_id in self._waiting:
                self._outcomes[job_id] = outcome.outcome_in(payload, job_id)

    @property
    def _has_all(self) -> bool | None:
        return len(self._outcomes) == len(self._waiting) or None


def payload_in(popped: Any) -> bytes | None:
    """What a list gave, alone or behind the list's name; None for nothing.

    Raises:
        InvalidResponse: It is the answer to something else.
    """
    payload = popped[1] if isinstance(popped, list) and len(popped) == 2 else popped
    if payload is None or isinstance(payload, bytes):
        return payload
    raise InvalidResponse(SENSELESS)


def job_exists(job_id: str) -> tuple[Word, ...]:
    """The command that tells whether Redis has the question still."""
    return ("EXISTS", f"{keys.JOB}{job_id}")


def read_blocked(link: Link, deadline: Deadline, others: int = 0) -> list[Any]:
    """Reads the answer to a command that blocks until the deadline, and those of others behind it.

    A Redis with nothing else to do looks for the ends of blocks every 100 ms only (`hz`); what is
    sent then wakes it. One that is full refuses to block; that is an answer, too.
    """
    wakes = 0
    within_s = deadline.left_s
    while True:
        try:
            answers = [link.read(within_s, close_late=False)]
        except OutOfMemoryError as refusal:
            answers = [refusal]
            break
        except RedisTimeoutError:
            if not deadline.patience_s:
                raise  # and whoever uses the link closes it
            link.send_all([("PING",)])
            wakes += 1
            within_s = WAKE_EACH_S
        else:
            break
    answers += [link.read(link.timeout_s) for _ in range(others + wakes)]
    return answers[: 1 + others]


def until_something(
    link: Link, deadline: Deadline, read: Callable[[Link], T | None], job_id: str = ""
) -> T | None:
    """Reads until something comes, None when the deadline has passed.

    Raises:
        TransportError: Redis refused, or was lost and did not come back in time.
    """
    while True:
        lost: RedisError | None = None
        try:
            found = read(link)
        except RedisError as error:
            link.close()
            if not may_pass(error):
                raise outcome.fault_of_redis(error, job_id) from error
            lost, found = error, None
            jitter = random.uniform(0.5, 1)  # noqa: S311
            time.sleep(min(RECONNECT_PAUSE_S * jitter, deadline.left_s))
        if found is not None:
            return found
        if deadline.is_over:
            if lost is not None:
                raise outcome.lost(lost, job_id) from lost
            return None
