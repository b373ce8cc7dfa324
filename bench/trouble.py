"""What happens to pages in the middle of a wait: callers who leave, and a Redis that halts."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator

from redis.exceptions import RedisError

from bench.harness import children_of
from resident.redis_client import connect

_LEAVERS_EACH_S = 0.03
_HALT_EACH_S = 1.0
#: Longer than the shortest budgets with their grace, so that connections are given up.
_HALT_S = 0.12
_END_EACH_S = 0.1
_ENDED_WITHIN_S = 60.0


@contextlib.contextmanager
def made(port: int, url: str, server: int) -> Iterator[None]:
    """Until the block ends: on the port of the pages, in this Redis, to this worker.py."""
    over = threading.Event()
    threads = [
        threading.Thread(target=_leave, args=(over, port)),
        threading.Thread(target=_halt, args=(over, url, server)),
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


@contextlib.contextmanager
def ended(port: int) -> Iterator[Counter[str]]:
    """Until the block ends: requests that PHP or php-fpm ends in a call; how many, by their end."""
    over = threading.Event()
    ends: Counter[str] = Counter()
    causes = ("time", "wait", "memory")
    threads = [threading.Thread(target=_end, args=(over, port, how, ends)) for how in causes]
    for thread in threads:
        thread.start()
    try:
        yield ends
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _end(over: threading.Event, port: int, how: str, ends: Counter[str]) -> None:
    url = f"http://127.0.0.1:{port}/ended.php?question=ended&how={how}"
    while not over.wait(_END_EACH_S):
        try:
            with urllib.request.urlopen(url, timeout=_ENDED_WITHIN_S) as page:
                status = page.status
        except urllib.error.HTTPError as error:
            status = error.code
        ends[f"{how} {status}"] += 1


def _leave(over: threading.Event, port: int) -> None:
    """Callers who ask and hang up some milliseconds later."""
    choice = random.Random(7)
    request = b"GET /page.php?question=left HTTP/1.1\r\nHost: bench\r\n\r\n"
    while not over.wait(_LEAVERS_EACH_S):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as left:
            left.sendall(request)
            over.wait(choice.random() * 0.02)


def _halt(over: threading.Event, url: str, server: int) -> None:
    """By turns Redis and the workers stand still for a moment."""
    with connect(url) as connection:
        while not over.wait(_HALT_EACH_S):
            with contextlib.suppress(RedisError):
                connection.client_pause(round(_HALT_S * 1000))
            over.wait(_HALT_EACH_S)
            workers = [one for each in children_of(server) for one in children_of(each)]
            for number in (signal.SIGSTOP, signal.SIGCONT):
                for pid in workers:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, number)
                threading.Event().wait(_HALT_S if number == signal.SIGSTOP else 0)
