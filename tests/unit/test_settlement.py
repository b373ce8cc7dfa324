"""The command that settles one job, beside the one that settles a batch."""

from __future__ import annotations

import itertools

import pytest

from resident.settlement import Ended, Outcome, SettleCode, SettleCommand, Settlement, Tally, tally

COMMAND = SettleCommand("echo", "resident-echo-host-1-0123456789ab", 60_000)
STARTED = b"1796068269.855227"
NOW_S = 1796068269.900001


def settlement(outcome: Outcome = Outcome.FINISHED, *, by_hash: bool = False) -> Settlement:
    return Settlement("id", "e" * 32, outcome, "resident:reply:id", b"{}", b"", 500, by_hash)


@pytest.mark.parametrize(
    ("outcome", "by_hash", "took_s"),
    list(itertools.product(Outcome, [False, True], [0.001, 2.0])),
)
def test_one_job_is_settled_as_a_batch_of_one_is(
    outcome: Outcome, by_hash: bool, took_s: float
) -> None:
    one = settlement(outcome, by_hash=by_hash)
    whole = COMMAND.of(Ended([one], STARTED, bool), NOW_S, took_s)
    assert COMMAND.of_one(one, STARTED, NOW_S, took_s) == whole


@pytest.mark.parametrize("micros", [0, 1, 900_001, 999_999])
def test_a_job_ended_when_it_was_settled_to_the_microsecond(micros: int) -> None:
    command = COMMAND.of_one(settlement(), STARTED, 1796068269 + micros / 1e6, 0.001)
    assert b"\r\n1796068269.%06d\r\n" % micros in command
    assert b"\r\n2026-11-30T19:51:09.%06dZ\r\n" % micros in command


@pytest.mark.parametrize(
    ("outcomes", "codes", "expected"),
    [
        ([Outcome.FINISHED], [SettleCode.SETTLED], Tally(1, 0, 0, has_parents=False)),
        ([Outcome.FAILED], [SettleCode.SETTLED], Tally(0, 1, 0, has_parents=False)),
        ([Outcome.FINISHED], [SettleCode.LOST], Tally(0, 0, 1, has_parents=False)),
        (
            [Outcome.FINISHED, Outcome.DISCARDED, Outcome.FAILED],
            [SettleCode.SETTLED_WITH_DEPENDENTS, SettleCode.SETTLED, SettleCode.LOST],
            Tally(1, 1, 1, has_parents=True),
        ),
    ],
)
def test_what_came_of_a_batch_is_counted(
    outcomes: list[Outcome], codes: list[SettleCode], expected: Tally
) -> None:
    assert tally([*map(settlement, outcomes)], [*map(int, codes)]) == expected
