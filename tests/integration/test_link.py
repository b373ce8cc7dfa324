"""How long a link waits for Redis."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from redis import Redis
from redis.exceptions import TimeoutError as RedisTimeoutError

from resident.link import Link
from resident.redis_client import connect

NEVER_PUSHED = ("BLPOP", "nothing", "4")


@pytest.fixture
def link(connection: Redis) -> Iterator[Link]:
    link = Link(connection)
    link.call("PING")
    yield link
    link.close()


def test_a_moment_at_which_to_give_up_counts_for_a_connection_that_is_in_use(link: Link) -> None:
    began = time.monotonic()
    link.give_up_at(began + 0.3)
    with pytest.raises(RedisTimeoutError):
        link.call(*NEVER_PUSHED)
    assert time.monotonic() - began < 2


def test_each_wait_has_only_what_the_ones_before_it_have_left(link: Link) -> None:
    began = time.monotonic()
    link.give_up_at(began + 1.5)
    assert link.call("BLPOP", "nothing", "1") is None
    with pytest.raises(RedisTimeoutError):
        link.call(*NEVER_PUSHED)
    assert time.monotonic() - began < 2.3


def test_a_wait_may_be_longer_than_what_was_sent_before_it_might_take(connection: Redis) -> None:
    link = Link(connection, timeout_s=0.2)
    for _ in range(2):
        link.send_all([("BLPOP", "nothing", "0.5"), ("PING",)])
        assert link.read(2) is None
        assert link.read(link.timeout_s) == b"PONG"
    link.send_all([NEVER_PUSHED])
    began = time.monotonic()
    with pytest.raises(RedisTimeoutError):
        link.read(link.timeout_s)
    assert time.monotonic() - began < 1


def test_a_moment_that_has_passed_does_not_keep_it_from_what_is_there(link: Link) -> None:
    link.give_up_at(time.monotonic() - 1)
    link.send_all([("PING",)])
    while not link.has_more():
        pass
    assert link.read(link.timeout_s) == b"PONG"


@pytest.mark.parametrize(("pause_s", "drops"), [(0.1, 40), (0.0001, 100_000)])
def test_an_answer_that_comes_in_drops_has_no_longer_than_another_one(
    pause_s: float, drops: int
) -> None:
    answer = b"$%d\r\n%b" % (drops, b"x" * drops)
    with socket.create_server(("127.0.0.1", 0)) as server:
        link = Link(connect(f"redis://127.0.0.1:{server.getsockname()[1]}/0"))
        dripping = threading.Thread(target=drip, args=(server, answer, pause_s))
        dripping.start()
        began = time.monotonic()
        link.give_up_at(began + 0.3)
        with pytest.raises(RedisTimeoutError):
            link.call("PING")
        assert time.monotonic() - began < 2
        dripping.join(20)


def test_whoever_uses_a_link_hears_that_an_answer_comes_in_drops(link: Link) -> None:
    parts: list[float] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        slow = Link(connect(f"redis://127.0.0.1:{server.getsockname()[1]}/0"))
        dripping = threading.Thread(target=drip, args=(server, b"$1\r\nx\r\n", 0.1))
        dripping.start()
        slow.on_part = link.on_part = lambda: parts.append(time.monotonic())
        assert slow.call("PING") == b"x"
        slow.close()
        dripping.join(20)
    assert len(parts) >= 2
    parts.clear()
    link.call("PING")
    assert parts == []


def drip(server: socket.socket, answer: bytes, pause_s: float) -> None:
    """Sends it to the first who comes, byte by byte, until that one leaves."""
    end, _ = server.accept()
    with end, suppress(OSError):
        end.settimeout(pause_s)
        for byte in answer:
            end.sendall(bytes([byte]))
            with suppress(TimeoutError):
                while end.recv(4096):
                    pass
                return


def test_all_answers_of_a_log_in_have_to_come_before_the_moment_to_give_up() -> None:
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_answer_slowly, args=(listener, over))
        thread.start()
        link = Link(connect(f"redis://:password@127.0.0.1:{listener.getsockname()[1]}/1"))
        began = time.monotonic()
        link.give_up_at(began + 1)
        try:
            with pytest.raises(RedisTimeoutError):
                link.call("PING")
            assert time.monotonic() - began < 1.3
        finally:
            over.set()
            thread.join()


def _answer_slowly(listener: socket.socket, over: threading.Event) -> None:
    connection, _ = listener.accept()
    with connection, suppress(OSError):
        while (sent := connection.recv(4096)) and not over.wait(0.8):
            connection.sendall(b"+OK\r\n" * sent.count(b"*"))
