"""How busy a core was, by the kernel's own count: who was the bottleneck."""

from __future__ import annotations

import time
from pathlib import Path

_LOOK_S = 0.5


def now() -> str:
    """What the kernel has counted so far."""
    return Path("/proc/stat").read_text()


def busy_before(server: int, load: int) -> float:
    """The mean busy share of two cores while we do nothing: what others take."""
    before = now()
    time.sleep(_LOOK_S)
    after = now()
    return (busy_share(before, after, server) + busy_share(before, after, load)) / 2


def busy_share(before: str, after: str, core: int) -> float:
    """The share, 0 to 1, between two texts of /proc/stat; 0 if no time passed."""
    (idle_before, all_before), (idle, total) = (_ticks(text, core) for text in (before, after))
    passed = total - all_before
    return 1 - (idle - idle_before) / passed if passed else 0.0


def _ticks(text: str, core: int) -> tuple[int, int]:
    line = next(line for line in text.splitlines() if line.startswith(f"cpu{core} "))
    ticks = [int(word) for word in line.split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)
