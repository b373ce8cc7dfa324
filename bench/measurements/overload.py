"""What becomes of callers with little time when more ask than can be served."""

from __future__ import annotations

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


def measure(run: Run) -> None:
    """Answers in time at rising loads; a model of 10 ms a question, a budget of 2 s."""
    factors = _QUICK_FACTORS if run.plan.is_quick else FACTORS
    for peer in (_OURS, _RQ):
        with run.attempt(_NAME, peer.name):
            points = _points(run, peer, factors)
            run.details.setdefault(_NAME, {})[peer.name] = points
            _add(run, peer, points)


def _points(run: Run, peer: Peer, factors: tuple[float, ...]) -> list[tuple[float, float, float]]:
    """Of each factor: answers in time a second, and the share of those who asked."""
    points = []
    capacity = 0.0
    for factor in factors:
        run.say(f"overload: {peer.name} at {factor:g} times what it can answer")
        with run.bench() as bench, bench.serving(peer), bench.calling(peer) as caller:
            caller.order("wait")
            if not capacity:
                load = caller.order("load", callers=_CALLERS, **_CLOSED)
                capacity = _in_time(load, _CAPACITY_S)
            if not capacity:
                msg = "nothing was answered in time"
                raise Failed(msg)
            asked = capacity * factor
            load = caller.order("arrivals", rate=asked, seconds=_LOAD_S)
            rate = _in_time(load, _LOAD_S)
            points.append((factor, rate / capacity, rate / asked))
    return points


_CLOSED = {"seconds": _CAPACITY_S, "warm_up_s": 0.5}


def _in_time(load: dict[str, Any], seconds: float) -> float:
    return len([size for size in load["batches"] if size]) / seconds


def _add(run: Run, peer: Peer, points: list[tuple[float, float, float]]) -> None:
    at = {factor: goodput for factor, goodput, _ in points}
    goal = Goal(0.95, 0.95) if peer is _OURS else None
    note = ", ".join(f"{factor:g} x: {goodput:.2f}" for factor, goodput, _ in points)
    what = f"3 times overload, budget {BUDGET_MS / 1000:g} s, {peer.name}"
    against = "x answers in time at 1"
    run.add(Row(_NAME, what, at[3.0] / at[1.0], against, goal, note=f"of its capacity: {note}"))
