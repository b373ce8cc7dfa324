"""Everything that is measured, by the name that the table shows."""

from __future__ import annotations

from bench.harness import Peer

BARE = Peer("bare loop", "bare", own=True)
BATCHED = Peer("bare loop, batched", "bare", own=True, options={"BENCH_BATCH": "128"})
PLAIN = Peer("bare loop in plain redis-py", "plain", own=True)
PHP_BARE = Peer("bare loop, asked from PHP", "bare", own=True, php=True)
RESIDENT = Peer("Resident", "resident", own=True)
PHP_RESIDENT = Peer("Resident, asked from PHP", "resident", own=True, php=True)
FLOOR = Peer("floor: the least that leaves RQ's books", "floor", own=True)
UNCHECKED = Peer("Resident without its scripts' checks", "unchecked", own=True)
HANDING = Peer("floor, handed over", "handing", own=True)
PHP_HANDING = Peer("floor, handed over, asked from PHP", "handing", own=True, php=True)
RQ = Peer("rq.SimpleWorker", "rq_simple", own=True)
HUEY = Peer("huey", "huey")
MOSEC = Peer("mosec", "mosec", http=True)
FLASK = Peer("Flask development server", "flask_dev", http=True)
FASTAPI = Peer("FastAPI on uvicorn", "fastapi", http=True)

#: Those that a quick run has time for.
QUICK = (RQ, HUEY, FLASK, FASTAPI)
#: All that answer one question at a time, but the bare loop and Resident.
OTHERS = (
    RQ,
    RQ.with_options("rq.Worker", BENCH_FORKS="1"),
    HUEY,
    Peer("dramatiq", "dramatiq"),
    Peer("taskiq", "taskiq"),
    Peer("SAQ", "saq"),
    Peer("Celery", "celery"),
    FLASK,
    FLASK.with_options("gunicorn with Flask", BENCH_GUNICORN="1"),
    FASTAPI,
)


def ours(name: str, task: str, **options: str) -> Peer:
    """Resident with a task of bench/tasks/ or of tasks/."""
    return RESIDENT.with_options(name, BENCH_TASK=task, **options)


def timed(name: str, **options: str) -> Peer:
    """Resident's echo with a stopwatch."""
    return ours(name, "timed", **options)
