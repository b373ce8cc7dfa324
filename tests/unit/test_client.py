"""The Python client's decisions, on a Redis that is only pretended."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fakeredis import FakeRedis

from enqueue_api.client import Client
from resident import keys
from resident.errors import ErrorCode, OperatorError, TransportError, TryAgain
from resident.settings import Settings

ANSWERED = b'{"v":1,"id":"a","ok":true,"answer":"yes","ms":{"queued":1.5,"model":2.5},"batch":3}'


@pytest.fixture
def pretended() -> Iterator[FakeRedis]:
    with FakeRedis(version=(7,)) as server:
        yield server


@pytest.fixture
def client(pretended: FakeRedis) -> Iterator[Client]:
    with Client(pretended, Settings()) as client:
        yield client


def announce(pretended: FakeRedis, **tasks: int) -> None:
    """Says when the last sign of life of each task's workers ends, in seconds from now."""
    now_s, _ = pretended.time()
    pretended.zadd(keys.TASKS, {task: (now_s + in_s) * 1000 for task, in_s in tasks.items()})


def test_tasks_are_those_whose_workers_are_alive_by_their_names(
    pretended: FakeRedis, client: Client
) -> None:
    assert client.tasks() == []
    announce(pretended, shout=60, echo=60, gone=-1)
    assert client.tasks() == ["echo", "shout"]


def test_without_a_worker_it_says_which_tasks_are_served(
    pretended: FakeRedis, client: Client
) -> None:
    announce(pretended, echo=60)
    with pytest.raises(OperatorError) as caught:
        client.ask("faq", "?", 20)  # what is sent along with it blocks at once here
    assert caught.value.code is ErrorCode.NO_WORKER
    assert str(caught.value).endswith("for the task 'faq'. Tasks served now: echo.")
    assert pretended.keys() == [keys.TASKS.encode()]


def test_a_reply_that_is_there_is_read_and_left_to_others(
    pretended: FakeRedis, client: Client
) -> None:
    pretended.rpush(keys.reply("a"), ANSWERED)
    reply = client.ask("faq", "?", job_id="a")
    assert (reply.answer, reply.ms.model, reply.batch) == ("yes", 2.5, 3)
    assert pretended.llen(keys.reply("a")) == 1
    assert not pretended.exists(keys.of_task("faq").queue)


def test_a_reply_that_cannot_be_read_is_a_transport_error_with_the_id(
    pretended: FakeRedis, client: Client
) -> None:
    pretended.rpush(keys.reply("a"), b"{")
    with pytest.raises(TransportError) as caught:
        client.ask("faq", "?", job_id="a")
    assert caught.value.job_id == "a"


def test_a_budget_that_ends_is_an_error_with_the_id(pretended: FakeRedis, client: Client) -> None:
    pretended.hset(keys.of_task("faq").announcement, "max_backlog", 10)
    with pytest.raises(TryAgain) as caught:
        client.ask("faq", "?", 20, job_id="a")
    assert caught.value.code is ErrorCode.EXPIRED
    assert (str(caught.value), caught.value.job_id) == ("No answer within 20 ms", "a")
    assert pretended.lrange(keys.of_task("faq").queue, 0, -1) == [b"a"]
