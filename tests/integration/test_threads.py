"""Which thread of a worker hears its signals."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.support.processes import Processes, workers_of

FOR_THE_MAIN_THREAD = (signal.SIGALRM, signal.SIGTERM, signal.SIGINT)


def blocked_by(pid: int, thread: str) -> set[signal.Signals]:
    """Those of the main thread's signals that this thread of the process does not take."""
    lines = Path(f"/proc/{pid}/task/{thread}/status").read_text("ascii").splitlines()
    (mask,) = (int(line.split()[1], 16) for line in lines if line.startswith("SigBlk:"))
    return {one for one in FOR_THE_MAIN_THREAD if mask >> (one - 1) & 1}


def test_only_the_main_thread_takes_the_alarm_and_the_wish_to_end(processes: Processes) -> None:
    (worker,) = workers_of(processes.start_worker("echo"))
    threads = [one.name for one in Path(f"/proc/{worker}/task").iterdir()]
    others = [one for one in threads if one != str(worker)]
    assert others, "RQ listens for its commands in one"
    assert blocked_by(worker, str(worker)) == set()
    assert all(blocked_by(worker, one) == {*FOR_THE_MAIN_THREAD} for one in others)
