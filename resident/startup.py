"""Redis is not there when a worker.py starts: wait for it, and say so once."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from types import FrameType

import redis
from redis.exceptions import RedisError

from resident.outage import call_until_back, never, nothing
from resident.redis_client import check_version, connect, fault_of, may_pass
from resident.redis_options import concerns_certificates


def wait_for_server(url: str) -> None:
    """Returns when a Redis that we can use answers at this URL; SIGTERM ends the program with 0.

    Raises:
        ConfigurationError: It is too old, or refuses us, or its certificate does not verify, or
            the URL cannot be read.
    """
    with contextlib.closing(connect(url)) as client, _ending_on_sigterm():
        call_until_back(lambda: _look(client, url), nothing, never)


def _look(client: redis.Redis, url: str) -> None:
    try:
        check_version(client, url)
    except RedisError as error:
        if may_pass(error) and not concerns_certificates(error):
            raise
        raise fault_of(error, url) from None


@contextlib.contextmanager
def _ending_on_sigterm() -> Iterator[None]:
    """There is nothing to drain, and with SIGHUP nothing to load anew."""
    before = {
        signal.SIGTERM: signal.signal(signal.SIGTERM, _end),
        signal.SIGHUP: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    }
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _end(_signum: int, _frame: FrameType | None) -> None:
    sys.exit(0)
