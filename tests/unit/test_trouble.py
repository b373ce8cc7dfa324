"""What the HTTP API logs of a Redis that fails it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from structlog.testing import capture_logs

from enqueue_api.trouble import Trouble
from resident.errors import ErrorCode, ResidentError, TransportError, error_for

AWAY = TransportError("Redis cannot be reached (refused)")


def meet(trouble: Trouble, *came: ResidentError | None, is_question: bool = True) -> None:
    for error in came:
        with suppress(ResidentError), trouble.watching(is_question=is_question):
            if error:
                raise error


def events(lines: list[Any]) -> list[str]:
    return [line["event"] for line in lines]


def test_there_is_one_line_at_each_edge_however_many_ask() -> None:
    trouble = Trouble()
    with capture_logs() as lines:
        meet(trouble, None, AWAY, AWAY, AWAY, None, None)
    began, ended = lines
    assert (began["event"], began["error"]) == ("redis trouble", AWAY.message)
    assert ended["event"] == "redis back"
    assert ended["away_s"] >= 0


def test_a_refusal_that_redis_made_tells_that_it_is_back() -> None:
    trouble = Trouble()
    with capture_logs() as lines:
        meet(trouble, AWAY, error_for(ErrorCode.NO_WORKER, "none"))
    assert events(lines) == ["redis trouble", "redis back"]


def test_what_is_told_without_redis_tells_nothing_of_it() -> None:
    trouble = Trouble()
    with capture_logs() as lines:
        meet(trouble, AWAY, error_for(ErrorCode.CANCELLED, "hung up"))
        meet(trouble, error_for(ErrorCode.INVALID_QUESTION, "too long"))
    assert events(lines) == ["redis trouble"]


def test_a_look_does_not_end_what_a_question_met() -> None:
    trouble = Trouble()
    with capture_logs() as lines:
        meet(trouble, AWAY)
        meet(trouble, None, None, is_question=False)
        meet(trouble, None)
    assert events(lines) == ["redis trouble", "redis back"]


def test_a_look_ends_what_a_look_met() -> None:
    trouble = Trouble()
    with capture_logs() as lines:
        meet(trouble, AWAY, None, is_question=False)
    assert events(lines) == ["redis trouble", "redis back"]


def test_a_question_that_was_asked_before_it_began_does_not_end_it() -> None:
    trouble = Trouble()
    with capture_logs() as lines:
        with trouble.watching(is_question=True):
            meet(trouble, AWAY)
        assert events(lines) == ["redis trouble"]
