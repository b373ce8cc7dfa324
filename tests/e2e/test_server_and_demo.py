"""script/server and script/demo: what they say, and how they end."""

from __future__ import annotations

import os
import re
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

SCRIPTS = ["server", "demo"]
SERVER = [sys.executable, "-m", "script.server"]
NO_REDIS = "redis://:s3cret@127.0.0.1:1/0"


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


def test_it_ends_when_its_own_redis_does(
    processes: Processes, project: Path, free_port: str
) -> None:
    server = processes.start(
        *SERVER, folder=project, RESIDENT_REDIS_URL="", RESIDENT_HTTP_PORT=free_port
    )
    said_when_ready(server)
    with connect((project / ".run" / "redis-url").read_text("utf-8")) as connection:
        os.kill(connection.info("server")["process_id"], signal.SIGKILL)
    _, errors = server.communicate(timeout=50)
    assert server.returncode == 1
    assert "server: its Redis ended\n" in errors
    assert "Traceback" not in errors


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


def test_port_0_is_one_that_is_free(processes: Processes, project: Path) -> None:
    server = processes.start(*SERVER, folder=project, RESIDENT_HTTP_PORT="0")
    said = said_when_ready(server)
    (port,) = re.findall(r"'http://127\.0\.0\.1:(\d+)/deal'", said)
    socket.create_connection(("127.0.0.1", int(port)), 20).close()
    server.terminate()
    assert server.wait(50) == 128 + signal.SIGTERM


# how they end


def end(
    processes: Processes, project: Path, script: str, **environment: str
) -> tuple[int, list[str]]:
    """Exit code, and what was written to standard error."""
    command = [sys.executable, "-m", f"script.{script}"]
    process = processes.start(*command, folder=project, **environment)
    _, errors = process.communicate(timeout=50)
    return process.returncode, errors.splitlines()


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("RESIDENT_BUDGET_MS", "0", "RESIDENT_BUDGET_MS='0': input should be "),
        ("RESIDENT_REDIS_URL", NO_REDIS, "Redis at redis://127.0.0.1:1/0 cannot be used: "),
        ("RESIDENT_REDIS_URL", "redis://:s3c/ret@h", "RESIDENT_REDIS_URL (address not shown) "),
        ("RQ_KEY_PREFIX", "a b", "Invalid RQ_KEY_PREFIX 'a b': "),
    ],
)
def test_a_wrong_setting_is_one_line_and_exit_code_2(
    script: str, name: str, value: str, said: str, processes: Processes, project: Path
) -> None:
    code, errors = end(processes, project, script, RESIDENT_HTTP_PORT="0", **{name: value})
    assert (code, len(errors)) == (2, 1), errors
    assert errors[0].startswith(f"{script}: {said}")


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_knowledge_file_that_is_not_there_is_told_with_exit_code_2(
    script: str, processes: Processes, project: Path, free_port: str
) -> None:
    wrong = {"RESIDENT_FAQ_FILE": "/no/such.yaml", "RESIDENT_HTTP_PORT": free_port}
    code, errors = end(processes, project, script, **wrong)
    assert code == 2
    reason = "worker.py: /no/such.yaml: there is no such file; check the path"
    assert any(line.startswith(reason) for line in errors), errors
    end_of_it = f"{script}: the worker ended with exit code 2"
    assert any(line.startswith(end_of_it) for line in errors), errors


def test_a_worker_that_dies_of_something_else_is_exit_code_1(
    processes: Processes, project: Path, free_port: str
) -> None:
    (project / "worker.py").write_text("raise SystemExit(7)", "utf-8")
    code, errors = end(processes, project, "server", RESIDENT_HTTP_PORT=free_port)
    assert code == 1
    assert "server: the worker ended with exit code 7" in errors


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("127.0.0.1", "Address already in use; RESIDENT_HTTP_PORT chooses another port"),
        ("no such host", "Name or service not known; RESIDENT_HTTP_HOST chooses another address"),
        (
            "192.0.2.1",
            "Cannot assign requested address; RESIDENT_HTTP_HOST chooses another address",
        ),
    ],
)
def test_a_place_where_the_api_cannot_listen_is_told_before_a_model_is_loaded(
    host: str, reason: str, processes: Processes, project: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        place = {"RESIDENT_HTTP_HOST": host, "RESIDENT_HTTP_PORT": port}
        code, errors = end(processes, project, "server", **place)
    assert (code, errors) == (2, [f"server: The HTTP API cannot listen on {host}:{port}: {reason}"])
