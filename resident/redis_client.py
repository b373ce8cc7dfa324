"""Connections to Redis: the one place that makes them, and what their errors mean."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.connection import DefaultParser
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    ClusterDownError,
    MasterDownError,
    NoPermissionError,
    ReadOnlyError,
    RedisError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from resident.errors import ConfigurationError
from resident.redis_options import check_tls, concerns_certificates, fault_in_options

#: Redis 6.2 is the first with BLMOVE.
OLDEST_REDIS = (6, 2)
#: Longer than this without an answer to a command that does not block, and Redis is gone.
SOCKET_TIMEOUT_S = 5.0
#: What a later try may not meet; a Redis that loads its data is a ConnectionError to redis-py.
_PASSING = (
    RedisConnectionError,
    RedisTimeoutError,
    ReadOnlyError,
    MasterDownError,
    ClusterDownError,
)
#: Redis 6.2 says so of a script, and then why it refused the command: "-OOM command not allowed".
_RAN_INTO = re.compile(r"Error running script .*?: -(?=[A-Z]+ )")
#: A command, a key or a channel, without the word NOPERM: up to Redis 7.0, and since 7.2.
_MAY_NOT = re.compile("The user executing the script can't |ACL failure in script: ")
_QUOTED = re.compile(",? with args beginning with:.*", re.DOTALL)
_HOW_TO_WRITE = (
    "write redis://user:password@host:port/db, rediss://... or unix:///path?db=0, and in a "
    "password %2F for /, %3F for ?, %23 for #, %40 for @ and %25 for %"
)


def connect(url: str) -> redis.Redis:
    """A redis-py client that never repeats a command by itself.

    redis-py's default of ten silent retries turns a 5 s budget into a minute; and repeating a
    blocking pop or a push is not harmless.

    Raises:
        ConfigurationError: The URL cannot be read, or a file of TLS that it names.
    """
    if not isinstance(url, str):
        msg = f"A Redis URL is a text, not {type(url).__name__}: {_HOW_TO_WRITE}"
        raise ConfigurationError(msg)
    is_socket = url.startswith("unix:")
    options: dict[str, Any] = {} if is_socket else {"socket_keepalive": True}
    if url.startswith("rediss:"):
        options["redis_connect_func"] = _begin_tls
    try:
        _check_path(url)
        _check_database(url)
        client = redis.Redis.from_url(  # noqa: TID251  (this is the place)
            url,
            protocol=2,
            retry=Retry(NoBackoff(), 0),
            driver_info=None,  # an answer to it that comes late is taken for one to a command
            socket_timeout=SOCKET_TIMEOUT_S,
            socket_connect_timeout=SOCKET_TIMEOUT_S,
            **options,
        )
        pool = client.connection_pool
        pool.connection_class(**pool.connection_kwargs)  # which finds out whether these are ones
    except (ValueError, TypeError, RedisError):
        # The reason is not told: it quotes what redis-py took for a port, say, and that is a
        # part of the password if that has a / in it.
        reason = fault_in_options(url) or _HOW_TO_WRITE
        msg = f"RESIDENT_REDIS_URL {place_of(url)} cannot be read: {reason}"
        raise ConfigurationError(msg) from None
    if url.startswith("rediss:"):
        check_tls(pool.connection_kwargs)
    return client


def _check_path(url: str) -> None:
    """Raises ValueError unless it is a socket's, from the root on.

    redis-py passes over a host in front of it.
    """
    parts = urlsplit(url)
    is_socket = parts.scheme == "unix"
    if is_socket and (len(parts.path) < 2 or parts.netloc.rpartition("@")[2]):
        raise ValueError(url)


def _check_database(url: str) -> None:
    """Raises ConfigurationError unless it names one by its number, or none, as the PHP client."""
    parts = urlsplit(url)
    path = "" if parts.scheme == "unix" else unquote(parts.path).strip("/")
    named = parse_qs(parts.query).get("db")
    if re.fullmatch("[0-9]{0,6}", named[0] if named else path) is None:
        reason = "db cannot have this value"
        if not named:  # redis-py takes a word for 0
            reason = f"the database is not a number: {_HOW_TO_WRITE}"
        raise ConfigurationError(f"RESIDENT_REDIS_URL {place_of(url)} cannot be read: {reason}")


def _begin_tls(connection: Any) -> None:
    """Reads what TLS itself sends at the start, which redis-py takes for data that is left over.

    A log-in or the choice of a database does so, too; there may be neither.
    """
    connection.on_connect()
    connection.send_command("PING", check_health=False)
    connection.read_response()


class AsyncConnections:
    """Makes connections for one event loop, which never repeat a command by themselves."""

    def __init__(self, url: str) -> None:
        """Raises ConfigurationError if the URL cannot be read."""
        connect(url).close()
        self._pool = redis.asyncio.ConnectionPool.from_url(
            url,
            protocol=2,
            retry=AsyncRetry(NoBackoff(), 0),
            driver_info=None,  # redis-py would read its version from the disk for each connection
            socket_timeout=None,
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
    place, reason = place_of(url), said(error)
    if isinstance(error, redis.exceptions.AuthenticationError):
        return ConfigurationError(
            f"Redis at {place} refuses the password or the user in RESIDENT_REDIS_URL: {reason}"
        )
    if concerns_certificates(error):
        return ConfigurationError(
            f"Redis at {place} and we do not trust each other: {reason} Are ssl_ca_certs, "
            "ssl_certfile and ssl_keyfile in RESIDENT_REDIS_URL right?"
        )
    return ConfigurationError(
        f"Redis at {place} cannot be used: {reason.rstrip('.')}. Is RESIDENT_REDIS_URL right?"
    )


def said(error: BaseException) -> str:
    """What Redis said, without what it quotes of an unknown command, which may be a password.

    The quotation goes from the error and its causes, too: who logs a traceback prints them.
    """
    one: BaseException | None = error
    while one is not None:
        with contextlib.suppress(Exception):  # a task's, say, that has no text
            if _QUOTED.search(str(one)):
                one.args = (unquoted(str(one)),)
        one = one.__cause__ or one.__context__
    try:
        return str(error)
    except Exception:  # noqa: BLE001  (the same)
        return type(error).__name__


def unquoted(text: str) -> str:
    """A text, a log line's say, without that quotation."""
    return _QUOTED.sub("", text)


def error_in(answer: str) -> RedisError:
    """The error that an answer is, one that a script's command met as if it had been met alone."""
    error: RedisError = DefaultParser.parse_error(answer)  # type: ignore[no-untyped-call]
    return met_by_script(error)


def met_by_script(error: RedisError) -> RedisError:
    """What Redis would have said to a command that it refused, if no script had sent it."""
    told = str(error)
    wrapped = _RAN_INTO.match(told)
    if wrapped:
        return error_in(told[wrapped.end() :])
    return NoPermissionError(told) if _MAY_NOT.search(told) else error


def may_pass(error: RedisError) -> bool:
    """Whether a later try may fare better: Redis is away, starts, fails over or was demoted."""
    if isinstance(error, AuthenticationError | AuthorizationError):  # ConnectionErrors, too
        return False
    return isinstance(error, _PASSING) or str(error).startswith("UNBLOCKED")
