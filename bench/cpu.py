"""How busy a core was, by the kernel's own count: who was the bottleneck."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def watch(server: int, load: int) -> Iterator[dict[str, float]]:
    """Fills `server` and `load` with the busy shares of the two cores, when the block ends."""
    busy: dict[str, float] = {}
    before = Path("/proc/stat").read_text()
    yield busy
    after = Path("/proc/stat").read_text()
    for name, core in (("server", server), ("load", load)):
        busy[name] = busy_share(before, after, core)


def busy_share(before: str, after: str, core: int) -> float:
    """The share, 0 to 1, between two texts of /proc/stat; 0 if no time passed."""
    (idle_before, all_before), (idle, total) = (_ticks(text, core) for text in (before, after))
    passed = total - all_before
    return 1 - (idle - idle_before) / passed if passed else 0.0


def _ticks(text: str, core: int) -> tuple[int, int]:
    line = next(line for line in text.splitlines() if line.startswith(f"cpu{core} "))
    ticks = [int(word) for word in line.split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)
