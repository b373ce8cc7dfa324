"""Bytes that Redis needs for a question, in each state of its life."""

from __future__ import annotations

import contextlib
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import catalogue
from bench.figures import Spread
from bench.harness import Bench, Failed
from bench.load import PATIENCE_S
from bench.run import Row, Run
from resident import keys
from resident.redis_client import connect

#: One batch of the task `held`.
_QUESTIONS = 1_000
_TASK = "held"


def measure(run: Run) -> None:
    """With the default result_ttl, and with none."""
    for note, options in (("", {}), ("result_ttl 0", {"RESIDENT_RESULT_TTL": "0"})):
        run.say(f"memory of {_QUESTIONS} questions {note}")
        with run.bench() as bench, gate() as closed:
            options |= {"BENCH_GATE": closed.getsockname()}
            for state, value in _states(bench, closed, options).items():
                if not note or state.startswith("finished"):
                    spread = Spread(value, value, value)
                    what = f"memory of a question, {state}"
                    run.add(Row("memory", what, value=spread, unit="B", note=note))


def _states(bench: Bench, gate: socket.socket, options: dict[str, str]) -> dict[str, float]:
    peer = catalogue.ours("Resident", _TASK, **options)
    with connect(bench.redis.url) as connection, bench.calling(peer) as caller:
        empty = _used(connection)
        caller.order("fill", count=_QUESTIONS)
        came = {"waiting": _used(connection) - empty}
        last = connection.lindex(keys.of_task(_TASK).queue, -1).decode()  # type: ignore[union-attr]
        with bench.serving(peer):
            held, _ = gate.accept()
            came["started"] = _used(connection) - empty
            held.close()
            _wait_for_reply(connection, last)
            came["finished, its reply unread"] = _used(connection) - empty
            for reply in connection.scan_iter(keys.reply("*"), count=1_000):
                connection.delete(reply)
            came["finished, its reply read"] = _used(connection) - empty
    return {state: used / _QUESTIONS for state, used in came.items()}


def _wait_for_reply(connection: Any, job_id: str) -> None:
    """All of a batch are settled at once, so one reply stands for all."""
    key = keys.reply(job_id)
    if connection.blmove(key, key, 4, "LEFT", "LEFT") is None:
        msg = "Resident: the batch was not settled"
        raise Failed(msg)


def _used(connection: Any) -> int:
    return int(connection.info("memory")["used_memory"])


@contextlib.contextmanager
def gate() -> Iterator[socket.socket]:
    """Where the task `held` waits."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as made:
        made.bind(str(Path(folder) / "gate"))
        made.listen()
        made.settimeout(PATIENCE_S)
        yield made
