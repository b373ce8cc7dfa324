"""mosec: one worker that batches, with its window.

BENCH_BATCH and BENCH_WINDOW_MS are `max_batch_size` and `max_wait_time`; BENCH_SLEEP_MS is what
a batch costs. Source: mosec's documentation, 'Interface' and the example 'Echo'.
"""

from __future__ import annotations

import os
import sys
import time
from urllib.parse import urlsplit

from mosec import Server, Worker

from bench.http import HttpLink
from bench.load import Link
from bench.peer import QUESTION, check

URL = os.environ["BENCH_URL"]
SLEEP_S = float(os.environ.get("BENCH_SLEEP_MS", "0")) / 1000


class Echo(Worker):
    """A model whose batch costs the same whatever its size."""

    def forward(self, data: list[str]) -> list[str]:
        """The questions themselves."""
        time.sleep(SLEEP_S)
        return data


class EchoOne(Echo):
    """The same where `max_batch_size` is 1: mosec then hands over no list."""

    def forward(self, data: str) -> str:  # type: ignore[override]
        """The question itself."""
        time.sleep(SLEEP_S)
        return data


def serve() -> None:
    """`python server.py --address … --port …`."""
    batch, window_ms = int(os.environ["BENCH_BATCH"]), int(os.environ["BENCH_WINDOW_MS"])
    address = urlsplit(URL)
    sys.argv[1:] = ["--address", str(address.hostname), "--port", str(address.port)]
    sys.argv += ["--log-level", "error"]
    server = Server()
    if batch > 1:
        server.append_worker(Echo, max_batch_size=batch, max_wait_time=window_ms)
    else:
        server.append_worker(EchoOne)
    server.run()


def links(callers: int) -> list[Link]:
    """For the load generator."""
    import json

    body = json.dumps(QUESTION).encode()
    request = b"POST /inference HTTP/1.1\r\nHost: bench\r\nContent-Length: %d\r\n\r\n" % len(body)

    def is_right(answer: bytes) -> None:
        check(json.loads(answer))

    return [HttpLink(URL, request + body, is_right) for _ in range(callers)]
