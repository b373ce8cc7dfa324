"""script/server and script/demo: what they say, and how they end."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from resident.redis_client import connect
from tests.support.processes import ROOT, Processes
from tests.support.project import copy_project

SERVER = [sys.executable, "-m", "script.server"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of what the scripts need: they write into .run."""
    for name in ("script", "enqueue_api"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return copy_project(tmp_path)


@pytest.fixture
def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return str(server.getsockname()[1])


def said_when_ready(server: subprocess.Popen[str]) -> str:
    """What stands on standard output up to `Ctrl-C stops all of it.`."""
    assert server.stdout is not None
    lines: list[str] = []
    while not lines or not lines[-1].startswith("Ctrl-C"):
        lines.append(server.stdout.readline())
        assert lines[-1], server.communicate()[1]
    return "".join(lines)


def test_its_own_redis_is_named_in_a_file_of_ours_alone_until_it_ends(
    processes: Processes, project: Path, free_port: str
) -> None:
    server = processes.start(
        *SERVER, folder=project, RESIDENT_REDIS_URL="", RESIDENT_HTTP_PORT=free_port
    )
    said = said_when_ready(server)
    assert 'export RESIDENT_REDIS_URL="$(cat .run/redis-url)"' in said
    assert "a new password" in said
    file = project / ".run" / "redis-url"
    assert file.stat().st_mode & 0o777 == 0o600
    with connect(file.read_text("utf-8")) as connection:
        assert connection.ping()
    server.send_signal(signal.SIGINT)
    assert server.wait(50) == 0
    assert not file.exists()


def test_with_a_redis_that_is_given_the_file_of_another_server_stays(
    processes: Processes, project: Path, free_port: str
) -> None:
    file = project / ".run" / "redis-url"
    file.parent.mkdir()
    file.write_text("of another server", "utf-8")
    server = processes.start(*SERVER, folder=project, RESIDENT_HTTP_PORT=free_port)
    said = said_when_ready(server)
    assert "with the same RESIDENT_REDIS_URL" in said
    assert "redis-url" not in said
    server.terminate()
    assert server.wait(50) == 128 + signal.SIGTERM
    assert file.read_text("utf-8") == "of another server"
