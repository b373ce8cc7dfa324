"""Starts peers on their cores, gives orders to their callers, and lets them take turns."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, TypeVar

from bench.load import PATIENCE_S
from resident.embedded_redis import EmbeddedRedis
from resident.lifeline import die_with_owner

ROOT = Path(__file__).parent.parent
PEERS_PYTHON = ROOT / ".run" / "bench-venv" / "bin" / "python"
_ORDER_TIMEOUT_S = 180.0


Name = TypeVar("Name")


class Failed(Exception):
    """A peer did not do what it should; the message says what, the table shows it."""


@dataclass(frozen=True)
class Peer:
    """One thing that is measured.

    Attributes:
        name: What the table calls it.
        module: The file in bench/peers/.
        own: Runs in the product's environment instead of the peers'.
        http: Listens at an address of its own instead of using Redis.
        options: Environment variables for both sides.
        php: Its callers are PHP.
    """

    name: str
    module: str
    own: bool = False
    http: bool = False
    options: Mapping[str, str] = field(default_factory=dict)
    php: bool = False

    def with_options(self, name: str, **options: str) -> Peer:
        """The same peer under another name, with more options."""
        return Peer(name, self.module, self.own, self.http, {**self.options, **options}, self.php)


@dataclass(frozen=True)
class Cores:
    """Redis and the worker run on one core, the load on another where there is one."""

    server: int
    load: int

    @classmethod
    def of_this_machine(cls) -> Cores:
        """The first and the last of those that this process may use."""
        cores = sorted(os.sched_getaffinity(0))
        return cls(cores[0], cores[-1])


class Bench:
    """A private Redis on the server core, and what runs against it."""

    def __init__(self, cores: Cores, folder: Path) -> None:
        self.cores = cores
        self._folder = folder
        self._stack = contextlib.ExitStack()
        self.redis = EmbeddedRedis(folder / "redis", tcp=True)  # as most are reached

    def __enter__(self) -> Bench:
        os.sched_setaffinity(0, {self.cores.server})
        self._stack.enter_context(self.redis)
        os.sched_setaffinity(0, {self.cores.load})
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @contextlib.contextmanager
    def running(self, peer: Peer) -> Iterator[Caller]:
        """A peer whose server has answered once, and its caller."""
        url = f"http://127.0.0.1:{free_port()}" if peer.http else self.redis.url
        with self.serving(peer, url) as server, self.calling(peer, url) as caller:
            caller.order("wait")
            caller.server = server.pid
            yield caller

    def watched(self, caller: Caller) -> list[tuple[int, int]]:
        """Redis, what serves a caller, and the caller: their processes and cores."""
        server = [self.redis.pid, caller.server, *_descendants(caller.server)]
        return [*((pid, self.cores.server) for pid in server), (caller.pid, self.cores.load)]

    @contextlib.contextmanager
    def serving(self, peer: Peer, url: str = "", **more: str) -> Iterator[subprocess.Popen[bytes]]:
        """A peer's server, which may not be ready yet."""
        environment = _environment(peer, url or self.redis.url) | more
        environment["TMPDIR"] = str(self._folder)  # what is left there goes with the folder
        log = (self._folder / "server.log").open("ab")
        process = _start(peer, "serve", environment, self.cores.server, stdout=log, stderr=log)
        try:
            yield process
        finally:
            stop(process)
            log.close()

    @contextlib.contextmanager
    def calling(self, peer: Peer, url: str = "") -> Iterator[Caller]:
        """The process of a peer's callers."""
        with tempfile.TemporaryFile() as log:
            process = _start(
                peer,
                "ask",
                _environment(peer, url or self.redis.url),
                self.cores.load,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
            try:
                yield Caller(peer.name, process, log)
            finally:
                stop(process)

    @contextlib.contextmanager
    def draining(self, peer: Peer, count: int) -> Iterator[Drain]:
        """A worker that has begun to answer what waits; the stopwatch stops after `count`."""
        address = str(self._folder / "stopwatch")
        told = {"BENCH_STOPWATCH": address, "BENCH_STOP_AT": str(count)}
        with _bound(address) as stopwatch, self.serving(peer, **told):
            yield Drain(stopwatch, peer.name)


class Caller:
    """Does what it is told to, in a process on the load core.

    Attributes:
        pid: Of that process.
        server: The process that answers it, where one was started with it.
    """

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
        self._name = name
        self._process = process
        self._log = log
        self.pid = process.pid
        self.server = 0

    def order(self, do: str, **arguments: Any) -> Any:
        """Raises Failed if it did not work."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
        self._process.stdin.flush()
        ready, _, _ = select.select([self._process.stdout], [], [], _ORDER_TIMEOUT_S)
        line = self._process.stdout.readline() if ready else b""
        if not line:
            self._log.seek(0)
            last = self._log.read().decode(errors="replace").strip().rpartition("\n")[2]
            msg = f"{self._name}: no answer to {do!r}: {last[-300:]}"
            raise Failed(msg)
        answer = json.loads(line)
        if isinstance(answer, dict) and "error" in answer:
            msg = f"{self._name}: {answer['error'][:300]}"
            raise Failed(msg)
        return answer


class Drain:
    """A worker that drains a queue under the stopwatch's eye."""

    def __init__(self, stopwatch: socket.socket, name: str) -> None:
        self._stopwatch = stopwatch
        self._name = name
        self._next()

    def finish(self) -> float:
        """Waits for the last question; returns questions a second."""
        message = self._next()
        return float(message["questions"] / message["seconds"])

    def _next(self) -> dict[str, float]:
        try:
            message: dict[str, float] = json.loads(self._stopwatch.recv(4_096))
        except TimeoutError:
            msg = f"{self._name}: did not drain its queue"
            raise Failed(msg) from None
        return message


def alternate(
    rounds: int, turns: Mapping[Name, Callable[[], Any]], *, warm_up: bool = True
) -> dict[Name, list[Any]]:
    """A B A B: what each turn returned, round by round, after one that does not count."""
    for turn in turns.values() if warm_up else ():
        turn()
    came: dict[Name, list[Any]] = {name: [] for name in turns}
    for _ in range(rounds):
        for name, turn in turns.items():
            came[name].append(turn())
    return came


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ends a process that we started and all that it started, at once.

    Their Redis goes with them, so nothing is lost, and nothing of them is left to be measured.
    """
    started = [process.pid, *_descendants(process.pid)]
    for pid in started:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream:
            stream.close()


def children_of(pid: int) -> list[int]:
    """By the kernel's word; none if the process is gone."""
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(word) for each in threads for word in (each / "children").read_text().split()]
    except OSError:
        return []


