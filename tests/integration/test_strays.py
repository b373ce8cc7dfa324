"""What is claimed for a worker by a call that it has given up: on its way for too long."""

from __future__ import annotations

import pytest
from redis import Redis

from resident import keys
from resident.claimed import read_claim
from resident.link import Link
from resident.packed_claim import CLAIM, Limits, PackedClaim
from resident.strays import Strays
from tests.support.live import Live
from tests.support.lua import ECHO, Desk
from tests.support.processes import Processes

LIMITS = Limits(
    lease_ms=15_000, reply_ttl_ms=60_000, max_data_bytes=1_000, longest_batch_s=10, keep_ms=3_000
)


def test_what_a_worker_does_not_know_of_for_two_heartbeats_goes_back(desk: Desk) -> None:
    strays = Strays(desk.scripts, "resident-echo-1")
    desk.ask("known")
    known = desk.claim()
    desk.ask("stray")
    desk.claim()
    strays.put_back_old(known.jobs)
    assert desk.waiting() == []  # it may have been handed this moment
    strays.put_back_old(known.jobs)
    assert desk.waiting() == ["stray"]
    assert [job for job, _ in desk.scripts.executions()] == ["known"]


def test_what_is_known_by_the_next_heartbeat_stays(desk: Desk) -> None:
    strays = Strays(desk.scripts, "resident-echo-1")
    desk.ask("a")
    claim = desk.claim()
    strays.put_back_old(())
    strays.put_back_old(claim.jobs)
    strays.put_back_old(())
    assert desk.waiting() == []


def test_a_claim_that_comes_when_its_worker_has_given_it_up_is_answered(
    processes: Processes, connection: Redis
) -> None:
    processes.start_worker("echo")
    live = Live(connection)
    live.check_that_it_serves()
    put_stray(connection, live)
    assert live.answer("late") == "late"


def test_after_a_loss_it_looks_each_second_for_a_while(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, looks = [100.0], list[float]()
    monkeypatch.setattr("resident.strays.time.monotonic", lambda: now[0])
    strays = Strays(desk.scripts, "resident-echo-1")
    monkeypatch.setattr(strays, "put_back_old", lambda _known: looks.append(now[0]))
    strays.look(())
    strays.note_loss()
    assert (strays.wait_s(5.0), strays.wait_s(0.0)) == (1.0, 0.0)
    for _ in range(60):
        strays.look(())
        now[0] += 1
    assert looks == [100, *map(float, range(100, 130)), 130, *map(float, range(135, 160, 5))]
    assert strays.wait_s(5.0) == 5.0


def put_stray(connection: Redis, live: Live) -> None:
    """A question that is claimed for the worker and that it does not hear of."""
    [token] = [one.decode() for one in connection.zrange(ECHO.leases, 0, -1)]
    [name] = [one.decode() for one in connection.zrange(ECHO.ready, 0, -1)]
    link = Link(connection)
    fields = [word for field in live.fields("late").items() for word in field]
    link.call("SCRIPT", "LOAD", CLAIM.source)
    claim = PackedClaim("echo", name, token, LIMITS).next(1, False, False, 0)
    job = ("HSET", f"{keys.JOB}late", *fields)
    commands = [("MULTI",), job, ("RPUSH", ECHO.queue, "late"), claim, ("EXEC",)]
    link.send_all(commands)
    *_, done = [link.read(5) for _ in commands]
    link.close()
    assert read_claim(done[-1]).jobs
