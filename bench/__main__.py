"""The command line of the yardstick; script/bench makes its environments and runs it."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import click

from bench import catalogue, cpu, report
from bench.harness import PEERS_PYTHON, ROOT
from bench.measurements import (
    batching,
    distance,
    drain,
    echo,
    enqueue,
    faq,
    fpm,
    memory,
    overload,
    padding,
    redis_cost,
    survival,
)
from bench.run import QUICK, Plan, Run

#: In the order of the run; two names may be one measurement, which then runs once.
MEASUREMENTS: dict[str, Callable[[Run], None]] = {
    "roundtrip": echo.measure,
    "throughput": echo.measure,
    "drain": drain.measure,
    "enqueue": enqueue.measure,
    "batching": batching.measure,
    "padding": padding.measure,
    "distance": distance.measure,
    "faq": faq.measure,
    "redis": redis_cost.measure,
    "memory": memory.measure,
    "survival": survival.measure,
    "overload": overload.measure,
    "fpm": fpm.measure,
}
#: A quick run has no time for these, unless they are named.
LONG = ("padding", "distance", "memory", "survival")
#: Runs only when it is named: it takes a quarter of an hour, and programs that nothing else needs.
APART = ("fpm",)
#: Whose tails are shown.
HISTOGRAMS = (catalogue.BARE.name, catalogue.RESIDENT.name, catalogue.PHP_RESIDENT.name)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--quick", is_flag=True, help=f"fewer rounds, and no {', '.join(LONG)}")
@click.option(
    "--only", "names", multiple=True, type=click.Choice(list(MEASUREMENTS)), help="may be repeated"
)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="write all figures")
@click.option("--plots", type=click.Path(path_type=Path), help="draw pictures into this folder")
def main(quick: bool, names: tuple[str, ...], json_file: Path | None, plots: Path | None) -> None:
    """Measures Resident beside a bare Redis list and other libraries, and prints one table."""
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    left_out = (*APART, *(LONG if quick else ()))
    wanted = names or tuple(name for name in MEASUREMENTS if name not in left_out)
    run = Run(QUICK if quick else Plan(), frozenset(wanted))
    busy_before = cpu.busy_before(run.cores.server, run.cores.load)
    for measure in dict.fromkeys(MEASUREMENTS[name] for name in MEASUREMENTS if name in wanted):
        with run.attempt(measure.__module__.rpartition(".")[2], "the whole measurement"):
            measure(run)
    found = report.facts(["script/bench", *sys.argv[1:]], busy_before) | run.as_json()
    click.echo(report.as_table(run.rows))
    if "latency" in run.details:
        click.echo("\n" + report.as_histogram(run.details["latency"], HISTOGRAMS))
    click.echo("\n" + report.as_lines(found))
    if json_file:
        report.write_json(json_file, found)
    if plots:
        draw(found, plots)


def draw(found: dict[str, object], folder: Path) -> None:
    """Draws in the peers' environment, which has matplotlib."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        report.write_json(Path(file.name), found)
        command = [str(PEERS_PYTHON), "-m", "bench.plots", file.name, str(folder.absolute())]
        subprocess.run(command, cwd=ROOT, check=True)


if __name__ == "__main__":
    main(prog_name="script/bench")
