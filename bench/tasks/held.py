"""Holds what it claimed until it is let go: BENCH_GATE is a socket that closes then."""

from __future__ import annotations

import os
import socket
from typing import Any

from resident import task


def load() -> None:
    """There is nothing to load."""


@task(load=load, max_batch=1_000, timeout_s=120)
def answer(_model: None, questions: list[Any]) -> list[Any]:
    """The questions themselves, later."""
    with socket.socket(socket.AF_UNIX) as gate:
        gate.connect(os.environ["BENCH_GATE"])
        gate.recv(1)
    return questions
