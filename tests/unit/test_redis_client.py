"""What messages say of a Redis URL."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import ResponseError

from enqueue_api.async_client import AsyncClient
from enqueue_api.client import Client
from enqueue_api.outcome import ClientClosed, fault_of_redis
from resident.errors import ConfigurationError
from resident.link import Link
from resident.redis_client import check_server, connect, fault_of, place_of, said


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("redis://:secret@host:6379/1", "redis://host:6379/1"),
        ("rediss://user:secret@host", "rediss://host"),
        ("unix://:secret@/run/redis.sock?db=0", "unix:///run/redis.sock"),
        ("redis://host/0?password=secret", "redis://host/0"),
        ("redis://user:se%40cret@host:1/0", "redis://host:1/0"),
        ("redis://user:a@secret@host:1/0", "redis://host:1/0"),
    ],
)
def test_a_place_is_the_url_without_user_and_password(url: str, place: str) -> None:
    assert place_of(url) == place


@pytest.mark.parametrize(
    "url",
    [
        "redis://:sec/ret@host:6379/0",
        "redis://:sec?ret@host:6379/0",
        "redis://:sec#ret@host:6379/0",
        "redis://:sec/r?e#t@host",
        "redis://host?password=sec@ret",
        "redis://[:sec@ret@host",
        "redis://:sec[ret@host",
        ":sec@ret",
    ],
)
def test_of_a_password_that_is_not_encoded_no_part_is_shown(url: str) -> None:
    place = place_of(url)
    assert "sec" not in place
    assert "ret" not in place


@pytest.mark.parametrize(
    "url",
    [
        "redis://:sec/ret@host:6379/0",
        "redis://:sec#ret@host:6379/0",
        "redis://:secret@host:notaport/0",
        "redis://[:secret@host",
        "redis://:secret@host/first",
        "redis://:secret@host/0?socket_timeout=soon",
        "redis://:secret@host/0?no_such_option=1",
        "rediss://:secret@host/0?ssl_cert_reqs=maybe",
        "http://:secret@host",
        "",
    ],
)
def test_a_url_that_cannot_be_read_is_a_fault_that_keeps_the_password(url: str) -> None:
    with pytest.raises(ConfigurationError, match="RESIDENT_REDIS_URL") as caught:
        connect(url)
    assert "sec" not in str(caught.value)
    assert "ret" not in str(caught.value).replace("retry", "")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("redis://:secret@host/0?foo=secret", "there is no option foo"),
        ("rediss://host/0?db=1&ssl_ca_cert=secret", "there is no option ssl_ca_cert"),
        ("redis://host/0?db=secret", "db cannot have this value"),
        ("rediss://host/0?ssl_cert_reqs=secret", "ssl_cert_reqs cannot have this value"),
        ("redis://host/0?ssl_ca_certs=secret", "ssl_ca_certs is for rediss:// only"),
        ("unix:///run/redis.sock?ssl_keyfile=secret", "ssl_keyfile is for rediss:// only"),
    ],
)
@pytest.mark.parametrize("make", [connect, Client, AsyncClient])
def test_an_option_that_is_wrong_is_named_without_its_value(
    make: Callable[[Any], object], url: str, reason: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make(url)
    assert str(caught.value) == f"RESIDENT_REDIS_URL {place_of(url)} cannot be read: {reason}"


@pytest.mark.parametrize("url", ["unix://", "unix:///", "unix://redis.sock", "unix://run/r.sock"])
def test_a_socket_is_named_from_the_root_on(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"write .* unix:///path"):
        connect(url)


@pytest.mark.parametrize("name", ["ssl_ca_certs", "ssl_certfile", "ssl_keyfile"])
@pytest.mark.parametrize("make", [connect, Client, AsyncClient])
def test_a_file_of_tls_that_is_not_there_is_named(
    make: Callable[[Any], object], name: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make(f"rediss://host/0?{name}={tmp_path}/none.pem")
    path = str(tmp_path / "none.pem")
    reason = "cannot be read: No such file or directory"
    assert str(caught.value) == f"RESIDENT_REDIS_URL: {name}={path!r} {reason}"


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        (
            "ssl_ca_certs={file}",
            "ssl_ca_certs='{file}' cannot be used: no certificate or crl found",
        ),
        ("ssl_certfile={file}", "ssl_certfile='{file}' cannot be used: it is not PEM"),
        ("ssl_keyfile={file}", " has ssl_keyfile, and no ssl_certfile"),
    ],
)
def test_a_file_that_is_none_of_tls_is_named(query: str, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("no certificate\n", "ascii")
    with pytest.raises(ConfigurationError, match=re.escape(reason.format(file=file))):
        connect(f"rediss://host/0?{query.format(file=file)}")


# tests/php/Unit/DsnTest.php has the same two lists.
@pytest.mark.parametrize(
    ("url", "database"),
    [
        ("redis://host/03", 3),
        ("redis://host/3/", 3),
        ("redis://host/%33", 3),
        ("redis://host//3", 3),
        ("redis://host/first?db=3", 3),
        ("redis://host/3?db=", 3),
        ("unix:///run/redis.sock?db=3", 3),
        ("redis://host/", 0),
    ],
)
def test_a_database_is_the_one_that_the_php_client_takes(url: str, database: int) -> None:
    with connect(url) as client:
        assert client.connection_pool.connection_kwargs.get("db", 0) == database


@pytest.mark.parametrize(
    "url",
    [
        "redis://host/first",
        "redis://host/1x",
        "redis://host/-1",
        "redis://host/1/2",
        "redis://host/1%0a",
        "redis://host/1234567",
        "redis://host?db=-1",
        "redis://host/1?db=first",
        "unix:///run/redis.sock?db=-1",
    ],
)
def test_a_database_that_is_no_number_is_named_as_the_fault(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"database is not a number|db cannot have"):
        connect(url)


def test_making_a_client_and_a_link_does_not_reach_for_the_server() -> None:
    with connect("redis://127.0.0.1:1/0") as client:
        Link(client).close()


def test_a_server_that_is_not_there_is_told_in_sentences() -> None:
    url = "redis://:secret@127.0.0.1:1/0"
    with connect(url) as client, pytest.raises(ConfigurationError) as caught:
        check_server(client, url)
    assert str(caught.value) == (
        "Redis at redis://127.0.0.1:1/0 cannot be used: Error 111 connecting to 127.0.0.1:1. "
        "Connection refused. Is RESIDENT_REDIS_URL right?"
    )


def test_commands_are_never_repeated_behind_our_back() -> None:
    with connect("redis://127.0.0.1:1/0") as client:
        assert client.connection_pool.connection_kwargs["retry"].get_retries() == 0


@pytest.mark.parametrize("junk", [None, 6379, b"redis://127.0.0.1:6379/0"])
@pytest.mark.parametrize("make", [connect, Client, AsyncClient])
def test_what_is_no_text_is_no_url(make: Callable[[Any], object], junk: object) -> None:
    with pytest.raises(ConfigurationError, match=f"is a text, not {type(junk).__name__}: write "):
        make(junk)


def test_what_redis_quotes_of_a_command_that_it_does_not_know_is_not_told() -> None:
    error = ResponseError("unknown command 'AUTH', with args beginning with: 'bob' 'S3cret' ")
    outer = ConnectionError("no log-in")
    outer.__cause__ = error
    assert said(outer) == "no log-in"
    assert str(error) == "unknown command 'AUTH'"


def test_neither_an_operator_nor_a_caller_is_told_it() -> None:
    told = "unknown command 'AUTH', with args beginning with: 'bob' 'S3cret' "
    assert "S3cret" not in str(fault_of(ResponseError(told), "redis://host"))
    assert "S3cret" not in str(fault_of_redis(ResponseError(told)))


def test_a_client_that_was_closed_is_no_refusal_of_redis() -> None:
    told = str(fault_of_redis(ClientClosed()))
    assert told == "Redis was not waited for (the client was closed)"
