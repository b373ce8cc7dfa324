"""How fast a client puts questions on a queue, many at once, while nobody answers them."""

from __future__ import annotations

from bench import catalogue
from bench.figures import spread_of
from bench.harness import alternate
from bench.measurements.memory import gate
from bench.run import Goal, Row, Run

_AT_ONCE = 1_000


def measure(run: Run) -> None:
    """`Client.submit_many` by turns with `Queue.enqueue_many`."""
    run.say("enqueue: the Python client and rq, by turns")
    goal = Goal(4, 2)
    # A worker that is ready, so that questions are taken at the door, and that answers none.
    with run.bench() as bench, gate() as closed:
        options = {"BENCH_GATE": closed.getsockname(), "RESIDENT_MAX_BACKLOG": "10000000"}
        ours = catalogue.ours("Resident", "held", **options)
        with (
            bench.serving(ours),
            bench.calling(ours) as caller,
            bench.calling(catalogue.RQ) as rq_caller,
        ):
            caller.order("fill", count=1)
            held, _ = closed.accept()
            turns = {
                catalogue.RQ.name: lambda: _AT_ONCE / rq_caller.order("submit", count=_AT_ONCE),
                ours.name: lambda: _AT_ONCE / caller.order("submit", count=_AT_ONCE),
            }
            came = alternate(run.plan.rounds, turns)
            held.close()
    rates = {name: spread_of(rounds) for name, rounds in came.items()}
    rq_rate = rates[catalogue.RQ.name]
    ratio = rates[ours.name].median / rq_rate.median
    what, note = "enqueue, Resident, pipelined", f"{_AT_ONCE} at once"
    against = "× rq Queue.enqueue_many"
    run.add(Row("enqueue", what, ratio, against, goal, rates[ours.name], "/s", note))
    run.add(Row("enqueue", "enqueue, rq Queue.enqueue_many", value=rq_rate, unit="/s", note=note))
