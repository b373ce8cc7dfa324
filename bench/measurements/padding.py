"""What `cost` and `max_cost` gain for a model that pads a batch to its longest question."""

from __future__ import annotations

import contextlib

from bench import catalogue
from bench.figures import mean_batch, spread_of
from bench.harness import alternate
from bench.run import Row, Run

_CALLERS = 32
_PLAIN = catalogue.ours("Resident, padded cost", "costly", BENCH_COST="padded")
#: Twice what a call costs however small it is: 2 ms, or 200 questions by their longest.
_SPLIT = _PLAIN.with_options("Resident, padded cost, max_cost 400", BENCH_MAX_COST="400")


def measure(run: Run) -> None:
    """By turns with and without, each with a Redis of its own: both would take from one queue."""
    run.say(f"padding: {_CALLERS} callers, with max_cost and without, by turns")
    seconds = max(run.plan.load_s, 1.0)
    with contextlib.ExitStack() as stack:
        turns = {}
        for peer in (_PLAIN, _SPLIT):
            bench = stack.enter_context(run.bench())
            caller = stack.enter_context(bench.running(peer))
            order = {"callers": _CALLERS, "seconds": seconds, "warm_up_s": 0.3}
            turns[peer.name] = lambda caller=caller, order=order: caller.order("load", **order)
        came = alternate(1 if run.plan.is_quick else 2, turns, warm_up=False)
    rates = {name: spread_of([load["rate"] for load in loads]) for name, loads in came.items()}
    for name, rate in rates.items():
        sizes = [size for load in came[name] for size in load["batches"]]
        ratio = rate.median / rates[_PLAIN.name].median if name != _PLAIN.name else None
        note = f"{mean_batch(sizes):.1f} in a call of the model"
        what, against = f"{_CALLERS} callers, {name}", "× without max_cost"
        run.add(Row("padding", what, ratio, against, None, rate, "/s", note))
