"""What workers have of the process that loaded their model, and what they have not."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from redis import Redis

from tests.support.live import Live, start_worker
from tests.support.processes import Processes, workers_of
from tests.support.project import copy_project
from tests.support.waiting import wait_until


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return copy_project(tmp_path)


THREADED = """
import threading
from resident import task

def load():
    threading.Thread(target=threading.Event().wait, daemon=True).start()

@task(load=load, preload={preload})
def answer(model, questions):
    return questions
"""


@pytest.mark.parametrize("preload", [True, False])
def test_threads_that_workers_will_not_have_are_told(
    preload: bool, project: Path, processes: Processes, connection: Redis, tmp_path: Path
) -> None:
    text = THREADED.format(preload=preload)
    (project / "tasks" / "mine.py").write_text(text, "utf-8")
    start_worker(processes, connection, tmp_path / "log", "mine", folder=project)
    told = "load() left threads" in (tmp_path / "log").read_text("utf-8")
    assert told is preload


DRAWING = """
import os
import numpy.random
from resident import task

@task(load=numpy.random.rand)
def answer(model, questions: list[str]) -> list[object]:
    return [[os.getpid(), numpy.random.rand()]]
"""


def test_a_replacement_does_not_draw_the_random_numbers_of_the_dead_again(
    project: Path, processes: Processes, connection: Redis, tmp_path: Path
) -> None:
    (project / "tasks" / "mine.py").write_text(DRAWING, "utf-8")
    supervisor = start_worker(processes, connection, tmp_path / "log", "mine", folder=project)
    live = Live(connection, "mine")
    first = live.answer(*live.put(live.fields()))
    os.kill(first[0], signal.SIGKILL)
    wait_until(lambda: workers_of(supervisor) not in ([], [first[0]]))
    second = live.answer(*live.put(live.fields()))
    assert first[0] != second[0]
    assert first[1] != second[1]
