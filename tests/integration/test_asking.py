"""A Python caller and a real worker process."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from enqueue_api.client import Client
from enqueue_api.deadline import Deadline
from enqueue_api.door import CHUNK, put_all
from enqueue_api.loan import Loan
from enqueue_api.outcome import Outcome
from enqueue_api.question import Question
from resident import keys
from resident.embedded_redis import EmbeddedRedis
from resident.errors import (
    CallerError,
    ErrorCode,
    OperatorError,
    ResidentError,
    TransportError,
    TryAgain,
)
from resident.protocol import Answered, encode_answered
from resident.redis_client import connect
from resident.settings import Settings
from tests.chaos.proxy import Network
from tests.support.broken import hung
from tests.support.lua import Desk, a_desk
from tests.support.processes import Processes
from tests.support.waiting import wait_until


def test_a_lone_question_is_a_batch_of_one(processes: Processes, redis_url: str) -> None:
    processes.start_worker("echo")
    with Client(redis_url) as client:
        reply = client.ask("echo", "今天几点开门？")
    assert (reply.answer, reply.batch) == ("今天几点开门？", 1)


def test_sixty_four_waiting_callers_share_batches(processes: Processes, redis_url: str) -> None:
    processes.start_worker("echo")
    with Client(redis_url) as client, ThreadPoolExecutor(64) as callers:
        replies = list(callers.map(lambda n: client.ask("echo", n), range(1000)))
    assert [reply.answer for reply in replies] == list(range(1000))
    assert max(reply.batch for reply in replies) > 1


def test_a_wrong_task_name_is_answered_with_the_names_there_are(
    processes: Processes, redis_url: str
) -> None:
    processes.start_worker("echo")
    with Client(redis_url) as client, pytest.raises(OperatorError, match="served now: echo"):
        client.ask("ecko", "?")


def test_nothing_is_written_for_a_refused_question(redis_url: str, connection: Redis) -> None:
    with Client(redis_url) as client, pytest.raises(OperatorError, match="served now: none"):
        client.ask("echo", "?")
    assert connection.keys() == []


@pytest.mark.parametrize("call", ["ask", "submit"])
def test_who_is_refused_keeps_the_connection(call: str, redis_url: str, connection: Redis) -> None:
    with Client(redis_url) as client:
        for _ in range(2):  # from the second on nothing waits behind a question
            with pytest.raises(OperatorError):
                getattr(client, call)("echo", "x", 20_000)
        before = connection.info("stats")["total_connections_received"]
        for _ in range(5):
            with pytest.raises(OperatorError):
                getattr(client, call)("echo", "x", 20_000)
        assert connection.info("stats")["total_connections_received"] == before


def test_who_was_refused_waits_behind_the_question_again_when_one_was_let_in(
    redis_url: str, desk: Desk
) -> None:
    """Else each later question would cost a write of its own."""
    with Client(redis_url) as client:
        desk.announce(max_backlog=0)
        with pytest.raises(TryAgain, match="0 are allowed"):
            client.ask("echo", "x", 20_000)
        assert client._was_refused
        desk.announce(max_backlog=9)
        with pytest.raises(TryAgain, match="No answer"):
            client.ask("echo", "x", 50)
        assert not client._was_refused


class Overtaken(Deadline):
    """One that ends while the first questions go out."""

    is_over = True  # type: ignore[assignment]


@pytest.mark.parametrize(("reply_to", "asked"), [("resident:mailbox:a", CHUNK), ("", 3 * CHUNK)])
def test_of_many_those_that_the_deadline_overtakes_are_asked_if_nobody_waits(
    reply_to: str, asked: int, desk: Desk, redis_url: str
) -> None:
    desk.announce(max_backlog=10 * CHUNK)
    many = [Question.of(Settings(), "echo", number, 20_000) for number in range(3 * CHUNK)]
    with Loan(deque(), connect(redis_url), Overtaken(20_000)) as link:
        refused = put_all(link, Overtaken(20_000), many, reply_to)
        link.close()
    assert desk.waiting() == [one.id for one in many[:asked]]
    assert [*refused] == [one.id for one in many[asked:]]
    assert {error.code for error in refused.values()} <= {ErrorCode.EXPIRED}


def test_a_redis_py_client_with_retries_of_its_own_is_within_the_budget_too() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        client = Client(Redis(port=nobody.getsockname()[1]))
        began = time.monotonic()
        with pytest.raises(TransportError):
            client.ask("echo", "x", 200)
    assert time.monotonic() - began < 1.5  # redis-py alone takes 2.7 s


def test_many_questions_are_asked_at_once_and_answered_apart(
    processes: Processes, redis_url: str
) -> None:
    processes.start_worker("echo")
    with Client(redis_url) as client:
        ids = client.submit_many("echo", range(1200), 20_000)
    assert len(set(ids)) == 1200
    with Client(redis_url) as another:
        assert [another.wait(one, 20_000).answer for one in ids] == list(range(1200))
        assert another.wait(ids[0], 50).answer == 0, "it is there for others, too"


def test_nothing_is_sent_if_one_of_many_questions_is_none(
    redis_url: str, connection: Redis
) -> None:
    with Client(redis_url) as client, pytest.raises(CallerError, match="not a JSON value"):
        client.submit_many("echo", ["good", float("nan")])
    assert connection.keys() == []


def test_of_many_questions_those_over_the_limit_are_refused(
    redis_url: str, connection: Redis
) -> None:
    with a_desk(connection) as desk, Client(redis_url) as client:
        desk.announce(max_backlog=3)
        with pytest.raises(TryAgain, match="3 questions wait"):
            client.submit_many("echo", range(5))
        assert len(desk.waiting()) == 3
        assert client.tasks() == ["echo"]


def test_of_many_a_bad_question_does_not_spoil_the_others(
    processes: Processes, redis_url: str, connection: Redis
) -> None:
    processes.start_worker("echo")
    questions = ["one", float("nan"), "three", "\udcff", None]
    with Client(redis_url) as client:
        outcomes = client.ask_many("echo", questions, 20_000)
    assert [getattr(one, "answer", one) for one in outcomes[::2]] == ["one", "three", None]
    assert [type(one) for one in outcomes[1::2]] == [CallerError, CallerError]
    assert not list(connection.scan_iter("resident:mailbox:*"))


def test_many_questions_share_one_mailbox_and_one_connection(
    processes: Processes, redis_url: str, connection: Redis
) -> None:
    processes.start_worker("echo")
    with Client(redis_url) as client:
        outcomes = client.ask_many("echo", range(1200), 20_000)
        assert len(client._idle) == 1
    assert [one.answer for one in outcomes if isinstance(one, Answered)] == list(range(1200))
    assert not list(connection.scan_iter("resident:reply:*"))


def test_of_many_each_has_the_error_that_it_would_have_had_alone(
    redis_url: str, connection: Redis
) -> None:
    with a_desk(connection) as desk, Client(redis_url) as client:
        assert codes(client.ask_many("echo", range(2), 100)) == ["no_worker"] * 2
        desk.announce(max_backlog=3)
        outcomes = client.ask_many("echo", range(5), 100)
        assert codes(outcomes) == ["expired"] * 3 + ["overloaded"] * 2
        assert len({one.job_id for one in outcomes if isinstance(one, ResidentError)}) == 5
    assert client.ask_many("echo", [], 100) == []
    with pytest.raises(CallerError):
        client.ask_many("../echo", [])


def codes(outcomes: list[Outcome]) -> list[str]:
    return [one.code if isinstance(one, ResidentError) else "answered" for one in outcomes]


def test_replies_in_a_mailbox_outlive_the_connection_that_read_them(tmp_path: Path) -> None:
    """Each reply is on its way when the connection is cut, and none is lost."""
    with (
        EmbeddedRedis(tmp_path, tcp=True) as server,
        Network(server.url, ways=1) as network,
        connect(server.url) as connection,
        a_desk(connection) as desk,
        Client(network.url(0)) as client,
        ThreadPoolExecutor(1) as other,
    ):
        desk.announce(max_backlog=1000)
        asked = other.submit(client.ask_many, "echo", range(3), 20_000)
        for number in range(3):
            wait_until(lambda: blocked_ids(connection))
            network.slow(0, 60)
            reply_to(desk, desk.waiting()[number], number)
            wait_until(lambda: not blocked_ids(connection))
            network.slow(0, 0)
            network.cut(0)
        outcomes = asked.result(20)
    assert [getattr(one, "answer", one) for one in outcomes] == [0, 1, 2]


def reply_to(desk: Desk, job_id: str, answer: int) -> None:
    payload = encode_answered(job_id, str(answer).encode(), 0, 0, 1)
    desk.connection.rpush(desk.job(job_id)["reply_to"], payload)


def blocked_ids(connection: Redis) -> list[str]:
    return [one["id"] for one in connection.client_list() if "b" in one["flags"]]


@pytest.mark.parametrize("call", ["ask", "stream"])
def test_who_loses_redis_while_waiting_is_told_the_id(
    call: str, redis_server: EmbeddedRedis, redis_url: str, desk: Desk
) -> None:
    with waiting_caller(redis_url, desk, call) as (asked, job_id), hung(redis_server.pid):
        with pytest.raises(TransportError, match="lost while waiting") as caught:
            asked.result(20)
        assert caught.value.job_id == job_id


@pytest.mark.parametrize("call", ["ask", "stream"])
def test_whom_redis_refuses_a_reply_is_told_the_id(call: str, redis_url: str, desk: Desk) -> None:
    with waiting_caller(redis_url, desk, call) as (asked, job_id):
        with desk.connection.pipeline() as pipeline:
            pipeline.set(keys.reply(job_id), "no list")
            pipeline.execute_command("CLIENT KILL TYPE normal SKIPME yes")
            pipeline.execute()
        with pytest.raises(TransportError, match="WRONGTYPE") as caught:
            asked.result(20)
        assert caught.value.job_id == job_id


@contextmanager
def waiting_caller(redis_url: str, desk: Desk, call: str) -> Iterator[tuple[Future[Any], str]]:
    """Somebody who asked without an id, and the id that was made for it."""
    with Client(redis_url) as client, ThreadPoolExecutor(1) as other:

        def answer() -> Any:
            if call == "ask":
                return client.ask("echo", "?", 2_000)
            with client.stream("echo", "?", 2_000) as stream:
                return stream.answer

        asked = other.submit(answer)
        wait_until(lambda: blocked_ids(desk.connection))
        yield asked, desk.waiting()[0]


FETCH = """
import json, sys
from enqueue_api.client import Client
with Client(sys.argv[1]) as client:
    print(json.dumps(client.wait(sys.argv[2], 20_000).answer))
