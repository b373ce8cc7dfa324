"""What batching makes of a model that sleeps: closed and open loops, windows, mosec."""

from __future__ import annotations

import contextlib
from typing import Any

from bench import catalogue
from bench.figures import mean_batch, quantile, spread_of
from bench.harness import Bench, Caller, Peer, alternate
from bench.run import Goal, Row, Run

CALLERS = 32
#: 32 questions every 10 ms.
IDEAL = 3_200.0
_WARM_UP_S = 0.3
#: At least, or the last batch of 32 makes a difference.
_LOAD_S = 1.0
#: Fixed windows to compare the policy with, in ms.
_WINDOWS = (0, 2, 10)
#: Questions a second of the open loops.
_RATES = (100, 400, 800, 1_600, 2_400, 2_900)
_PATIENT_RATES = {"fixed": 1_600, "linear": 1_200, "padded": 1_000}
_OURS = catalogue.ours("Resident", "costly")
_ALONE = catalogue.ours("Resident, max_batch 1", "costly", BENCH_MAX_BATCH="1")


def measure(run: Run) -> None:
    """The goals first, then the other models and windows."""
    with run.bench() as bench:
        rates = _fixed(run, bench)
    _add_goals(run, rates)
    if run.plan.is_quick:
        return
    _arrivals(run)
    for cost in ("linear", "padded"):
        _other_model(run, cost)
    _windows(run)


def mosec(window_ms: int) -> Peer:
    """The same model and the same largest batch in mosec."""
    options = {"BENCH_BATCH": "32", "BENCH_WINDOW_MS": str(window_ms), "BENCH_SLEEP_MS": "10"}
    return catalogue.MOSEC.with_options(f"mosec, window {window_ms} ms", **options)


def _fixed(run: Run, bench: Bench) -> dict[Any, list[Any]]:
    """By turns: Resident and mosec at 32 callers and at one, and Resident without batching."""
    run.say(f"batching: 10 ms a batch, {CALLERS} callers and one, Resident and mosec by turns")
    peers = (_OURS, mosec(2)) if run.plan.is_quick else (_OURS, mosec(2), mosec(10))
    with contextlib.ExitStack() as stack:
        turns: dict[Any, Any] = {}
        for peer in peers:
            caller = stack.enter_context(bench.running(peer))
            for callers in (CALLERS, 1) if peer is _OURS or not run.plan.is_quick else (CALLERS,):
                turns[peer.name, callers] = _turn(run, caller, callers)
        # A Redis of its own: both workers would take from one queue.
        alone = stack.enter_context(stack.enter_context(run.bench()).running(_ALONE))
        turns[_ALONE.name, 1] = _turn(run, alone, 1)
        return alternate(1 if run.plan.is_quick else 2, turns, warm_up=False)


def _turn(run: Run, caller: Caller, callers: int) -> Any:
    seconds = max(run.plan.load_s, _LOAD_S)
    return lambda: caller.order("load", callers=callers, seconds=seconds, warm_up_s=_WARM_UP_S)


def _add_goals(run: Run, loads: dict[tuple[str, int], list[Any]]) -> None:
    rates = {key: spread_of([load["rate"] for load in each]) for key, each in loads.items()}
    ours, alone = rates[_OURS.name, CALLERS], rates[_OURS.name, 1]
    unbatched = rates[_ALONE.name, 1]
    rivals = {key: rate for key, rate in rates.items() if key[0].startswith("mosec")}
    best = max((key for key in rivals if key[1] == CALLERS), key=lambda key: rates[key].median)
    what = f"10 ms a batch, {CALLERS} callers, Resident"
    note = _batch_note(loads[_OURS.name, CALLERS])
    against = f"× the ideal {IDEAL:,.0f}/s"
    add = run.add
    add(Row("batching", what, ours.median / IDEAL, against, Goal(0.9, 0.75), ours, "/s", note))
    ratio = ours.median / rates[best].median
    add(Row("batching", what, ratio, f"× {best[0]}", Goal(1.0, 1.0), ours, "/s"))
    what = "10 ms a batch, 1 caller, Resident"
    ratio = alone.median / unbatched.median
    add(Row("batching", what, ratio, "× without batching", Goal(1.0, 0.98), alone, "/s"))
    for (name, callers), rate in rivals.items():
        what = f"10 ms a batch, {callers} caller{'s' * (callers > 1)}, {name}"
        share = rate.median / IDEAL if callers > 1 else None
        add(Row("batching", what, share, against, None, rate, "/s"))


def _arrivals(run: Run) -> None:
    """Open loops at rising rates: how batches grow with the load."""
    run.say("batching: questions that arrive by chance, at rising rates")
    points = []
    with run.bench() as bench, bench.running(_OURS) as caller:
        for rate in _RATES:
            load = caller.order("arrivals", rate=rate, seconds=max(run.plan.load_s, _LOAD_S))
            p50, p99 = _p50_p99(load)
            points.append((rate, mean_batch(load["batches"]), p50, p99))
    run.details["arrivals"] = {_OURS.name: points}
    for rate, batch, p50, p99 in points:
        what = f"10 ms a batch, {rate} questions/s by chance"
        run.add(Row("batching", what, note=_latency_note(p50, p99, batch)))


def _other_model(run: Run, cost: str) -> None:
    peer = _OURS.with_options(f"Resident, {cost} cost", BENCH_COST=cost)
    run.say(f"batching: {peer.name}")
    with run.bench() as bench, bench.running(peer) as caller:
        _add_model(run, peer.name, cost, caller)


def _windows(run: Run) -> None:
    """Fixed windows beside the policy, on every model."""
    for window in _WINDOWS:
        for cost in _PATIENT_RATES:
            options = {"BENCH_COST": cost, "BENCH_WINDOW_MS": str(window)}
            name = f"Resident, {cost} cost, window {window} ms"
            run.say(f"batching: {name}")
            with (
                run.bench() as bench,
                bench.running(_OURS.with_options(name, **options)) as caller,
            ):
                _add_model(run, name, cost, caller)


def _add_model(run: Run, name: str, cost: str, caller: Caller) -> None:
    """A closed and an open loop of one model."""
    loads = [_turn(run, caller, CALLERS)()]
    rate = spread_of([load["rate"] for load in loads])
    note = _batch_note(loads)
    run.add(Row("batching", f"{CALLERS} callers, {name}", value=rate, unit="/s", note=note))
    asked = _PATIENT_RATES[cost]
    load = caller.order("arrivals", rate=asked, seconds=max(run.plan.load_s, _LOAD_S))
    note = _latency_note(*_p50_p99(load), mean_batch(load["batches"]))
    run.add(Row("batching", f"{asked} questions/s by chance, {name}", note=note))


def _p50_p99(load: dict[str, Any]) -> tuple[float, float]:
    times = sorted(load["times_ms"])
    return quantile(times, 0.5), quantile(times, 0.99)


def _batch_note(loads: list[Any]) -> str:
    sizes = [size for load in loads for size in load["batches"]]
    return f"{mean_batch(sizes):.1f} in a batch"


def _latency_note(p50: float, p99: float, batch: float) -> str:
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, {batch:.1f} in a batch"
