"""settle.lua: of a batch each job ends by itself, and none spoils the others."""

from __future__ import annotations

import pytest

from resident import asking, keys
from resident.holders import Alive, tick
from resident.settlement import Outcome, SettleCode
from tests.support.lua import ECHO, Desk, settlement

pytestmark = pytest.mark.usefixtures("judged")


def test_members_of_a_batch_may_end_in_their_own_ways(desk: Desk) -> None:
    for job_id in "abcde":
        desk.ask(job_id)
    claim = desk.claim()
    ends = [(Outcome.FINISHED, 500), (Outcome.FAILED, 60), (Outcome.FINISHED, 0), (2, -1), (2, 500)]
    settlements = [
        settlement(job.id, job.execution, outcome=Outcome(outcome), ttl_s=ttl_s)
        for job, (outcome, ttl_s) in zip(claim.jobs, ends, strict=True)
    ]
    assert desk.turn(settlements, claim.started, 0)[0] == [SettleCode.SETTLED] * 5
    states = [desk.job(job_id).get("status") for job_id in "abcde"]
    assert states == ["finished", "failed", None, "failed", "failed"]
    ttls = [desk.connection.ttl(f"{keys.JOB}{job_id}") for job_id in "abcde"]
    assert ttls == [500, 60, -2, -1, 500]
    assert desk.connection.zrange(ECHO.finished, 0, -1) == [b"a"]
    assert desk.connection.zrange(ECHO.failed, 0, -1) == [b"d", b"b", b"e"]
    s, _ = desk.connection.time()
    assert desk.connection.zscore(ECHO.finished, "a") == pytest.approx(s + 500, abs=2)
    assert desk.connection.zscore(ECHO.failed, "b") == pytest.approx(s + 60, abs=2)


def test_a_hash_that_is_none_spoils_no_batch(desk: Desk) -> None:
    for job_id in "abc":
        desk.ask(job_id, is_new=True)
    claim = desk.claim()
    desk.connection.set(f"{keys.JOB}b", "no hash")
    desk.settle(claim)
    assert desk.connection.exists(*map(keys.reply, "ac")) == 2
    assert not desk.connection.exists(ECHO.started)


def test_the_records_of_what_was_cancelled_go_with_the_batch(desk: Desk) -> None:
    for job_id in "xy":
        desk.ask(job_id)
    claim = desk.claim()
    tick(desk.link, "echo", 15_000, [Alive(desk.token, desk.name, 1_200)])
    asking.cancel(desk.link, "x", 60_000)
    desk.settle(claim)
    assert [key for key in desk.snapshot() if "execution" in key] == []


@pytest.mark.parametrize("by_hash", [True, False])
def test_of_a_batch_with_a_job_that_was_taken_one_that_is_gone_is_not_answered(
    by_hash: bool, desk: Desk
) -> None:
    """It may be the one that was taken, which another has answered and deleted since."""
    for job_id in ("cancelled", "deleted", "held"):
        desk.ask(job_id, is_new=True)
    claim = desk.claim()
    asking.cancel(desk.link, "cancelled", 60_000)
    desk.connection.delete(f"{keys.JOB}deleted")
    codes = desk.settle(claim, by_hash=by_hash)
    assert codes == [SettleCode.SETTLED, SettleCode.LOST, SettleCode.SETTLED]
    lengths = [desk.connection.llen(keys.reply(job.id)) for job in claim.jobs]
    assert lengths == [1, 0, 1]  # that it was cancelled, none, the answer
