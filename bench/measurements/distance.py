"""What is left of the throughput when Redis is some milliseconds away from the worker."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Iterator

from bench import catalogue
from bench.far import Far
from bench.figures import mean_batch, spread_of
from bench.harness import Caller, alternate
from bench.run import Goal, Row, Run
from resident.redis_client import connect

CALLERS = 64
BATCH = 32
_EACH_WAY_S = 0.0025
_PINGS = 30
#: Of two batches of callers one waits while the other is answered, so that no batch is ever short.
_OURS = catalogue.timed("Resident", BENCH_MAX_BATCH=str(BATCH))
#: The rate nearby, of which the theory is made, differs by a tenth from round to round.
_GOAL = Goal(1.0, 0.9)


def measure(run: Run) -> None:
    """Near and far by turns, each with a Redis of its own; the callers are near in both."""
    run.say(f"distance: {CALLERS} callers, Redis near the worker and 5 ms away, by turns")
    seconds = max(run.plan.load_s, 1.0)
    order = {"callers": CALLERS, "seconds": seconds, "warm_up_s": 0.2}
    with contextlib.ExitStack() as stack:
        near = stack.enter_context(stack.enter_context(run.bench()).running(_OURS))
        far, trip_s = stack.enter_context(_far(run))
        turns = {each: lambda each=each: each.order("load", **order) for each in (near, far)}
        came = alternate(1 if run.plan.is_quick else 2, turns, warm_up=False)
    rates = {each: spread_of([load["rate"] for load in loads]) for each, loads in came.items()}
    expected = theory(rates[near].median, trip_s)
    size = mean_batch([size for load in came[far] for size in load["batches"]])
    note = (
        f"near {rates[near].median:,.0f}/s; a round trip of {trip_s * 1000:.1f} ms for each "
        f"{BATCH} leaves {expected:,.0f}/s; {size:.1f} in a batch"
    )
    what = f"questions/s, {CALLERS} callers, batches of {BATCH}, Redis 5 ms from the worker"
    ratio = rates[far].median / expected
    run.add(Row("distance", what, ratio, "× theory of batching", _GOAL, rates[far], "/s", note))


def theory(near_rate: float, trip_s: float) -> float:
    """Questions a second if each full batch costs one round trip and what it costs nearby."""
    return BATCH / (trip_s + BATCH / near_rate)


@contextlib.contextmanager
def _far(run: Run) -> Iterator[tuple[Caller, float]]:
    """Callers of a worker that is far from Redis, and the seconds that a round trip takes it."""
    with (
        run.bench() as bench,
        Far(bench.redis.url, _EACH_WAY_S) as far,
        bench.serving(_OURS, far.url),
        bench.calling(_OURS) as caller,
    ):
        caller.order("wait")
        yield caller, _round_trip_s(far.url)


def _round_trip_s(url: str) -> float:
    times = []
    with connect(url) as connection:
        for _ in range(_PINGS):
            began = time.perf_counter()
            connection.ping()
            times.append(time.perf_counter() - began)
    return statistics.median(times)
