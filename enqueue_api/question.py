"""One question that has been checked and is ready to be asked."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from resident import protocol
from resident.asking import Asking
from resident.settings import Settings


class Question(msgspec.Struct, frozen=True):
    """What a caller says of one question.

    Attributes:
        is_shared: The caller chose the id, so others may wait for the same reply.
        ends_at: When the budget ends, on the monotonic clock.
        data: RQ's job data.
        lane: Where it waits behind others; of `asking.lane_of`.
    """

    task: str
    id: str
    is_shared: bool
    budget_ms: int
    data: bytes
    failure_ttl: int
    ends_at: float
    lane: str = ""

    @classmethod
    def of(
        cls,
        settings: Settings,
        task: str,
        question: Any,
        budget_ms: int,
        job_id: str | None = None,
        *,
        lane: str = "",
    ) -> Question:
        """Checks what a caller wants to ask.

        Raises:
            CallerError: Something is wrong with it; nothing was sent.
        """
        protocol.check_task_name(task)
        data = protocol.encode_job_data(task, question, settings.max_question_bytes)
        checked_id = protocol.new_id() if job_id is None else protocol.check_id(job_id)
        is_shared = job_id is not None
        ends_at = time.monotonic() + budget_ms / 1000
        failure_ttl = settings.failure_ttl
        return cls(task, checked_id, is_shared, budget_ms, data, failure_ttl, ends_at, lane)

    def asking(self, *, is_first: bool, reply_to: str = "", is_read: bool = False) -> Asking:
        """For ask.lua.

        Args:
            is_first: Nobody can have asked it yet; else what a try before this one may have asked
                is joined, and the budget is what is left of it.
            reply_to: The mailbox that the reply goes to, unless it is the id's own key.
            is_read: The answer is read as it comes.
        """
        return Asking(
            self.task,
            self.id,
            self.budget_ms if is_first else max(1, int((self.ends_at - time.monotonic()) * 1000)),
            self.data,
            self.failure_ttl,
            is_first and not self.is_shared,
            self.lane,
            reply_to,
            is_read,
        )
