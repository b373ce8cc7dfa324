"""The HTTP API's place in the network, taken before the API starts and told if it cannot be had."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import socket
import time
from typing import Any

import structlog

from resident.errors import ConfigurationError

#: So many connections wait to be accepted.
BACKLOG = 128
#: Files for more than those who are asked for: callers who say nothing yet, and the API's own.
_MORE_FILES = 100
#: Of which so many are left to the API: it may lose its connections to Redis, and open them again.
_OWN_FILES = 20
#: How often it is said, in seconds, that callers are turned away.
_SAY_EACH_S = 10.0
_ANOTHER_HOST = "; RESIDENT_HTTP_HOST chooses another address"
_ANOTHER = {
    errno.EADDRINUSE: "; RESIDENT_HTTP_PORT chooses another port",
    errno.EADDRNOTAVAIL: _ANOTHER_HOST,
}

_log = structlog.get_logger()


class Listener(socket.socket):
    """A socket that listens, and turns callers away while there are too few files.

    When there are none asyncio tries on and logs each try, a megabyte a second, and nobody is
    answered.
    """

    _said_at = -_SAY_EACH_S

    def accept(self) -> tuple[socket.socket, Any]:
        """The next caller; raises ConnectionAbortedError if it is turned away."""
        caller, address = super().accept()
        most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        # A new file has the lowest number that is free.
        if 0 <= most - _OWN_FILES <= caller.fileno():
            caller.close()
            self._say(most)
            raise ConnectionAbortedError
        return caller, address

    def _say(self, most: int) -> None:
        if time.monotonic() - self._said_at >= _SAY_EACH_S:
            self._said_at = time.monotonic()
            _log.warning("callers are turned away: too many connections", most_files=most)


def listen(host: str, port: int) -> list[Listener]:
    """Opens a socket that listens at each address of the host.

    Raises:
        ConfigurationError: The host has no address of this machine, or the port cannot be had.
    """
    try:
        return _open_all(host, port)
    except socket.gaierror as error:
        reason = f"{error.strerror}{_ANOTHER_HOST}"
    except UnicodeError:
        reason = f"that is no name of a host{_ANOTHER_HOST}"
    except OSError as error:
        reason = os.strerror(error.errno or 0) + _ANOTHER.get(error.errno or 0, "")
    msg = f"The HTTP API cannot listen on {host}:{port}: {reason}"
    raise ConfigurationError(msg) from None


def files_missing_for(callers: int) -> int:
    """Lets this process open as many files as it may; how many it lacks for so many callers."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # the system may allow no process as many
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most == resource.RLIM_INFINITY:
        return 0
    return max(0, callers + _MORE_FILES - most)


def url_of(host: str, port: int) -> str:
    """What is typed into a browser to get there."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _open_all(host: str, port: int) -> list[Listener]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    with contextlib.ExitStack() as opened:
        listeners = [
            opened.enter_context(_open(family, address))
            for family, address in dict.fromkeys((one[0], one[4]) for one in found)
        ]
        opened.pop_all()
    return listeners


def _open(family: int, address: Any) -> Listener:
    server = socket.create_server(address, family=family, backlog=BACKLOG)
    return Listener(fileno=server.detach())
