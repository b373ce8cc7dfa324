"""Whatever stands where RQ and Resident keep their records, the worker goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
from redis import Redis
from rq.command import send_shutdown_command

from resident import keys
from tests.support.junk import INVALID, SPECIAL, worker_names, write
from tests.support.live import Live, start_worker
from tests.support.processes import Processes
from tests.support.project import copy_project
from tests.support.waiting import wait_until


@pytest.mark.parametrize("kind", ["string", "hash"])
@pytest.mark.parametrize(
    "key",
    [
        "resident:reply:{id}",
        "rq:results:{id}",
        "resident:leases:echo",
        "rq:wip:echo",
        "rq:finished:echo",
    ],
)
def test_a_record_of_another_type_makes_room(key: str, kind: str, live: Live) -> None:
    worker = worker_names(live.connection)[0].decode()
    job_id = f"room-{abs(hash((key, kind)))}"
    place = key.format(id=job_id, worker=worker)
    live.connection.hset(f"{keys.JOB}{job_id}", mapping=live.fields("room"))
    write(live.connection, kind, place)
    live.connection.rpush(live.of.queue, job_id)
    wait_until(lambda: live.is_finished(job_id))
    assert live.answer(job_id) == "room"
    wait_until(lambda: live.connection.type(place).decode() != kind)  # leases by the next tick


@pytest.mark.parametrize("key", ["resident:metrics:echo", "rq:worker:{worker}", "rq:failed:echo"])
def test_counters_and_lists_that_are_strings_make_room(key: str, live: Live) -> None:
    worker = worker_names(live.connection)[0].decode()
    write(live.connection, "string", key.format(worker=worker))
    live.connection.rpush(live.of.queue, "no-such-job")
    good, bad = live.put(live.fields("room"), live.fields() | {"data": "junk"})
    assert live.answer(good) == "room"
    assert live.error_code(bad) == INVALID


@pytest.mark.parametrize("junk", ["many", "9223372036854775807", "1e400", ""])
def test_counters_that_are_no_numbers_make_room(junk: str, live: Live) -> None:
    worker = worker_names(live.connection)[0].decode()
    counters = ["answered", "failed", "malformed", "duplicate", "expired", "lost"]
    live.connection.delete(live.of.metrics)
    live.connection.hset(live.of.metrics, mapping=dict.fromkeys(counters, junk))
    counters = ["successful_job_count", "failed_job_count", "total_working_time"]
    live.connection.hset(f"{keys.WORKER}{worker}", mapping=dict.fromkeys(counters, junk))
    good, bad = live.put(live.fields("room"), live.fields() | {"data": "junk"})
    live.connection.rpush(live.of.queue, good, "no-such-job", "no id")
    assert live.answer(good) == "room"
    assert live.error_code(bad) == INVALID
    live.check_that_it_serves()
    assert int(live.connection.hget(live.of.metrics, "expired") or 0) == 1


def test_a_stream_of_results_that_is_full_makes_room(live: Live) -> None:
    last = f"{2**64 - 1}-{2**64 - 1}"
    live.connection.xadd(f"{keys.PREFIX}:results:full", {"x": 1}, id=last)
    live.connection.hset(f"{keys.JOB}full", mapping=live.fields("room"))
    live.connection.rpush(live.of.queue, "full")
    assert live.answer("full") == "room"


def wrong_types(live: Live) -> int:
    """How many commands Redis has refused because of them."""
    errors = live.connection.info("errorstats")
    return int(errors.get("errorstat_WRONGTYPE", {"count": 0})["count"])


def test_a_queue_of_another_type_is_waited_for(live: Live) -> None:
    before = wrong_types(live)
    write(live.connection, "string", live.of.queue)
    wait_until(lambda: wrong_types(live) > before)
    live.connection.delete(live.of.queue)
    live.check_that_it_serves()


@pytest.mark.parametrize("key", ["resident:ready:echo", "resident:task:echo", "resident:tasks"])
def test_an_announcement_of_another_type_makes_room(key: str, live: Live) -> None:
    before = live.connection.type(key)
    write(live.connection, "string", key)
    wait_until(lambda: live.connection.type(key) == before)


@pytest.mark.parametrize("kind", ["string", "hash"])
@pytest.mark.parametrize("key", ["reply", "executions", "results", "wip"])
def test_a_special_job_with_records_of_another_type_keeps_nobody_else_waiting(
    key: str, kind: str, live: Live
) -> None:
    job_id = f"special-{key}-{kind}"
    place = {
        "reply": keys.reply(job_id),
        "executions": f"{keys.PREFIX}:executions:{job_id}",
        "results": keys.results(job_id),
        "wip": live.of.started,
    }[key]
    live.connection.hset(f"{keys.JOB}{job_id}", mapping=live.fields() | SPECIAL)
    write(live.connection, kind, place)
    live.connection.rpush(live.of.queue, job_id)
    live.check_that_answers_come_after(job_id)
    live.connection.delete(place, f"{keys.JOB}{job_id}")


JUNK = [b"", b"\xff", b"{}", b"[]", b"1", b'{"command":"nonsense"}', b'{"command":["stop-job"]}']


def test_after_junk_on_its_channel_a_worker_still_obeys(
    processes: Processes, connection: Redis, tmp_path: Path
) -> None:
    start_worker(processes, connection, tmp_path / "output", "echo")
    (worker,) = worker_names(connection)
    channel = f"{keys.PREFIX}:pubsub:{worker.decode()}"
    for message in JUNK:
        assert connection.publish(channel, message) == 1
    Live(connection).check_that_it_serves()
    send_shutdown_command(connection, worker.decode())
    wait_until(lambda: worker not in worker_names(connection))


GATHERING = """
import os
import redis
from resident import task

@task(load=dict)
def answer(model, questions):
    with redis.Redis.from_url(os.environ["RESIDENT_REDIS_URL"]) as connection:
        for key in questions:
            connection.set(key, "junk") if "string" in key else connection.sadd(key, "dependent")
    return questions
"""


@pytest.mark.parametrize("parent", ["parent", "parent-of-string"])
@pytest.mark.parametrize("result_ttl", ["0", "60"])
def test_dependents_that_come_while_the_model_runs_never_end_the_worker(
    parent: str, result_ttl: str, processes: Processes, connection: Redis, tmp_path: Path
) -> None:
    project = copy_project(tmp_path)
    (project / "tasks" / "gathering.py").write_text(GATHERING, "utf-8")
    processes.start_worker("gathering", folder=project)
    live = Live(connection, "gathering")
    before = connection.zrange(live.of.ready, 0, -1)
    connection.hset(
        f"{keys.JOB}{parent}",
        mapping=live.fields(f"{keys.JOB}{parent}:dependents") | {"result_ttl": result_ttl},
    )
    connection.rpush(live.of.queue, parent)
    assert live.answer(parent) == f"{keys.JOB}{parent}:dependents"
    (after,) = live.put(live.fields("another:dependents"))
    assert live.answer(after) == "another:dependents"
    assert connection.zrange(live.of.ready, 0, -1) == before
