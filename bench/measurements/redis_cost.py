"""What a question costs Redis: round trips of the worker, and CPU; with a full Redis, too."""

from __future__ import annotations

import contextlib
import statistics
import time
from dataclasses import dataclass
from typing import Any

from bench import catalogue
from bench.figures import Spread, spread_of
from bench.harness import Bench, Peer, alternate
from bench.run import Goal, Row, Run
from resident.redis_client import connect

BATCH = 32
CALLERS = 64
_OURS = catalogue.timed("Resident", BENCH_MAX_BATCH=str(BATCH))
_QUESTIONS = 6_400
_US = 1e6
#: Redis moves a table that has grown a little at a time, which a Redis that has long been so full
#: no longer does; nothing in INFO tells when it is done. Seen: 40 % more CPU until then.
_SETTLE_S = 3.0


@dataclass(frozen=True)
class Cost:
    """Of one question: what Redis read from sockets, microseconds of its CPU, its commands."""

    reads: float
    cpu_us: float
    commands: dict[str, tuple[float, float]]


def measure(run: Run) -> None:
    """Drains tell the worker's side apart; a load of callers shows the whole."""
    run.say(f"Redis' cost of a question, worker's side, batches of {BATCH}")
    peers = (_OURS, catalogue.BARE, catalogue.FLOOR)
    drained = {peer.name: [_drain(run, peer)] for peer in peers}
    _add_round_trips(run, drained[_OURS.name][0])
    _loaded(run)
    if not run.plan.is_quick:
        _full(run, drained[_OURS.name])
    _add(run, "Redis CPU a question, worker's side", None, drained)


def _add_round_trips(run: Run, ours: Cost) -> None:
    what = f"round trips of the worker a question, batches of {BATCH}"
    ratio = ours.reads * BATCH
    goal = Goal(1.05, 1.5, is_least=False)
    value = Spread(ours.reads, ours.reads, ours.reads)
    run.add(Row("redis", what, ratio, f"× 1/{BATCH}", goal, value, note="reads of Redis' sockets"))
    run.details["redis"] = {
        name: {"calls": round(calls, 3), "us": round(us, 2)}
        for name, (calls, us) in sorted(ours.commands.items(), key=lambda item: -item[1][1])
    }


def _loaded(run: Run) -> None:
    run.say(f"Redis' cost of a question, {CALLERS} callers, by turns")
    peers = (catalogue.BARE, _OURS, catalogue.FLOOR)
    with contextlib.ExitStack() as stack:
        bench = stack.enter_context(run.bench())
        callers = {peer.name: stack.enter_context(bench.running(peer)) for peer in peers}

        def turn(caller: Any) -> Any:
            def load() -> Cost:
                with connect(bench.redis.url) as connection:
                    before = _stats(connection)
                    load = caller.order(
                        "load", callers=CALLERS, seconds=run.plan.load_s, warm_up_s=0
                    )
                    return _difference(before, _stats(connection), len(load["times_ms"]))

            return load

        turns = {name: turn(caller) for name, caller in callers.items()}
        costs = alternate(1 if run.plan.is_quick else 3, turns, warm_up=False)
    _add(run, f"Redis CPU a question, {CALLERS} callers", Goal(1.5, 2.0, is_least=False), costs)


def _full(run: Run, empty: list[Cost]) -> None:
    stored = run.plan.stored
    rounds: dict[str, list[Cost]] = {"empty": empty, "full": []}
    for turn in (1, 2):
        run.say(f"the same with {stored} waiting and {stored} finished jobs, round {turn}")
        rounds["full"].append(_drain(run, _OURS, stored))
        rounds["empty"].append(_drain(run, _OURS))
    _add(
        run,
        f"Redis CPU a question with {stored:,} waiting and {stored:,} finished jobs",
        Goal(1.05, 1.15, is_least=False),
        {_OURS.name: rounds["full"], "an empty Redis": rounds["empty"]},
    )
    reads = [statistics.median(each.reads for each in costs) for costs in rounds.values()]
    what, against = "its round trips", "× an empty Redis"
    run.add(Row("redis", what, reads[1] / reads[0], against, Goal(1.05, 1.15, is_least=False)))


def _add(run: Run, what: str, goal: Goal | None, costs: dict[str, list[Cost]]) -> None:
    values = {name: spread_of([each.cpu_us for each in rounds]) for name, rounds in costs.items()}
    ours, floor = values.pop(_OURS.name), values.pop(catalogue.FLOOR.name, None)
    [(name, other)] = values.items()
    ratio = ours.median / other.median
    its_floor = floor.median / other.median if floor else None
    note = f"{name}: {other.median:.0f} µs"
    run.add(Row("redis", what, ratio, f"× {name}", goal, ours, "µs", note, its_floor))


def _drain(run: Run, peer: Peer, stored: int = 0) -> Cost:
    with run.bench() as bench:
        with bench.calling(peer) as caller, connect(bench.redis.url) as connection:
            connection.config_set("auto-aof-rewrite-percentage", "0")
            caller.order("fill", count=max(_QUESTIONS, stored))
            if stored:
                caller.order("fill_finished", count=stored)
                time.sleep(_SETTLE_S)
        return _drain_cost(bench, peer)


def _drain_cost(bench: Bench, peer: Peer) -> Cost:
    with connect(bench.redis.url) as connection:
        connection.ping()
        with bench.draining(peer, _QUESTIONS) as drain:
            before = _stats(connection)
            drain.finish()
            return _difference(before, _stats(connection), _QUESTIONS)


def _stats(connection: Any) -> dict[str, Any]:
    stats: dict[str, Any] = connection.info("everything")
    return stats


def _difference(before: dict[str, Any], after: dict[str, Any], questions: int) -> Cost:
    def grown(*names: str) -> float:
        return sum(float(after[name]) - float(before[name]) for name in names) / questions

    commands = {}
    for name, its in after.items():
        if name.startswith("cmdstat_") and "info" not in name:
            was = before.get(name, {"calls": 0, "usec": 0})
            calls, usec = its["calls"] - was["calls"], its["usec"] - was["usec"]
            if calls:
                commands[name.removeprefix("cmdstat_")] = (calls / questions, usec / questions)
    cpu_us = grown("used_cpu_sys", "used_cpu_user") * _US
    return Cost(grown("total_reads_processed"), cpu_us, commands)
