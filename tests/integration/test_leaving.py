"""Workers that are told to leave, and then once more."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from redis import Redis
from rq import Worker
from rq.command import send_shutdown_command

from resident import keys
from resident.status import read
from tests.support.live import Live
from tests.support.odd import FOLDER, WITH_ODD_TASKS
from tests.support.processes import Processes, children_of, is_there, workers_of
from tests.support.project import copy_project
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


def test_one_that_was_told_by_somebody_else_answers_its_batch_although_all_are_told(
    processes: Processes, connection: Redis, tmp_path: Path
) -> None:
    """RQ's shutdown command, say: the service's word is the second that it hears."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    live = Live(connection, "gate")
    service = processes.start(*WITH_ODD_TASKS, "worker.py", "gate", "--workers", "2")
    (id_,) = live.put(live.fields(str(gate)))
    with gate.open("w", encoding="utf-8") as held:  # the model has it
        wait_until(lambda: connection.zcard(keys.of_task("gate").ready) == 2)
        busy = next(pid for pid in workers_of(service) if has_open(pid, gate))
        (name,) = [one.name for one in Worker.all(connection=connection) if one.pid == busy]
        send_shutdown_command(connection, name)
        assert service.stderr
        assert any("draining" in line for line in service.stderr)
        service.terminate()
        wait_until(lambda: workers_of(service) == [busy])
        held.write("the answer")
    assert live.answer(id_) == "the answer"
    assert service.wait(20) == 0


def has_open(pid: int, file: Path) -> bool:
    """Whether the process has this file open."""
    return any(one.resolve() == file for one in Path(f"/proc/{pid}/fd").iterdir())


LATE = """
from resident import task
from resident.errors import ConfigurationError

def load():
    open({gate!r}).read()
    raise ConfigurationError("too late")

@task(load=load, preload=False)
def answer(_model: None, questions: list[str]) -> list[str]:
    return questions
"""


def test_models_that_do_not_load_stop_the_others_once(
    processes: Processes, connection: Redis, tmp_path: Path
) -> None:
    loads, gate, project = tmp_path / "loads", tmp_path / "gate", copy_project(tmp_path / "project")
    for fifo in (loads, gate):
        os.mkfifo(fifo)
    (project / "tasks" / "late.py").write_text(LATE.format(gate=str(loads)), "utf-8")
    text = (Path(FOLDER) / "gate.py").read_text("utf-8")
    (project / "tasks" / "gate.py").write_text(text, "utf-8")
    service = processes.start(sys.executable, "worker.py", "gate=1", "late=2", folder=project)
    live = Live(connection, "gate")
    (held,) = live.put(live.fields(str(gate)))
    with gate.open("w", encoding="utf-8") as answer:  # the model has it
        with loads.open("w"):  # both wait for the end
            (supervisor,) = children_of(service.pid)
            wait_until(lambda: len(workers_of(service)) == 3)
            os.kill(supervisor, signal.SIGSTOP)
        wait_until(lambda: sum(map(is_there, workers_of(service))) == 1)
        os.kill(supervisor, signal.SIGCONT)
        wait_until(lambda: len(workers_of(service)) == 1)
        answer.write("the last answer")
    assert live.answer(held) == "the last answer"
    assert service.wait(20) == 2
