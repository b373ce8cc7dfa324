"""The HTTP API's place in the network, taken before the API starts and told if it cannot be had."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import socket

from resident.errors import ConfigurationError

#: So many connections wait to be accepted; without a file left, asyncio logs each try of as many.
BACKLOG = 128
#: Files of the API itself: its program's, Redis' connections, and callers who say nothing yet.
_OWN_FILES = 100


def listen(host: str, port: int) -> list[socket.socket]:
    """Opens a socket that listens at each address of the host.

    Raises:
        ConfigurationError: The host has no address of this machine, or the port cannot be had.
    """
    try:
        return _open_all(host, port)
    except socket.gaierror as error:
        reason = error.strerror
    except UnicodeError:
        reason = "that is no name of a host"
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        if error.errno == errno.EADDRINUSE:
            reason += "; RESIDENT_HTTP_PORT chooses another port"
    msg = f"The HTTP API cannot listen on {host}:{port}: {reason}"
    raise ConfigurationError(msg) from None


def files_missing_for(callers: int) -> int:
    """Lets this process open as many files as it may; how many it lacks for so many callers."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if most == resource.RLIM_INFINITY:
        return 0
    return max(0, callers + _OWN_FILES - most)


def url_of(host: str, port: int) -> str:
    """What is typed into a browser to get there."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _open_all(host: str, port: int) -> list[socket.socket]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    with contextlib.ExitStack() as opened:
        sockets = [
            opened.enter_context(socket.create_server(address, family=family))
            for family, address in dict.fromkeys((one[0], one[4]) for one in found)
        ]
        opened.pop_all()
    return sockets
