"""A Python caller and a real worker process."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from redis import Redis

from enqueue_api.client import Client
from resident.errors import OperatorError
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
