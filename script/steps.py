"""Runs the steps of script/test: two at once where they allow it, their output never mixed."""

# ruff: noqa: T201  (its output is what it is for)
from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum

from resident.lifeline import die_with_owner

_AT_ONCE = 2


class Status(Enum):
    """How a step went, as the summary says it."""

    PASSED = "passed"
    FAILED = "FAILED"
    SKIPPED = "SKIPPED"


@dataclass(frozen=True)
class Step:
    """One check or suite.

    Attributes:
        name: What the summary calls it.
        command: What is run, from the clone's top.
        missing: What must be installed first; empty when nothing is.
    """

    name: str
    command: Sequence[str]
    missing: str = ""


@dataclass(frozen=True)
class Outcome:
    """What a step came to.

    Attributes:
        step: The step.
        status: How it went.
        seconds: How long it took.
        last_line: The closing line of its output.
    """

    step: Step
    status: Status
    seconds: float = 0.0
    last_line: str = ""


def run_together(steps: Sequence[Step], *, may_skip: bool) -> Iterator[Outcome]:
    """Runs steps that do not disturb each other, and prints each one's output when it ended."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for step, output in zip(steps, pool.map(_captured, steps), strict=True):
            _print_title(step)
            if step.missing:
                yield _without_tool(step, may_skip=may_skip)
                continue
            code, seconds, text = output
            print(text, end="", flush=True)
            yield _outcome(step, code, seconds, text)


def run_alone(step: Step, *, may_skip: bool) -> Outcome:
    """Runs a step that needs the machine for itself, and shows its output as it comes."""
    _print_title(step)
    if step.missing:
        return _without_tool(step, may_skip=may_skip)
    started = time.monotonic()
    last_line = ""
    with _start(step, die_with_owner(signal.SIGTERM)) as process:
        assert process.stdout  # noqa: S101  (for mypy: it is a pipe)
        for line in process.stdout:
            print(line, end="", flush=True)
            last_line = line if line.strip() else last_line
    return _outcome(step, process.returncode, time.monotonic() - started, last_line)


def _captured(step: Step) -> tuple[int, float, str]:
    if step.missing:
        return 0, 0.0, ""
    started = time.monotonic()
    with _start(step) as process:
        text, _ = process.communicate()
    return process.returncode, time.monotonic() - started, text


def _start(step: Step, preexec_fn: Callable[[], None] | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        step.command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        preexec_fn=preexec_fn,
    )


def _outcome(step: Step, code: int, seconds: float, text: str) -> Outcome:
    status = Status.FAILED if code else Status.PASSED
    lines = text.strip().splitlines()
    return Outcome(step, status, seconds, lines[-1] if lines else "")


def _without_tool(step: Step, *, may_skip: bool) -> Outcome:
    status = Status.SKIPPED if may_skip else Status.FAILED
    reason = f"not installed: {step.missing}"
    print(f"{status.value}: {reason}", flush=True)
    return Outcome(step, status, last_line=reason)


def _print_title(step: Step) -> None:
    width = min(shutil.get_terminal_size((100, 24)).columns, 100)
    print(f"\n--- {step.name} ".ljust(width, "-"), flush=True)
