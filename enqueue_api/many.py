"""Many questions of one call, and what came of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from redis.exceptions import RedisError

from enqueue_api.deadline import Deadline
from enqueue_api.door import put_all, put_all_again
from enqueue_api.mailbox import Mailbox
from enqueue_api.outcome import Outcome
from enqueue_api.question import Question
from enqueue_api.waiting import WaitForMany
from resident import protocol
from resident.errors import ResidentError
from resident.link import Link
from resident.settings import Settings


class Many:
    """Questions in the caller's order; those that cannot be sent have their error already."""

    def __init__(self, entries: list[Question | ResidentError]) -> None:
        self._entries = entries
        self._outcomes: dict[str, Outcome] = {}

    @classmethod
    def of(
        cls,
        settings: Settings,
        task: str,
        questions: Iterable[Any],
        budget_ms: int,
        *,
        lane: str = "",
    ) -> Many:
        """Checks each; raises CallerError if no task can have that name."""
        protocol.check_task_name(task)
        return cls([_checked(settings, task, one, budget_ms, lane) for one in questions])

    @property
    def good(self) -> list[Question]:
        """Those that can be sent."""
        return [entry for entry in self._entries if isinstance(entry, Question)]

    def note(self, outcomes: Mapping[str, Outcome]) -> None:
        """Takes down what came of some of them, by their ids."""
        self._outcomes |= outcomes

    def outcomes(self) -> list[Outcome]:
        """What came of each, in the caller's order."""
        return [
            self._outcomes[entry.id] if isinstance(entry, Question) else entry
            for entry in self._entries
        ]


def _checked(
    settings: Settings, task: str, question: Any, budget_ms: int, lane: str
) -> Question | ResidentError:
    try:
        return Question.of(settings, task, question, budget_ms, lane=lane)
    except ResidentError as error:
        return error


def ask_all(link: Link, many: Many, deadline: Deadline) -> None:
    """Asks them in one write, and waits for all replies at one mailbox."""
    mailbox = Mailbox()
    refused = put_all(link, deadline, many.good, mailbox.key)
    many.note(refused)
    waiting = {one.id for one in many.good} - refused.keys()

    def ask_again(link: Link, lost: set[str]) -> bool:
        questions = [one for one in many.good if one.id in lost]
        return put_all_again(link, questions, mailbox.key)

    many.note(WaitForMany(mailbox, waiting, deadline, ask_again).on(link))
    try:
        link.call("DEL", mailbox.key)
    except RedisError:
        link.close()  # and the mailbox expires
