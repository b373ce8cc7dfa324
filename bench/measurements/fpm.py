"""Pages of php-fpm that ask over kept connections: no answer may reach another request."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import redis

from bench import catalogue, trouble
from bench.browsers import BROWSERS, Seen, browse
from bench.connections import Connections
from bench.figures import quantile, spread_of
from bench.harness import Bench, Failed
from bench.peer import START_TIMEOUT_S
from bench.run import Goal, Row, Run
from bench.site import CHILDREN, Site, program
from resident import keys
from resident.redis_client import connect

_NAME = "fpm"
_TASK = "echo"
_MOST_S = 400.0
#: What the pages leave is gone after so long: replies that nobody fetched, and their jobs.
_LEFT_FOR_S = 20.0
_REPLY_TTL_S = 5
_OURS = catalogue.RESIDENT.with_options(
    "Resident", RESIDENT_RESULT_TTL="0", RESIDENT_REPLY_TTL_S=str(_REPLY_TTL_S)
)
#: What a request that is cut off leaves in its connection.
_UNREAD = (
    '{"v":1,"id":"cut-off","ok":true,"answer":"wrong","ms":{"queued":1.0,"model":1.0},"batch":1}'
)
#: Keys that are about no question.
_OF_THE_WORKERS = (b"resident:supervisors", b"resident:metrics")
_NONE = Goal(0, 0, is_least=False)


@dataclass(frozen=True)
class _Way:
    """How the pages are connected, and in what company.

    Attributes:
        mix: Plain, hurried and cut-off pages in per cent.
        most_s: If not 0, php-fpm ends what takes longer, and beside the pages are some that PHP or
            php-fpm ends in a call.
    """

    name: str
    is_kept: bool = True
    mix: str = "100,0,0"
    is_troubled: bool = False
    most_s: int = 0
    php: dict[str, str] = field(default_factory=dict)


_WAYS = (
    _Way("pconnect"),
    _Way("a connection of each page's own", is_kept=False),
    _Way("pconnect, pages that leave answers unread", mix="85,10,5", is_troubled=True),
    _Way(
        "the same without ext-redis' own check",
        mix="85,10,5",
        is_troubled=True,
        php={"redis.pconnect.echo_check_liveness": "0"},
    ),
    _Way(
        "pconnect beside pages that PHP or php-fpm ends in a call",
        most_s=5,
        php={"redis.pconnect.echo_check_liveness": "0", "max_execution_time": "1"},
    ),
)


def measure(run: Run) -> None:
    """Each way with a Redis and a php-fpm of its own."""
    for name in ("php-fpm", "nginx", "wrk"):
        program(name)
    for way in _WAYS:
        run.say(f"fpm: {BROWSERS} browsers, {run.plan.pages:,} pages, {way.name}")
        with run.attempt(_NAME, way.name), run.bench() as bench:
            os.sched_setaffinity(0, {bench.cores.server, bench.cores.load})  # pages need both
            _browse(run, bench, way)


def _browse(run: Run, bench: Bench, way: _Way) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="bench-fpm-") as folder,
        bench.serving(_OURS) as server,
        connect(bench.redis.url) as connection,
    ):
        _wait_until_ready(connection)
        site = Site(Path(folder), _environment(bench.redis.url, way), way.php, way.most_s)
        with site.running(), Connections(connection) as connections:
            before = _keys(connection)
            with _company(way, site, bench, server.pid) as ends:
                seen = browse(site.port, run.plan.pages, way.mix, _MOST_S)
            told = [_told(seen, run.plan.pages), *_told_of(ends), _load()]
            left = _left(connection, before)
            connections.stop()
            told[1:1] = [connections.told(CHILDREN), f"{len(left)} keys left"]
        _add(run, way, seen, site.mismatches(), "; ".join(told))


@contextlib.contextmanager
def _company(way: _Way, site: Site, bench: Bench, server: int) -> Iterator[Counter[str]]:
    """What else happens while the browsers browse; how requests were ended, if some were."""
    if way.most_s:
        with trouble.ended(site.port) as ends:
            yield ends
        return
    if not way.is_troubled:
        yield Counter()
        return
    url, unread = bench.redis.url, keys.reply("cut-off")
    with connect(url) as connection, trouble.made(site.port, url, server):
        connection.rpush(unread, _UNREAD)
        yield Counter()
        connection.delete(unread)


def _add(run: Run, way: _Way, seen: Seen, mismatches: int, note: str) -> None:
    """Both have looked: the browsers for their words, the page for its number."""
    what, wrong = f"pages under php-fpm, {way.name}", len(seen.wrong) + mismatches
    if seen.wrong:
        note = f"such as {seen.wrong[0]}; {note}"
    run.add(Row(_NAME, what, wrong, "wrong answers", _NONE, spread_of(seen.times_ms), "ms", note))


def _told(seen: Seen, wanted: int) -> str:
    times = sorted(seen.times_ms)
    counts = sorted(seen.statuses.items())
    statuses = ", ".join(f"{kind} {code}: {many:,}" for (kind, code), many in counts)
    return (
        f"{seen.pages:,} of {wanted:,} pages, {seen.pages / seen.seconds:,.0f}/s, "
        f"p50 {quantile(times, 0.5):.1f} ms, p99 {quantile(times, 0.99):.1f} ms; "
        f"{statuses}; {seen.broken} broken"
    )


def _told_of(ends: Counter[str]) -> list[str]:
    told = ", ".join(f"{end}: {many}" for end, many in sorted(ends.items()))
    return [f"ended in a call, by its cause and status: {told}"] if told else []


def _load() -> str:
    return "load average " + " ".join(f"{each:.1f}" for each in os.getloadavg())


def _environment(url: str, way: _Way) -> dict[str, str]:
    if not way.is_kept:
        return {"RESIDENT_REDIS_URL": url}
    parts = urlsplit(url)
    return {
        "REDIS_HOST": parts.hostname or "",
        "REDIS_PORT": str(parts.port),
        "REDIS_PASSWORD": parts.password or "",
    }


def _wait_until_ready(connection: redis.Redis) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not connection.zcard(keys.of_task(_TASK).ready):
        if time.monotonic() > deadline:
            msg = "the worker did not become ready"
            raise Failed(msg)
        time.sleep(0.01)


def _keys(connection: redis.Redis) -> set[bytes]:
    found = connection.scan_iter(count=1_000)
    return {key for key in found if not key.startswith(_OF_THE_WORKERS)}


def _left(connection: redis.Redis, before: set[bytes]) -> list[bytes]:
    """Keys that do not go by themselves."""
    deadline = time.monotonic() + _LEFT_FOR_S
    while (left := _keys(connection) - before) and time.monotonic() < deadline:
        time.sleep(0.2)
    return sorted(left)
