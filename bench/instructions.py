"""How many instructions of Redis a question takes in each script, counted by valgrind.

.venv/bin/python -m bench.instructions      (Debian: apt-get install valgrind)

Times differ from minute to minute, these by a per cent at most in runs of as many rounds (with
more, Redis' tables are rehashed at other moments). So a small change can be seen. What Redis does
outside its scripts is not counted: reading commands, writing its append-only file.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import click

from bench.scripts import BATCH, STEPS, Handed, Side, both
from resident.embedded_redis import EmbeddedRedis, find_redis_server
from resident.redis_client import connect
from script.table import table

#: Rounds that bring the scripts into Redis, and fill what it keeps.
_WARM_UP = 3
#: What runs a script in Redis; its name is in the program's symbols.
_COUNTED = "evalGenericCommand"


class Counter:
    """A Redis under valgrind, and what it has counted."""

    def __init__(self, server: EmbeddedRedis, dumps: Path) -> None:
        self.url = server.url
        self._pid = server.pid
        self._dumps = dumps

    def take(self) -> int:
        """Instructions since the last call."""
        dump = ["callgrind_control", "--dump", str(self._pid)]
        subprocess.run(dump, check=True, capture_output=True)
        newest = max(self._dumps.glob("all.*"), key=lambda one: int(one.suffix[1:]))
        lines = newest.read_text(encoding="utf-8").splitlines()
        [total] = [line for line in lines if line.startswith("totals: ")]
        return int(total.split()[1])


@contextmanager
def counted_redis() -> Iterator[Counter]:
    """One that counts; raises UsageError if something for it is missing."""
    redis = find_redis_server()
    if redis is None or not shutil.which("valgrind"):
        msg = "valgrind or redis-server is missing: apt-get install valgrind redis-server"
        raise click.UsageError(msg)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dumps, binary = folder / "dumps", folder / "counted-redis"
        dumps.mkdir()
        command = ("valgrind", "--tool=callgrind", f"--toggle-collect={_COUNTED}")
        to_file = f"--callgrind-out-file={dumps / 'all'}"
        binary.write_text(f'#!/bin/sh\nexec {shlex.join((*command, to_file, str(redis)))} "$@"\n')
        binary.chmod(0o700)
        with EmbeddedRedis(folder / "data", binary=binary) as server:
            yield Counter(server, dumps)


@click.command()
@click.option("--rounds", default=10, show_default=True, type=click.IntRange(1), help="of each")
def main(rounds: int) -> None:
    """Prints means, in thousands of instructions a question."""
    with counted_redis() as counter, connect(counter.url) as connection:
        sides = both(counter.url, connection)
        rows = [row for count in (BATCH, 1) for row in _rows(counter, sides, count, rounds)]
        handed = {"Resident, handed over": Handed(counter.url, connection)}
        rows += _rows(counter, handed, 1, rounds)
    header = ("thousands of instructions a question", *STEPS, "all")
    click.echo(table(header, rows, limits={}, right={1, 2, 3, 4}))


def _rows(
    counter: Counter, sides: Mapping[str, Side], count: int, rounds: int
) -> list[tuple[str, ...]]:
    """One row a side."""
    where = f"in a batch of {count}" if count > 1 else "alone"
    rows: list[tuple[str, ...]] = []
    for name, side in sides.items():
        taken = dict.fromkeys(STEPS, 0)
        for number in range(-_WARM_UP, rounds):
            counter.take()
            for step in STEPS:
                getattr(side, step)(count)
                taken[step] += counter.take() if number >= 0 else 0
        if not taken["settle"]:
            msg = f"this redis-server does not show where {_COUNTED} is, so nothing was counted"
            raise click.ClickException(msg)
        each = [total / rounds / count / 1000 for total in taken.values()]
        rows.append((f"{name}, {where}", *(f"{one:.1f}" for one in (*each, sum(each)))))
    return rows


if __name__ == "__main__":
    main()
