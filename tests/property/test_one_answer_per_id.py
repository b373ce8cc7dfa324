"""Whatever callers and workers do in whatever order, an id has one run and one reply at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from hypothesis.strategies import sampled_from
from redis import Redis

from resident import asking, keys
from resident.asking import AskCode, CancelCode, Priority, lane_of
from resident.claimed import Claim, Claimed
from resident.embedded_redis import EmbeddedRedis
from resident.redis_client import connect
from resident.settlement import SettleCode
from tests.support.lua import ECHO, Desk, a_desk, settlement

IDS = sampled_from("abc")
QUESTIONS = sampled_from([b'["tasks.echo.answer",null,["%d"],{}]' % number for number in (1, 2)])
LANES = sampled_from(
    [lane_of(), lane_of(Priority.HIGH), lane_of(Priority.LOW, "t"), lane_of(tenant="u")]
)


@dataclass
class Known:
    """What must be true of an id.

    Attributes:
        state: queued, running or answered; absent ids have no Known.
        question: What was asked.
        run: The execution that will answer it.
        is_cancelled: The reply says so.
    """

    state: str
    question: bytes
    run: str = ""
    is_cancelled: bool = False


class Callers(RuleBasedStateMachine):
    """Callers who ask, ask again, cancel and leave; a worker that answers, dies or gives back."""

    connection: Redis
    desk: Desk

    @initialize()
    def begin(self) -> None:
        self.connection.flushdb()
        self.desk.announce(max_backlog=1_000)
        self.known: dict[str, Known] = {}
        self.held: dict[str, Claimed] = {}
        self.started = b"0"

    @rule(job_id=IDS, question=QUESTIONS, lane=LANES)
    def ask(self, job_id: str, question: bytes, lane: str) -> None:
        code = self.desk.ask(job_id, lane=lane, data=question).code
        before = self.known.get(job_id)
        if before is None or before.is_cancelled:
            assert code is AskCode.QUEUED
            self.known[job_id] = Known("queued", question)
        elif before.question != question:
            assert code is AskCode.CONFLICT
        else:
            assert code is (AskCode.ANSWERED if before.state == "answered" else AskCode.JOINED)

    @rule(most=sampled_from([1, 2, 5]))
    def claim(self, most: int) -> None:
        claim: Claim = self.desk.claim(most)
        for job in claim.jobs:
            known = self.known[job.id]
            assert known.state == "queued"
            assert job.data == known.question
            known.state, known.run = "running", job.execution
            self.held[job.execution] = job
        self.started = claim.started

    @precondition(lambda self: self.held)
    @rule()
    def settle(self) -> None:
        settlements = [settlement(job.id, job.execution) for job in self.held.values()]
        codes, _ = self.desk.turn(settlements, self.started, 0)
        for job, code in zip(self.held.values(), codes, strict=True):
            known = self.known.get(job.id)
            if known and known.run == job.execution:
                assert code is SettleCode.SETTLED
                known.state, known.run = "answered", ""
            elif known and known.is_cancelled:
                assert code in (SettleCode.SETTLED, SettleCode.LOST)  # an earlier run is lost
            else:
                assert code in (SettleCode.LOST, SettleCode.SETTLED)
        self.held.clear()

    @precondition(lambda self: self.held)
    @rule()
    def give_back(self) -> None:
        released = self.desk.scripts.release([(one.id, run) for run, one in self.held.items()])
        mine = [one for one in self.known.values() if one.run in self.held]
        assert released == len(mine)
        for known in mine:
            known.state, known.run = "queued", ""
        self.held.clear()

    @rule(job_id=IDS)
    def cancel(self, job_id: str) -> None:
        known = self.known.get(job_id)
        code = asking.cancel(self.desk.link, job_id, 60_000)
        if known is None or known.state == "answered":
            assert code is CancelCode.NOTHING
            return
        is_running = known.state == "running"
        assert code is (CancelCode.DROPPED if is_running else CancelCode.NEVER_RUNS)
        self.known[job_id] = Known("answered", known.question, is_cancelled=True)

    @rule(job_id=IDS)
    def budget_ends(self, job_id: str) -> None:
        if job_id in self.known and self.known[job_id].state == "queued":
            self.connection.delete(f"{keys.JOB}{job_id}")
            del self.known[job_id]

    @rule(job_id=IDS)
    def reply_expires(self, job_id: str) -> None:
        if job_id in self.known and self.known[job_id].state == "answered":
            self.connection.delete(keys.reply(job_id), keys.asked(job_id))
            del self.known[job_id]

    @invariant()
    def every_id_has_at_most_one_reply(self) -> None:
        for job_id in "abc":
            known = self.known.get(job_id)
            replies = self.connection.lrange(keys.reply(job_id), 0, -1)
            assert len(replies) == (known is not None and known.state == "answered")
            if known and replies:
                assert (b"cancelled" in replies[0]) is known.is_cancelled

    @invariant()
    def what_lanes_hold_can_be_seen_at_the_queue(self) -> None:
        if self.connection.keys(f"{ECHO.queue}:*:*") or self.connection.keys(f"{ECHO.queue}:high"):
            assert self.connection.llen(ECHO.queue)


@pytest.fixture(scope="module")
def server() -> Iterator[Redis]:
    with (
        TemporaryDirectory() as folder,
        EmbeddedRedis(Path(folder)) as running,
        connect(running.url) as connection,
    ):
        yield connection


def test_an_id_has_one_run_and_one_reply_whatever_happens(server: Redis) -> None:
    with a_desk(server) as desk:
        machine = type("Machine", (Callers,), {"connection": server, "desk": desk})
        run_state_machine_as_test(
            machine, settings=settings(max_examples=150, stateful_step_count=40, deadline=None)
        )
