"""The alarm that stops a call of a model."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest
from rq.timeouts import JobTimeoutException

from resident.death_penalty import FineDeathPenalty, TimeLimit


@pytest.fixture(autouse=True)
def alarm_kept() -> Iterator[None]:
    handler = signal.getsignal(signal.SIGALRM)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, handler)


def hang() -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        pass


def test_a_call_that_takes_too_long_is_stopped() -> None:
    limit = TimeLimit()
    with pytest.raises(JobTimeoutException, match="longer than its time-out"):
        limit.call(0.05, hang)
    assert limit.call(20, lambda: "the next") == "the next"


def test_no_alarm_is_left_behind() -> None:
    limit = TimeLimit()
    assert limit.call(20, lambda: "quick") == "quick"
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
    with pytest.raises(ZeroDivisionError):
        limit.call(20, lambda: 1 / 0)
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_each_call_has_the_whole_time() -> None:
    limit = TimeLimit()
    limit.call(0.2, lambda: signal.sigtimedwait([signal.SIGUSR1], 0.15))
    limit.call(0.2, lambda: signal.sigtimedwait([signal.SIGUSR1], 0.15))


def test_after_rq_has_set_an_alarm_of_its_own_ours_rings_again() -> None:
    limit = TimeLimit()
    limit.call(20, lambda: None)
    with FineDeathPenalty(20, JobTimeoutException):
        pass
    with pytest.raises(JobTimeoutException, match="longer than its time-out"):
        limit.call(0.05, hang)
