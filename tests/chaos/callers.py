"""Callers in Python and PHP; each asks one question after the other, and keeps what it had."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from enqueue_api.client import Client
from resident.errors import ErrorCode, ResidentError
from resident.lifeline import die_with_owner
from resident.settings import Settings
from tests.chaos.ledger import ANSWERED, EXPIRED, REFUSED, Entry
from tests.chaos.questions import TASK, Question
from tests.support.processes import ROOT

_PAUSE_S = 0.05
_PHP = ("php", "-d", "display_errors=stderr", "tests/chaos/callers.php")


class Caller(Protocol):
    """Somebody who asks, until the storm is over and all of its questions have ended."""

    name: str

    def start(self) -> None:
        """Begins to ask."""

    def is_asking(self) -> bool:
        """Whether it has not ended yet."""

    def end(self) -> list[str]:
        """Ends it if it has not ended; returns what went wrong with the caller itself."""

    def entries(self) -> list[Entry]:
        """What it had of each question that it asked."""


class PythonCaller:
    """A thread with a client of its own."""

    def __init__(self, name: str, url: str, questions: Sequence[Question], seconds: float) -> None:
        self.name = name
        self._url = url
        self._questions = questions
        self._seconds = seconds
        self._entries: list[Entry] = []
        self._thread = threading.Thread(target=self._ask_all, name=name, daemon=True)

    def start(self) -> None:
        """Begins to ask."""
        self._thread.start()

    def is_asking(self) -> bool:
        """Whether it has not ended yet."""
        return self._thread.is_alive()

    def end(self) -> list[str]:
        """Returns what went wrong with the caller itself; a thread cannot be ended."""
        return [f"{self.name} still waits"] if self.is_asking() else []

    def entries(self) -> list[Entry]:
        """What it had of each question that it asked."""
        return list(self._entries)

    def _ask_all(self) -> None:
        began = time.monotonic()
        with Client(self._url, Settings()) as client:
            for question in self._questions:
                if time.monotonic() > began + self._seconds:
                    return
                time.sleep(max(0.0, began + question.at_s - time.monotonic()))
                self._entries.append(self._ask(client, question))

    def _ask(self, client: Client, question: Question) -> Entry:
        had = ask(client, question)
        second = ""
        if question.is_repeated and had["outcome"] not in (EXPIRED, ErrorCode.TRANSPORT_ERROR):
            second = ask(client, question)["outcome"]
        return Entry(self.name, question, second=second, **had)


class PhpCaller:
    """A process that reads its questions from a file and writes its entries into another."""

    def __init__(
        self, name: str, url: str, questions: Sequence[Question], seconds: float, folder: Path
    ) -> None:
        self.name = name
        self._url = url
        self._questions = questions
        self._seconds = seconds
        self._orders = folder / f"{name}.orders"
        self._had = folder / f"{name}.had"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Begins to ask."""
        lines = [json.dumps(_order(*one)) for one in enumerate(self._questions)]
        self._orders.write_text("\n".join(lines) + "\n", "utf-8")
        with self._orders.open("rb") as orders, self._had.open("wb") as had:
            self._process = subprocess.Popen(
                [*_PHP, str(self._seconds)],
                cwd=ROOT,
                env={**os.environ, "RESIDENT_REDIS_URL": self._url},
                stdin=orders,
                stdout=had,
                preexec_fn=die_with_owner(signal.SIGKILL),
            )

    def is_asking(self) -> bool:
        """Whether it has not ended yet."""
        return self._process is not None and self._process.poll() is None

    def end(self) -> list[str]:
        """Ends it if it has not ended; returns what went wrong with the caller itself."""
        assert self._process
        if self.is_asking():
            self._process.kill()
            self._process.wait()
            return [f"{self.name} still waits"]
        code = self._process.returncode
        return [f"{self.name} ended with exit code {code}"] if code else []

    def entries(self) -> list[Entry]:
        """What it had of each question that it asked."""
        lines = [json.loads(line) for line in self._had.read_text("utf-8").splitlines()]
        return [Entry(self.name, self._questions[line.pop("number")], **line) for line in lines]


def ask(client: Client, question: Question) -> dict[str, Any]:
    """Asks until there is a reply or the budget is over; again only with an id of its own."""
    deadline = time.monotonic() + question.budget_ms / 1000
    asks = 0
    while True:
        asks += 1
        left_ms = max(1, int((deadline - time.monotonic()) * 1000))
        had = _ask_once(client, question, left_ms)
        may_repeat = question.id and had["outcome"] in REFUSED
        if not may_repeat or time.monotonic() + _PAUSE_S > deadline:
            return {**had, "asks": asks}
        time.sleep(_PAUSE_S)


def _ask_once(client: Client, question: Question, budget_ms: int) -> dict[str, Any]:
    try:
        answered = client.ask(TASK, question.value, budget_ms, job_id=question.id or None)
    except ResidentError as error:
        return {"outcome": error.code.value, "id": error.job_id}
    except Exception as error:  # noqa: BLE001  (whatever it is, the ledger shall say so)
        return {"outcome": f"{type(error).__name__}: {error}", "id": question.id}
    return {"outcome": ANSWERED, "id": answered.id, "answer": answered.answer}


def _order(number: int, question: Question) -> dict[str, Any]:
    return {
        "number": number,
        "value": question.value,
        "id": question.id,
        "at_ms": question.at_s * 1000,
        "budget_ms": question.budget_ms,
        "is_repeated": question.is_repeated,
    }
