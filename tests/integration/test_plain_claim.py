"""The usual claim goes straight on; what it does is what the careful one behind it would do."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Any

import pytest

from resident import holders, keys, packed_claim, scripts
from resident.claimed import Unusual
from resident.lua_script import Script, source_of
from resident.packed_claim import Limits
from resident.scripts import WorkerScripts
from tests.support.lua import DATA, ECHO, LIMITS, Desk

MAILBOX = f"resident:mailbox:{'0' * 32}"
_CLOCK = "local s, us = now()\nlocal now_ms = s * 1000 + math.floor(us / 1000)\n"
_CAREFUL = source_of("clock", "write", "deadline") + _CLOCK + source_of("lanes", "claim")
CAREFUL = Script(_CAREFUL, hashlib.sha1(_CAREFUL.encode(), usedforsecurity=False).hexdigest())


def plain(desk: Desk) -> None:
    for number in range(3):
        desk.ask(f"id-{number}", is_new=True)


def shared(desk: Desk) -> None:
    desk.ask("a")
    desk.ask("b", is_new=True, reply_to=MAILBOX)


def without_a_budget(desk: Desk) -> None:
    desk.ask("a", is_new=True)
    desk.connection.persist(f"{keys.JOB}a")


def popped_before(desk: Desk) -> None:
    plain(desk)
    desk.connection.lmove(ECHO.queue, ECHO.popped, "LEFT", "RIGHT")


def nothing(_desk: Desk) -> None:
    pass


def put_back_once(desk: Desk) -> None:
    desk.ask("a", is_new=True)
    desk.scripts.release([(job.id, job.execution) for job in desk.claim().jobs])


@pytest.mark.parametrize(
    "asked", [plain, shared, without_a_budget, popped_before, nothing, put_back_once]
)
def test_it_leaves_in_redis_what_the_careful_one_leaves(
    asked: Callable[[Desk], None], desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = []
    for careful in (False, True):
        if careful:
            monkeypatch.setattr(scripts, "CLAIM", CAREFUL)
            monkeypatch.setattr(packed_claim, "CLAIM", CAREFUL)
            desk.scripts = WorkerScripts(desk.link, "echo", desk.name, LIMITS, desk.token)
        desk.connection.flushall()
        desk.scripts.close()
        desk.announce()
        asked(desk)
        jobs = desk.claim().jobs
        told = [(type(job), job.id, job.data, job.failure_ttl, job.reply_to) for job in jobs]
        left.append((told, left_in(desk)))
    assert left[0] == left[1]


def left_in(desk: Desk) -> dict[str, Any]:
    """All of it but times, and what tells one claim from another."""
    connection = desk.connection
    read: dict[str, Callable[[str], Any]] = {
        "hash": connection.hgetall,
        "list": lambda key: connection.lrange(key, 0, -1),
        "zset": lambda key: connection.zrange(key, 0, -1),
        "set": connection.smembers,
        "string": connection.get,
    }
    found = {}
    for key in sorted(key.decode() for key in connection.scan_iter()):
        value = read[connection.type(key).decode()](key)
        has_ttl = connection.ttl(key) >= 0
        found[key] = (re.sub(r"\d{4}-[\dT:.-]+Z|[0-9a-f]{32}", "…", str(value)), has_ttl)
    return found


@pytest.mark.parametrize("unusual", ["status", "enqueued_at", "failure_ttl", "asked"])
def test_one_unusual_question_sends_the_batch_the_careful_way(unusual: str, desk: Desk) -> None:
    for job_id in "abc":
        desk.ask(job_id, is_new=True)
    desk.connection.hdel(f"{keys.JOB}b", unusual)
    first, second, third = desk.claim().jobs
    assert [one.id for one in (first, second, third)] == ["a", "b", "c"]
    assert all(one.by_hash for one in (first, second, third))  # which the plain one does not say
    assert desk.waiting() == []


@pytest.mark.parametrize("field", ["enqueued_at", "failure_ttl", "reply_to", "data"])
def test_a_field_with_line_ends_is_told_as_it_is(field: str, desk: Desk) -> None:
    for job_id in "abc":
        desk.ask(job_id, is_new=True, reply_to=MAILBOX)
    odd = b"\n1\n2\n3\n4\n5\n6\n7\n"
    desk.connection.hset(f"{keys.JOB}b", field, odd)
    first, second, third = desk.claim().jobs
    assert [one.id for one in (first, second, third)] == ["a", "b", "c"]
    assert getattr(second, field) == odd
    assert [one.data for one in (first, third)] == [DATA, DATA]
    assert [one.reply_to for one in (first, third)] == [MAILBOX.encode()] * 2


def test_what_is_unusual_is_back_on_the_queue_in_its_order(desk: Desk) -> None:
    for job_id in "abcd":
        desk.ask(job_id, is_new=True)
    desk.connection.lmove(ECHO.queue, ECHO.popped, "LEFT", "RIGHT")
    desk.connection.hset(f"{keys.JOB}c", "group_id", "g")
    assert [job.id for job in desk.claim().jobs] == ["a", "b"]
    assert desk.waiting() == ["c", "d"]


def test_the_deadline_is_kept_at_once_only_if_it_is_near(desk: Desk) -> None:
    supervised = Limits(15_000, 60_000, 1_000, 1, keep_ms=3_000)
    desk.scripts = WorkerScripts(desk.link, "echo", desk.name, supervised, desk.token)
    desk.ask("near", 2_000, is_new=True)
    desk.ask("far", 5_000, is_new=True)
    desk.claim()
    assert desk.connection.pttl(f"{keys.JOB}near") > 5_000
    assert desk.connection.pttl(f"{keys.JOB}far") <= 5_000


def test_a_tick_keeps_the_deadline_of_what_runs_for_long(desk: Desk) -> None:
    supervised = Limits(15_000, 60_000, 1_000, 1, keep_ms=3_000)
    desk.scripts = WorkerScripts(desk.link, "echo", desk.name, supervised, desk.token)
    desk.ask("a", 5_000, is_new=True)
    (job,) = desk.claim().jobs
    alive = holders.Alive(desk.token, desk.name, 1_000)
    holders.tick(desk.link, "echo", 15_000, [alive])
    assert desk.connection.pttl(f"{keys.JOB}a") > 5_000
    desk.scripts.release([("a", job.execution)])
    assert 0 < desk.connection.pttl(f"{keys.JOB}a") <= 5_000


@pytest.mark.parametrize("unusual", [False, True])
def test_what_was_popped_is_not_lost_when_the_queue_is_no_list(unusual: bool, desk: Desk) -> None:
    for job_id in "ab":
        desk.ask(job_id, is_new=True)
        desk.connection.lmove(ECHO.queue, ECHO.popped, "LEFT", "RIGHT")
    if unusual:
        desk.connection.hdel(f"{keys.JOB}b", "asked")
    desk.connection.set(ECHO.queue, "no list")
    assert [job.id for job in desk.claim().jobs] == ["a", "b"]


def test_a_fresh_question_takes_the_usual_way(desk: Desk) -> None:
    desk.ask("a", is_new=True)
    desk.ask("b", is_new=True, reply_to=MAILBOX)
    assert [job.by_hash for job in desk.claim().jobs] == [b"", b""]  # the careful way says 1


@pytest.mark.parametrize("unusual", ["enqueued_at", "failure_ttl", "asked"])
def test_another_field_in_its_place_makes_a_question_unusual_all_the_same(
    unusual: str, desk: Desk
) -> None:
    desk.ask("a", is_new=True)
    desk.connection.hdel(f"{keys.JOB}a", unusual)
    desk.connection.hset(f"{keys.JOB}a", "result_ttl", "7")  # as many as ask.lua writes
    (job,) = desk.claim().jobs
    assert isinstance(job, Unusual)
    assert job.result_ttl == b"7"


def test_a_question_without_one_of_its_fields_is_unusual(desk: Desk) -> None:
    desk.ask("a", is_new=True)
    desk.connection.hdel(f"{keys.JOB}a", "success_callback_name")
    (job,) = desk.claim().jobs
    assert isinstance(job, Unusual)
    assert job.success_callback == b""  # nobody wants the answer


@pytest.mark.parametrize("job_id", ["a b", 'a"', "a:b", "x" * 256], ids=repr)
def test_an_id_that_no_job_has_is_dropped_although_its_hash_is_as_ours(
    job_id: str, desk: Desk
) -> None:
    desk.ask("a", is_new=True)
    desk.connection.rename(f"{keys.JOB}a", f"{keys.JOB}{job_id}")
    desk.connection.lset(ECHO.queue, 0, job_id)
    assert desk.claim().jobs == ()
    assert desk.counts() == {"malformed": 1}


def test_rq_does_not_take_a_batch_that_may_be_long_for_abandoned(desk: Desk) -> None:
    slow = Limits(15_000, 60_000, 1_000, longest_batch_s=3_000)
    desk.scripts = WorkerScripts(desk.link, "echo", desk.name, slow, desk.token)
    desk.ask("a", is_new=True)
    (job,) = desk.claim().jobs
    assert not job.by_hash
    now_s, _ = desk.connection.time()
    assert desk.connection.zscore(ECHO.started, f"a:{job.execution}") > now_s + 3_000
