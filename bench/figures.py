"""Medians, spreads, tails: what many times become before anybody reads them. Pure."""

from __future__ import annotations

import statistics
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

#: A round trip that takes longer is a pause that somebody would notice, in ms.
PAUSE_MS = 5.0
#: Upper edges of the histogram's bins, in ms; the last bin has none.
EDGES_MS = (0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0)


@dataclass(frozen=True)
class Spread:
    """The median of some rounds, and the least and the most of them."""

    median: float
    least: float
    most: float


def spread_of(rounds: Sequence[float]) -> Spread:
    """Raises ValueError if there are none."""
    return Spread(statistics.median(rounds), min(rounds), max(rounds))


def quantile(sorted_values: Sequence[float], share: float) -> float:
    """The value that this share (0 to 1) of sorted values does not exceed, by linear steps."""
    if not sorted_values:
        msg = "there are no values"
        raise ValueError(msg)
    place = share * (len(sorted_values) - 1)
    low = int(place)
    high = min(low + 1, len(sorted_values) - 1)
    return sorted_values[low] + (sorted_values[high] - sorted_values[low]) * (place - low)


def cumulative(times_ms: Sequence[float]) -> list[tuple[float, float]]:
    """(ms, share) pairs that draw the distribution, finer towards the slow end."""
    times = sorted(times_ms)
    shares = [step / 200 for step in range(199)] + [0.995, 0.999, 1.0]
    return [(quantile(times, share), share) for share in shares]


def histogram(times_ms: Sequence[float]) -> list[tuple[float | None, int]]:
    """How many times lie in each bin, by its upper edge; None: above all edges."""
    times = sorted(times_ms)
    below = [bisect_right(times, edge) for edge in EDGES_MS]
    counts = [high - low for low, high in zip([0, *below], [*below, len(times)], strict=True)]
    return list(zip([*EDGES_MS, None], counts, strict=True))


def mean_batch(sizes_seen: Sequence[int]) -> float:
    """The mean size of batches, each of which was seen by as many questions as it had."""
    return statistics.harmonic_mean(sizes_seen)


def pauses(times_ms: Sequence[float]) -> int:
    """How many took longer than PAUSE_MS."""
    return sum(time > PAUSE_MS for time in times_ms)
