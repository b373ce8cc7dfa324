"""How long one caller waits for one answer."""

from __future__ import annotations

import contextlib
import shutil
import statistics
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench import catalogue
from bench.figures import Spread, cumulative, histogram, quantile, spread_of
from bench.harness import Bench, Caller, Peer, alternate
from bench.measurements import tail
from bench.run import Goal, Row, Run

_NAME = "roundtrip"
#: The most seconds in a row for the bare loop beside a slower peer.
_REFERENCE_S = 0.15
_GOALS = {
    catalogue.RESIDENT.name: Goal(1.8, 3.0, is_least=False),
    catalogue.PHP_RESIDENT.name: Goal(1.3, 2.0, is_least=False),
}
_FLOORS = {
    catalogue.RESIDENT.name: catalogue.HANDING.name,
    catalogue.PHP_RESIDENT.name: catalogue.PHP_HANDING.name,
}


@dataclass(frozen=True)
class Trips:
    """Round trips of one peer, round by round, in ms."""

    rounds: list[list[float]]

    @property
    def p50(self) -> Spread:
        """Of the rounds' medians."""
        return spread_of([statistics.median(times) for times in self.rounds])

    @property
    def all(self) -> list[float]:
        """Sorted."""
        return sorted(time for times in self.rounds for time in times)

    @property
    def p99(self) -> float:
        """Of all."""
        return quantile(self.all, 0.99)


def compare(run: Run, bench: Bench, bare: Caller, resident: Caller) -> None:
    """The bare loop, Resident and the floor by turns, asked from Python and from PHP."""
    run.say("round trips: the bare loop, Resident and the floor, by turns")
    with contextlib.ExitStack() as stack:
        callers = {catalogue.BARE.name: bare, catalogue.RESIDENT.name: resident}
        for peer in (catalogue.PLAIN, catalogue.HANDING):
            callers[peer.name] = stack.enter_context(bench.running(peer))
        callers |= _php_callers(run, bench, stack)
        turns = {name: _turn(run, caller) for name, caller in callers.items()}
        came = alternate(run.plan.rounds, turns)
    trips = {name: Trips(rounds) for name, rounds in came.items()}
    for name in trips:
        _add(run, name, trips)
    if catalogue.PHP_BARE.name in trips:
        _add_php(run, trips[catalogue.PHP_RESIDENT.name], trips[catalogue.PHP_BARE.name])


def tails(run: Run, bench: Bench, started: Mapping[str, Caller]) -> None:
    """Why some trips to Resident are slow, by turns with the bare loop's."""
    run.say("round trips with a look at the kernel's counts between them, by turns")
    names = (catalogue.RESIDENT.name, catalogue.BARE.name)
    turns = {name: tail.turn(run, bench, started[name]) for name in names}
    for name, rounds in alternate(run.plan.rounds, turns).items():
        tail.add(run, bench, name, rounds, is_ours=name == catalogue.RESIDENT.name)


def beside(run: Run, peer: Peer, caller: Caller, bare: Caller) -> None:
    """Another peer by turns with the bare loop."""
    turns = {"bare": _turn(run, bare, _REFERENCE_S), "peer": _turn(run, caller)}
    came = alternate(max(3, run.plan.rounds // 2), turns)
    trips = {name: Trips(rounds) for name, rounds in came.items()}
    _add(run, peer.name, {peer.name: trips["peer"], catalogue.BARE.name: trips["bare"]})


def _turn(run: Run, caller: Caller, most_s: float = 60.0) -> Any:
    seconds = min(run.plan.trip_s, most_s)
    return lambda: caller.order("trips", count=run.plan.trips, seconds=seconds)


def _php_callers(run: Run, bench: Bench, stack: contextlib.ExitStack) -> dict[str, Caller]:
    """Callers in PHP of the servers that run already; or a row that says what is missing."""
    if why := _php_is_missing():
        name = catalogue.PHP_RESIDENT.name
        run.add(Row(_NAME, f"round trip, {name}", goal=_GOALS[name], note=why))
        return {}
    callers = {}
    for peer in (catalogue.PHP_BARE, catalogue.PHP_RESIDENT, catalogue.PHP_HANDING):
        callers[peer.name] = stack.enter_context(bench.calling(peer))
        callers[peer.name].order("wait")
    return callers


def _php_is_missing() -> str:
    if not shutil.which("php"):
        return "PHP is not installed"
    command = ["php", "-r", "exit((int) !extension_loaded('redis'));"]
    return "PHP has no ext-redis" if subprocess.run(command, check=False).returncode else ""


def _add(run: Run, name: str, trips: Mapping[str, Trips]) -> None:
    """A row of one, beside the bare loop and, if it has a goal, beside the floor."""
    its, bare, floor = trips[name], trips[catalogue.BARE.name], trips.get(_FLOORS.get(name, ""))
    drawn = {"cumulative": cumulative(its.all), "histogram": histogram(its.all)}
    run.details.setdefault("latency", {})[name] = drawn
    ratio = its.p50.median / bare.p50.median if its is not bare else None
    what, against = f"round trip, {name}", "× the bare loop"
    its_floor = floor.p50.median / bare.p50.median if floor else None
    note = f"p99 {its.p99:.2f} ms"
    run.add(Row(_NAME, what, ratio, against, _GOALS.get(name), its.p50, "ms", note, its_floor))


def _add_php(run: Run, ours: Trips, bare: Trips) -> None:
    ratio = ours.p50.median / bare.p50.median
    what, against = "the same, both asked from PHP", "× the bare loop from PHP"
    run.add(Row(_NAME, what, ratio, against))
