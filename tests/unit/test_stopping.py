"""The stages of a stop, at moments that the test names."""

from __future__ import annotations

import math
import signal

from resident.stopping import ECHO_S, LAST_WORDS_S, Stopping

DRAIN_S = 30.0


def test_it_begins_when_it_is_asked_and_not_before() -> None:
    stopping = Stopping(DRAIN_S)
    assert not stopping.is_due(1e9, is_asked=False)
    assert not stopping.is_under_way
    assert stopping.is_due(100.0, is_asked=True)
    assert stopping.go_on(100.0) is signal.SIGTERM
    assert stopping.is_under_way


def test_time_that_is_up_is_as_good_as_being_asked_again() -> None:
    stopping = Stopping(DRAIN_S)
    stopping.go_on(100.0)
    assert not stopping.is_due(100.0 + DRAIN_S - 0.1, is_asked=False)
    assert stopping.is_due(100.0 + DRAIN_S, is_asked=False)
    assert stopping.go_on(130.0) is signal.SIGTERM
    assert stopping.next_at == 130.0 + LAST_WORDS_S


def test_a_signal_that_comes_twice_at_once_is_one_wish() -> None:
    stopping = Stopping(DRAIN_S)
    stopping.go_on(100.0)
    assert not stopping.is_due(100.0 + ECHO_S / 2, is_asked=True)
    assert stopping.is_due(100.0 + ECHO_S, is_asked=True)


def test_the_last_stage_is_death_and_nothing_comes_after_it() -> None:
    stopping = Stopping(DRAIN_S)
    came = [stopping.go_on(100.0 + second) for second in range(4)]
    assert came == [signal.SIGTERM, signal.SIGTERM, signal.SIGKILL, None]
    assert stopping.next_at == math.inf
    assert stopping.is_under_way
