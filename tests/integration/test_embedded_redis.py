from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import redis

from resident.embedded_redis import EmbeddedRedis
from resident.errors import ConfigurationError

OWNER = """
import signal, sys
from pathlib import Path
from resident.embedded_redis import EmbeddedRedis
print(EmbeddedRedis(Path(sys.argv[1])).start().pid, flush=True)
signal.pause()
"""
FORKING_OWNER = """
import os, sys
import redis
from resident.embedded_redis import EmbeddedRedis
with EmbeddedRedis() as server:
    child = os.fork()
    if child == 0:
        sys.exit()
    os.waitpid(child, 0)
    print(redis.Redis.from_url(server.url).ping())
"""


def ask(url: str, *command: str) -> object:
    with redis.Redis.from_url(url, decode_responses=True) as connection:
        return connection.execute_command(*command)


def wait_for_death(pidfd: int, seconds: float = 5) -> bool:
    return bool(select.select([pidfd], [], [], seconds)[0])


@pytest.mark.parametrize("tcp", [False, True], ids=["unix", "tcp"])
def test_it_answers_at_its_url_until_it_is_stopped(tmp_path: Path, tcp: bool) -> None:
    with EmbeddedRedis(tmp_path, tcp=tcp) as server:
        assert ask(server.url, "PING") is True
    with pytest.raises(redis.ConnectionError):
        ask(server.url, "PING")


@pytest.mark.parametrize("tcp", [False, True], ids=["unix", "tcp"])
def test_it_refuses_a_wrong_password_and_none(tmp_path: Path, tcp: bool) -> None:
    with EmbeddedRedis(tmp_path, tcp=tcp) as server:
        before, rest = server.url.split("://", 1)
        for password in (":wrong@", ""):
            with pytest.raises(redis.AuthenticationError):
                ask(f"{before}://{password}{rest.partition('@')[2]}", "PING")


def test_only_a_socket_of_this_user_leads_to_it(tmp_path: Path) -> None:
    directory = tmp_path / "redis"
    with EmbeddedRedis(directory) as server:
        assert ask(server.url, "CONFIG", "GET", "port") == {"port": "0"}
        assert directory.stat().st_mode & 0o777 == 0o700
        assert (directory / "redis.sock").stat().st_mode & 0o077 == 0


def test_the_password_is_in_no_process_list_and_in_no_file(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server:
        password = server.url.split("@")[0].removeprefix("unix://:")
        assert password not in Path(f"/proc/{server.pid}/cmdline").read_text()
        written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
        assert not any(password.encode() in content for content in written)


def test_it_keeps_every_write_and_never_evicts(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server:
        assert ask(server.url, "CONFIG", "GET", "appendonly") == {"appendonly": "yes"}
        policy = ask(server.url, "CONFIG", "GET", "maxmemory-policy")
        assert policy == {"maxmemory-policy": "noeviction"}


@pytest.mark.parametrize("tcp", [False, True], ids=["unix", "tcp"])
def test_after_a_crash_it_serves_the_same_data_at_the_same_url(tmp_path: Path, tcp: bool) -> None:
    with EmbeddedRedis(tmp_path, tcp=tcp) as server:
        url = server.url
        ask(url, "SET", "key", "value")
        server.kill()
        server.start()
        assert server.url == url
        assert ask(url, "GET", "key") == "value"


def test_starting_and_stopping_twice_is_harmless(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path)
    server.stop()
    pid = server.start().pid
    assert server.start().pid == pid
    server.stop()
    server.stop()
    assert server.pid == 0


def test_a_temporary_directory_goes_with_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with EmbeddedRedis() as server:
        assert ask(server.url, "PING") is True
        assert list(tmp_path.iterdir())
    assert not list(tmp_path.iterdir())


def test_it_dies_with_an_owner_that_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout
        pidfd = os.pidfd_open(int(owner.stdout.readline()))
        try:
            owner.send_signal(signal.SIGKILL)
            assert wait_for_death(pidfd)
        finally:
            os.close(pidfd)
    with EmbeddedRedis(tmp_path) as successor:
        assert ask(successor.url, "PING") is True


def test_a_forked_child_that_ends_leaves_it_alone() -> None:
    command = [sys.executable, "-c", FORKING_OWNER]
    assert subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout == b"True\n"


def test_it_cannot_be_started_from_a_thread_that_may_end_before_it(tmp_path: Path) -> None:
    raised: list[BaseException] = []

    def start() -> None:
        try:
            EmbeddedRedis(tmp_path).start()
        except RuntimeError as error:
            raised.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert "main thread" in str(raised)


def test_a_deep_directory_gets_a_shorter_socket(tmp_path: Path) -> None:
    deep = tmp_path / ("deep " * 20) / ("deeper" * 20)
    with EmbeddedRedis(deep) as server:
        ask(server.url, "SET", "key", "value")
    assert (deep / "appendonlydir").exists() or (deep / "appendonly.aof").exists()


def test_two_servers_never_share_a_directory(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path), pytest.raises(ConfigurationError, match="another Redis"):
        EmbeddedRedis(tmp_path).start()


def test_a_missing_binary_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="/nowhere/redis-server cannot be run: No such"):
        EmbeddedRedis(tmp_path, binary=Path("/nowhere/redis-server")).start()


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    with pytest.raises(ConfigurationError, match=rf"{blocked}/redis: Not a directory"):
        EmbeddedRedis(blocked / "redis").start()


def test_a_server_that_ends_at_once_is_reported_with_its_last_line(tmp_path: Path) -> None:
    binary = tmp_path / "redis-server"
    binary.write_text("#!/bin/sh\necho first\necho 'out of luck'\nexit 1\n")
    binary.chmod(0o755)
    with pytest.raises(ConfigurationError, match="ended at once: out of luck"):
        EmbeddedRedis(tmp_path, binary=binary).start()
