"""What all jobs of a task have in common: copied, and the same as if it was written each time."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from resident import keys
from resident.ear import Ear
from resident.embedded_redis import EmbeddedRedis
from resident.redis_client import connect
from tests.support.lua import BUDGET_MS, FAILURE_TTL_S, Desk, a_desk
from tests.support.waiting import wait_until

COMMON = keys.common("echo", FAILURE_TTL_S)
#: Of one job alone.
OWN = {"enqueued_at", "created_at", "started_at", "ended_at", "last_heartbeat", "execution"}
MAILBOX = f"resident:mailbox:{'a' * 32}"
WAYS: list[dict[str, Any]] = [
    {"is_new": True},
    {},
    {"reply_to": MAILBOX},
    {"is_streamed": True},
    {"reply_to": MAILBOX, "is_streamed": True, "is_new": True},
    {"lane": "high:shop"},
]


def common_to(desk: Desk, job_id: str) -> dict[str, str]:
    return {name: value for name, value in desk.job(job_id).items() if name not in OWN}


@pytest.mark.parametrize("way", WAYS)
def test_a_copied_job_is_as_one_that_was_written_whole(way: dict[str, Any], desk: Desk) -> None:
    desk.ask("before", is_new=True)  # a lane is taken only behind another
    desk.connection.delete(COMMON)
    desk.ask("written", **way)
    assert 0 < desk.connection.ttl(COMMON) <= 60
    desk.ask("copied", **way)
    assert common_to(desk, "copied") == common_to(desk, "written")
    assert desk.job("copied").keys() == desk.job("written").keys()
    assert desk.job("copied")["enqueued_at"] > desk.job("written")["enqueued_at"]
    assert BUDGET_MS - 1_000 < desk.connection.pttl(f"{keys.JOB}copied") <= BUDGET_MS


def test_a_copied_job_that_is_handed_over_is_as_one_that_was_written_whole(
    desk: Desk, ear: Ear
) -> None:
    for job_id in ("written", "copied"):
        desk.ask(job_id, is_new=True)
        handed = ear.wait(5)
        assert handed
        desk.settle(handed, by_hash=False)
    assert common_to(desk, "copied") == common_to(desk, "written")
    assert desk.job("copied").keys() == desk.job("written").keys()
    of_the_worker = keys.common("echo", FAILURE_TTL_S, desk.token)
    assert 0 < desk.connection.ttl(of_the_worker) <= 60
    assert not desk.connection.exists(COMMON)


SPOILT = {
    "a string": lambda connection: connection.set(COMMON, "x"),
    "a list": lambda connection: connection.rpush(COMMON, "x"),
    "others' hash": lambda connection: connection.hset(COMMON, "note", "x"),
    "a hash with data": lambda connection: connection.hset(COMMON, "data", "x"),
    "a hash with a mailbox": lambda connection: connection.hset(COMMON, "reply_to", "x"),
}


@pytest.mark.parametrize("spoilt", SPOILT)
@pytest.mark.parametrize("way", [{"is_new": True, "reply_to": MAILBOX}, {"reply_to": MAILBOX}])
def test_what_others_made_of_it_is_made_anew(spoilt: str, way: dict[str, Any], desk: Desk) -> None:
    desk.ask("written", **way)
    if not spoilt.startswith("a hash"):
        desk.connection.delete(COMMON)
    SPOILT[spoilt](desk.connection)
    desk.ask("a", **way)
    assert common_to(desk, "a") == common_to(desk, "written")
    left = {name.decode() for name in desk.connection.hkeys(COMMON)}
    assert not {"data", "reply_to", "enqueued_at", "note"} & left
    assert 0 < desk.connection.ttl(COMMON) <= 60
    assert [job.id for job in desk.claim().jobs] == ["written", "a"]


def test_a_job_that_is_in_the_way_of_a_new_one_is_gone(desk: Desk) -> None:
    desk.ask("before")
    desk.connection.hset(f"{keys.JOB}a", mapping={"status": "finished", "result_ttl": 3})
    desk.ask("a", is_new=True)
    assert desk.job("a").keys() == desk.job("before").keys()


@pytest.mark.parametrize("denied", [["-copy"], ["-del"], ["-copy", "-del"]])
def test_a_caller_who_may_not_copy_or_delete_is_served(
    denied: list[str], desk: Desk, redis_server: EmbeddedRedis, connection: Redis
) -> None:
    commands = ["+@all", *denied]
    connection.acl_setuser(
        "caller", enabled=True, nopass=True, keys=["*"], channels=["*"], commands=commands
    )
    try:
        url = redis_server.url.replace("unix://:", "unix://caller:")
        with connect(url) as theirs, a_desk(theirs, "resident-echo-2") as other:
            other.ask("a", is_new=True)
            other.ask("b", is_new=True)
        assert connection.exists(COMMON) == ("-copy" not in denied)
        assert [job.id for job in desk.claim().jobs] == ["a", "b"]
        assert desk.job("a").keys() == desk.job("b").keys()
    finally:
        connection.acl_deluser("caller")


def test_what_was_copied_comes_back_with_redis_after_the_common_fields_expired(
    tmp_path: Path,
) -> None:
    """The append-only file says copy, and is read when what was copied has expired."""
    with EmbeddedRedis(tmp_path) as server:
        with connect(server.url) as connection, a_desk(connection) as desk:
            desk.announce()
            desk.ask("written")
            connection.pexpire(COMMON, 1_500)
            desk.ask("copied", 600_000)
            before = desk.job("copied")
            left_ms = connection.pttl(COMMON)
            assert left_ms > 0
            expires_at = time.time() * 1000 + left_ms
        server.kill()
        log = b"".join(path.read_bytes() for path in tmp_path.rglob("*.aof"))
        words = [b"COPY", COMMON.encode(), f"{keys.JOB}copied".encode()]
        assert b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words) in log
        wait_until(lambda: time.time() * 1000 > expires_at)
        server.start()
        with connect(server.url) as connection, a_desk(connection) as desk:
            assert desk.job("copied") == before
            assert not connection.exists(COMMON)
            assert connection.pttl(f"{keys.JOB}copied") > 0
