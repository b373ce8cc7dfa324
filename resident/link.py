"""One lean connection to Redis, for the hot path: packed commands out, answers in their order."""

from __future__ import annotations

import functools
import select
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

import hiredis
import redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from resident.redis_client import SOCKET_TIMEOUT_S, error_in

_CHUNK = 65_536
_NOT_YET = object()
#: A socket that waits for nothing at all would not even hear what is there.
_SHORTEST_TIMEOUT_S = 0.001
#: A timeout may be off by so much: to set one is a system call, and a lone question would do two.
_TIMEOUT_STEP_S = 0.001

#: A word of a command. No numbers: to make a text of one, hiredis 3.5 calls CPython's str(), in
#: which a signal handler may run; if that raises, as a time limit's does, it dies of it (SIGSEGV).
Word = str | bytes
#: A command's words, or the same packed.
Command = tuple[Word, ...] | bytes
#: A command's words as they are sent.
pack: Callable[[tuple[Word, ...]], bytes] = hiredis.pack_command  # type: ignore[assignment]


@functools.cache
def _punctual(kind: type[Any]) -> type[Any]:
    """A class of redis-py's connections whose log-in, of several answers, keeps to one deadline."""

    class Punctual(kind):  # type: ignore[misc]
        #: A moment of the monotonic clock; 0 is never.
        gives_up_at = 0.0

        def read_response(self, *args: Any, **options: Any) -> Any:
            if self.gives_up_at and "timeout" not in options:
                left_s = max(self.gives_up_at - time.monotonic(), _SHORTEST_TIMEOUT_S)
                options["timeout"] = min(left_s, self.socket_timeout)
            return super().read_response(*args, **options)

    return Punctual


class Woken(BaseException):
    """Nobody waits any longer for what a blocking command may bring; the link is to be closed."""


