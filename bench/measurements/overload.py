"""What becomes of callers with little time when more ask than can be served."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bench import catalogue
from bench.harness import Failed, Peer
from bench.run import Goal, Row, Run

_NAME = "overload"
BUDGET_MS = 2_000
#: Of what a worker can answer; the open loop asks as many questions a second.
FACTORS = (0.5, 1.0, 2.0, 3.0, 4.0)
_QUICK_FACTORS = (1.0, 3.0)
_CALLERS = 16
_CAPACITY_S = 2.0
#: Several budgets long, or the queue would not have filled.
_LOAD_S = 6.0
_MODEL = {"BENCH_COST": "each", "BENCH_MAX_BATCH": "8", "BENCH_BUDGET_MS": str(BUDGET_MS)}
_OURS = catalogue.ours("Resident", "costly", **_MODEL)
_RQ = catalogue.RQ.with_options("rq.SimpleWorker", BENCH_BUDGET_MS=str(BUDGET_MS))
_PEERS = (_OURS, _RQ)

#: The factor; answers in time, as a share of what can be answered, and of those who asked.
Point = tuple[float, float, float]


def measure(run: Run) -> None:
    """Answers in time at rising loads; a model of 10 ms a question, a budget of 2 s.

    The model sleeps, so both peers are measured at once, each with a Redis of its own.
    """
    factors = _QUICK_FACTORS if run.plan.is_quick else FACTORS
    points: dict[str, list[Point]] = {peer.name: [] for peer in _PEERS}
    capacities: dict[str, float] = {}
    for factor in factors:
        run.say(f"overload: {factor:g} times what Resident and rq.SimpleWorker can answer")
        with run.attempt(_NAME, f"{factor:g} times"):
            for name, point in _at(run, factor, capacities).items():
                points[name].append(point)
    run.details[_NAME] = points
    for peer in _PEERS:
        _add(run, peer, points[peer.name])


def _at(run: Run, factor: float, capacities: dict[str, float]) -> dict[str, Point]:
    """One load on all peers; learns first what they can answer if that is not known."""
    with contextlib.ExitStack() as stack:
        callers = {}
        for peer in _PEERS:
            bench = stack.enter_context(run.bench())
            stack.enter_context(bench.serving(peer))
            callers[peer.name] = stack.enter_context(bench.calling(peer))
            callers[peer.name].order("wait")
        for name in callers.keys() - capacities.keys():
            load = callers[name].order("load", callers=_CALLERS, **_CLOSED)
            capacities[name] = _in_time(load, _CAPACITY_S)
            if not capacities[name]:
                msg = f"{name} answered nothing in time"
                raise Failed(msg)
        with ThreadPoolExecutor(len(callers)) as pool:
            loads = {
                name: pool.submit(
                    caller.order, "arrivals", rate=capacities[name] * factor, seconds=_LOAD_S
                )
                for name, caller in callers.items()
            }
    rates = {name: _in_time(load.result(), _LOAD_S) for name, load in loads.items()}
    return {
        name: (factor, rate / capacities[name], rate / capacities[name] / factor)
        for name, rate in rates.items()
    }


_CLOSED = {"seconds": _CAPACITY_S, "warm_up_s": 0.5}


def _in_time(load: dict[str, Any], seconds: float) -> float:
    return len([size for size in load["batches"] if size]) / seconds


def _add(run: Run, peer: Peer, points: list[Point]) -> None:
    at = {factor: goodput for factor, goodput, _ in points}
    if not {1.0, 3.0} <= at.keys():
        return  # a row says why
    goal = Goal(0.95, 0.95) if peer is _OURS else None
    note = ", ".join(f"{factor:g} x: {goodput:.2f}" for factor, goodput, _ in points)
    what = f"3 times overload, budget {BUDGET_MS / 1000:g} s, {peer.name}"
    against = "x answers in time at 1"
    run.add(Row(_NAME, what, at[3.0] / at[1.0], against, goal, note=f"of its capacity: {note}"))
