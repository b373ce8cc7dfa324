"""The slowest round trips of one caller, and whose doing they were."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from bench.figures import pauses, quantile
from bench.harness import Bench, Caller
from bench.run import Goal, Row, Run
from bench.tail import Trip, explained
from resident.redis_client import connect

_GOAL = Goal(3.0, 3.0, is_least=False)
_MONITOR = "latency-monitor-threshold"


def turn(run: Run, bench: Bench, caller: Caller) -> Callable[[], list[Trip]]:
    """Round trips with looks between them, which is why they are no part of the p50's turns."""

    def watched() -> list[Trip]:
        plan, watch = run.plan, bench.watched(caller)
        with _monitored(bench):
            came = caller.order("watched", count=plan.trips, seconds=plan.trip_s, watched=watch)
        return [Trip(**one) for one in came]

    return watched


def add(run: Run, bench: Bench, name: str, rounds: Sequence[list[Trip]], *, is_ours: bool) -> None:
    """p99 by p50, and the causes, of the same trips."""
    trips = [trip for each in rounds for trip in each]
    times = sorted(trip.ms for trip in trips)
    note = (
        f"{explained(trips, _file_ms(bench))}; {pauses(times)} took over 5 ms, "
        f"the slowest {times[-1]:.1f} ms"
    )
    ratio = quantile(times, 0.99) / quantile(times, 0.5)
    goal = _GOAL if is_ours else None
    run.add(Row("roundtrip", f"tail, {name}", ratio, "p99 / p50", goal, note=note))


@contextmanager
def _monitored(bench: Bench) -> Iterator[None]:
    """Redis notes what it waited for, from a millisecond on."""
    with connect(bench.redis.url) as connection:
        connection.config_set(_MONITOR, 1)
        yield
        connection.config_set(_MONITOR, 0)


def _file_ms(bench: Bench) -> dict[int, float]:
    """The longest wait for the append-only file or for a fork, by the second it ended in."""
    longest: dict[int, float] = {}
    with connect(bench.redis.url) as connection:
        for event, *_ in connection.latency_latest():
            if event.startswith((b"aof", b"fork", b"rewrite")):
                pairs: Any = connection.latency_history(event.decode())
                for second, ms in pairs:
                    longest[second] = max(longest.get(second, 0.0), float(ms))
    return longest
