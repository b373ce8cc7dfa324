"""The turns of a worker that offers itself, on a real Redis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from redis.exceptions import OutOfMemoryError
from rq.suspension import suspend

from resident import keys
from resident.asking import AskCode, Asked
from resident.claimed import Claim
from resident.ear import Ear
from resident.link import Command
from resident.offering import ALONE, Offering
from resident.settlement import NOTHING_ENDED, Ended, SettleCode
from tests.support.lua import DATA, ECHO, Desk, Full, offered, settlement

QUEUED = Asked(AskCode.QUEUED, 0, 0)
MAILBOX = f"resident:mailbox:{'a' * 32}"


def test_what_was_handed_over_comes_before_what_waits(desk: Desk, ear: Ear) -> None:
    desk.ask("handed")
    desk.ask("waits")
    desk.scripts.is_busy = True  # then it looks at the queue
    offering = Offering(desk.scripts, ear)
    turns = [offering.turn(NOTHING_ENDED, 10, 5) for _ in range(2)]
    assert [[job.id for job in turn.jobs] for turn in turns] == [["handed"], ["waits"]]


def test_a_worker_that_finds_something_on_the_queue_withdraws_its_offer(
    desk: Desk, ear: Ear
) -> None:
    desk.ask("a", is_streamed=True)
    offering = Offering(desk.scripts, ear)
    claim = offering.turn(NOTHING_ENDED, 10, 5)
    assert [job.id for job in claim.jobs] == ["a"]
    assert not offered(desk)
    assert not ear.has_popped


def test_a_batch_is_settled_once_before_its_worker_offers_itself(
    desk: Desk, ear: Ear, offers: list[bool]
) -> None:
    desk.scripts.withdraw()
    desk.ask("a")
    claim = desk.claim()
    (job,) = claim.jobs
    codes: list[int] = []
    ended = Ended([settlement("a", job.execution)], claim.started, codes.extend)
    Offering(desk.scripts, ear).turn(ended, 10, 0.01)
    assert codes == [SettleCode.SETTLED]
    assert offers


def test_an_offer_stands_while_questions_are_handed_over_and_settled(
    desk: Desk, other: Desk, ear: Ear, offers: list[bool]
) -> None:
    offering = Offering(desk.scripts, ear)
    desk.ask("a")
    claim = next_of(offering, Claim())
    for job_id in "bc":
        claim = next_of(offering, claim, lambda _codes, job_id=job_id: other.ask(job_id))
        assert [job.id for job in claim.jobs] == [job_id]
    assert offers == [True]
    assert offered(desk)


def test_a_worker_that_has_put_back_what_it_missed_offers_itself_anew(
    desk: Desk, other: Desk, ear: Ear
) -> None:
    offering = Offering(desk.scripts, ear)
    desk.ask("a")
    claim = next_of(offering, next_of(offering, Claim()), lambda _codes: other.ask("b"))
    desk.scripts.withdraw()
    offering.note_put_back()
    claim = next_of(offering, claim, lambda _codes: other.ask("c"))
    assert [job.id for job in claim.jobs] == ["c"]
    assert offered(desk)


def test_what_is_answered_at_once_ends_no_turn(desk: Desk, other: Desk, ear: Ear) -> None:
    ids, heard = iter("cd"), list[str]()

    def answer_at_once(claim: Claim) -> Claim | None:
        (job,) = claim.jobs
        heard.append(job.id)
        assert desk.settle(claim) == [SettleCode.SETTLED]
        if more := next(ids, ""):
            other.ask(more)
        return None if more else Claim(more=True)

    desk.ask("a")
    desk.connection.ping()  # Redis answers who asks first, and then tells the worker
    offering = Offering(desk.scripts, ear, answer_at_once)
    claim = next_of(offering, next_of(offering, Claim()), lambda _codes: other.ask("b"))
    assert (heard, claim) == (["b", "c", "d"], Claim(more=True))
    assert offered(desk)


def test_a_suspended_worker_does_not_offer_itself(desk: Desk, ear: Ear) -> None:
    desk.scripts.withdraw()
    suspend(desk.connection)
    desk.scripts.is_busy = True
    assert Offering(desk.scripts, ear).turn(NOTHING_ENDED, 10, 5).suspended
    assert not offered(desk)


def test_a_question_among_much_noise_is_heard_and_run_once(desk: Desk, ear: Ear) -> None:
    channel = keys.hand(desk.token)
    for _ in range(50):
        desk.connection.publish(channel, "noise")
    desk.ask("a")
    for _ in range(50):
        desk.connection.publish(channel, "noise")
    executions = desk.scripts.executions()
    handed = Offering(desk.scripts, ear).turn(NOTHING_ENDED, 1, 5)
    assert [(job.id, job.execution) for job in handed.jobs] == executions
    assert desk.settle(handed) == [SettleCode.SETTLED]


def hear_again(offering: Offering, desk: Desk, ear: Ear, ago_s: int, left_ms: int) -> Claim:
    """What becomes of a handed question of which its worker, which stood still, hears late."""
    desk.ask("a", is_new=True)
    assert ear.wait(5)
    ((_, execution),) = desk.scripts.executions()
    seconds, _ = desk.connection.time()
    terms = (seconds - ago_s, left_ms, execution.encode(), DATA)
    desk.connection.publish(keys.hand(desk.token), b"%d.000000\n%d\na\n%b\n\n\n\n\n%b" % terms)
    return offering.turn(NOTHING_ENDED, 1, 5)


def test_what_was_said_long_ago_is_settled_by_the_hash_and_by_the_clock_of_now(
    desk: Desk, ear: Ear
) -> None:
    """Else whoever asked anew meanwhile, with the same id, would get this run's answer."""
    handed = hear_again(Offering(desk.scripts, ear), desk, ear, ago_s=20, left_ms=60_000)
    assert [job.id for job in handed.jobs] == ["a"]
    desk.connection.hset(f"{keys.JOB}a", "execution", "another")
    assert desk.settle(handed, by_hash=False) == [SettleCode.LOST]


