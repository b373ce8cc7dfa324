"""Round trips of one caller, and questions a second of many: the task echo and its like."""

from __future__ import annotations

import contextlib
import shutil
import statistics
import subprocess
from dataclasses import dataclass
from typing import Any

from bench import catalogue, cpu
from bench.figures import Spread, cumulative, histogram, pauses, quantile, spread_of
from bench.harness import Bench, Caller, Failed, Peer, alternate
from bench.run import Goal, Row, Run

CALLERS = 64
WARM_UP_S = 0.2
#: Of a round that measures the bare loop beside another peer.
_REFERENCE_S = 0.15

_GOALS = {
    catalogue.RESIDENT.name: Goal(1.8, 3.0, is_least=False),
    catalogue.PHP_RESIDENT.name: Goal(1.3, 2.0, is_least=False),
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


def measure(run: Run) -> None:
    """Whichever of `roundtrip` and `throughput` is wanted; a peer is started once for both."""
    with run.bench() as bench, contextlib.ExitStack() as stack:
        run.say("starting the bare loop and Resident")
        bare = stack.enter_context(bench.running(catalogue.BARE))
        resident = stack.enter_context(bench.running(catalogue.RESIDENT))
        if run.wants("roundtrip"):
            _compare_round_trips(run, bench, bare, resident)
        huey_rate = _others(run, bench, bare)
        if run.wants("throughput"):
            _compare_throughput(run, bench, bare, resident, huey_rate)


def _compare_round_trips(run: Run, bench: Bench, bare: Caller, resident: Caller) -> None:
    run.say("round trips: the bare loop and Resident, by turns")
    callers = {catalogue.BARE.name: bare, catalogue.RESIDENT.name: resident}
    with contextlib.ExitStack() as stack:
        callers[catalogue.PLAIN.name] = stack.enter_context(bench.running(catalogue.PLAIN))
        for peer, row in ((catalogue.PHP_BARE, ""), (catalogue.PHP_RESIDENT, "round trip")):
            if why := _php_is_missing():
                if row:
                    goal = _GOALS[peer.name]
                    run.add(Row("roundtrip", f"round trip, {peer.name}", goal=goal, note=why))
                continue
            # Its server is the one that runs already.
            callers[peer.name] = stack.enter_context(bench.calling(peer))
            callers[peer.name].order("wait")
        trips = {name: Trips(rounds) for name, rounds in _take_turns(run, callers).items()}
    for name, its in trips.items():
        _add_round_trip(run, name, its, trips[catalogue.BARE.name])
    _add_tail(run, trips)


def _take_turns(run: Run, callers: dict[str, Caller]) -> dict[str, list[Any]]:
    plan = run.plan

    def turn(caller: Caller) -> Any:
        return lambda: caller.order("trips", count=plan.trips, seconds=plan.trip_s)

    return alternate(plan.rounds, {name: turn(caller) for name, caller in callers.items()})


def _add_round_trip(run: Run, name: str, its: Trips, bare: Trips) -> None:
    drawn = {"cumulative": cumulative(its.all), "histogram": histogram(its.all)}
    run.details.setdefault("latency", {})[name] = drawn
    note = f"p99 {its.p99:.2f} ms"
    run.add(
        Row(
            "roundtrip",
            f"round trip, {name}",
            ratio=its.p50.median / bare.p50.median if its is not bare else None,
            against="× the bare loop",
            goal=_GOALS.get(name),
            value=its.p50,
            unit="ms",
            note=note,
        )
    )


def _add_tail(run: Run, trips: dict[str, Trips]) -> None:
    its = trips[catalogue.RESIDENT.name]
    bare = trips[catalogue.BARE.name]
    note = (
        f"{pauses(its.all)} of {len(its.all)} took over 5 ms, the slowest {its.all[-1]:.1f} ms; "
        f"the bare loop: {bare.p99 / bare.p50.median:.1f}, {pauses(bare.all)} of {len(bare.all)}"
    )
    ratio = its.p99 / quantile(its.all, 0.5)
    goal = Goal(3.0, 3.0, is_least=False)
    run.add(Row("roundtrip", "tail, Resident", ratio, "p99 / p50", goal, note=note))
    php = {name: trips.get(name) for name in (catalogue.PHP_RESIDENT.name, catalogue.PHP_BARE.name)}
    ours, theirs = php.values()
    if ours and theirs:
        ratio = ours.p50.median / theirs.p50.median
        what, against = "the same, both asked from PHP", "× the bare loop from PHP"
        run.add(Row("roundtrip", what, ratio, against))


def _others(run: Run, bench: Bench, bare: Caller) -> float:
    """Each other peer beside the bare loop; returns huey's questions a second."""
    huey_rate = 0.0
    for peer in catalogue.QUICK if run.plan.is_quick else catalogue.OTHERS:
        run.say(f"{peer.name} beside the bare loop")
        with run.attempt("roundtrip", peer.name), bench.running(peer) as caller:
            if run.wants("roundtrip"):
                _other_round_trip(run, peer, caller, bare)
            if run.wants("throughput"):
                rate = _other_throughput(run, peer, caller, bare)
                huey_rate = rate if peer is catalogue.HUEY else huey_rate
    return huey_rate


def _other_round_trip(run: Run, peer: Peer, caller: Caller, bare: Caller) -> None:
    plan = run.plan
    turns = {
        "bare": lambda: bare.order(
            "trips", count=plan.trips, seconds=min(_REFERENCE_S, plan.trip_s)
        ),
        "peer": lambda: caller.order("trips", count=plan.trips, seconds=plan.trip_s),
    }
    came = alternate(max(3, plan.rounds // 2), turns)
    _add_round_trip(run, peer.name, Trips(came["peer"]), Trips(came["bare"]))


def _other_throughput(run: Run, peer: Peer, caller: Caller, bare: Caller) -> float:
    seconds = run.plan.load_s
    turns = {"bare": lambda: _load(run, bare, seconds), "peer": lambda: _load(run, caller, seconds)}
    came = alternate(1 if run.plan.is_quick else 2, turns, warm_up=False)
    _add_throughput(run, peer.name, came["peer"], came["bare"])
    if peer is catalogue.HUEY:
        _curve(run, peer, caller)
    return spread_of([load["rate"] for load in came["peer"]]).median


def _compare_throughput(
    run: Run, bench: Bench, bare: Caller, resident: Caller, huey_rate: float
) -> None:
    run.say(f"questions a second at {CALLERS} callers: the bare loop and Resident, by turns")
    callers = ((catalogue.BARE, bare), (catalogue.RESIDENT, resident))
    turns = {peer.name: _turn(run, caller) for peer, caller in callers}
    came = alternate(run.plan.rounds, turns, warm_up=False)
    for name, loads in came.items():
        _add_throughput(run, name, loads, came[catalogue.BARE.name])
    ours = spread_of([load["rate"] for load in came[catalogue.RESIDENT.name]])
    if huey_rate:
        ratio, goal = ours.median / huey_rate, Goal(8.0, 4.0)
        what = f"questions/s, {CALLERS} callers, Resident"
        run.add(Row("throughput", what, ratio, "× huey", goal, ours, "/s"))
    for peer, caller in callers:
        _curve(run, peer, caller)
    _batched(run, bench)


def _batched(run: Run, bench: Bench) -> None:
    """The batched loop reads the same list as the bare one, so it has a Redis of its own."""
    with run.bench() as its_own, its_own.running(catalogue.BATCHED) as batched:
        rounds = max(3, run.plan.rounds // 2)
        came = alternate(rounds, {"batched": _turn(run, batched)}, warm_up=False)
        value = spread_of([load["rate"] for load in came["batched"]])
        bare = next(
            row.value
            for row in run.rows
            if row.measurement == "throughput" and row.what.endswith(catalogue.BARE.name)
        )
        ratio = value.median / bare.median if bare else None
        what = f"questions/s, {CALLERS} callers, {catalogue.BATCHED.name}"
        note = _busy(came["batched"])
        run.add(Row("throughput", what, ratio, "× the bare loop", None, value, "/s", note))
        _curve(run, catalogue.BATCHED, batched)


def _turn(run: Run, caller: Caller) -> Any:
    return lambda: _load(run, caller, run.plan.load_s)


def _load(run: Run, caller: Caller, seconds: float, callers: int = CALLERS) -> dict[str, Any]:
    before = cpu.now()
    load: dict[str, Any] = caller.order(
        "load", callers=callers, seconds=seconds, warm_up_s=WARM_UP_S
    )
    if not load["times_ms"]:
        msg = f"no answer within {seconds} s at {callers} callers"
        raise Failed(msg)
    return load | {"server_busy": cpu.busy_share(before, cpu.now(), run.cores.server)}


def _add_throughput(run: Run, name: str, loads: list[Any], bare: list[Any]) -> None:
    value = spread_of([load["rate"] for load in loads])
    is_bare = loads is bare
    run.add(
        Row(
            "throughput",
            f"questions/s, {CALLERS} callers, {name}",
            ratio=None if is_bare else value.median / spread_of([x["rate"] for x in bare]).median,
            against="× the bare loop",
            goal=Goal(1.8, 1.1) if name == catalogue.RESIDENT.name else None,
            value=value,
            unit="/s",
            note=_busy(loads),
        )
    )


def _busy(loads: list[Any]) -> str:
    server = statistics.median(each["server_busy"] for each in loads)
    callers = statistics.median(each["caller_cpu"] for each in loads)
    return f"server core {server:.0%} busy, callers {callers:.0%} of theirs"


def _curve(run: Run, peer: Peer, caller: Caller) -> None:
    """Questions a second against the number of callers, for the picture."""
    points = run.details.setdefault("throughput", {}).setdefault(peer.name, [])
    for callers in run.plan.levels:
        with run.attempt("throughput", f"{callers} callers, {peer.name}"):
            loads = [_load(run, caller, run.plan.load_s / 2, callers) for _ in range(3)]
            times = sorted(time for load in loads for time in load["times_ms"])
            rate = statistics.median(load["rate"] for load in loads)
            points.append((callers, rate, quantile(times, 0.5), quantile(times, 0.99)))


def _php_is_missing() -> str:
    if not shutil.which("php"):
        return "PHP is not installed"
    code = "exit((int) !extension_loaded('redis'));"
    return "PHP has no ext-redis" if subprocess.run(["php", "-r", code]).returncode else ""
