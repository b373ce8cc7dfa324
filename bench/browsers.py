"""Browsers that call the page all the time: wrk, told by bench/fpm/browsers.lua."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from bench.harness import ROOT, Failed
from bench.site import program

BROWSERS = 50
_SLICE_S = 10
_LUA = ROOT / "bench" / "fpm" / "browsers.lua"


@dataclass
class Seen:
    """What the browsers saw.

    Attributes:
        statuses: How many of each, by the kind of page and the HTTP status.
        times_ms: Of the plain pages.
        wrong: Answers that were another question's.
        broken: Requests that ended without an answer.
    """

    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    times_ms: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    broken: int = 0
    seconds: float = 0.0

    @property
    def pages(self) -> int:
        """All that were answered, with whatever status."""
        return self.statuses.total()

    def take(self, text: str) -> None:
        """Adds what one run of wrk has written."""
        for line in text.splitlines():
            what, *rest = line.split("\t")
            if what == "ms":
                self.times_ms.append(float(rest[0]))
            elif what == "status":
                self.statuses[rest[0], int(rest[1])] += int(rest[2])
            elif what == "wrong":
                self.wrong.append(rest[0])
            elif what == "broken":
                self.broken += int(rest[0])


def browse(port: int, pages: int, mix: str, most_s: float) -> Seen:
    """As many pages at least, but no longer than most_s and what is left of ten seconds."""
    seen, number, deadline = Seen(), 0, time.monotonic() + most_s
    while seen.pages < pages and time.monotonic() < deadline:
        number += 1
        rate = seen.pages / seen.seconds if seen.pages else 0
        left_s = (pages - seen.pages) / rate + 1 if rate else 3
        _slice(seen, port, f"{os.getpid()}x{number}", mix, max(2, min(_SLICE_S, round(left_s))))
    return seen


def _slice(seen: Seen, port: int, run: str, mix: str, seconds: int) -> None:
    each = str(BROWSERS)  # a connection each, so that a thread knows what it has asked
    options = ["-c", each, "-t", each, "-d", f"{seconds}s", "--timeout", "10s", "-s", str(_LUA)]
    url = f"http://127.0.0.1:{port}/"
    with tempfile.NamedTemporaryFile() as file:
        done = subprocess.run(
            [program("wrk"), *options, url, run, mix],
            env={**os.environ, "BENCH_BROWSERS": file.name},
            capture_output=True,
            text=True,
            timeout=seconds + 60,
            check=False,
        )
        written = Path(file.name).read_text()
    if done.returncode or not written:
        msg = f"wrk: {(done.stderr or done.stdout).strip()[-300:]}"
        raise Failed(msg)
    seen.take(written)
    seen.seconds += seconds
