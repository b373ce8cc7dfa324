"""The FAQ model: what batching gains for a real one, and what a batch costs."""

from __future__ import annotations

from bench import catalogue
from bench.figures import mean_batch, spread_of
from bench.harness import alternate
from bench.run import Goal, Row, Run

CALLERS = 64
_FAQ = catalogue.ours("Resident", "faq")


def measure(run: Run) -> None:
    """64 callers by turns with one."""
    run.say("faq: loading the model")
    with run.bench() as bench, bench.running(_FAQ) as caller:
        seconds = 0.6 if run.plan.is_quick else 1.0
        run.say(f"faq: {CALLERS} callers and one, by turns")
        turns = {
            count: lambda count=count: caller.order(
                "load", callers=count, seconds=seconds, warm_up_s=0.2
            )
            for count in (1, CALLERS)
        }
        came = alternate(1 if run.plan.is_quick else 3, turns, warm_up=False)
    rates = {count: spread_of([load["rate"] for load in loads]) for count, loads in came.items()}
    ratio = rates[CALLERS].median / rates[1].median
    batch = mean_batch([size for load in came[CALLERS] for size in load["batches"]])
    what, against = f"faq, {CALLERS} callers, Resident", "× 1 caller"
    note = f"{batch:.1f} in a batch"
    run.add(Row("faq", what, ratio, against, Goal(2.5, 2.0), rates[CALLERS], "/s", note))
    run.add(Row("faq", "faq, 1 caller, Resident", value=rates[1], unit="/s"))