def test_what_was_said_so_long_ago_that_its_caller_has_given_up_is_not_run(
    desk: Desk, ear: Ear
) -> None:
    offering = Offering(desk.scripts, ear)
    claim = hear_again(offering, desk, ear, ago_s=20, left_ms=5_000)
    assert not claim.jobs
    assert not claim.is_over
    assert offering.may_have_missed  # and so its worker puts it back, where it expires


def test_a_worker_that_finds_something_when_it_has_waited_in_vain_is_not_offered_any_more(
    desk: Desk, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait_in_vain(_wait_s: float) -> None:
        desk.ask("a", is_streamed=True)

    monkeypatch.setattr(ear, "wait", wait_in_vain)
    claim = Offering(desk.scripts, ear).turn(NOTHING_ENDED, 1, 5)
    assert [job.id for job in claim.jobs] == ["a"]
    assert not offered(desk)


@pytest.fixture
def offers(desk: Desk, ear: Ear, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """One for each time that the desk's worker offers itself from now on."""
    made: list[bool] = []
    command = desk.scripts.offer_command

    def offer_command() -> Command:
        made.append(True)
        return command()

    monkeypatch.setattr(desk.scripts, "offer_command", offer_command)
    return made


def among_two(desk: Desk, ear: Ear) -> tuple[Offering, Claim]:
    """A worker that was handed one question while another waited, and has claimed that one."""
    offering = Offering(desk.scripts, ear)
    desk.ask("a")
    desk.ask("b")
    claim = Claim()
    for expected in ("a", "b"):
        claim = next_of(offering, claim)
        assert [job.id for job in claim.jobs] == [expected]
    return offering, claim


def next_of(offering: Offering, claim: Claim, on_settled: Callable[[Any], object] = bool) -> Claim:
    settlements = [settlement(job.id, job.execution) for job in claim.jobs]
    return offering.turn(Ended(settlements, claim.started, on_settled), 1, 5)


def test_a_worker_among_many_does_not_offer_itself(
    desk: Desk, ear: Ear, offers: list[bool]
) -> None:
    offering, claim = among_two(desk, ear)
    offers.clear()
    for job_id in "cdef":
        desk.ask(job_id)
        claim = next_of(offering, claim)
        assert [job.id for job in claim.jobs] == [job_id]
    next_of(offering, claim)  # in vain
    assert not offers


def test_a_worker_offers_itself_again_when_nobody_has_waited_for_some_turns(
    desk: Desk, other: Desk, ear: Ear, offers: list[bool]
) -> None:
    offering, claim = among_two(desk, ear)
    offers.clear()
    for number in range(ALONE + 1):
        assert not offers
        claim = next_of(offering, claim, lambda _codes, number=number: other.ask(f"c{number}"))
        assert [job.id for job in claim.jobs] == [f"c{number}"]
    assert offers


def test_a_worker_offers_itself_again_when_nobody_came_for_a_while(
    desk: Desk, ear: Ear, offers: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    offering, claim = among_two(desk, ear)
    offers.clear()
    assert next_of(offering, claim).is_over
    assert not offers
    monkeypatch.setattr(ear, "wait", lambda _wait_s: None)
    next_of(offering, Claim())
    assert offers


def test_a_worker_that_stops_settles_and_neither_offers_itself_nor_waits(
    desk: Desk, ear: Ear, offers: list[bool]
) -> None:
    desk.scripts.withdraw()
    desk.ask("a")
    desk.ask("b")
    claim, codes = desk.claim(1), list[int]()
    settlements = [settlement("a", claim.jobs[0].execution)]
    after = Offering(desk.scripts, ear).turn(Ended(settlements, claim.started, codes.extend), 0, 5)
    assert (after.jobs, codes, offers) == ((), [SettleCode.SETTLED], [])
    assert desk.waiting() == ["b"]


def test_a_worker_that_found_only_what_had_expired_hears_at_once_of_what_it_is_handed(
    desk: Desk, other: Desk, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its ear waits, so it does not go on as one among many, which would not listen."""
    offering, wait, ids = Offering(desk.scripts, ear), ear.wait, iter("a")
    desk.connection.rpush(ECHO.queue, "expired")
    assert not next_of(offering, Claim()).jobs

    def wait_and_be_asked(wait_s: float) -> Claim | None:
        for job_id in ids:
            other.ask(job_id)
        return wait(wait_s)

    monkeypatch.setattr(ear, "wait", wait_and_be_asked)
    claim = next_of(offering, Claim())
    assert [job.id for job in claim.jobs] == ["a"]
    claim = next_of(offering, claim, lambda _codes: other.ask("b"))
    assert [job.id for job in claim.jobs] == ["b"]


def test_a_worker_that_looks_on_the_queue_finds_what_rq_itself_must_perform(
    desk: Desk, ear: Ear, offers: list[bool]
) -> None:
    desk.scripts.withdraw()
    desk.ask("special", retries_left=3)
    desk.scripts.is_busy = True  # then it looks
    assert Offering(desk.scripts, ear).turn(NOTHING_ENDED, 10, 5).special == "special"
    assert not offers


def test_what_waits_is_claimed_although_a_full_redis_refuses_to_wait(
    desk: Desk, ear: Ear, full: Full
) -> None:
    desk.ask("a", is_streamed=True)
    offering = Offering(desk.scripts, ear)
    assert desk.claim().jobs  # loads the scripts
    desk.scripts.is_busy = False  # else it would look before it waits
    desk.ask("b", is_streamed=True)
    full.fill()
    assert [job.id for job in offering.turn(NOTHING_ENDED, 10, 5).jobs] == ["b"]
    desk.scripts.is_busy = False
    with pytest.raises(OutOfMemoryError):
        offering.turn(NOTHING_ENDED, 10, 5)