def _descendants(pid: int) -> list[int]:
    """Children and theirs."""
    children = children_of(pid)
    return children + [each for child in children for each in _descendants(child)]


@contextlib.contextmanager
def _bound(address: str) -> Iterator[socket.socket]:
    Path(address).unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stopwatch:
        stopwatch.bind(address)
        stopwatch.settimeout(PATIENCE_S * 2)
        yield stopwatch


def _environment(peer: Peer, url: str) -> dict[str, str]:
    """Ours, without settings that would change what is measured."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RESIDENT_")}
    ours = {"BENCH_URL": url, "RESIDENT_REDIS_URL": url, "RESIDENT_LOG_LEVEL": "error"}
    return kept | ours | dict(peer.options)


def _start(
    peer: Peer, role: str, environment: dict[str, str], core: int, **streams: Any
) -> subprocess.Popen[bytes]:
    python = sys.executable if peer.own else str(PEERS_PYTHON)
    command = [python, "-m", "bench.peer", peer.module, role]
    if peer.php and role == "ask":
        command = ["php", "-d", "display_errors=stderr", "bench/peers/ask.php", peer.module]
    end_with_us = die_with_owner(signal.SIGTERM)

    def arrange() -> None:
        os.sched_setaffinity(0, {core})
        end_with_us()

    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        start_new_session=True,
        preexec_fn=arrange,
        **{"stdin": subprocess.DEVNULL, **streams},
    )
