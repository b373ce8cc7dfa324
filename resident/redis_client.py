"""Connections to Redis: one place that makes them, and the lean one of the hot path."""

from __future__ import annotations

import re
from typing import Any

import hiredis
import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError
from redis.retry import Retry

from resident.errors import ConfigurationError

#: Redis 6.2 is the first with BLMOVE.
OLDEST_REDIS = (6, 2)
#: Longer than this without an answer to a command that does not block, and Redis is gone.
SOCKET_TIMEOUT_S = 5.0
_HOW_TO_WRITE = (
    "write redis://user:password@host:port/db, rediss://... or unix:///path?db=0, and in a "
    "password %2F for /, %3F for ?, %23 for #, %40 for @ and %25 for %"
)
#: How much longer than a blocking command's own time we wait for its answer.
BLOCKING_MARGIN_S = 5.0


def connect(url: str) -> redis.Redis:
    """A redis-py client that never repeats a command by itself.

    redis-py's default of ten silent retries turns a 5 s budget into a minute; and repeating a
    blocking pop or a push is not harmless.

    Raises:
        ConfigurationError: The URL cannot be read.
    """
    keepalive = {} if url.startswith("unix:") else {"socket_keepalive": True}
    try:
        client = redis.Redis.from_url(  # noqa: TID251  (this is the place)
            url,
            protocol=2,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=SOCKET_TIMEOUT_S,
            socket_connect_timeout=SOCKET_TIMEOUT_S,
            **keepalive,
        )
        Link(client)  # which finds out whether its options are ones
    except (ValueError, TypeError):
        # The reason is not told: it quotes what redis-py took for a port, say, and that is a
        # part of the password if that has a / in it.
        msg = f"RESIDENT_REDIS_URL {place_of(url)} cannot be read: {_HOW_TO_WRITE}"
        raise ConfigurationError(msg) from None
    return client


def place_of(url: str) -> str:
    """The URL without user, password and options, for messages and logs."""
    scheme, found, rest = url.partition("://")
    parts = re.fullmatch(r"([^/?#]*)(/[^?#]*)?(.*)", rest, re.DOTALL)
    if not found or parts is None or "@" in f"{parts[2]}{parts[3]}":
        # A password that is not written as %xx ends where nobody can tell.
        return "(address not shown)"
    return f"{scheme}://{parts[1].rpartition('@')[2]}{parts[2] or ''}"


def check_server(client: redis.Redis, url: str) -> None:
    """Raises ConfigurationError unless a Redis that we can use answers at this URL."""
    place = place_of(url)
    try:
        version = str(client.info("server").get("redis_version", "unknown"))
    except redis.exceptions.AuthenticationError as error:
        msg = f"Redis at {place} refuses the password or the user in RESIDENT_REDIS_URL: {error}"
        raise ConfigurationError(msg) from None
    except RedisError as error:
        msg = f"Redis at {place} cannot be used: {error}. Is RESIDENT_REDIS_URL right?"
        raise ConfigurationError(msg) from None
    numbers = re.match(r"(\d+)\.(\d+)", version)
    if numbers is None or tuple(map(int, numbers.groups())) < OLDEST_REDIS:
        msg = f"Redis at {place} is version {version}; Resident needs 6.2 or newer"
        raise ConfigurationError(msg)


class Link:
    """One connection that sends packed commands, for one thread.

    It takes redis-py's connection (log-in, TLS, unix sockets, RESP parser) and leaves out the
    layers above it, which cost more than Redis itself: 2.2 times at 32 callers.

    Errors worth catching: redis.exceptions.ConnectionError and TimeoutError (the link is closed,
    the next call opens it again), ResponseError (Redis refused the command).
    """

    def __init__(self, client: redis.Redis) -> None:
        pool = client.connection_pool
        options = {**pool.connection_kwargs, "socket_timeout": SOCKET_TIMEOUT_S}
        self._connection: Any = pool.connection_class(**options)

    def call(self, *command: Any) -> Any:
        """Sends a command that does not block and returns its answer."""
        self.send(*command)
        return self._connection.read_response(disable_decoding=True)

    def call_blocking(self, timeout_s: float, *command: Any) -> Any:
        """Sends a command that blocks; its last argument, timeout_s, is added here."""
        self.send(*command, f"{timeout_s:.3f}")
        return self._connection.read_response(
            disable_decoding=True, timeout=timeout_s + BLOCKING_MARGIN_S
        )

    def send(self, *command: Any) -> None:
        """Sends a command; its answer must be read before the next call."""
        self._connection.send_packed_command([hiredis.pack_command(command)], check_health=False)

    def close(self) -> None:
        """Closes the connection; the next call opens it again."""
        self._connection.disconnect()


class Script:
    """A Lua script on the server, sent whole only when the server does not know it."""

    def __init__(self, source: str, sha: str) -> None:
        self.source = source
        self.sha = sha

    def call(self, link: Link, keys: list[str], args: list[Any]) -> Any:
        """Runs the script and returns its answer."""
        try:
            return link.call("EVALSHA", self.sha, len(keys), *keys, *args)
        except NoScriptError:
            return link.call("EVAL", self.source, len(keys), *keys, *args)
