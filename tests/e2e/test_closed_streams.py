"""Programs that were started without standard input, output or error, or on a full disk."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from redis import Redis

from resident import keys
from tests.support.live import Live
from tests.support.processes import ROOT, Processes
from tests.support.project import copy_project
from tests.support.waiting import wait_until

WORKER = (sys.executable, "worker.py", "echo")
API = (sys.executable, "-m", "enqueue_api")


def start(
    processes: Processes, closed: str, *command: str, folder: Path = ROOT, **environment: str
) -> subprocess.Popen[str]:
    return processes.start(
        "sh", "-c", f'exec "$@" {closed}', "sh", *command, folder=folder, **environment
    )


def test_a_worker_without_any_serves(processes: Processes, connection: Redis) -> None:
    worker = start(processes, "<&- >&- 2>&-", *WORKER)
    wait_until(lambda: worker.poll() is not None or connection.exists(keys.of_task("echo").ready))
    Live(connection).answers_one()
    worker.terminate()
    assert worker.wait(20) == 0


@pytest.mark.parametrize("command", [WORKER, (*API, "serve"), (*API, "tasks")])
@pytest.mark.parametrize("errors", ["2>&-", "2>/dev/full"])
def test_a_wrong_setting_keeps_its_exit_code_where_it_cannot_be_told(
    errors: str, command: tuple[str, ...], processes: Processes
) -> None:
    assert start(processes, errors, *command, RESIDENT_WORKERS="x").wait(20) == 2


def test_the_http_api_serves_without_standard_error(processes: Processes) -> None:
    api = start(processes, "2>&-", *API, "serve", RESIDENT_HTTP_PORT="0")
    wait_until(lambda: api.poll() is not None or " 0A " in tcp_sockets_of(api.pid))
    assert api.poll() is None


def tcp_sockets_of(pid: int) -> str:
    """Those of this process, as Linux shows them; state 0A listens."""
    opened = {str(one.readlink()) for one in Path(f"/proc/{pid}/fd").iterdir() if one.is_symlink()}
    lines = Path(f"/proc/{pid}/net/tcp").read_text("ascii").splitlines()[1:]
    return "\n".join(line for line in lines if f"socket:[{line.split()[9]}]" in opened)


def test_no_lines_are_no_questions(processes: Processes) -> None:
    asked = start(processes, "<&-", *API, "ask", "echo", "-")
    assert (*asked.communicate(timeout=20), asked.returncode) == ("", "", 0)


def test_an_embedded_redis_keeps_its_data_for_itself(processes: Processes, tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    command = (*WORKER, "--embedded-redis")
    first = start(processes, "<&-", *command, folder=project)
    assert first.stdout is not None
    assert first.stdout.readline().startswith("export RESIDENT_REDIS_URL=")
    second = start(processes, "<&-", *command, folder=project)
    _, errors = second.communicate(timeout=20)
    assert second.returncode == 2
    assert "another Redis keeps its data in" in errors


@pytest.mark.parametrize(
    "command", [("worker.py", "--status"), ("-m", "enqueue_api", "ask", "echo", "?")]
)
def test_a_full_disk_is_told_in_one_line(command: tuple[str, ...], processes: Processes) -> None:
    processes.start_worker("echo")
    process = start(processes, ">/dev/full", sys.executable, *command)
    _, errors = process.communicate(timeout=20)
    name = "worker.py" if "worker.py" in command else "enqueue_api"
    assert (process.returncode, errors) == (1, f"{name}: No space left on device\n")
