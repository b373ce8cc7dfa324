"""Connections to Redis: one place that makes them, and the lean one of the hot path."""

from __future__ import annotations

import contextlib
import re
import select
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import hiredis
import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.connection import DefaultParser
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    ClusterDownError,
    InvalidResponse,
    MasterDownError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from resident.errors import ConfigurationError

#: Redis 6.2 is the first with BLMOVE.
OLDEST_REDIS = (6, 2)
#: Longer than this without an answer to a command that does not block, and Redis is gone.
SOCKET_TIMEOUT_S = 5.0
_CHUNK = 65_536
_NOT_YET = object()
#: A socket that waits for nothing at all would not even hear what is there.
_SHORTEST_TIMEOUT_S = 0.001
#: What a later try may not meet; a Redis that loads its data is a ConnectionError to redis-py.
_PASSING = (
    RedisConnectionError,
    RedisTimeoutError,
    ReadOnlyError,
    MasterDownError,
    ClusterDownError,
)
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


class AsyncConnections:
    """Makes connections for one event loop, which never repeat a command by themselves."""

    def __init__(self, url: str) -> None:
        """Raises ConfigurationError if the URL cannot be read."""
        connect(url).close()
        self._pool = redis.asyncio.ConnectionPool.from_url(
            url, protocol=2, retry=AsyncRetry(NoBackoff(), 0), socket_timeout=None
        )

    def make(self) -> Any:
        """One that is not open yet; whoever has it closes it."""
        return self._pool.connection_class(**self._pool.connection_kwargs)


def place_of(url: str) -> str:
    """The URL without user, password and options, for messages and logs."""
    scheme, found, rest = url.partition("://")
    parts = re.fullmatch(r"([^/?#]*)(/[^?#]*)?(.*)", rest, re.DOTALL)
    if not found or parts is None or "@" in f"{parts[2]}{parts[3]}":
        # A password that is not written as %xx ends where nobody can tell.
        return "(address not shown)"
    return f"{scheme}://{parts[1].rpartition('@')[2]}{parts[2] or ''}"


@contextlib.contextmanager
def looking_at(url: str) -> Iterator[redis.Redis]:
    """A client for a look at a server that we can use, not for service.

    Raises:
        ConfigurationError: In the place of every RedisError, inside too: one sentence.
    """
    with contextlib.closing(connect(url)) as client:
        try:
            check_version(client, url)
            yield client
        except RedisError as error:
            raise fault_of(error, url) from None


def check_server(client: redis.Redis, url: str) -> None:
    """Raises ConfigurationError unless a Redis that we can use answers at this URL."""
    try:
        check_version(client, url)
    except RedisError as error:
        raise fault_of(error, url) from None


def check_version(client: redis.Redis, url: str) -> None:
    """Raises ConfigurationError if the server is too old.

    Errors worth catching: redis.exceptions.RedisError.
    """
    version = str(client.info("server").get("redis_version", "unknown"))
    numbers = re.match(r"(\d+)\.(\d+)", version)
    if numbers is None or tuple(map(int, numbers.groups())) < OLDEST_REDIS:
        msg = f"Redis at {place_of(url)} is version {version}; Resident needs 6.2 or newer"
        raise ConfigurationError(msg)


def fault_of(error: RedisError, url: str) -> ConfigurationError:
    """The same for an operator."""
    place, reason = place_of(url), str(error)
    if isinstance(error, redis.exceptions.AuthenticationError):
        return ConfigurationError(
            f"Redis at {place} refuses the password or the user in RESIDENT_REDIS_URL: {reason}"
        )
    return ConfigurationError(
        f"Redis at {place} cannot be used: {reason.rstrip('.')}. Is RESIDENT_REDIS_URL right?"
    )


def may_pass(error: RedisError) -> bool:
    """Whether a later try may fare better: Redis is away, starts, fails over or was demoted."""
    if isinstance(error, AuthenticationError | AuthorizationError):  # ConnectionErrors, too
        return False
    return isinstance(error, _PASSING) or str(error).startswith("UNBLOCKED")


class Woken(BaseException):
    """Nobody waits any longer for what a blocking command may bring; the link is to be closed."""


