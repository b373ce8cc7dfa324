"""The watchdog speaks of a process that hangs, whatever its task did to sys.stderr."""

from __future__ import annotations

import pytest

from resident.watchdog import Watchdog


@pytest.mark.parametrize("stream", [None, object()])
def test_what_a_task_put_in_the_place_of_stderr_is_not_its_affair(
    stream: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr", stream)
    watchdog = Watchdog(is_on=True)
    watchdog.expect_within(600)
    watchdog.rest()
