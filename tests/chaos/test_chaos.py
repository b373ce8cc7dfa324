"""Whatever is killed, stopped or cut, every question has one reply or one honest error."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.run import Run

SEED = 1


@pytest.mark.timeout(150)
def test_the_ledger_balances_after_a_short_storm(tmp_path: Path) -> None:
    ledger = Run(tmp_path, seed=SEED, storm_s=10.0, patience_s=30.0).ledger()
    assert not ledger.faults(), f"seed {SEED}\n{ledger.text()}"
