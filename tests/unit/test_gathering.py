"""When a batch waits for more, on a simulated clock: models and callers of several kinds."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from resident.gathering import WINDOWS_MS, Arrivals, Cost, Gathering

Model = Callable[[int], float]


def fixed(_size: int) -> float:
    return 10.0


def linear(size: int) -> float:
    return 4.0 + 0.25 * size


def without_a_fixed_part(size: int) -> float:
    return 2.0 * size


@dataclass
class Run:
    """What a worker did: the sizes of its batches, how long its batches waited, what was late."""

    sizes: list[int] = field(default_factory=list)
    waits_ms: list[float] = field(default_factory=list)
    latencies_ms: list[float] = field(default_factory=list)
    ms: float = 0.0

    @property
    def rate(self) -> float:
        return sum(self.sizes) / self.ms * 1000


def serve(
    gathering: Gathering,
    model: Model,
    first: list[float],
    again_ms: Callable[[], float] | None = None,
    batches: int = 300,
) -> Run:
    """A worker that serves questions which come at these times, and again when answered."""
    waiting, run, now_ms = sorted(first), Run(), 0.0
    heapq.heapify(waiting)
    for _ in range(batches):
        if not waiting:
            break
        now_ms = max(now_ms, waiting[0])
        held = claim(waiting, now_ms, 32)
        gathering.note_claim(now_ms, held)
        claimed_ms, waited_ms = now_ms, 0.0
        while gathering.may_pay and (window := gathering.window(len(held), waited_ms)).ms:
            came = sorted(one for one in waiting if one <= claimed_ms + window.ms)
            # It is over when as many have come as were expected, seen at the next look.
            enough = came[window.expected - 1] if len(came) >= window.expected else math.inf
            waited_ms = min(window.ms, max(enough - claimed_ms, waited_ms) + 0.5)
            more = claim(waiting, claimed_ms + waited_ms, 32 - len(held))
            gathering.note_more(more)
            held += more
        now_ms = claimed_ms + waited_ms + model(len(held))
        gathering.note_call(len(held), model(len(held)))
        run.sizes.append(len(held))
        run.waits_ms.append(waited_ms)
        run.latencies_ms += [now_ms - one for one in held]
        if again_ms:
            for _ in held:
                heapq.heappush(waiting, now_ms + again_ms())
    run.ms = now_ms
    return run


def claim(waiting: list[float], now_ms: float, most: int) -> list[float]:
    taken: list[float] = []
    while waiting and waiting[0] <= now_ms and len(taken) < most:
        taken.append(heapq.heappop(waiting))
    return taken


def greedy() -> Gathering:
    return Gathering(32, 0)


def chance(rate: float, count: int = 4000) -> list[float]:
    """An open loop: questions at random, so many a second."""
    chosen, at_ms, times = random.Random(1), 0.0, []
    for _ in range(count):
        at_ms += chosen.expovariate(rate / 1000)
        times.append(at_ms)
    return times


def soon() -> Callable[[], float]:
    chosen = random.Random(2)
    return lambda: chosen.uniform(0.2, 2.5)


def test_a_lone_caller_never_waits() -> None:
    for model in (fixed, linear, without_a_fixed_part):
        run = serve(Gathering(32, 20), model, [0.0], soon())
        assert set(run.sizes) == {1}
        assert max(run.waits_ms) == 0


@pytest.mark.parametrize("callers", [2, 8, 32])
def test_callers_of_a_fixed_cost_meet_in_one_batch(callers: int) -> None:
    first = [0.3 * number for number in range(callers)]
    run = serve(Gathering(32, 20), fixed, first, soon())
    assert sum(run.sizes[-100:]) / 100 > 0.95 * callers
    assert run.rate > 1.4 * serve(greedy(), fixed, first, soon()).rate


def test_a_model_without_a_fixed_cost_does_not_wait() -> None:
    first = [0.3 * number for number in range(16)]
    run = serve(Gathering(32, 20), without_a_fixed_part, first, soon())
    assert max(run.waits_ms[50:]) == 0


@pytest.mark.parametrize("model", [fixed, linear])
@pytest.mark.parametrize("rate", [20, 100, 400, 1600, 2500])
def test_an_open_loop_is_never_much_slower_than_without_windows(rate: int, model: Model) -> None:
    times = chance(rate)
    ours = serve(Gathering(32, 20), model, times, batches=10_000).latencies_ms
    theirs = serve(greedy(), model, times, batches=10_000).latencies_ms
    assert len(ours) == len(theirs) == len(times)
    assert sum(ours) / len(ours) < 1.1 * sum(theirs) / len(theirs) + 0.1


def test_nobody_waits_longer_than_the_target() -> None:
    first = [0.3 * number for number in range(32)]
    assert max(serve(Gathering(32, 2), fixed, first, soon()).waits_ms) <= 2


def test_a_full_batch_does_not_wait() -> None:
    first = [0.0] * 64
    run = serve(Gathering(32, 20), fixed, first, lambda: 0.0)
    assert max(run.waits_ms) == 0


def test_after_a_silence_what_was_learnt_is_forgotten() -> None:
    gathering = Gathering(32, 20)
    serve(gathering, fixed, [0.3 * number for number in range(32)], soon())
    gathering.note_claim(1e6, [1e6])
    assert gathering.window(1).ms == 0


def test_arrivals_are_counted_by_window() -> None:
    arrivals = Arrivals()
    for _ in range(40):
        arrivals.learn([-3.0, 0.6, 0.7, 4.5, 1000.0], since_ms=10)
    found = [round(arrivals.within(ms)) for ms in (0.1, 0.5, 0.75, 4.0, 5.0, 50.0)]
    assert found == [0, 0, 2, 2, 3, 3]
    assert not arrivals.is_alone
    arrivals.learn([-3.0, 1000.0], since_ms=10)
    assert arrivals.is_alone


def test_the_line_through_costs_is_found() -> None:
    cost = Cost()
    assert cost.line == (0.0, 0.0)
    cost.learn(8, 6.0)
    assert cost.line == (6.0, 0.0)
    for size in (1, 4, 8, 16, 32) * 10:
        cost.learn(size, linear(size))
    assert cost.line == (pytest.approx(4.0, abs=0.2), pytest.approx(0.25, abs=0.02))


def test_a_cost_that_falls_with_the_size_is_taken_for_fixed() -> None:
    cost = Cost()
    for size in (1, 2, 4, 8) * 10:
        cost.learn(size, 10 - size / 2)
    assert cost.line[1] == 0


def test_windows_rise() -> None:
    assert list(WINDOWS_MS) == sorted(WINDOWS_MS)
