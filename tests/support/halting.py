"""A worker that halts at a step of its way with a batch, so that a test can kill it there.

As a program: `python -m tests.support.halting "before claim"` takes two questions at once and says
"halted" when it is there. With `cut` behind it, it loses its connection there, once, and goes on.
"""

from __future__ import annotations

import select
import signal
import sys
from collections.abc import Sequence
from typing import Any

from redis import Redis
from redis.exceptions import ConnectionError

import resident.worker
from resident import holders, log
from resident.link import Command, Link
from resident.packed_claim import CLAIM
from resident.redis_client import connect
from resident.settings import read_settings
from resident.settlement import SETTLE
from resident.stopping import StopNow
from resident.task import Task
from resident.worker import ResidentWorker


def step_of(command: Command) -> str:
    """What a command to Redis is on the worker's way."""
    if isinstance(command, bytes):  # packed
        shas = {CLAIM.sha: "claim", SETTLE.sha: "settle"}
        return next((step for sha, step in shas.items() if sha.encode() in command), "other")
    if command[0] == "BLMOVE":
        return "pop"
    if command[:2] == ("EVALSHA", holders._RELEASE.sha):
        return "release"
    return "other"


class HaltingLink(Link):
    """Halts before a command is sent, when its answer has come unread, or after it was read.

    It sends one command after the other, as if the connection were cut between them.
    """

    halt_at = ""
    is_cut = False

    def __init__(self, client: Redis) -> None:
        super().__init__(client)
        self.sent: list[str] = []

    def send_all(self, commands: Sequence[Command]) -> None:
        for command in commands:
            step = step_of(command)
            self.halt_if(f"before {step}")
            super().send_all([command])
            self.sent.append(step)
            if self.halt_at == f"{step} unread":
                assert self._has_come()
                self.halt_if(self.halt_at)

    def read(self, timeout_s: float) -> Any:
        here = f"after {self.sent.pop(0)}"
        answer = super().read(timeout_s)
        if here == self.halt_at and self.sent:
            assert self._has_come()  # Redis did what was sent with it
        self.halt_if(here)
        return answer

    def close(self) -> None:
        super().close()
        self.sent = []

    def _has_come(self) -> bool:
        ready = self._reader.has_data() or select.select([self._socket], [], [], 20)[0]
        return bool(ready)

    def halt_if(self, here: str) -> None:
        """At the step where to halt: forever, or until the connection is lost."""
        if here != self.halt_at:
            return
        if not self.is_cut:
            halt()
        HaltingLink.halt_at = ""
        self.close()
        msg = f"cut {here}"
        raise ConnectionError(msg)


def halt() -> None:
    """Never returns."""
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, signal.SIG_DFL)
    print("halted", flush=True)  # noqa: T201
    while True:
        signal.pause()


def answer(_model: None, questions: list[Any]) -> list[Any]:
    """The questions; with a release to be seen, it is stopped with force instead."""
    if HaltingLink.halt_at == "in model":
        halt()
    if "release" in HaltingLink.halt_at:
        raise StopNow
    return questions


def main(halt_at: str, cut: str = "") -> None:
    """Serves the task echo until it halts, or with `cut` until it is told to stop."""
    task = Task(
        name="echo",
        function=answer,
        load=lambda: None,
        question_type=Any,
        warm_up=(),
        max_batch=2,
        timeout_s=60,
        preload=True,
        callbacks=(),
    )
    settings = read_settings()
    log.configure(settings)
    client = connect(settings.redis_url.get_secret_value())
    client.script_load(holders._RELEASE.source)
    HaltingLink.halt_at = halt_at
    HaltingLink.is_cut = bool(cut)
    resident.worker.Link = HaltingLink  # type: ignore[misc]
    ResidentWorker(task, client, settings).work()


if __name__ == "__main__":
    main(*sys.argv[1:])
