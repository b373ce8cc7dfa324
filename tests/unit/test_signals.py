"""Waiting for signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

from tests.support.processes import ROOT
from tests.support.waiting import wait_until

WAITS = """
import signal
from resident.signals import Signals
signals = Signals(signal.SIGCHLD, signal.SIGTERM, signal.SIGINT)
print("waiting", flush=True)
while True:
    for signum in signals.wait(0.05):
        print(signum, flush=True)
        if signum == signal.SIGTERM:
            raise SystemExit
"""


def test_a_stop_that_outlasts_a_wait_is_no_signal_of_ours() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WAITS], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        for _ in range(5):
            process.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, process.pid, os.WSTOPPED)
            wait_until(passed(0.1))  # longer than one wait of the process
            assert state_of(process.pid) == "T"
            process.send_signal(signal.SIGCONT)
            os.waitid(os.P_PID, process.pid, os.WCONTINUED)
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == f"{int(signal.SIGINT)}\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == f"{int(signal.SIGTERM)}\n"


def passed(seconds: float) -> Callable[[], bool]:
    until = time.monotonic() + seconds
    return lambda: time.monotonic() > until


def state_of(pid: int) -> str:
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        return file.read().rpartition(")")[2].split()[0]
