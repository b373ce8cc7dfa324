"""Bytes that Redis needs for a question, in each state of its life."""

from __future__ import annotations

import contextlib
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from redis.exceptions import ResponseError

from bench import catalogue
from bench.figures import Spread
from bench.harness import Bench, Failed
from bench.load import PATIENCE_S
from bench.peer import START_TIMEOUT_S
from bench.run import Row, Run
from resident import keys
from resident.redis_client import connect

#: One batch of the task `held`.
_QUESTIONS = 1_000
_TASK = "held"
#: After the replies, the books may follow with the worker's next turn.
_FILED_S = 1.5


def measure(run: Run) -> None:
    """With the default result_ttl, and with none."""
    for note, options in (("", {}), (", result_ttl 0", {"RESIDENT_RESULT_TTL": "0"})):
        run.say(f"memory of {_QUESTIONS} questions{note}")
        with run.bench() as bench, gate() as closed:
            options |= {"BENCH_GATE": closed.getsockname()}
            for state, value in _states(bench, closed, options).items():
                if not note or state.startswith("finished"):
                    used, left = value
                    spread = Spread(used, used, used)
                    what = f"memory of a question, {state}{note}"
                    many = f"{left:.2f} keys"
                    run.add(Row("memory", what, value=spread, unit="B", note=many))


def _states(
    bench: Bench, gate: socket.socket, options: dict[str, str]
) -> dict[str, tuple[float, float]]:
    """Bytes and keys of a question, by its state."""
    peer = catalogue.ours("Resident", _TASK, **options)
    with connect(bench.redis.url) as connection, bench.calling(peer) as caller:
        with contextlib.suppress(
            ResponseError
        ):  # 6.2 has none; 7 allocates them command by command
            connection.config_set("latency-tracking", "no")
        meter = _Meter(connection)
        caller.order("fill", count=_QUESTIONS)
        came = {"waiting": meter.read()}
        connection.flushall()
        with bench.serving(peer):
            _wait_for_worker(connection)
            meter = _Meter(connection)
            caller.order("fill", count=_QUESTIONS)
            held, _ = gate.accept()
            came["started"] = meter.read()
            one = _one_of(connection)
            held.close()
            _wait_for_reply(connection, one)
            time.sleep(_FILED_S)
            came["finished, its reply unread"] = meter.read()
            for reply in connection.scan_iter(keys.reply("*"), count=1_000):
                connection.delete(reply)
            came["finished, its reply read"] = meter.read()
    return came


class _Meter:
    """What came into Redis since it was made."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._before = self._now()

    def read(self) -> tuple[float, float]:
        """Bytes and keys, each of one question."""
        before, now = self._before, self._now()
        return (now[0] - before[0]) / _QUESTIONS, (now[1] - before[1]) / _QUESTIONS

    def _now(self) -> tuple[int, int]:
        """All of it: MEMORY USAGE would leave out what a stream has set aside to grow."""
        used = int(self._connection.info("memory")["used_memory"])
        return used, int(self._connection.dbsize())


def _wait_for_worker(connection: Any) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not connection.exists(keys.of_task(_TASK).announcement):
        if time.monotonic() > deadline:
            msg = "Resident: the worker did not become ready"
            raise Failed(msg)
        time.sleep(0.01)


def _one_of(connection: Any) -> str:
    """The id of a job of the batch that is held."""
    key: bytes = next(connection.scan_iter(f"{keys.JOB}*", count=_QUESTIONS))
    return key.decode().removeprefix(keys.JOB)


def _wait_for_reply(connection: Any, job_id: str) -> None:
    """All of a batch are answered at once, so one reply stands for all."""
    key = keys.reply(job_id)
    if connection.blmove(key, key, 4, "LEFT", "LEFT") is None:
        msg = "Resident: the batch was not settled"
        raise Failed(msg)


@contextlib.contextmanager
def gate() -> Iterator[socket.socket]:
    """Where the task `held` waits."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as made:
        made.bind(str(Path(folder) / "gate"))
        made.listen()
        made.settimeout(PATIENCE_S)
        yield made
