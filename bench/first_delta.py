"""How old a delta is when PHP has it: from its yield in the worker to the body of the foreach.

.venv/bin/python -m bench.first_delta
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

import click

from bench.catalogue import ours
from bench.figures import quantile
from bench.harness import ROOT, Bench, Cores
from resident import keys
from resident.redis_client import connect

READY_WITHIN_S = 30.0


@click.command()
@click.option("--streams", default=1000, show_default=True, help="one after the other")
@click.option("--deltas", default=5, show_default=True, help="of each, 2 ms apart")
def main(streams: int, deltas: int) -> None:
    """Prints the quantiles of all first and of all later deltas, in ms."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Bench(Cores.of_this_machine(), Path(folder)) as bench,
        bench.serving(ours("Resident, streaming", "ticking")),
    ):
        wait_until_ready(bench.redis.url)
        ages = read(bench, streams, deltas)
    for which, found in ages.items():
        found.sort()
        shares = {"p50": 0.5, "p99": 0.99, "the oldest": 1.0}
        words = [f"{name} {quantile(found, share):.2f} ms" for name, share in shares.items()]
        click.echo(f"{which:6} {len(found):6} deltas: {', '.join(words)}")


def wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    with connect(url) as redis:
        while not redis.exists(keys.of_task("ticking").ready):
            if time.monotonic() > deadline:
                msg = "the worker did not get ready"
                raise click.ClickException(msg)
            time.sleep(0.05)


def read(bench: Bench, streams: int, deltas: int) -> dict[str, list[float]]:
    """What bench/peers/read.php found, on the core of the callers."""
    done = subprocess.run(
        ["php", "bench/peers/read.php", str(streams), str(deltas)],
        cwd=ROOT,
        env={**os.environ, "BENCH_URL": bench.redis.url},
        preexec_fn=lambda: os.sched_setaffinity(0, {bench.cores.load}),
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, list[float]] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    main()
