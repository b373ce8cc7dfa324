"""A worker that is killed at any step leaves every job on the queue, started or settled."""

from __future__ import annotations

import sys
from collections import Counter

import pytest
from redis import Redis

from resident import keys
from tests.support.junk import SPECIAL
from tests.support.live import Live
from tests.support.processes import Processes
from tests.support.waiting import wait_until

QUEUED, POPPED, STARTED, SETTLED = "queued", "popped", "started", "settled"
ALL_QUEUED = {QUEUED: 5}
ONE_POPPED = {POPPED: 1, QUEUED: 4}
BATCH_STARTED = {STARTED: 2, QUEUED: 3}
BATCH_SETTLED = {SETTLED: 2, QUEUED: 3}
NEXT_STARTED = {SETTLED: 2, STARTED: 2, QUEUED: 1}

#: Where five questions are that a worker which takes two at once had before it, by its last step.
STEPS = {
    "before pop": ALL_QUEUED,
    "pop unread": ONE_POPPED,
    "after pop": BATCH_STARTED,
    "before claim": ONE_POPPED,
    "claim unread": BATCH_STARTED,
    "after claim": BATCH_STARTED,
    "in model": BATCH_STARTED,
    "before settle": BATCH_STARTED,
    "settle unread": BATCH_SETTLED,
    "after settle": NEXT_STARTED,
    "before release": BATCH_STARTED,
    "release unread": ALL_QUEUED,
    "after release": ALL_QUEUED,
}


def kill_at(step: str, processes: Processes) -> None:
    worker = processes.start(sys.executable, "-m", "tests.support.halting", step)
    assert worker.stdout is not None
    said = worker.stdout.readline()
    worker.kill()
    worker.wait()
    assert said == "halted\n", worker.communicate()


def places_of(connection: Redis, live: Live, job_id: str) -> list[str]:
    """Everywhere that a job is."""
    of, status = live.of, connection.hget(f"{keys.JOB}{job_id}", "status")
    places = [QUEUED] * lists(connection, of.queue).count(job_id)
    places += [POPPED] * lists(connection, of.popped).count(job_id)
    if status == b"queued":
        assert connection.pttl(f"{keys.JOB}{job_id}") > 0
    execution = connection.hget(f"{keys.JOB}{job_id}", "execution") or b""
    started = connection.zscore(of.started, f"{job_id}:{execution.decode()}") is not None
    assert started == (status == b"started")
    places += [STARTED] * started
    replies = connection.llen(keys.reply(job_id))
    assert (replies == 1) == (status == b"finished")
    return places + [SETTLED] * replies


def lists(connection: Redis, key: str) -> list[str]:
    return [one.decode() for one in connection.lrange(key, 0, -1)]


@pytest.mark.parametrize("step", STEPS)
def test_a_worker_that_is_killed_leaves_each_job_in_one_place(
    step: str, processes: Processes, connection: Redis
) -> None:
    live = Live(connection)
    ids = live.put(*map(live.fields, range(5)))
    kill_at(step, processes)
    places = {job_id: places_of(connection, live, job_id) for job_id in ids}
    assert {job_id: len(found) for job_id, found in places.items()} == dict.fromkeys(ids, 1)
    assert Counter(found[0] for found in places.values()) == STEPS[step]
    if STEPS[step] == ALL_QUEUED:
        assert lists(connection, live.of.queue) == ids


@pytest.mark.parametrize(
    "step",
    ["before pop", "pop unread", "before claim", "claim unread", "settle unread"],
)
def test_after_a_kill_another_worker_answers_what_still_waits(
    step: str, processes: Processes, connection: Redis
) -> None:
    live = Live(connection)
    ids = live.put(*map(live.fields, range(5)))
    kill_at(step, processes)
    waiting = lists(connection, live.of.popped) + lists(connection, live.of.queue)
    processes.start_worker("echo")
    assert [live.answer(job_id) for job_id in waiting] == [ids.index(one) for one in waiting]


@pytest.mark.parametrize(
    "step", [step for step in STEPS if step != "in model" and "release" not in step]
)
def test_a_worker_that_loses_its_connection_answers_each_question_once(
    step: str, processes: Processes, connection: Redis
) -> None:
    live = Live(connection)
    ids = live.put(*map(live.fields, range(5)))
    worker = processes.start(sys.executable, "-m", "tests.support.halting", step, "cut")
    wait_until(lambda: connection.zcard(live.of.finished) == 5)
    assert [live.answer(job_id) for job_id in ids] == [0, 1, 2, 3, 4]
    live.check_that_it_serves()
    worker.terminate()
    assert f"cut {step}" in worker.communicate(timeout=20)[1]


@pytest.mark.parametrize("step", ["claim unread", "after claim"])
def test_a_worker_that_loses_its_connection_runs_what_it_took_for_rq(
    step: str, processes: Processes, connection: Redis
) -> None:
    live = Live(connection)
    (job_id,) = live.put(live.fields("rq's own") | SPECIAL)
    worker = processes.start(sys.executable, "-m", "tests.support.halting", step, "cut")
    assert live.answer(job_id) == "rq's own"
    live.check_that_it_serves()
    worker.terminate()
    assert f"cut {step}" in worker.communicate(timeout=20)[1]