"""


@pytest.mark.parametrize("job_id", [None, "order-17"])
def test_what_one_process_asks_another_fetches(
    processes: Processes, redis_url: str, job_id: str | None
) -> None:
    processes.start_worker("echo")
    with Client(redis_url) as client:
        asked_id = client.submit("echo", "你好", 20_000, job_id=job_id)
        assert asked_id == (job_id or asked_id)
        fetched = processes.start(sys.executable, "-c", FETCH, redis_url, asked_id)
        output, errors = fetched.communicate(timeout=20)
        assert json.loads(output) == "你好", errors
        assert client.wait(asked_id, 1000).answer == "你好", "it is there for others, too"


def test_an_id_that_is_submitted_twice_runs_once(
    processes: Processes, redis_url: str, connection: Redis
) -> None:
    processes.start_worker("echo")
    with Client(redis_url) as client:
        for _ in range(2):
            client.submit("echo", "first", 20_000, job_id="order-17")
        assert client.wait("order-17", 20_000).answer == "first"
        assert client.ask("echo", "first", job_id="order-17").answer == "first"
        with pytest.raises(CallerError, match="Another question was asked with the id 'order-17'"):
            client.submit("echo", "second", job_id="order-17")
    assert connection.xlen("rq:results:order-17") == 1


def test_a_process_that_is_forked_makes_connections_of_its_own(redis_url: str) -> None:
    def connections_of(client: Client) -> set[str]:
        client.ping()
        with connect(redis_url) as connection:
            return {one["id"] for one in connection.client_list() if one["cmd"] == "ping"}

    with Client(redis_url) as client:
        before = connections_of(client)
        read_end, write_end = os.pipe()
        if not (pid := os.fork()):
            with suppress(BaseException):
                os.write(write_end, b"others" if connections_of(client) > before else b"the same")
            os._exit(0)
        os.waitpid(pid, 0)
        os.close(write_end)
        with open(read_end, "rb") as told:
            assert told.read() == b"others"
        assert connections_of(client) == before, "the parent's was not closed"
