"""A Python caller and a real worker process."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from redis import Redis

from enqueue_api.client import Client
from resident.errors import CallerError, OperatorError, TryAgain
from tests.support.lua import a_desk
from tests.support.processes import Processes


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


def test_many_questions_are_asked_at_once_and_answered_apart(
    processes: Processes, redis_url: str
) -> None:
    processes.start_worker("echo")
    with Client(redis_url) as client:
        ids = client.submit_many("echo", range(1200), 20_000)
    assert len(set(ids)) == 1200
    with Client(redis_url) as another:
        assert [another.wait(one, 20_000).answer for one in ids] == list(range(1200))
        with pytest.raises(TryAgain, match="No answer within 50 ms"):
            another.wait(ids[0], 50)


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
