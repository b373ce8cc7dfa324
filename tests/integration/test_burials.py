"""A supervisor takes its dead workers out of the books of RQ and of the callers."""

from __future__ import annotations

from redis import Redis

from resident import keys
from resident.leases import Dead, Leases
from resident.scripts import new_token
from tests.support.lua import ECHO, a_desk


def test_a_dead_worker_whose_record_is_foreign_keeps_no_other_in_the_books(
    connection: Redis,
) -> None:
    first, second = (Dead("echo", new_token(), f"resident-echo-{one}", None) for one in "12")
    leases = Leases(connection, lease_s=15)
    connection.set(f"{keys.WORKER}{first.name}", "junk")
    with a_desk(connection, second.name) as desk:
        desk.announce()
    leases.bury(first)
    leases.bury(second)
    leases.tick([], ["echo"])
    leases.close()
    assert not connection.exists(ECHO.announcement)