class Link:
    """One connection that sends packed commands, for one thread.

    redis-py's connection opens it (log-in, TLS, unix sockets). Reading and writing are done on its
    socket, without redis-py's layers, which cost a lone question 4 to 10 % of its round trip.

    Errors worth catching: redis.exceptions.ConnectionError and TimeoutError (the link is closed,
    the next call opens it again), ResponseError (Redis refused the command).
    """

    def __init__(
        self, client: redis.Redis, timeout_s: float = SOCKET_TIMEOUT_S, *, protocol: int = 2
    ) -> None:
        """Takes the settings of a redis-py client, and how long an answer may be in coming.

        With protocol 3 messages of channels come as hiredis.PushNotification, between answers.
        """
        self.timeout_s = timeout_s
        pool = client.connection_pool
        patience = {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s}
        # A redis-py client of a caller's own tries to connect ten times over, far beyond a budget.
        once = {"retry": Retry(NoBackoff(), 0)}
        options = {**pool.connection_kwargs, **patience, **once, "protocol": protocol}
        self._connection: Any = _punctual(pool.connection_class)(**options)
        self._socket: Any = None
        self._buffer = bytearray(_CHUNK)
        #: A moment of the monotonic clock; 0 is never.
        self._gives_up_at = 0.0
        #: The time-out that was asked for last, if the socket's is as long and stays so; else 0.
        self._limited_to_s = 0.0
        self._is_waiting = self._is_woken = False
        #: Called at each part of an answer that does not come in one.
        self.on_part: Callable[[], object] | None = None

    def give_up_at(self, moment: float) -> None:
        """From now on waits for nothing beyond this moment of the monotonic clock."""
        self._gives_up_at, self._limited_to_s = moment, 0.0

    def call(self, *command: Word) -> Any:
        """Sends a command that does not block and returns its answer."""
        self.send_all([command])
        return self.read(self.timeout_s)

    def send_all(self, commands: Sequence[Command]) -> None:
        """Sends commands in one write; as many answers must be read."""
        packed = b"".join([one if isinstance(one, bytes) else pack(one) for one in commands])
        if self._socket is None:
            self._open()
        if self._socket is None:
            self._connection.send_packed_command([packed], check_health=False)
            return
        try:
            if self.timeout_s != self._limited_to_s:
                self._limit_socket(self.timeout_s)
            self._socket.sendall(packed)
        except TimeoutError as error:
            raise self._late() from error
        except OSError as error:
            raise self._lost(error) from error
        except BaseException:
            self.close()
            raise

    def read(self, timeout_s: float, *, close_late: bool = True) -> Any:
        """Reads the answer to the next command that was sent; raises it if it is an error.

        Without close_late the connection stays open if no answer comes in time, and it can be read
        again.
        """
        if self._socket is None:
            return self._connection.read_response(
                disable_decoding=True, timeout=timeout_s, disconnect_on_error=close_late
            )
        answer = self._reader.gets(False)
        if answer is _NOT_YET:
            answer = self._wait_for_answer(timeout_s, close_late)
        if isinstance(answer, RedisError):
            if isinstance(answer, RedisConnectionError):
                self.close()  # LOADING, say
            raise answer
        return answer

    def has_more(self) -> bool:
        """Whether there is something to read at this moment.

        TLS holds back nothing that it has deciphered: a read takes a whole record, at most 16 KiB.
        """
        return self._socket is not None and (self._reader.has_data() or bool(self._poll.poll(0)))

    def has_read_more(self) -> bool:
        """Whether more came with the last answer."""
        return self._socket is not None and bool(self._reader.has_data())

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

    def _open(self) -> None:
        connection, patience_s = self._connection, self._patience_s(self.timeout_s)
        connection.gives_up_at = self._gives_up_at
        connection.socket_timeout = connection.socket_connect_timeout = patience_s
        connection.connect()
        if not isinstance(connection._sock, socket.socket):
            return  # fakeredis, which only redis-py can talk to
        self._socket = connection._sock
        self._socket_timeout_s = self._socket.gettimeout()
        self._limited_to_s = 0.0
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        self._reader = hiredis.Reader(
            protocolError=InvalidResponse,
            replyError=error_in,
            notEnoughData=_NOT_YET,
        )

    def _wait_for_answer(self, timeout_s: float, close_late: bool) -> Any:
        self._is_waiting = timeout_s > self.timeout_s  # for a command that blocks in Redis
        try:
            if self._is_waiting and self._is_woken:
                raise Woken
            if timeout_s != self._limited_to_s:
                self._limit_socket(timeout_s)
            self._receive()
            while (answer := self._reader.gets(False)) is _NOT_YET:
                if self.on_part is not None:
                    self.on_part()
                self._limit_rest(timeout_s)
                self._receive()
        except TimeoutError as error:
            raise self._late(close_late) from error
        except OSError as error:
            raise self._lost(error) from error
        except BaseException:
            self.close()
            raise
        finally:
            self._is_waiting = False
        return answer

    def _receive(self) -> None:
        size = self._socket.recv_into(self._buffer)
        if not size:
            msg = "Redis closed the connection"
            raise RedisConnectionError(msg)
        self._reader.feed(self._buffer, 0, size)  # type: ignore[arg-type]

    def _limit_rest(self, timeout_s: float) -> None:
        """Of an answer that comes in parts, the rest has only the time that is left."""
        if self._gives_up_at:
            if time.monotonic() >= self._gives_up_at:
                raise TimeoutError
            self._limit_socket(timeout_s)

    def _patience_s(self, timeout_s: float) -> float:
        if not self._gives_up_at:
            return timeout_s
        left_s = self._gives_up_at - time.monotonic()
        if left_s >= timeout_s:
            return timeout_s
        return left_s if left_s > _SHORTEST_TIMEOUT_S else _SHORTEST_TIMEOUT_S

    def _limit_socket(self, timeout_s: float) -> None:
        patience_s = self._patience_s(timeout_s)
        if abs(patience_s - self._socket_timeout_s) > _TIMEOUT_STEP_S:
            self._socket.settimeout(patience_s)
            self._socket_timeout_s = patience_s
        self._limited_to_s = 0.0 if self._gives_up_at else timeout_s

    def _late(self, close: bool = True) -> RedisError:
        if close:
            self.close()
        return RedisTimeoutError("Redis did not answer in time")

    def _lost(self, error: OSError) -> RedisError:
        """What was not sent or read to its end would be taken for the next command's."""
        self.close()
        return RedisConnectionError(f"the connection to Redis broke: {error}")
