"""Runs the chaos test for as long as one likes, and prints its ledger."""

# ruff: noqa: T201  (its output is what it is for)
from __future__ import annotations

import random
import shutil
import sys
import time
from pathlib import Path

from resident.program import reporting_faults, starting

with starting("chaos"):
    import click

    from script.processes import exit_on_sigterm
    from tests.chaos.run import Run

#: Longer than anything that the storm does to a question.
_PATIENCE_S = 60.0
_FOLDER = Path(".run") / "chaos"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--minutes", type=click.FloatRange(0.1, 1_440), default=2.0, help="the storm's (2)")
@click.option("--seed", type=int, help="its choices; printed, and drawn if it is not given")
@reporting_faults("chaos")
def main(minutes: float, seed: int | None) -> None:
    """Asks while workers, supervisors, Redis and its connections are killed, stopped and cut."""
    exit_on_sigterm()
    seed = random.SystemRandom().randrange(1_000_000) if seed is None else seed
    folder = _FOLDER / str(seed)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    print(f"chaos: seed {seed}, {minutes:g} minutes; all logs stay in {folder}", flush=True)
    began = time.monotonic()
    run = Run(folder.absolute(), seed=seed, storm_s=minutes * 60, patience_s=_PATIENCE_S, say=_say)
    ledger = run.ledger()
    print(f"\n{ledger.text()}")
    print(f"chaos: seed {seed}, {time.monotonic() - began:.0f} s.")
    sys.exit(bool(ledger.faults()))


def _say(what: str) -> None:
    print(what, flush=True)


if __name__ == "__main__":
    main()
