"""What is said of an outage, and what is tried again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis.exceptions import BusyLoadingError, ConnectionError, ReadOnlyError, RedisError
from structlog.testing import capture_logs

from resident import outage
from resident.outage import call_until_back


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outage, "FIRST_PAUSE_S", 0.0)


class Redis:
    """Fails with these, one a call, and then answers."""

    def __init__(self, *errors: RedisError) -> None:
        self._errors: Iterator[RedisError] = iter(errors)

    def call(self) -> str:
        for error in self._errors:
            raise error
        return "answer"


def test_one_line_at_each_edge_whatever_the_outage_is_made_of() -> None:
    redis = Redis(ConnectionError("refused"), ReadOnlyError("replica"), BusyLoadingError("soon"))
    with capture_logs() as lines:
        assert call_until_back(redis.call, bool, bool) == "answer"
    away, back = lines
    assert (away["event"], away["error"]) == ("redis away", "refused")
    assert (back["event"], back["kinds"]) == (
        "redis back",
        "ConnectionError, ReadOnlyError, BusyLoadingError",
    )
    assert back["away_s"] >= 0


def test_nothing_is_said_when_nothing_fails() -> None:
    with capture_logs() as lines:
        assert call_until_back(Redis().call, bool, bool) == "answer"
    assert lines == []


def test_what_mends_is_tried_again_too() -> None:
    mending = Redis(ConnectionError("still away"))
    redis = Redis(ConnectionError("away"))
    assert call_until_back(redis.call, mending.call, bool) == "answer"


def test_who_gives_up_gets_the_error() -> None:
    redis = Redis(ConnectionError("away"), ConnectionError("for ever"))
    verdicts = iter([False, True])
    with pytest.raises(ConnectionError, match="for ever"):
        call_until_back(redis.call, bool, lambda: next(verdicts))


def test_the_pauses_grow_to_half_a_second_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(outage, "FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(outage.time, "sleep", pauses.append)
    redis = Redis(*[ConnectionError("away")] * 20)
    assert call_until_back(redis.call, bool, bool) == "answer"
    assert pauses[0] <= 0.05
    assert 0.25 <= min(pauses[5:]) <= max(pauses) <= 0.5
