"""Every form of Redis URL, for both clients and the worker: password, database, socket, TLS."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import RedisError

from enqueue_api.client import Client
from resident.embedded_redis import EmbeddedRedis, find_redis_server
from resident.errors import TransportError
from resident.lifeline import die_with_owner
from resident.link import Link
from resident.redis_client import SOCKET_TIMEOUT_S, connect
from tests.support.processes import ROOT, Processes
from tests.support.waiting import wait_until


@pytest.fixture
def tls_url(tmp_path: Path) -> Iterator[str]:
    """A server that speaks TLS alone, with a certificate of its own authority."""
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-keyout", "key.pem", "-out", "cert.pem", "-subj", "/CN=127.0.0.1"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [
            *(str(find_redis_server()), "--port", "0", "--tls-port", str(port)),
            *("--bind", "127.0.0.1", "--tls-cert-file", "cert.pem", "--tls-key-file", "key.pem"),
            *("--tls-ca-cert-file", "cert.pem", "--tls-auth-clients", "no", "--save", ""),
            *("--requirepass", "p@ss/word:1"),
        ],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        preexec_fn=die_with_owner(signal.SIGKILL),
    )
    url = f"rediss://:p%40ss%2Fword%3A1@127.0.0.1:{port}/3?ssl_ca_certs={tmp_path}/cert.pem"
    with connect(url) as connection:
        wait_until(lambda: _answers(connection))
    yield url
    server.kill()
    server.wait()


def test_nothing_is_left_over_on_a_new_connection_over_tls_without_a_log_in(tls_url: str) -> None:
    with connect(tls_url) as connection:
        connection.config_set("requirepass", "")
    scheme, _, rest = tls_url.replace("/3?", "/0?").partition("://")
    with connect(f"{scheme}://{rest.rpartition('@')[2]}") as connection:
        pool = connection.connection_pool
        fresh = pool.connection_class(**pool.connection_kwargs)
        fresh.connect()
        assert not fresh.can_read(timeout=0.5)
        fresh.disconnect()


@pytest.mark.parametrize("size", [10, 16_384, 100_000])
def test_a_link_over_tls_tells_what_there_is_to_read(tls_url: str, size: int) -> None:
    with connect(tls_url) as connection:
        link = Link(connection, protocol=3)
        link.call("SUBSCRIBE", "channel")
        assert not link.has_more()
        messages = [letter * size for letter in (b"a", b"b", b"c")]
        with connection.pipeline() as pipeline:  # they come together
            for message in messages:
                pipeline.publish("channel", message)
            pipeline.execute()
        for message in messages:
            wait_until(link.has_more)
            assert link.read(SOCKET_TIMEOUT_S)[-1] == message
        assert not link.has_more()
        link.close()
        assert not link.has_more()


def test_tls_with_a_password_and_a_database(tls_url: str) -> None:
    ask_through(tls_url)
    with connect(tls_url) as connection:
        assert connection.info("keyspace").keys() == {"db3"}


def test_a_tcp_port_with_a_password_and_a_database(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path, tcp=True) as server:
        ask_through(server.url.replace("/0", "/7"))


def test_a_unix_socket_with_a_database(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server:
        ask_through(server.url.replace("db=0", "db=5"))


def test_a_certificate_of_nobody_is_a_transport_error(tls_url: str) -> None:
    with Client(tls_url.partition("?")[0]) as client, pytest.raises(TransportError) as raised:
        client.ask("echo", "?")
    assert "p@ss" not in str(raised.value)


def test_a_worker_does_not_wait_for_a_certificate_that_it_does_not_trust(tls_url: str) -> None:
    assert "certificate verify failed" in end_of_worker(tls_url.partition("?")[0])


def test_a_worker_without_a_certificate_that_redis_wants_does_not_wait(tls_url: str) -> None:
    with connect(tls_url) as connection:
        connection.config_set("tls-auth-clients", "yes")
    assert "certificate required" in end_of_worker(tls_url)


def end_of_worker(url: str) -> str:
    """The line that it ends with, alone or behind one on a connection that broke off."""
    with Processes(url) as processes:
        worker = processes.start(sys.executable, "worker.py", "echo")
        _, errors = worker.communicate(timeout=20)
    assert worker.returncode == 2
    line = errors.splitlines()[-1]
    assert "we do not trust each other" in line
    assert "ssl_ca_certs" in line
    assert "p@ss" not in errors
    return line


def ask_through(url: str) -> None:
    """A worker, the Python client and the PHP client all take the URL."""
    with Processes(url) as processes:
        processes.start_worker("echo")
        with Client(url) as client:
            assert client.ask("echo", "你好").answer == "你好"
        done = subprocess.run(
            ["php", "php_client/bin/ask", "--json", "echo", "你好"],
            cwd=ROOT,
            env={**os.environ, "RESIDENT_REDIS_URL": url},
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        assert json.loads(done.stdout)["answer"] == "你好"


def _answers(connection: Redis) -> bool:
    try:
        return bool(connection.ping())
    except RedisError:
        return False


def test_a_connection_says_nothing_but_who_it_is(redis_url: str, connection: Redis) -> None:
    connection.config_resetstat()
    with connect(redis_url) as client:
        client.ping()
    ours = {"cmdstat_config|resetstat", "cmdstat_config"}  # Redis 7 and 6.2 of the same
    said = connection.info("commandstats").keys() - ours
    assert connection.info("errorstats") == {}  # older servers know nothing of libraries
    assert said == {"cmdstat_auth", "cmdstat_ping"}
