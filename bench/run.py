"""One run of the yardstick: what it may spend, what it says meanwhile, and what it found."""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.figures import Spread
from bench.harness import Bench, Cores, Failed


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        rounds: Turns of each peer.
        trips: The most round trips in one turn, and trip_s the most seconds of it.
        load_s: Seconds of one turn under load.
        jobs: Waiting jobs of a drain; rq_jobs: the same for RQ.
        levels: Numbers of callers, for the picture.
        stored: Jobs that wait, and jobs that are finished, in a full Redis.
        pages: Calls of the page under php-fpm, each way.
    """

    rounds: int = 6
    trips: int = 400
    trip_s: float = 0.3
    load_s: float = 0.6
    jobs: int = 20_000
    rq_jobs: int = 400
    levels: tuple[int, ...] = (1, 4, 16, 64, 256)
    stored: int = 100_000
    pages: int = 100_000
    is_quick: bool = False


QUICK = Plan(3, 150, 0.12, 0.3, 4_000, 100, (), 20_000, 5_000, is_quick=True)


@dataclass(frozen=True)
class Goal:
    """What a ratio shall be, and where it falls short.

    Attributes:
        goal: Met from here on.
        limit: Falls short beyond this.
        is_least: Whether more is better.
    """

    goal: float
    limit: float
    is_least: bool = True

    def verdict(self, ratio: float) -> str:
        """In one word."""
        sign = 1 if self.is_least else -1
        if sign * ratio >= sign * self.goal:
            return "met"
        return "close" if sign * ratio >= sign * self.limit else "MISSED"


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        what: What was measured.
        ratio: Of medians; `against` says of what to what.
        floor: The same ratio of the least that leaves RQ's books, in the same run.
        value: The median of the rounds in `unit`, with the least and the most.
        note: Whatever else a reader should know; or why there is no figure.
    """

    measurement: str
    what: str
    ratio: float | None = None
    against: str = ""
    goal: Goal | None = None
    value: Spread | None = None
    unit: str = ""
    note: str = ""
    floor: float | None = None

    @property
    def verdict(self) -> str:
        """Whether the goal is met; empty if there is none or nothing was measured."""
        if self.goal is None:
            return ""
        return "-" if self.ratio is None else self.goal.verdict(self.ratio)


@dataclass
class Run:
    """What is to be measured, and what was found so far."""

    plan: Plan
    wanted: frozenset[str]
    cores: Cores = field(default_factory=Cores.of_this_machine)
    rows: list[Row] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    _began: float = field(default_factory=time.monotonic)

    def wants(self, measurement: str) -> bool:
        """Whether this one was asked for."""
        return measurement in self.wanted

    def say(self, step: str) -> None:
        """Progress, on standard error."""
        print(
            f"bench: {time.monotonic() - self._began:5.1f} s  {step}", file=sys.stderr, flush=True
        )

    def add(self, row: Row) -> None:
        """Takes note of a result."""
        self.rows.append(row)

    @contextlib.contextmanager
    def bench(self) -> Iterator[Bench]:
        """A fresh Redis for one measurement."""
        with (
            tempfile.TemporaryDirectory(prefix="bench-") as folder,
            Bench(self.cores, Path(folder)) as bench,
        ):
            yield bench

    @contextlib.contextmanager
    def attempt(self, measurement: str, what: str) -> Iterator[None]:
        """A peer that fails becomes a row that says why, and the run goes on."""
        try:
            yield
        except Failed as failure:
            self.add(Row(measurement, what, note=f"not measured: {failure}"))

    def as_json(self) -> dict[str, Any]:
        """Rows with their verdicts, and the details that the pictures are drawn from."""
        rows = [{**asdict(row), "verdict": row.verdict} for row in self.rows]
        return {"plan": asdict(self.plan), "rows": rows, "details": self.details}
