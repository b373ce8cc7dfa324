"""How many questions a second one worker answers, for how many callers."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Mapping
from typing import Any

from bench import catalogue, cpu
from bench.figures import quantile, spread_of
from bench.harness import Bench, Caller, Failed, Peer, alternate
from bench.run import Goal, Row, Run

CALLERS = 64
_NAME = "throughput"
_WARM_UP_S = 0.15
#: Resident's, beside these.
_GOALS = {catalogue.BARE.name: Goal(1.8, 1.1), catalogue.HUEY.name: Goal(8.0, 4.0)}

Loads = list[dict[str, Any]]


def compare(run: Run, bench: Bench, started: Mapping[str, Caller]) -> None:
    """The bare loop, plain and batched, Resident, the floor and huey, all by turns."""
    run.say(f"questions/s at {CALLERS} callers: the bare loop, Resident, the floor, huey, by turns")
    callers = dict(started)
    with contextlib.ExitStack() as stack:
        with run.attempt(_NAME, catalogue.HUEY.name):
            callers[catalogue.HUEY.name] = stack.enter_context(bench.running(catalogue.HUEY))
        # It reads the same list as the bare loop, so it has a Redis of its own.
        its_own = stack.enter_context(run.bench())
        batched = stack.enter_context(its_own.running(catalogue.BATCHED))
        callers[catalogue.BATCHED.name] = batched
        turns = {name: _turn(run, caller) for name, caller in callers.items()}
        came = alternate(run.plan.rounds, turns, warm_up=False)
        for name in came:
            _add(run, name, catalogue.BARE.name, came)
        if catalogue.HUEY.name in came:
            _add(run, catalogue.RESIDENT.name, catalogue.HUEY.name, came)
        if run.plan.levels:
            for name, caller in callers.items():
                _curve(run, name, caller)


def beside(run: Run, peer: Peer, caller: Caller, bare: Caller) -> None:
    """Another peer by turns with the bare loop."""
    turns = {"bare": _turn(run, bare), "peer": _turn(run, caller)}
    came = alternate(1 if run.plan.is_quick else 2, turns, warm_up=False)
    loads = {peer.name: came["peer"], catalogue.BARE.name: came["bare"]}
    _add(run, peer.name, catalogue.BARE.name, loads)


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


def _add(run: Run, name: str, other: str, came: Mapping[str, Loads]) -> None:
    """A row of one beside another, and if it is Resident's, with its goal and the floor."""
    values = {each: spread_of([load["rate"] for load in loads]) for each, loads in came.items()}
    ratios = {each: value.median / values[other].median for each, value in values.items()}
    is_ours = name == catalogue.RESIDENT.name
    run.add(
        Row(
            _NAME,
            f"questions/s, {CALLERS} callers, {name}",
            ratios[name] if name != other else None,
            "× the bare loop" if other == catalogue.BARE.name else f"× {other}",
            _GOALS[other] if is_ours else None,
            values[name],
            "/s",
            _busy(came[name]),
            ratios.get(catalogue.FLOOR.name) if is_ours else None,
        )
    )


def _busy(loads: Loads) -> str:
    server = statistics.median(each["server_busy"] for each in loads)
    callers = statistics.median(each["caller_cpu"] for each in loads)
    return f"server core {server:.0%} busy, callers {callers:.0%} of theirs"


def _curve(run: Run, name: str, caller: Caller) -> None:
    """Questions a second against the number of callers, for the picture."""
    run.say(f"questions/s at {', '.join(map(str, run.plan.levels))} callers, {name}")
    points = run.details.setdefault("throughput", {}).setdefault(name, [])
    for callers in run.plan.levels:
        with run.attempt(_NAME, f"{callers} callers, {name}"):
            load = _load(run, caller, callers, run.plan.load_s)
            times = sorted(load["times_ms"])
            points.append((callers, load["rate"], quantile(times, 0.5), quantile(times, 0.99)))
