"""A worker that is told to leave, and then once more."""

from __future__ import annotations

import os
from pathlib import Path

from redis import Redis

from resident.status import read
from tests.support.live import Live
from tests.support.odd import WITH_ODD_TASKS
from tests.support.processes import Processes, workers_of
from tests.support.waiting import wait_until


def test_one_that_is_recycled_answers_its_batch_although_all_are_told_to_stop(
    processes: Processes, connection: Redis, tmp_path: Path
) -> None:
    gate, plain = tmp_path / "gate", tmp_path / "plain"
    os.mkfifo(gate)
    plain.write_text("first", encoding="utf-8")
    live = Live(connection, "gate")
    service = processes.start(*WITH_ODD_TASKS, "worker.py", "gate", RESIDENT_RECYCLE_JOBS="1")
    (first,) = live.put(live.fields(str(plain)))
    assert live.answer(first) == "first"
    (worn,) = workers_of(service)
    (last,) = live.put(live.fields(str(gate)))
    with gate.open("w", encoding="utf-8") as held:  # the model has it
        wait_until(lambda: len(workers_of(service)) == 2)  # its replacement
        wait_until(lambda: leaving(connection) == [worn])
        service.terminate()
        wait_until(lambda: workers_of(service) == [worn])
        held.write("the last answer")
    assert live.answer(last) == "the last answer"
    assert service.wait(20) == 0


def leaving(connection: Redis) -> list[int]:
    """The workers of which their supervisor says that they leave."""
    workers = [worker for status in read(connection) for worker in status.workers]
    return [worker.pid for worker in workers if worker.state == "leaving"]
