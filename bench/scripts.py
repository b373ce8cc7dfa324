"""What a question costs Redis in each script, beside those of the floor.

.venv/bin/python -m bench.scripts

By Redis' own commandstats, for questions alone and in batches. The commands in a script are shown
apart: what is left is Lua, and what Redis does round each command.
"""

from __future__ import annotations

import importlib
import os
import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import click
from redis import Redis

from bench.harness import Cores
from bench.peer import QUESTION
from enqueue_api.client import Client
from resident.answering import Answerer
from resident.claimed import Claim
from resident.ear import Ear
from resident.embedded_redis import EmbeddedRedis
from resident.link import Link
from resident.packed_claim import Limits
from resident.pools import load_pools
from resident.pulse import Pulse
from resident.redis_client import connect
from resident.scripts import WorkerScripts, new_token
from resident.settings import read_settings
from resident.settlement import NOTHING_ENDED, Ended
from resident.streaming import Streams
from script.table import table

BATCH = 32
STEPS = ("ask", "claim", "settle")
_BUDGET_MS = 60_000
#: Rounds that bring the scripts into Redis.
_WARM_UP = 5
#: Nobody announces a second time.
_ANNOUNCED_MS = 3_600_000


class Side(Protocol):
    """Takes a number of questions through Redis, in three steps."""

    def ask(self, count: int) -> None:
        """Puts them on the queue."""

    def claim(self, count: int) -> None:
        """Takes them off it."""

    def settle(self, count: int) -> None:
        """Answers what was claimed."""


class Ours:
    """Client and worker in one process; the worker is of `echo`."""

    def __init__(self, url: str, connection: Redis) -> None:
        self._link = link = Link(connection)
        task = load_pools({"echo": 1})[0].task
        limits = Limits(
            lease_ms=15_000,
            reply_ttl_ms=60_000,
            max_data_bytes=1_000,
            longest_batch_s=10,
            keep_ms=3_000,
        )
        self._client, self._held, self._token = Client(url), Claim(), new_token()
        self._scripts = WorkerScripts(link, task.name, "resident-echo-bench", limits, self._token)
        self._scripts.announce(_ANNOUNCED_MS, {"max_backlog": 100_000})
        streams = Streams(link, lambda send: send(), link.close, limits.reply_ttl_ms)
        self._answerer = Answerer(task, None, read_settings(), lambda: None, Pulse(), streams)

    def ask(self, count: int) -> None:
        """In one write, a call of the script each."""
        self._client.submit_many("echo", [QUESTION] * count, _BUDGET_MS)

    def claim(self, count: int) -> None:
        """In one call."""
        self._held = self._scripts.turn(NOTHING_ENDED, count, 0)

    def settle(self, count: int) -> None:
        """In one call."""
        ends = self._answerer.settlements(self._held)
        self._scripts.turn(Ended(ends, self._held.started, bool), 0, 0)


class Handed(Ours):
    """With questions that are handed over: nothing takes the place of a claim."""

    def __init__(self, url: str, connection: Redis) -> None:
        super().__init__(url, connection)
        self._ear = Ear(connection, "echo", self._token)
        self._ear.open()
        self._link.call(*self._scripts.offer_command())

    def claim(self, count: int) -> None:
        """Hears of the question; the offer stands."""
        handed = self._ear.wait(_BUDGET_MS / 1000)
        if handed is None:
            msg = "the question was not handed over"
            raise RuntimeError(msg)
        self._held = handed


class Floor:
    """The least that leaves RQ's books."""

    def __init__(self, url: str, _: Redis) -> None:
        os.environ["BENCH_URL"] = url  # which its modules read
        self._floor = importlib.import_module("bench.peers.floor")
        self._redis = importlib.import_module("bench.peers.bare").RawRedis(url)
        [self._turn] = self._redis.call(("SCRIPT", "LOAD", self._floor.TURN))
        self._held: list[Any] = []

    def ask(self, count: int) -> None:
        """In one write, a call of the script each."""
        self._floor.submit(count)

    def claim(self, count: int) -> None:
        """In one call."""
        [self._held] = self._redis.call(self._floor.turn_command(self._turn, count, []))

    def settle(self, count: int) -> None:
        """In one call."""
        self._redis.call(self._floor.turn_command(self._turn, 0, self._held))


def both(url: str, connection: Redis) -> dict[str, Side]:
    """Those that take questions by the queue."""
    return {"Resident": Ours(url, connection), "floor": Floor(url, connection)}


@click.command()
@click.option("--rounds", default=200, show_default=True, help="of each, by turns")
def main(rounds: int) -> None:
    """Prints medians, in microseconds of Redis' time a question."""
    cores = Cores.of_this_machine()
    with tempfile.TemporaryDirectory() as folder:
        os.sched_setaffinity(0, {cores.server})
        with EmbeddedRedis(Path(folder)) as server, connect(server.url) as connection:
            os.sched_setaffinity(0, {cores.load})
            sides = both(server.url, connection)
            rows = [row for count in (BATCH, 1) for row in _rows(connection, sides, count, rounds)]
            handed = {"Resident, handed over": Handed(server.url, connection)}
            rows += _rows(connection, handed, 1, rounds)
    header = ("µs of Redis a question", *STEPS, "all", "of it commands")
    click.echo(table(header, rows, limits={}, right={1, 2, 3, 4, 5}))


def _rows(
    connection: Redis, sides: Mapping[str, Side], count: int, rounds: int
) -> list[tuple[str, ...]]:
    """One row a side."""
    seen: dict[str, list[list[tuple[float, float]]]] = {name: [] for name in sides}
    for number in range(-_WARM_UP, rounds):
        for name, side in sides.items():
            round_of_it = [_cost(connection, side, step, count) for step in STEPS]
            seen[name] += [round_of_it] if number >= 0 else []
    where = f"in a batch of {count}" if count > 1 else "alone"
    rows: list[tuple[str, ...]] = []
    for name, costs in seen.items():
        steps = [statistics.median(cost[number][0] for cost in costs) for number in range(3)]
        commands = statistics.median(sum(step[1] for step in cost) for cost in costs)
        words = [f"{us:.1f}" for us in (*steps, sum(steps), commands)]
        rows.append((f"{name}, {where}", *words))
    return rows


def _cost(connection: Redis, side: Side, step: str, count: int) -> tuple[float, float]:
    """What one step took of Redis' time a question, and what the commands in its script did."""
    before = _times(connection)
    getattr(side, step)(count)
    spent = {name: us - before.get(name, 0) for name, us in _times(connection).items()}
    del spent["cmdstat_info"]
    in_scripts = spent.pop("cmdstat_evalsha", 0)
    commands = sum(spent.values())
    return (in_scripts or commands) / count, commands / count


def _times(connection: Redis) -> dict[str, int]:
    return {name: its["usec"] for name, its in connection.info("commandstats").items()}


if __name__ == "__main__":
    main()
