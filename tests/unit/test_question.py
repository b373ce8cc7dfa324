"""One question that is ready to be asked, and what is said to it."""

from __future__ import annotations

import msgspec
import pytest
from redis.exceptions import InvalidResponse

from enqueue_api.question import Question
from resident.asking import read_asked
from resident.settings import read_settings


def test_whoever_asks_again_has_what_is_left_of_the_budget_and_no_more() -> None:
    one = Question.of(read_settings(), "echo", "?", 60_000)
    assert one.asking(is_first=True).budget_ms == 60_000
    later = msgspec.structs.replace(one, ends_at=one.ends_at - 59.0)
    assert 0 < later.asking(is_first=False).budget_ms <= 1_000
    too_late = msgspec.structs.replace(one, ends_at=one.ends_at - 61.0)
    assert too_late.asking(is_first=False).budget_ms == 1


@pytest.mark.parametrize("answer", [99, None, b"OK", [], [1, 0], [1, 0, 0, 0], [99, 0, 0], ["a"]])
def test_what_is_no_answer_to_an_ask_is_no_sense_of_redis(answer: object) -> None:
    with pytest.raises(InvalidResponse, match="is no answer to an ask"):
        read_asked(answer)
