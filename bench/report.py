"""The table and the JSON of a run."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.figures import EDGES_MS, Spread
from bench.harness import PEERS_PYTHON
from bench.run import Goal, Row
from resident.embedded_redis import find_redis_server
from script.table import table

_OURS = ("redis", "hiredis", "rq", "msgspec")
_THEIRS = (
    *("huey", "dramatiq", "taskiq", "taskiq-redis", "saq", "celery", "flask", "gunicorn"),
    *("fastapi", "uvicorn", "mosec", "redis", "hiredis"),
)
_LIST_VERSIONS = (
    "import importlib.metadata as m, json, sys; "
    "print(json.dumps({name: m.version(name) for name in sys.argv[1:]}))"
)
_HEADER = ("", "ratio", "", "goal", "limit", "floor", "", "median", "least to most", "")
_WIDTHS = {0: 40, 2: 24, 9: 44}
_FLOOR = (
    "floor: the same ratio of the least that leaves RQ's books, in this run (bench/peers/floor.py, "
    "of round trips handing.py)"
)


def as_table(rows: Sequence[Row]) -> str:
    """Ratios that have a goal first, then other ratios, then plain figures."""
    ordered = sorted(rows, key=lambda row: (row.goal is None, row.ratio is None and not row.note))
    cells = [_cells(row) for row in ordered]
    drawn = table(_HEADER, cells, limits=_WIDTHS, right={1, 3, 4, 5, 7})
    return f"{drawn}\n\n{_FLOOR}" if any(row.floor is not None for row in rows) else drawn


def as_histogram(details: Mapping[str, Any], names: Sequence[str]) -> str:
    """How many round trips of these took how long: one line a bin, one column a name."""
    bins = {name: dict(details[name]["histogram"]) for name in names if name in details}
    edges = [edge for edge in (*EDGES_MS, None) if any(its[edge] for its in bins.values())]
    rows = [
        (f"up to {edge:g} ms" if edge else "above", *(f"{its[edge]:,}" for its in bins.values()))
        for edge in edges
    ]
    return table(("round trips", *bins), rows, limits={}, right=set(range(1, 1 + len(bins))))


def facts(command: Sequence[str], busy_before: float) -> dict[str, Any]:
    """What a reader must know to compare: machine, versions, command, and who else was there."""
    return {
        "command": shlex.join(command),
        "machine": _machine(),
        "busy_before": busy_before,
        "python": platform.python_version(),
        "redis": _redis_version(),
        "php": _php_version(),
        "versions": {name: importlib.metadata.version(name) for name in _OURS},
        "peers": _peer_versions(),
    }


def as_lines(facts: Mapping[str, Any]) -> str:
    """The facts for a terminal."""
    ours = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    theirs = ", ".join(f"{name} {version}" for name, version in facts["peers"].items())
    return "\n".join(
        (
            f"{facts['machine']}; Python {facts['python']}, Redis {facts['redis']}, {facts['php']}",
            "Redis (TCP, appendonly yes) and the worker on one core, the load on another",
            f"before the run, others kept these cores busy for {facts['busy_before']:.0%}",
            f"Resident runs with {ours}",
            f"peers: {theirs}",
            f"command: {facts['command']}",
        )
    )


def write_json(file: Path, found: Mapping[str, Any]) -> None:
    """Everything that was found, for pictures and for later comparison."""
    file.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _cells(row: Row) -> tuple[str, ...]:
    spread = row.value
    return (
        row.what,
        f"{row.ratio:.2f}" if row.ratio is not None else "",
        row.against if row.ratio is not None else "",
        *_goal_cells(row.goal),
        f"{row.floor:.2f}" if row.floor is not None else "",
        row.verdict,
        f"{number(spread.median)} {row.unit}" if spread else "",
        _least_to_most(spread),
        row.note,
    )


def _least_to_most(spread: Spread | None) -> str:
    if spread is None or spread.least == spread.most:
        return ""
    return f"{number(spread.least)} to {number(spread.most)}"


def _goal_cells(goal: Goal | None) -> tuple[str, str]:
    if goal is None:
        return "", ""
    sign = "≥" if goal.is_least else "≤"
    return f"{sign} {goal.goal:g}", f"{sign} {goal.limit:g}"


def number(value: float) -> str:
    """With as many digits as its spread deserves: 0.186, 12.3, 1,234."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"


def _machine() -> str:
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    models = [x.partition(":")[2].strip() for x in text.splitlines() if x.startswith("model name")]
    return f"{models[0] if models else platform.machine()}, {len(models)} cores"


def _redis_version() -> str:
    return _first_line([str(find_redis_server()), "--version"]).partition("v=")[2].split()[0]


def _php_version() -> str:
    code = "echo 'PHP ', PHP_VERSION, ', ext-redis ', phpversion('redis') ?: 'missing';"
    return _first_line(["php", "-r", code]) or "no PHP"


def _peer_versions() -> dict[str, str]:
    text = _first_line([str(PEERS_PYTHON), "-c", _LIST_VERSIONS, *_THEIRS])
    versions: dict[str, str] = json.loads(text or "{}")
    return versions


def _first_line(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    if done.returncode:
        print(done.stderr, file=sys.stderr)
    return done.stdout.partition("\n")[0]