class Link:
    """One connection that sends packed commands, for one thread.

    redis-py's connection opens it (log-in, TLS, unix sockets). Reading and writing are done on its
    socket, without redis-py's layers, which cost a lone question 4 to 10 % of its round trip.

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
        self._socket: Any = None
        self._buffer = bytearray(_CHUNK)
        self._gives_up_at: float | None = None
        self._is_waiting = self._is_woken = False

    def give_up_at(self, moment: float) -> None:
        """From now on waits for nothing beyond this moment of the monotonic clock."""
        self._gives_up_at = moment

    def call(self, *command: Any) -> Any:
        """Sends a command that does not block and returns its answer."""
        self.send_all([command])
        return self.read(self.timeout_s)

    def send_all(self, commands: list[tuple[Any, ...]]) -> None:
        """Sends commands in one write; as many answers must be read."""
        packed = b"".join([hiredis.pack_command(command) for command in commands])
        patience_s = self._patience_s(self.timeout_s)
        if self._socket is None:
            self._open(patience_s)
        if self._socket is None:
            self._connection.send_packed_command([packed], check_health=False)
            return
        try:
            self._limit_socket(patience_s)
            self._socket.sendall(packed)
        except OSError as error:
            raise self._lost(error) from error
        except BaseException:
            self.close()
            raise

    def read(self, timeout_s: float) -> Any:
        """Reads the answer to the next command that was sent; raises it if it is an error."""
        if self._socket is None:
            return self._connection.read_response(disable_decoding=True, timeout=timeout_s)
        answer = self._reader.gets(False)
        if answer is _NOT_YET:
            answer = self._wait_for_answer(timeout_s)
        if isinstance(answer, RedisError):
            if isinstance(answer, RedisConnectionError):
                self.close()  # LOADING, say
            raise answer
        return answer

    def has_answer(self, within_s: float) -> bool:
        """Whether an answer, or the end of the connection, comes within this time."""
        if self._socket is None:
            return bool(self._connection.can_read(timeout=within_s))
        return self._reader.has_data() or bool(select.select([self._socket], [], [], within_s)[0])

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
        self._socket = None
        self._connection.disconnect()

    def _open(self, patience_s: float) -> None:
        connection = self._connection
        connection.socket_timeout = connection.socket_connect_timeout = patience_s
        connection.connect()
        if not isinstance(connection._sock, socket.socket):
            return  # fakeredis, which only redis-py can talk to
        self._socket = connection._sock
        self._socket_timeout_s = self._socket.gettimeout()
        self._reader = hiredis.Reader(
            protocolError=InvalidResponse,
            replyError=DefaultParser.parse_error,
            notEnoughData=_NOT_YET,
        )

    def _wait_for_answer(self, timeout_s: float) -> Any:
        self._is_waiting = timeout_s > self.timeout_s  # for a command that blocks in Redis
        try:
            if self._is_waiting and self._is_woken:
                raise Woken
            self._limit_socket(self._patience_s(timeout_s))
            while (answer := self._reader.gets(False)) is _NOT_YET:
                size = self._socket.recv_into(self._buffer)
                if not size:
                    msg = "Redis closed the connection"
                    raise RedisConnectionError(msg)
                self._reader.feed(self._buffer, 0, size)  # type: ignore[arg-type]
        except OSError as error:
            raise self._lost(error) from error
        except BaseException:
            self.close()
            raise
        finally:
            self._is_waiting = False
        return answer

    def _patience_s(self, timeout_s: float) -> float:
        if self._gives_up_at is None:
            return timeout_s
        left_s = self._gives_up_at - time.monotonic()
        return max(_SHORTEST_TIMEOUT_S, min(timeout_s, left_s))

    def _limit_socket(self, timeout_s: float) -> None:
        if timeout_s != self._socket_timeout_s:
            self._socket.settimeout(timeout_s)
            self._socket_timeout_s = timeout_s

    def _lost(self, error: OSError) -> RedisError:
        """What was not sent or read to its end would be taken for the next command's."""
        self.close()
        if isinstance(error, TimeoutError):
            return RedisTimeoutError("Redis did not answer in time")
        return RedisConnectionError(f"the connection to Redis broke: {error}")


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
