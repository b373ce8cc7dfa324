"""Where the HTTP API listens, and what is said when it cannot."""

from __future__ import annotations

import socket

import pytest

from enqueue_api.listening import listen, url_of
from resident.errors import ConfigurationError


def test_every_address_of_a_name_is_listened_at() -> None:
    sockets = listen("localhost", 0)
    assert sockets
    for one in sockets:
        with one:
            socket.create_connection(one.getsockname()[:2], timeout=5).close()


def test_a_url_of_ipv6_has_its_brackets() -> None:
    assert url_of("::1", 8000) == "http://[::1]:8000"
    assert url_of("127.0.0.1", 8000) == "http://127.0.0.1:8000"


def test_a_taken_port_is_told_with_the_way_to_another() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigurationError) as caught:
            listen("127.0.0.1", port)
    assert str(caught.value) == (
        f"The HTTP API cannot listen on 127.0.0.1:{port}: Address already in use; "
        "RESIDENT_HTTP_PORT chooses another port"
    )


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("no such host", "Name or service not known"),
        ("", "Name or service not known"),
        ("..", "that is no name of a host"),
        ("192.0.2.1", "Cannot assign requested address"),
    ],
)
def test_a_host_that_is_not_this_machine_is_told_with_the_reason(host: str, reason: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        listen(host, 8000)
    assert str(caught.value) == (
        f"The HTTP API cannot listen on {host}:8000: {reason}; "
        "RESIDENT_HTTP_HOST chooses another address"
    )
