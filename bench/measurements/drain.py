"""How fast one worker empties a queue that is full when it starts."""

from __future__ import annotations

from bench import catalogue
from bench.figures import Spread, spread_of
from bench.harness import Peer
from bench.run import Goal, Row, Run

_NO_RESULT = {"RESIDENT_RESULT_TTL": "0"}
_OURS = catalogue.timed("Resident")
_OURS_0 = catalogue.timed("Resident, result_ttl 0", **_NO_RESULT)
_RQ_0 = catalogue.RQ.with_options("rq.SimpleWorker, result_ttl 0", **_NO_RESULT)
_GOALS = {_OURS.name: (Goal(120, 70), catalogue.RQ), _OURS_0.name: (Goal(250, 100), _RQ_0)}


def measure(run: Run) -> None:
    """Every peer by turns, each time with a Redis of its own."""
    peers = (_OURS, catalogue.RQ, _OURS_0, _RQ_0, catalogue.HUEY, catalogue.BARE, catalogue.BATCHED)
    rates: dict[str, list[float]] = {peer.name: [] for peer in peers}
    for turn in range(1, 2 if run.plan.is_quick else 3):
        for peer in peers:
            count = _count(run, peer)
            run.say(f"drain of {count} jobs, {peer.name}, round {turn}")
            with run.attempt("drain", f"drain, {peer.name}"):
                rates[peer.name].append(drain_once(run, peer, count))
    values = {name: spread_of(each) for name, each in rates.items() if each}
    for peer in peers:
        if peer.name in values:
            run.add(_row(peer, values, _count(run, peer)))


def drain_once(run: Run, peer: Peer, count: int) -> float:
    """Questions a second."""
    with run.bench() as bench:
        with bench.calling(peer) as caller:
            caller.order("fill", count=count)
        with bench.draining(peer, count) as drain:
            return drain.finish()


def _count(run: Run, peer: Peer) -> int:
    if peer.module == catalogue.RQ.module:
        return run.plan.rq_jobs
    return run.plan.jobs if peer.own else run.plan.jobs // 5


def _row(peer: Peer, values: dict[str, Spread], count: int) -> Row:
    goal, rival = _GOALS.get(peer.name, (None, catalogue.RQ))
    against = values.get(rival.name)
    is_rival = peer.module == rival.module
    ratio = values[peer.name].median / against.median if against and not is_rival else None
    return Row(
        "drain",
        f"drain, {peer.name}",
        ratio,
        f"× {rival.name}" if ratio else "",
        goal,
        values[peer.name],
        "/s",
        f"{count} waiting jobs",
    )
