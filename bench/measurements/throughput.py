"""How many questions a second one worker answers, for how many callers."""

from __future__ import annotations

import contextlib
import statistics
from typing import Any

from bench import catalogue, cpu
from bench.figures import quantile, spread_of
from bench.harness import Bench, Caller, Failed, Peer, alternate
from bench.run import Goal, Row, Run

CALLERS = 64
_NAME = "throughput"
_WARM_UP_S = 0.2
_GOAL = Goal(1.8, 1.1)
_GOAL_BESIDE_HUEY = Goal(8.0, 4.0)

Loads = list[dict[str, Any]]


def compare(run: Run, bench: Bench, bare: Caller, resident: Caller) -> None:
    """The bare loop, plain and batched, huey and Resident, all by turns."""
    run.say(f"questions/s at {CALLERS} callers: the bare loop, huey and Resident, by turns")
    callers = [(catalogue.BARE, bare), (catalogue.RESIDENT, resident)]
    with contextlib.ExitStack() as stack:
        with run.attempt(_NAME, catalogue.HUEY.name):
            callers.append((catalogue.HUEY, stack.enter_context(bench.running(catalogue.HUEY))))
        # It reads the same list as the bare loop, so it has a Redis of its own.
        its_own = stack.enter_context(run.bench())
        callers.append((catalogue.BATCHED, stack.enter_context(its_own.running(catalogue.BATCHED))))
        turns = {peer.name: _turn(run, caller) for peer, caller in callers}
        came = alternate(run.plan.rounds, turns, warm_up=False)
        for name, loads in came.items():
            _add(run, name, loads, came[catalogue.BARE.name])
        if catalogue.HUEY.name in came:
            _add_beside_huey(run, came[catalogue.RESIDENT.name], came[catalogue.HUEY.name])
        if run.plan.levels:
            for peer, caller in callers:
                _curve(run, peer, caller)


def beside(run: Run, peer: Peer, caller: Caller, bare: Caller) -> None:
    """Another peer by turns with the bare loop."""
    turns = {"bare": _turn(run, bare), "peer": _turn(run, caller)}
    came = alternate(1 if run.plan.is_quick else 2, turns, warm_up=False)
    _add(run, peer.name, came["peer"], came["bare"])


def _turn(run: Run, caller: Caller) -> Any:
    return lambda: _load(run, caller, CALLERS, run.plan.load_s)


def _load(run: Run, caller: Caller, callers: int, seconds: float) -> dict[str, Any]:
    before = cpu.now()
    load: dict[str, Any] = caller.order(
        "load", callers=callers, seconds=seconds, warm_up_s=_WARM_UP_S
    )
    if not load["times_ms"]:
        msg = f"no answer within {seconds} s at {callers} callers"
        raise Failed(msg)
    return load | {"server_busy": cpu.busy_share(before, cpu.now(), run.cores.server)}


def _add(run: Run, name: str, loads: Loads, bare: Loads) -> None:
    value = spread_of([load["rate"] for load in loads])
    ratio = None if loads is bare else value.median / spread_of([x["rate"] for x in bare]).median
    goal = _GOAL if name == catalogue.RESIDENT.name else None
    what, against = f"questions/s, {CALLERS} callers, {name}", "× the bare loop"
    run.add(Row(_NAME, what, ratio, against, goal, value, "/s", _busy(loads)))


def _add_beside_huey(run: Run, ours: Loads, huey: Loads) -> None:
    value, other = (spread_of([load["rate"] for load in loads]) for loads in (ours, huey))
    what = f"questions/s, {CALLERS} callers, {catalogue.RESIDENT.name}"
    ratio = value.median / other.median
    run.add(Row(_NAME, what, ratio, "× huey", _GOAL_BESIDE_HUEY, value, "/s"))


def _busy(loads: Loads) -> str:
    server = statistics.median(each["server_busy"] for each in loads)
    callers = statistics.median(each["caller_cpu"] for each in loads)
    return f"server core {server:.0%} busy, callers {callers:.0%} of theirs"


def _curve(run: Run, peer: Peer, caller: Caller) -> None:
    """Questions a second against the number of callers, for the picture."""
    run.say(f"questions/s at {', '.join(map(str, run.plan.levels))} callers, {peer.name}")
    points = run.details.setdefault("throughput", {}).setdefault(peer.name, [])
    for callers in run.plan.levels:
        with run.attempt(_NAME, f"{callers} callers, {peer.name}"):
            loads = [_load(run, caller, callers, run.plan.load_s / 2) for _ in range(3)]
            times = sorted(time for load in loads for time in load["times_ms"])
            rate = statistics.median(load["rate"] for load in loads)
            points.append((callers, rate, quantile(times, 0.5), quantile(times, 0.99)))
