"""What script/demo and script/server start: a Redis and programs that end with them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, NoReturn

import redis

from resident import keys
from resident.embedded_redis import EmbeddedRedis
from resident.lifeline import die_with_owner
from resident.program import EXIT_MISCONFIGURED
from resident.settings import Settings

READY_TIMEOUT_S = 60.0
#: Longer than a worker drains by default (RESIDENT_DRAIN_TIMEOUT_S), then it is killed.
_STOP_TIMEOUT_S = 40.0
_POLL_S = 0.05

Program = subprocess.Popen[bytes]


def exit_on_sigterm() -> None:
    """Makes SIGTERM leave through every `finally`, as Ctrl-C does."""
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))


def names_redis(settings: Settings) -> bool:
    """Whether RESIDENT_REDIS_URL says which Redis to use, which then is not ours."""
    return "redis_url" in settings.model_fields_set


@contextlib.contextmanager
def running_redis(settings: Settings, directory: Path | None = None) -> Iterator[tuple[str, int]]:
    """The URL of the Redis that RESIDENT_REDIS_URL names, and 0; or of our own, and its pid."""
    if names_redis(settings):
        yield settings.redis_url.get_secret_value(), 0
    else:
        with EmbeddedRedis(directory, tcp=True) as server:  # redis-cli 7 reads no unix:// URL
            yield server.url, server.pid


def environment(redis_url: str) -> dict[str, str]:
    """What a program of ours is given: all that we have, and the Redis to use."""
    return os.environ | {"RESIDENT_REDIS_URL": redis_url}  # noqa: TID251  (not read, handed on)


@contextlib.contextmanager
def running(
    command: Sequence[str], redis_url: str, output: IO[bytes] | None = None
) -> Iterator[Program]:
    """A program that is told to end when this block, or this process, ends."""
    program = subprocess.Popen(
        command,
        env=environment(redis_url),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT if output else None,
        start_new_session=True,  # Ctrl-C is for us; we end the programs in order
        preexec_fn=die_with_owner(signal.SIGTERM),
    )
    try:
        yield program
    finally:
        _stop(program)


def wait_until_ready(task: str, client: redis.Redis, worker: Program) -> str:
    """Why the task is not served; empty as soon as a worker announces that it is ready."""
    deadline = time.monotonic() + READY_TIMEOUT_S
    while not _is_ready(task, client):
        if has_ended(worker):
            return f"the worker ended with exit code {worker.returncode}"
        if time.monotonic() > deadline:
            return f"no worker was ready for {task} within {READY_TIMEOUT_S:.0f} s"
    return ""


def has_ended(program: Program) -> bool:
    """Whether it ends within the next moment."""
    try:
        program.wait(_POLL_S)
    except subprocess.TimeoutExpired:
        return False
    return True


def fail(name: str, reason: str, *programs: Program) -> NoReturn:
    """Ends the script of this name because of a program: if a setting was wrong, with code 2."""
    sys.stderr.write(f"{name}: {reason}\n")
    codes = {program.returncode for program in programs}
    sys.exit(EXIT_MISCONFIGURED if EXIT_MISCONFIGURED in codes else 1)


def _is_ready(task: str, client: redis.Redis) -> bool:
    seconds, microseconds = client.time()
    now_ms = seconds * 1_000 + microseconds // 1_000
    return client.zcount(keys.of_task(task).ready, f"({now_ms}", "+inf") > 0


def _stop(program: Program) -> None:
    program.terminate()
    try:
        program.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        program.kill()
        program.wait()
