"""Keeps Redis, the workers and the HTTP API running in the foreground."""

# ruff: noqa: T201  (its output is what it is for)
from __future__ import annotations

import contextlib
import os
import select
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from resident.program import reporting_faults, starting

with starting("server"):
    from enqueue_api.listening import listen, url_of
    from resident.redis_client import check_server, connect
    from resident.settings import Settings, read_settings
    from script.processes import (
        READY_TIMEOUT_S,
        Program,
        exit_on_sigterm,
        fail,
        has_ended,
        names_redis,
        running,
        running_redis,
        wait_until_ready,
    )

_RUN = Path(".run")
_URL_FILE = _RUN / "redis-url"
_TASKS = ("faq", "echo")

_OWN_REDIS = f"""\
(the first line again after each start: this Redis has a new password then):

  export RESIDENT_REDIS_URL="$(cat {_URL_FILE})"
"""
_GIVEN_REDIS = """\
with the same RESIDENT_REDIS_URL:

"""
_NEXT = """
Everything is ready. In another terminal, in this directory
{redis}  php php_client/bin/ask faq "今天几点开门？"
  .venv/bin/python -m enqueue_api ask faq "When do you open?"
  curl -G '{api_url}/deal' --data-urlencode 'question=今天几点开门？'

Ctrl-C stops all of it.
"""


@reporting_faults("server")
def main() -> None:
    """Runs until a signal, or until one of its programs ends."""
    exit_on_sigterm()
    try:
        _serve(read_settings())
    except KeyboardInterrupt:
        print("\nserver: stopped")


def _serve(settings: Settings) -> NoReturn:
    port = _port_to_listen_on(settings)
    with contextlib.ExitStack() as stack:
        url, redis_pid = stack.enter_context(running_redis(settings, _RUN / "redis"))
        check_server(connect(url), url)
        if not names_redis(settings):
            stack.enter_context(_url_file(url))
        print(
            f"server: starting `python worker.py {' '.join(_TASKS)}` and the HTTP API", flush=True
        )
        worker = stack.enter_context(running([sys.executable, "worker.py", *_TASKS], url))
        serve = [sys.executable, "-m", "enqueue_api", "serve", "--port", str(port)]
        api = stack.enter_context(running(serve, url))
        trouble = _wait_for_all((settings.http_host, port), url, worker, api)
        if not trouble:
            redis = _GIVEN_REDIS if names_redis(settings) else _OWN_REDIS
            api_url = url_of(settings.http_host, port)
            print(_NEXT.format(redis=redis, api_url=api_url), flush=True)
            trouble = _first_to_end({"the worker": worker, "the HTTP API": api}, redis_pid)
        fail("server", trouble, worker, api)


@contextlib.contextmanager
def _url_file(url: str) -> Iterator[None]:
    """Other terminals read the URL, which has the password, from a file that only we can read."""
    _URL_FILE.unlink(missing_ok=True)
    _URL_FILE.touch(mode=0o600)
    _URL_FILE.write_text(url)
    try:
        yield
    finally:
        _URL_FILE.unlink(missing_ok=True)


def _port_to_listen_on(settings: Settings) -> int:
    """It can be had, before a model is loaded for it; one that is free if the setting is 0."""
    sockets = listen(settings.http_host, settings.http_port)
    port: int = sockets[0].getsockname()[1]
    for one in sockets:
        one.close()
    return port


def _wait_for_all(place: tuple[str, int], url: str, worker: Program, api: Program) -> str:
    """Why something is not ready; empty when everything is."""
    client = connect(url)
    for task in _TASKS:
        trouble = wait_until_ready(task, client, worker)
        if trouble:
            return trouble
    deadline = time.monotonic() + READY_TIMEOUT_S
    while not _listens(place):
        if has_ended(api) or time.monotonic() > deadline:
            return "the HTTP API did not start"
    return ""


def _listens(place: tuple[str, int]) -> bool:
    try:
        socket.create_connection(place, timeout=1).close()
    except OSError:
        return False
    return True


def _first_to_end(programs: dict[str, Program], redis_pid: int) -> str:
    names = {os.pidfd_open(program.pid): name for name, program in programs.items()}
    if redis_pid:
        names[os.pidfd_open(redis_pid)] = "its Redis"
    ended, _, _ = select.select(list(names), [], [])
    name = names[ended[0]]
    if name in programs:
        return f"{name} ended with exit code {programs[name].wait()}"
    return f"{name} ended"


if __name__ == "__main__":
    main()
