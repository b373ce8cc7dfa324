"""What a worker makes of the times that it saw."""

from __future__ import annotations

import pytest

from resident.pace import FORGET_S, Pace


def test_nothing_is_claimed_before_anything_was_seen() -> None:
    pace = Pace(8)
    assert (pace.typical_ms(0.0), pace.rate(0.0)) == (0.0, 0.0)


def test_the_typical_time_is_the_median_so_that_one_slow_call_does_not_count() -> None:
    pace = Pace(8)
    for ms in (10.0, 11.0, 5_000.0, 9.0, 10.0):
        pace.note_call(1.0, ms)
    assert pace.typical_ms(1.5) == 10.0


def test_a_model_that_was_slow_once_is_tried_again() -> None:
    pace = Pace(8)
    pace.note_call(1.0, 3_000.0)
    assert pace.typical_ms(1.0 + FORGET_S - 0.1) == 3_000.0
    assert pace.typical_ms(1.0 + FORGET_S) == 0.0


@pytest.mark.parametrize(("fixed_ms", "each_ms"), [(10.0, 0.0), (2.0, 1.0), (0.0, 5.0)])
def test_the_rate_is_that_of_full_batches(fixed_ms: float, each_ms: float) -> None:
    pace = Pace(32)
    for size in (1, 4, 16, 2, 8, 32):
        pace.note_batch(1.0, size, fixed_ms + each_ms * size)
    assert pace.rate(2.0) == pytest.approx(32 / (fixed_ms + each_ms * 32) * 1000)
    assert pace.rate(1.0 + FORGET_S) == 0
