"""Why a round trip was slow: the kernel's own counts before and after it say whose doing it was.

A thread that could run and did not has waited: schedstat adds that up. What our own threads ran on
that core meanwhile is taken off, so that only others are blamed. Callers run this.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

SLOW = 3.0  #: times the median
#: In this order: the first that explains half of what a trip took too long.
CAUSES = (
    "while the kernel let others run",
    "while the host took a core",
    "while Redis waited for its file",
    "while ours computed more than usual",
)
_TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Counts:
    """So far: ms by thread, and ticks that the host took."""

    ran_ms: Sequence[float]
    waited_ms: Sequence[float]
    stolen: int


@dataclass(frozen=True)
class Trip:
    """One round trip, and what was counted in it."""

    ms: float
    ended_at: float  #: Unix time, as Redis' latency monitor counts
    others_ms: float  #: a thread of ours waited so long for a core on which none of ours ran
    ran_ms: float  #: all of ours together
    stolen_ms: float  #: what the host took, in whole ticks


class Watch(ExitStack):
    """Reads the counts of all threads of processes, given with the cores they are bound to."""

    def __init__(self, watched: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        tasks = [
            (core, task) for pid, core in watched for task in Path(f"/proc/{pid}/task").iterdir()
        ]
        self.cores = [core for core, _ in tasks]
        self._threads = {task: self._open(task / "schedstat") for _, task in tasks}
        self._pairs = {task: [b"0", b"0"] for task in self._threads}
        self._stat = self._open(Path("/proc/stat"))

    def _open(self, file: Path) -> int:
        return self.enter_context(file.open("rb")).fileno()

    def look(self) -> Counts:
        """Now; some microseconds a thread."""
        for task, file in self._threads.items():
            with suppress(ProcessLookupError):  # a thread that has ended keeps its last counts
                self._pairs[task] = os.pread(file, 100, 0).split()
        stat = os.pread(self._stat, 4_096, 0).splitlines()
        of_cores = {line.split()[0]: line.split() for line in stat if line.startswith(b"cpu")}
        stolen = sum(int(of_cores[b"cpu%d" % core][8]) for core in set(self.cores))
        ran, waited = ([int(its[n]) / 1e6 for its in self._pairs.values()] for n in (0, 1))
        return Counts(ran, waited, stolen)


def watched_trips(
    trip: Callable[[], float], count: int, seconds: float, watched: Sequence[tuple[int, int]]
) -> list[Trip]:
    """Round trips with a look between each two."""
    came: list[Trip] = []
    with Watch(watched) as watch:
        before, deadline = watch.look(), time.perf_counter() + seconds
        while len(came) < count and time.perf_counter() < deadline:
            ms, ended_at, after = trip(), time.time(), watch.look()
            came.append(trip_of(ms, ended_at, before, after, watch.cores))
            before = after
    return came


def trip_of(ms: float, ended_at: float, was: Counts, now: Counts, cores: Sequence[int]) -> Trip:
    """What was counted between two looks."""
    ran = [after - before for before, after in zip(was.ran_ms, now.ran_ms, strict=True)]
    others_ms = 0.0
    for thread, core in enumerate(cores):
        ours = sum(its for other, its in enumerate(ran) if cores[other] == core and other != thread)
        others_ms = max(others_ms, now.waited_ms[thread] - was.waited_ms[thread] - ours)
    return Trip(ms, ended_at, others_ms, sum(ran), (now.stolen - was.stolen) * _TICK_MS)


def explained(trips: Sequence[Trip], file_ms: Mapping[int, float]) -> str:
    """How many were slow, and why, in one line; `file_ms` is Redis' word, by second."""
    p50, usual_ms = median(trip.ms for trip in trips), median(trip.ran_ms for trip in trips)
    slow = [trip for trip in trips if trip.ms > SLOW * p50]
    causes = [_cause(trip, trip.ms - p50, trip.ran_ms - usual_ms, file_ms) for trip in slow]
    counts = [f"{causes.count(cause)} {cause}" for cause in (*CAUSES, "unexplained")]
    found = ", ".join(each for each in counts if not each.startswith("0 ")) or "none to explain"
    return f"of {len(slow)} trips over {SLOW:g} × p50 (of {len(trips)}): {found}"


def _cause(trip: Trip, excess_ms: float, more_ms: float, file_ms: Mapping[int, float]) -> str:
    at_file_ms = max(file_ms.get(int(trip.ended_at - s), 0.0) for s in (0, trip.ms / 1000))
    for cause, ms in zip(
        CAUSES, (trip.others_ms, trip.stolen_ms, at_file_ms, more_ms), strict=True
    ):
        if ms >= excess_ms / 2:
            return cause
    return "unexplained"
