"""A wait whose connection was lost: what Redis said to the old one is gone."""

from __future__ import annotations

from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from enqueue_api.deadline import Deadline
from enqueue_api.waiting import ASK_AGAIN_S, Wait


def wait_of(budget_ms: int = 60_000, *, keep: bool = False) -> Wait:
    return Wait("a", Deadline(budget_ms), keep=keep, ask_again=lambda _link: True)


@pytest.mark.parametrize("keep", [True, False])
def test_a_wait_that_went_out_with_a_question_and_goes_out_again_is_short(keep: bool) -> None:
    """Else a reply that the first one took away would be waited for to the end of the budget."""
    wait = wait_of(keep=keep)
    assert float(wait.command()[-1]) > ASK_AGAIN_S
    assert (float(wait.command()[-1]) <= ASK_AGAIN_S) is not keep


class Lost:
    """A link over which nothing gets out at first."""

    timeout_s = 5.0

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def send_all(self, commands: list[Any]) -> None:
        self.sent += commands
        if len(self.sent) == 1:
            raise RedisConnectionError

    def read(self, _timeout_s: float, **_options: object) -> list[bytes]:
        assert len(self.sent) == 2
        return [b"resident:reply:a", b"reply"]

    def close(self) -> None:
        """Nothing."""


def test_a_wait_that_did_not_get_out_is_sent_again() -> None:
    assert wait_of().on(Lost()) == b"reply"  # type: ignore[arg-type]
