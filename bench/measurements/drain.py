"""How fast one worker empties a queue that is full when it starts."""

from __future__ import annotations

from bench import catalogue
from bench.figures import Spread, spread_of
from bench.harness import Peer
from bench.run import Goal, Row, Run

_NO_RESULT = {"RESIDENT_RESULT_TTL": "0"}
_OURS = catalogue.timed("Resident")
_OURS_0 = catalogue.timed("Resident, result_ttl 0", **_NO_RESULT)
_UNCHECKED = catalogue.UNCHECKED.with_options(catalogue.UNCHECKED.name, BENCH_TASK="timed")
_UNCHECKED_0 = _UNCHECKED.with_options(f"{_UNCHECKED.name}, result_ttl 0", **_NO_RESULT)
_RQ_0 = catalogue.RQ.with_options("rq.SimpleWorker, result_ttl 0", **_NO_RESULT)
_FLOOR_0 = catalogue.FLOOR.with_options(f"{catalogue.FLOOR.name}, result_ttl 0", **_NO_RESULT)
_GOALS = {_OURS.name: Goal(120, 70), _OURS_0.name: Goal(250, 100)}
_FLOORS = {_OURS.name: catalogue.FLOOR.name, _OURS_0.name: _FLOOR_0.name}
_QUICK = (_OURS, catalogue.FLOOR, catalogue.RQ, _OURS_0, _FLOOR_0, _RQ_0)
_COMPARED = (*_QUICK, _UNCHECKED, _UNCHECKED_0)
_PEERS = (*_COMPARED, catalogue.HUEY, catalogue.BARE, catalogue.BATCHED)


def measure(run: Run) -> None:
    """Every peer by turns, each time with a Redis of its own; those without a goal once."""
    rates: dict[str, list[float]] = {peer.name: [] for peer in _PEERS}
    turns = ((1, _QUICK),) if run.plan.is_quick else ((1, _PEERS), (2, _COMPARED))
    for turn, peers in turns:
        for peer in peers:
            count = _count(run, peer)
            run.say(f"drain of {count} jobs, {peer.name}, round {turn}")
            with run.attempt("drain", f"drain, {peer.name}"):
                rates[peer.name].append(drain_once(run, peer, count))
    values = {name: spread_of(each) for name, each in rates.items() if each}
    for peer in _PEERS:
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
    return run.plan.jobs if peer.own else run.plan.jobs // 10


def _row(peer: Peer, values: dict[str, Spread], count: int) -> Row:
    """Beside RQ with the same result_ttl."""
    rival = _RQ_0 if _NO_RESULT.items() <= peer.options.items() else catalogue.RQ
    ratios = {}
    if rival.name in values and peer is not rival:
        ratios = {name: its.median / values[rival.name].median for name, its in values.items()}
    return Row(
        "drain",
        f"drain, {peer.name}",
        ratios.get(peer.name),
        f"× {rival.name}" if ratios else "",
        _GOALS.get(peer.name),
        values[peer.name],
        "/s",
        f"{count} waiting jobs",
        ratios.get(_FLOORS.get(peer.name, "")),
    )
