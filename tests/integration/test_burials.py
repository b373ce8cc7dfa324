"""A supervisor takes its dead workers out of the books of RQ and of the callers."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from redis import Redis

from resident import keys
from resident.ear import Ear
from resident.leases import Dead, Leases
from resident.scripts import new_token
from tests.support.lua import ECHO, Desk, a_desk


@pytest.fixture
def leases(connection: Redis) -> Iterator[Leases]:
    made = Leases(connection, lease_s=15)
    yield made
    made.close()


def test_a_dead_worker_whose_record_is_foreign_keeps_no_other_in_the_books(
    connection: Redis, leases: Leases
) -> None:
    first, second = (Dead("echo", new_token(), f"resident-echo-{one}", None) for one in "12")
    connection.set(f"{keys.WORKER}{first.name}", "junk")
    with a_desk(connection, second.name) as desk:
        desk.announce()
    leases.bury(first)
    leases.bury(second)
    leases.tick([], ["echo"])
    assert not connection.exists(ECHO.announcement)


def bury(leases: Leases, desk: Desk) -> None:
    leases.bury(Dead("echo", desk.token, desk.name, None))


def take_over(leases: Leases, desk: Desk) -> None:
    desk.end_lease()
    leases.tick([], ["echo"])


@pytest.mark.parametrize("end", [bury, take_over])
def test_nothing_is_handed_to_a_worker_whose_jobs_were_put_back(
    end: Callable[[Leases, Desk], None], leases: Leases, desk: Desk
) -> None:
    ear = Ear(desk.connection, "echo", desk.token)
    ear.open()  # Redis hears late, or never, that a connection is no more
    desk.link.call(*desk.scripts.offer_command())
    end(leases, desk)
    desk.ask("a")
    assert desk.waiting() == ["a"]
    ear.close()


@pytest.mark.parametrize("end", [bury, take_over])
def test_a_foreign_announcement_keeps_no_job_from_being_put_back(
    end: Callable[[Leases, Desk], None], leases: Leases, desk: Desk
) -> None:
    desk.ask("a")
    assert desk.claim().jobs
    desk.connection.set(ECHO.announcement, "junk")
    end(leases, desk)
    assert desk.waiting() == ["a"]


def test_a_job_that_a_dead_worker_took_for_rq_is_put_back(leases: Leases, desk: Desk) -> None:
    desk.ask("a", stopped_callback_name="tasks.echo.stopped")
    assert desk.claim().special == "a"
    bury(leases, desk)
    assert desk.waiting() == ["a"]
