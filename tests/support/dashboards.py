"""rq-dashboard, as an operator starts it."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2 as httpx

from tests.support.processes import Processes
from tests.support.waiting import wait_until


@contextmanager
def dashboard(processes: Processes, redis_url: str, **environment: str) -> Iterator[httpx.Client]:
    """A client of a real rq-dashboard, which ends with the test."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    processes.start(
        *(sys.executable, "-m", "rq_dashboard", "--json"),
        *("--bind", "127.0.0.1", "--port", port, "--redis-url", redis_url),
        **environment,
    )
    url = f"http://127.0.0.1:{port}"
    with httpx.Client(base_url=url, trust_env=False, follow_redirects=True) as client:
        wait_until(lambda: _is_up(client))
        yield client


def _is_up(client: httpx.Client) -> bool:
    try:
        return client.get("/favicon.ico").is_success
    except httpx.ConnectError:
        return False


def data(client: httpx.Client, path: str) -> Any:
    """What the page of this name shows, as its script asks for it."""
    return json.loads(client.get(f"/0/data/{path}").raise_for_status().text)
