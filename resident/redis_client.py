"""Connections to Redis: one place that makes them, and the lean one of the hot path."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import hiredis
import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError
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
        reason = str(error).rstrip(".")
        msg = f"Redis at {place} cannot be used: {reason}. Is RESIDENT_REDIS_URL right?"
        raise ConfigurationError(msg) from None
    numbers = re.match(r"(\d+)\.(\d+)", version)
    if numbers is None or tuple(map(int, numbers.groups())) < OLDEST_REDIS:
        msg = f"Redis at {place} is version {version}; Resident needs 6.2 or newer"
        raise ConfigurationError(msg)


class Woken(BaseException):
    """Nobody waits any longer for what a blocking command may bring; the link is to be closed."""


class Link:
    """One connection that sends packed commands, for one thread.

    It takes redis-py's connection (log-in, TLS, unix sockets, RESP parser) and leaves out the
    layers above it, which cost more than Redis itself: 2.2 times at 32 callers.

    Errors worth catching: redis.exceptions.ConnectionError and TimeoutError (the link is closed,
    the next call opens it again), ResponseError (Redis refused the command).
    """

    def __init__(self, client: redis.Redis, timeout_s: float = SOCKET_TIMEOUT_S) -> None:
        """Takes the settings of a redis-py client, and how long an answer may be in coming."""
        self.timeout_s = timeout_s
        pool = client.connection_pool
        patience = {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s}
        options = {**pool.connection_kwargs, **patience}
        self._connection: Any = pool.connection_class(**options)
        self._is_waiting = self._is_woken = False

    def call(self, *command: Any) -> Any:
        """Sends a command that does not block and returns its answer."""
        self.send_all([command])
        return self.read(self.timeout_s)

    def send_all(self, commands: list[tuple[Any, ...]]) -> None:
        """Sends commands in one write; as many answers must be read."""
        packed = b"".join([hiredis.pack_command(command) for command in commands])
        self._connection.send_packed_command([packed], check_health=False)

    def read(self, timeout_s: float) -> Any:
        """Reads the answer to the next command that was sent; raises it if it is an error."""
        self._is_waiting = timeout_s > self.timeout_s  # for a command that blocks in Redis
        try:
            if self._is_waiting and self._is_woken:
                raise Woken
            return self._connection.read_response(disable_decoding=True, timeout=timeout_s)
        finally:
            self._is_waiting = False

    def wake(self) -> None:
        """For a signal handler: ends waiting for commands that block, now and from now on.

        Raises:
            Woken: Here, if that is what is being done; else in `read`.
        """
        self._is_woken = True
        if self._is_waiting:
            raise Woken

    def close(self) -> None:
        """Closes the connection; the next call opens it again."""
        self._connection.disconnect()


class Exchange:
    """Commands that go out together, each with what to do with its answer."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._commands: list[tuple[Any, ...]] = []
        self._readers: list[tuple[Callable[[Any], object], float]] = []

    def add(
        self, command: tuple[Any, ...], on_answer: Callable[[Any], object], blocks_s: float = 0.0
    ) -> None:
        """Adds a command; blocks_s is how long it may block in Redis."""
        self._commands.append(command)
        self._readers.append((on_answer, blocks_s))

    def send(self) -> None:
        """Sends what was added in one write; the answers are read by run()."""
        self._link.send_all(self._commands)
        self._commands = []

    def run(self) -> None:
        """Sends what is left to send, and hands on each answer as it comes.

        A command that Redis refuses does not keep the others from their answers; then its
        ResponseError is raised.
        """
        refusal: ResponseError | None = None
        self.send()
        for on_answer, blocks_s in self._readers:
            try:
                answer = self._link.read(blocks_s + self._link.timeout_s)
            except ResponseError as error:
                refusal = refusal or error
            else:
                on_answer(answer)
        if refusal is not None:
            raise refusal


class Script:
    """A Lua script on the server, sent whole only when the server does not know it."""

    def __init__(self, source: str, sha: str) -> None:
        self.source = source
        self.sha = sha

    def command(self, keys: list[str], args: list[Any]) -> tuple[Any, ...]:
        """The command that runs the script if the server knows it."""
        return ("EVALSHA", self.sha, len(keys), *keys, *args)

    def call(
        self, link: Link, keys: list[str], args: list[Any], then: tuple[Any, ...] | None = None
    ) -> Any:
        """Runs the script and returns its answer.

        Args:
            link: Where to run it.
            keys: Its KEYS.
            args: Its ARGV.
            then: A command that goes out in the same write; its answer is the next to be read.
        """
        following = [] if then is None else [then]
        try:
            link.send_all([self.command(keys, args), *following])
            return link.read(link.timeout_s)
        except NoScriptError:
            if following:
                link.close()  # its answer may be long in coming
            link.send_all([("EVAL", self.source, len(keys), *keys, *args), *following])
            return link.read(link.timeout_s)
