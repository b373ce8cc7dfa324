"""Tells the harness when a server has answered so many questions, whatever library runs it.

A task calls `answered`; BENCH_STOPWATCH names the harness's datagram socket, BENCH_STOP_AT how
many questions to wait for. The first and the last moment are this process's own.
"""

from __future__ import annotations

import json
import os
import socket
import time

_answered = 0
_first = 0
_began = 0.0


def answered(questions: int = 1) -> None:
    """Counts questions that are being answered now."""
    global _answered, _first, _began
    address = os.environ.get("BENCH_STOPWATCH")
    if not address:
        return
    if not _answered:
        _began, _first = time.perf_counter(), questions
        _tell(address, {"questions": 0, "seconds": 0.0})
    before, _answered = _answered, _answered + questions
    if before < int(os.environ["BENCH_STOP_AT"]) <= _answered:
        # The first batch was answered before the clock was started, so it does not count.
        seconds = time.perf_counter() - _began
        _tell(address, {"questions": _answered - _first, "seconds": seconds})


def _tell(address: str, message: dict[str, float]) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(json.dumps(message).encode(), address)
