"""Ctrl-C before a program has begun its work, or while it waits."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from redis import Redis
from rq import SimpleWorker

from resident import keys
from tests.support.processes import Processes
from tests.support.project import copy_project
from tests.support.waiting import wait_until

PROGRAMS = {
    "worker.py": ["worker.py", "echo"],
    "enqueue_api": ["-m", "enqueue_api", "ask", "echo", "?"],
    "script.server": ["-m", "script.server"],
    "script.demo": ["-m", "script.demo"],
}
CTRL_C = """
import os
import signal

os.kill(os.getpid(), signal.SIGINT)
"""
RELOAD = CTRL_C.replace("SIGINT", "SIGHUP")
EXIT = "raise SystemExit(7)"

SLOW = """
import time
from pathlib import Path
from resident import task

def load():
    Path("loading").touch()
    for _ in range(3000):  # Python notices a signal that comes just before a sleep behind it
        time.sleep(0.01)

@task(load=load)
def answer(model, questions):
    return questions
"""


@pytest.mark.parametrize("name", PROGRAMS)
def test_ctrl_c_during_the_imports_ends_a_program_without_a_word(
    name: str, processes: Processes, tmp_path: Path
) -> None:
    (tmp_path / "redis.py").write_text(CTRL_C, "utf-8")  # which all of them import
    process = processes.start(sys.executable, *PROGRAMS[name], PYTHONPATH=str(tmp_path))
    output, errors = process.communicate(timeout=30)
    assert (process.returncode, output, errors) == (130, "", "")


def test_a_reload_during_the_imports_does_not_end_a_worker(
    processes: Processes, tmp_path: Path
) -> None:
    (tmp_path / "redis.py").write_text(f"{RELOAD}{EXIT}", "utf-8")
    process = processes.start(sys.executable, "worker.py", "echo", PYTHONPATH=str(tmp_path))
    process.communicate(timeout=30)
    assert process.returncode == 7


def test_ctrl_c_during_a_load_ends_a_worker_without_a_word(
    processes: Processes, tmp_path: Path
) -> None:
    project = copy_project(tmp_path)
    (project / "tasks" / "slow.py").write_text(SLOW, "utf-8")
    worker = processes.start(sys.executable, "worker.py", "slow", folder=project)
    wait_until((project / "loading").exists)
    assert interrupted(worker) == (130, "", "")


def test_ctrl_c_during_a_wait_ends_the_caller_without_a_word(
    processes: Processes, connection: Redis
) -> None:
    SimpleWorker(["echo"], connection=connection).register_birth()  # and never works
    caller = processes.start(sys.executable, *PROGRAMS["enqueue_api"])
    wait_until(lambda: connection.llen(keys.of_task("echo").queue) == 1)
    assert interrupted(caller) == (130, "", "")


def interrupted(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a program that gets SIGINT."""
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=30)
    return process.returncode, output, errors
