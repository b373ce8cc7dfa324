"""Whose work a question is made of: the CPU time of Redis, of the worker and of its caller.

.venv/bin/python -m bench.shares
.venv/bin/python -m bench.shares --php
.venv/bin/python -m bench.shares --callers 64

Redis and the worker share a core, so what both take together a lone question waits for, and many
questions cannot be quicker. Beside it, the same of the bare loop and of the floor, which hands over
a lone question; and of Resident with scripts that check nothing (bench/unchecked), asked from
Python. Each has a Redis of its own.
"""

from __future__ import annotations

import contextlib
import functools
import statistics
import tempfile
from dataclasses import astuple, dataclass
from pathlib import Path

import click

from bench import catalogue
from bench.harness import Bench, Caller, Cores, alternate
from script.table import table

_ALONE = (catalogue.BARE, catalogue.HANDING, catalogue.UNCHECKED, catalogue.RESIDENT)
_PHP = (catalogue.BARE, catalogue.PHP_BARE, catalogue.PHP_HANDING, catalogue.PHP_RESIDENT)
_MANY = (catalogue.BARE, catalogue.FLOOR, catalogue.UNCHECKED, catalogue.RESIDENT)
#: Of one round: the most round trips of one caller, and how long they or many callers take, s.
_TRIPS, _ROUND_S = 1_500, 0.8


@dataclass(frozen=True)
class Shares:
    """Of one question, in µs."""

    took: float
    redis: float
    worker: float
    caller: float

    @property
    def idle(self) -> float:
        """What the core of Redis and the worker does not do for either."""
        return max(self.took - self.redis - self.worker, 0.0)


@click.command()
@click.option("--callers", default=1, show_default=True, type=click.IntRange(1))
@click.option("--php", is_flag=True, help="one caller, in PHP")
@click.option("--rounds", default=7, show_default=True, type=click.IntRange(1), help="by turns")
def main(callers: int, php: bool, rounds: int) -> None:
    """Prints medians of the rounds, in microseconds a question."""
    if php and callers > 1:
        msg = "--php is for one caller"
        raise click.UsageError(msg)
    cores = Cores.of_this_machine()
    with contextlib.ExitStack() as stack:
        turns = {}
        for peer in _PHP if php else _ALONE if callers == 1 else _MANY:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            bench = stack.enter_context(Bench(cores, folder))
            caller = stack.enter_context(bench.running(peer))
            turns[peer.name] = functools.partial(shares_of, bench, caller, callers)
        came = alternate(rounds, turns)
    header = ("µs a question", "took", "Redis", "worker", "callers", "idle")
    rows = [(name, *_words(seen)) for name, seen in came.items()]
    click.echo(table(header, rows, limits={}, right={1, 2, 3, 4, 5}))
    click.echo("idle: what the core of Redis and the worker did for neither")


def shares_of(bench: Bench, caller: Caller, callers: int) -> Shares:
    """Of the questions of one round."""
    pids = [pid for pid, _ in bench.watched(caller)]
    before = [_ran_us(pid) for pid in pids]
    if callers == 1:
        times_ms = caller.order("trips", count=_TRIPS, seconds=_ROUND_S)
        took_us = statistics.mean(times_ms) * 1000
    else:
        load = caller.order("load", callers=callers, seconds=_ROUND_S, warm_up_s=0)
        times_ms, took_us = load["times_ms"], 1e6 / load["rate"]
    redis, *worker, asking = [
        (_ran_us(pid) - ran_us) / len(times_ms) for pid, ran_us in zip(pids, before, strict=True)
    ]
    return Shares(took_us, redis, sum(worker), asking)


def _ran_us(pid: int) -> float:
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1000


def _words(seen: list[Shares]) -> list[str]:
    rows = [(*astuple(each), each.idle) for each in seen]
    return [f"{statistics.median(column):.1f}" for column in zip(*rows, strict=True)]


if __name__ == "__main__":
    main()
