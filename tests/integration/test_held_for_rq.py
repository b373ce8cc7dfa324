"""Whether a worker still holds a job that RQ's own perform_job is to run."""

from __future__ import annotations

import zlib

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from rq import Queue
from rq.job import Job

from resident import keys, special
from resident.settings import Settings
from resident.task import load_task
from resident.worker import ResidentWorker
from tests.support.junk import INVALID, SPECIAL
from tests.support.live import Live
from tests.support.lua import a_desk


def test_one_that_rq_put_on_the_queue_again_is_left_there_if_redis_goes_then(
    connection: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = Live(connection)
    worker = ResidentWorker(load_task("echo"), connection, Settings())
    begin, begun = worker.execute_job, list[str]()

    def run_and_lose_redis(job: Job, queue: Queue) -> None:
        begun.append(job.id)
        begin(job, queue)
        raise RedisConnectionError

    monkeypatch.setattr(worker, "execute_job", run_and_lose_redis)
    (job_id,) = live.put(live.fields("again") | {"repeats_left": "2"})
    with a_desk(connection, worker.name) as desk:
        assert desk.claim().special == job_id
    with pytest.raises(RedisConnectionError):
        special.perform(worker, job_id, 1_000)
    special.perform(worker, job_id, 1_000)
    assert begun == [job_id]
    assert connection.lrange(live.of.queue, 0, -1) == [job_id.encode()]


@pytest.mark.parametrize("is_put_back", [False, True])
def test_one_that_rqs_clean_up_cannot_read_gets_its_error_unless_it_was_put_back(
    is_put_back: bool, connection: Redis
) -> None:
    live = Live(connection)
    worker, cleaner = (ResidentWorker(load_task("echo"), connection, Settings()) for _ in range(2))
    (job_id,) = live.put(live.fields() | SPECIAL | {"data": zlib.compress(bytes(1_000_000))})
    with a_desk(connection, worker.name) as desk:
        assert desk.claim().special == job_id
        if is_put_back:
            assert desk.scripts.release([]) == 1
        else:
            cleaner.clean_registries()
    assert connection.lrange(live.of.intermediate, 0, -1) == []
    special.perform(worker, job_id, 1_000)
    if is_put_back:
        assert not connection.exists(keys.reply(job_id))
        assert connection.lrange(live.of.queue, 0, -1) == [job_id.encode()]
    else:
        assert live.error_code(job_id) == INVALID
