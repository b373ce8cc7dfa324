"""How long one caller waits for one answer."""

from __future__ import annotations

import contextlib
import shutil
import statistics
import subprocess
from dataclasses import dataclass
from typing import Any

from bench import catalogue
from bench.figures import Spread, cumulative, histogram, pauses, quantile, spread_of
from bench.harness import Bench, Caller, Peer, alternate
from bench.run import Goal, Row, Run

_NAME = "roundtrip"
#: The most seconds in a row for the bare loop beside a slower peer.
_REFERENCE_S = 0.15
_GOALS = {
    catalogue.RESIDENT.name: Goal(1.8, 3.0, is_least=False),
    catalogue.PHP_RESIDENT.name: Goal(1.3, 2.0, is_least=False),
}
_TAIL = Goal(3.0, 3.0, is_least=False)


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
    """The bare loop and Resident by turns, asked from Python and from PHP."""
    run.say("round trips: the bare loop and Resident, by turns")
    callers = {catalogue.BARE.name: bare, catalogue.RESIDENT.name: resident}
    with contextlib.ExitStack() as stack:
        callers[catalogue.PLAIN.name] = stack.enter_context(bench.running(catalogue.PLAIN))
        callers |= _php_callers(run, bench, stack)
        turns = {name: _turn(run, caller) for name, caller in callers.items()}
        came = alternate(run.plan.rounds, turns)
    trips = {name: Trips(rounds) for name, rounds in came.items()}
    for name, its in trips.items():
        _add(run, name, its, trips[catalogue.BARE.name])
    _add_tail(run, trips[catalogue.RESIDENT.name], trips[catalogue.BARE.name])
    if catalogue.PHP_BARE.name in trips:
        _add_php(run, trips[catalogue.PHP_RESIDENT.name], trips[catalogue.PHP_BARE.name])


def beside(run: Run, peer: Peer, caller: Caller, bare: Caller) -> None:
    """Another peer by turns with the bare loop."""
    turns = {"bare": _turn(run, bare, _REFERENCE_S), "peer": _turn(run, caller)}
    came = alternate(max(3, run.plan.rounds // 2), turns)
    _add(run, peer.name, Trips(came["peer"]), Trips(came["bare"]))


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
    for peer in (catalogue.PHP_BARE, catalogue.PHP_RESIDENT):
        callers[peer.name] = stack.enter_context(bench.calling(peer))
        callers[peer.name].order("wait")
    return callers


def _php_is_missing() -> str:
    if not shutil.which("php"):
        return "PHP is not installed"
    command = ["php", "-r", "exit((int) !extension_loaded('redis'));"]
    return "PHP has no ext-redis" if subprocess.run(command, check=False).returncode else ""


def _add(run: Run, name: str, its: Trips, bare: Trips) -> None:
    drawn = {"cumulative": cumulative(its.all), "histogram": histogram(its.all)}
    run.details.setdefault("latency", {})[name] = drawn
    ratio = its.p50.median / bare.p50.median if its is not bare else None
    what, against = f"round trip, {name}", "× the bare loop"
    note = f"p99 {its.p99:.2f} ms"
    run.add(Row(_NAME, what, ratio, against, _GOALS.get(name), its.p50, "ms", note))


def _add_tail(run: Run, ours: Trips, bare: Trips) -> None:
    note = (
        f"{pauses(ours.all)} of {len(ours.all)} took over 5 ms, the slowest {ours.all[-1]:.1f} ms; "
        f"the bare loop: {_tail_of(bare):.1f}, {pauses(bare.all)} of {len(bare.all)}"
    )
    run.add(Row(_NAME, "tail, Resident", _tail_of(ours), "p99 / p50", _TAIL, note=note))


def _tail_of(trips: Trips) -> float:
    return trips.p99 / quantile(trips.all, 0.5)


def _add_php(run: Run, ours: Trips, bare: Trips) -> None:
    ratio = ours.p50.median / bare.p50.median
    what, against = "the same, both asked from PHP", "× the bare loop from PHP"
    run.add(Row(_NAME, what, ratio, against))
