"""The yardstick's pure parts; what it measures is never a test."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench import cpu, figures, report
from bench.browsers import Seen
from bench.far import Far
from bench.harness import Failed, alternate
from bench.http import HttpLink
from bench.load import Ids, Link, RedisLink, ask, closed_loop, connect, open_loop, received
from bench.measurements import distance
from bench.relay import Relay
from bench.run import QUICK, Goal, Row, Run
from bench.site import program

PLACEHOLDER = b"0" * 32


def test_a_quantile_lies_between_its_neighbours():
    assert figures.quantile([1.0, 2.0, 3.0, 4.0], 0.5) == 2.5
    assert figures.quantile([1.0, 2.0, 3.0, 4.0], 1.0) == 4.0
    assert figures.quantile([7.0], 0.99) == 7.0


def test_there_is_no_quantile_of_nothing():
    with pytest.raises(ValueError, match="no values"):
        figures.quantile([], 0.5)


def test_a_histogram_counts_every_time_once():
    times = [0.1, 0.12, 4.9, 5.0, 5.1, 1_000.0]
    bins = dict(figures.histogram(times))
    assert sum(bins.values()) == len(times)
    assert bins[5.0] == 2
    assert bins[None] == 1
    assert figures.pauses(times) == 2


def test_a_batch_counts_once_however_many_shared_it():
    seen = [9] * 9 + [1]  # a batch of nine, and one of one
    assert figures.mean_batch(seen) == pytest.approx(5)


def test_a_distribution_ends_with_the_slowest():
    drawn = figures.cumulative([3.0, 1.0, 2.0])
    assert drawn[0] == (1.0, 0.0)
    assert drawn[-1] == (3.0, 1.0)


@pytest.mark.parametrize(
    ("goal", "ratio", "verdict"),
    [
        (Goal(1.8, 3.0, is_least=False), 1.8, "met"),
        (Goal(1.8, 3.0, is_least=False), 2.9, "close"),
        (Goal(1.8, 3.0, is_least=False), 3.1, "MISSED"),
        (Goal(8, 4), 9, "met"),
        (Goal(8, 4), 4, "close"),
        (Goal(8, 4), 3.9, "MISSED"),
    ],
)
def test_a_verdict_knows_whether_more_is_better(goal: Goal, ratio: float, verdict: str):
    assert goal.verdict(ratio) == verdict


def test_goals_come_first_in_the_table_and_plain_figures_last():
    rows = [
        Row("a", "plain figure", value=figures.Spread(0.1864, 0.1, 0.25), unit="ms"),
        Row("b", "other ratio", 2.0, "× something"),
        Row("c", "with a goal", 2.0, "× something", Goal(1.8, 1.1)),
        Row("d", "not measured", goal=Goal(1.8, 1.1), note="no PHP here"),
    ]
    lines = report.as_table(rows).splitlines()[2:]
    assert [line.split("  ")[0] for line in lines] == [
        *("with a goal", "not measured", "other ratio", "plain figure"),
    ]
    assert "0.186 ms" in lines[-1]
    assert "0.100 to 0.250" in lines[-1]
    assert "met" in lines[0]
    assert "-" in lines[1].split()


def test_what_the_floor_reaches_stands_beside_the_goal():
    row = Row("a", "missed", 2.0, "× the bare loop", Goal(1.0, 1.5, is_least=False), floor=1.75)
    header, _, line, _, explanation = report.as_table([row]).splitlines()
    assert line[header.index("floor") :].split() == ["1.75", "MISSED"]
    assert explanation.startswith("floor: ")
    assert "floor: " not in report.as_table([Row("a", "without one", 2.0, "× the bare loop")])


def test_numbers_have_as_many_digits_as_they_deserve():
    shown = [report.number(value) for value in (0.18642, 9.87654, 12.345, 1234.5, 0)]
    assert shown == ["0.186", "9.877", "12.3", "1,234", "0"]


def test_a_core_is_busy_for_the_share_that_it_did_not_idle():
    before = "cpu  0 0\ncpu0 10 0 10 80 0 0 0 0 0 0\ncpu1 0 0 0 0 0 0 0 0 0 0\n"
    after = "cpu  0 0\ncpu0 40 0 10 130 20 0 0 0 0 0\ncpu1 0 0 0 0 0 0 0 0 0 0\n"
    assert cpu.busy_share(before, after, 0) == pytest.approx(0.3)
    assert cpu.busy_share(before, after, 1) == 0


def test_a_request_carries_a_new_id_of_the_same_length(server: Server):
    links = [server.redis_link()]
    ask(links[0])
    ask(links[0])
    ids = [request[-34:-2] for request in server.requests]
    assert len(set(ids)) == 2
    assert all(len(job_id) == 32 for job_id in ids)
    assert PLACEHOLDER not in ids


def test_an_answer_in_two_pieces_is_one_answer(server: Server):
    server.pieces = 2
    assert ask(server.redis_link()) > 0


def test_a_wrong_answer_ends_the_load(server: Server):
    server.answer = b":1\r\n$5\r\nwrong\r\n"
    with pytest.raises(ValueError, match="wrong"):
        closed_loop([server.redis_link()], seconds=5, warm_up_s=0)


def test_an_error_of_redis_ends_the_load(server: Server):
    server.answer = b"-OOM command not allowed\r\n:1\r\n"
    with pytest.raises(ValueError, match="OOM"):
        closed_loop([server.redis_link()], seconds=5, warm_up_s=0)


def test_a_server_that_hangs_up_ends_the_load(server: Server):
    server.answer = b""
    with pytest.raises(ConnectionError):
        closed_loop([server.redis_link()], seconds=5, warm_up_s=0)


def test_a_closed_loop_leaves_its_links_at_rest(server: Server):
    links: list[Link] = [server.redis_link() for _ in range(4)]
    for _ in range(2):
        load = closed_loop(links, seconds=0.02, warm_up_s=0)
        assert load.times_ms
        assert set(load.batches) == {7}
        assert load.rate == len(load.times_ms) / 0.02


def test_an_open_loop_asks_as_often_as_it_was_told(server: Server):
    load = open_loop([server.redis_link() for _ in range(8)], rate=1_000, seconds=0.05)
    assert 20 < len(load.times_ms) < 90


def test_a_questions_time_counts_from_when_it_was_due(server: Server):
    server.delay_s = 0.01
    load = open_loop([server.redis_link()], rate=500, seconds=0.02)
    assert max(load.times_ms) > 50  # about 10 questions wait for one connection


@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/1.1"])
def test_http_keeps_a_connection_only_if_the_server_does(server: Server, version: bytes):
    server.answer = version + b" 200 OK\r\nContent-Length: 2\r\n\r\nok"
    server.hangs_up = version == b"HTTP/1.0"
    bodies: list[bytes] = []
    link = server.http_link(b"GET / HTTP/1.1\r\n\r\n", bodies.append)
    closed_loop([link], seconds=0.01, warm_up_s=0)
    assert set(bodies) == {b"ok"}
    assert (server.connections == 1) == (version == b"HTTP/1.1")


def test_http_refuses_what_is_not_ok(server: Server):
    server.answer = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
    with pytest.raises(ValueError, match="503"):
        ask(server.http_link(b"GET / HTTP/1.1\r\n\r\n", bytes))


def test_a_relay_hears_what_a_client_sends_and_passes_the_answer_on(server: Server):
    server.answer = b"+PONG\r\n"
    with Relay(server.url) as relay, connect(relay.url) as client:
        client.sendall(b"*1\r\n$4\r\nPING\r\n")
        assert client.recv(100) == b"+PONG\r\n"
        client.sendall(b"*2\r\n$4\r\nPING\r\n$1\r\nx\r\n")
        assert client.recv(100) == b"+PONG\r\n"
        assert relay.commands() == [(b"PING",), (b"PING", b"x")]


def test_a_relay_keeps_the_password():
    with Relay("unix://:secret@/nowhere/redis.sock?db=0") as relay:
        assert relay.url.startswith("unix://:secret@/")


def test_a_far_redis_takes_its_time_both_ways(server: Server):
    server.answer = b"+PONG\r\n"
    with Far(server.url, 0.02) as far, connect(far.url) as client:
        began = time.perf_counter()
        client.sendall(b"*1\r\n$4\r\nPING\r\n")
        assert client.recv(100) == b"+PONG\r\n"
        assert time.perf_counter() - began >= 0.04


def test_a_far_redis_serves_several_connections_at_once(server: Server):
    server.answer = b"+PONG\r\n"
    with Far(server.url, 0.001) as far, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(far.url)) for _ in range(3)]
        for client in clients:
            client.sendall(b"*1\r\n$4\r\nPING\r\n")
        assert [client.recv(100) for client in reversed(clients)] == [b"+PONG\r\n"] * 3
    assert server.connections == 3


def test_a_far_redis_that_hangs_up_is_heard(server: Server):
    server.hangs_up = True
    with Far(server.url, 0.001) as far, connect(far.url) as client:
        client.sendall(b"*1\r\n$4\r\nPING\r\n")
        assert received(client) == server.answer
        with pytest.raises(ConnectionError):
            received(client)


def test_a_far_redis_keeps_the_password_and_the_database():
    with Far("unix://:secret@/nowhere/redis.sock?db=0", 0.001) as far:
        assert far.url.startswith("unix://:secret@/")
        assert far.url.endswith("?db=0")


def test_batching_leaves_a_full_batch_for_each_round_trip():
    assert distance.theory(near_rate=6_400, trip_s=0.005) == pytest.approx(32 / 0.010)


def test_a_peer_that_fails_is_a_row_that_says_why():
    run = Run(QUICK, frozenset({"drain"}))
    with run.attempt("drain", "drain, huey"):
        raise Failed("it did not start")
    assert run.rows == [Row("drain", "drain, huey", note="not measured: it did not start")]
    assert run.wants("drain")
    assert not run.wants("faq")


def test_turns_are_taken_round_by_round():
    order: list[str] = []
    turns = {name: lambda name=name: order.append(name) or len(order) for name in "AB"}
    came = alternate(2, turns)
    assert order == list("ABABAB")
    assert came == {"A": [3, 5], "B": [4, 6]}


class Server:
    """Answers each request with the same bytes, on a unix socket."""

    def __init__(self, path: Path) -> None:
        self.url = f"unix://{path}"
        self.answer = b":1\r\n$5\r\nright\r\n"
        self.pieces = 1
        self.delay_s = 0.0
        self.hangs_up = False
        self.connections = 0
        self.requests: list[bytes] = []
        self._links: list[Link] = []
        self._over = threading.Event()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(os.fspath(path))
        self._listener.listen()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def redis_link(self) -> RedisLink:
        """One that takes `right` for an answer, and 7 for its batch."""

        def is_right(answer: object, _job_id: bytes) -> int:
            if answer != b"right":
                msg = f"a wrong answer: {answer!r}"
                raise ValueError(msg)
            return 7

        template = b"*2\r\n$4\r\nECHO\r\n$32\r\n" + PLACEHOLDER + b"\r\n"
        link = RedisLink(self.url, [(template, PLACEHOLDER)], 2, is_right, Ids())
        self._links.append(link)
        return link

    def http_link(self, request: bytes, check: Callable[[bytes], object]) -> HttpLink:
        """One that asks so."""
        link = HttpLink(self.url, request, check)
        self._links.append(link)
        return link

    def close(self) -> None:
        """Hangs up; the threads end with their connections."""
        for link in self._links:
            link.close()
        self._over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                stream, _ = self._listener.accept()
                self.connections += 1
                thread = threading.Thread(target=self._answer, args=(stream,))
                self._threads.append(thread)
                thread.start()

    def _answer(self, stream: socket.socket) -> None:
        stream.settimeout(0.01)
        with stream, contextlib.suppress(ConnectionError):
            while not self._over.is_set():
                with contextlib.suppress(TimeoutError):
                    request = stream.recv(4_096)
                    if not request:
                        return
                    self.requests.append(request)
                    self._over.wait(self.delay_s)
                    half = len(self.answer) // self.pieces
                    stream.sendall(self.answer[:half])
                    stream.sendall(self.answer[half:])
                    if self.hangs_up or not self.answer:
                        return


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path / "s")
    yield made
    made.close()


def test_what_the_browsers_saw_is_added_up():
    seen = Seen()
    for _ in range(2):
        seen.take("status\tplain\t200\t3\nstatus\thurried\t504\t1\nms\t1.5\nbroken\t2\n")
    seen.take("wrong\tanother's for mine\n")
    assert seen.statuses == {("plain", 200): 6, ("hurried", 504): 2}
    assert (seen.pages, seen.times_ms, seen.broken) == (8, [1.5, 1.5], 4)
    assert seen.wrong == ["another's for mine"]


def test_a_program_that_is_missing_is_named_with_the_package_that_brings_it():
    with pytest.raises(Failed, match="no no-such-program: apt-get install php-fpm nginx"):
        program("no-such-program")
