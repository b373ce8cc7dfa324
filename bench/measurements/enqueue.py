"""How fast a client puts questions on a queue, many at once, while nobody answers them."""

from __future__ import annotations

from bench import catalogue
from bench.figures import spread_of
from bench.harness import alternate
from bench.measurements.memory import gate
from bench.run import Goal, Row, Run

_AT_ONCE = 1_000
_GOAL = Goal(4, 2)


def measure(run: Run) -> None:
    """`Client.submit_many` by turns with `Queue.enqueue_many`."""
    run.say("enqueue: the Python client and rq, by turns")
    # A worker that is ready, so that questions are taken at the door, and that answers none.
    with run.bench() as bench, gate() as closed:
        options = {"BENCH_GATE": closed.getsockname(), "RESIDENT_MAX_BACKLOG": "10000000"}
        ours = catalogue.ours("Resident", "held", **options)
        with (
            bench.serving(ours),
            bench.calling(ours) as caller,
            bench.calling(catalogue.RQ) as rq_caller,
            bench.calling(catalogue.FLOOR) as floor_caller,
        ):
            caller.order("fill", count=1)
            held, _ = closed.accept()
            callers = {
                catalogue.RQ.name: rq_caller,
                ours.name: caller,
                catalogue.FLOOR.name: floor_caller,
            }
            turns = {
                name: lambda each=each: _AT_ONCE / each.order("submit", count=_AT_ONCE)
                for name, each in callers.items()
            }
            came = alternate(run.plan.rounds, turns)
            held.close()
    rates = {name: spread_of(rounds) for name, rounds in came.items()}
    rq_rate = rates[catalogue.RQ.name]
    ratios = {name: rate.median / rq_rate.median for name, rate in rates.items()}
    note, against, floor = f"{_AT_ONCE} at once", "× rq Queue.enqueue_many", catalogue.FLOOR.name
    for name, goal, its_floor in ((ours.name, _GOAL, ratios[floor]), (floor, None, None)):
        what, value = f"enqueue, {name}, pipelined", rates[name]
        row = Row("enqueue", what, ratios[name], against, goal, value, "/s", note, its_floor)
        run.add(row)
    run.add(Row("enqueue", "enqueue, rq Queue.enqueue_many", value=rq_rate, unit="/s", note=note))
