"""A question that is handed over is answered and settled where its worker waits, without a turn."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from enqueue_api.client import Client
from resident import asking, keys
from resident.asking import AskCode
from resident.errors import CallerError, ErrorCode, OperatorError
from resident.settlement import Settlement
from resident.worker import ResidentWorker
from tests.support.handing import (
    BUDGET_MS,
    QUICK,
    is_offered,
    is_started,
    offers_after_one_more,
    quick_worker,
)
from tests.support.inline import signals_kept
from tests.support.live import Live
from tests.support.processes import workers_of
from tests.support.waiting import wait_until


def while_it_serves(worker: ResidentWorker, do: Callable[[], object]) -> None:
    """Does something in another thread, and then tells the worker to stop."""

    def do_and_stop() -> None:
        try:
            do()
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    with signals_kept(), ThreadPoolExecutor(1) as other:
        done = other.submit(do_and_stop)
        worker.work()
    done.result()


def test_questions_that_are_handed_over_are_answered_in_one_turn(
    connection: Redis, caller: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, turns = quick_worker(connection, monkeypatch), list[float]()
    turn = worker._turn
    monkeypatch.setattr(worker, "_turn", lambda wait_s: turns.append(wait_s) or turn(wait_s))

    def ten_without_a_turn() -> bool:
        before = len(turns)
        for number in range(10):
            assert caller.ask("quick", str(number), BUDGET_MS).answer == str(number)
        return len(turns) == before  # on a busy machine a call may seem slow

    def ask() -> None:
        wait_until(lambda: connection.exists(QUICK.ready))
        wait_until(ten_without_a_turn)

    while_it_serves(worker, ask)
    assert worker._pulse.jobs >= 10


@pytest.mark.parametrize("is_written", [False, True], ids=["unwritten", "unread"])
def test_an_answer_whose_settle_is_lost_is_settled_once_without_a_second_run(
    is_written: bool, connection: Redis, caller: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, lost, runs = quick_worker(connection, monkeypatch), list[str](), list[Any]()
    settle_one, call = worker._scripts.settle_one, worker._answerer._call

    def settle_and_lose(one: Settlement, started: bytes) -> int:
        if b"handed" not in one.reply or lost:
            return settle_one(one, started)
        lost.append(one.id)
        if is_written:
            settle_one(one, started)
        raise RedisConnectionError

    def call_and_note(questions: list[Any], *more: Any) -> list[Any]:
        runs.extend(questions)
        return call(questions, *more)

    def ask() -> None:
        wait_until(lambda: connection.exists(QUICK.ready))
        wait_until(lambda: offers_after_one_more(connection, caller))
        job_id = caller.submit("quick", "handed", BUDGET_MS)
        assert caller.wait(job_id, BUDGET_MS).answer == "handed"
        assert connection.llen(keys.reply(job_id)) == 1
        assert lost == [job_id]
        wait_until(lambda: not connection.exists(QUICK.started))
        assert caller.ask("quick", "after it", BUDGET_MS).answer == "after it"

    monkeypatch.setattr(worker._scripts, "settle_one", settle_and_lose)
    monkeypatch.setattr(worker._answerer, "_call", call_and_note)
    while_it_serves(worker, ask)
    assert runs.count("handed") == 1


def test_a_mailbox_that_is_no_text_ends_no_worker(
    supervisor: subprocess.Popen[str], connection: Redis, live: Live
) -> None:
    """Whoever asks without a client can name any; the reply goes to the id's own key then."""
    workers = workers_of(supervisor)
    wait_until(lambda: is_offered(connection))
    asked = connection.eval(
        asking.LOAD[2],
        3,
        *(f"{keys.JOB}odd", QUICK.queue, QUICK.announcement),
        *("odd", BUDGET_MS, "quick", b'["tasks.quick.answer",null,["?"],{}]'),
        *("60", b"\xff", "a digest"),
    )
    assert asked == AskCode.QUEUED
    assert live.answer("odd") == "?"
    live.check_that_it_serves()
    assert workers_of(supervisor) == workers


def test_a_worker_that_stops_in_a_handed_question_says_that_it_has_answered(
    connection: Redis, caller: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = quick_worker(connection, monkeypatch)
    call = worker._answerer._call

    def stop_and_call(questions: list[Any], *more: Any) -> list[Any]:
        os.kill(os.getpid(), signal.SIGTERM)
        return call(questions, *more)

    def ask() -> Any:
        wait_until(lambda: is_offered(connection))
        return caller.ask("quick", "the last", BUDGET_MS).answer

    monkeypatch.setattr(worker._answerer, "_call", stop_and_call)
    worker._gathering.note_call(1, 0.001)
    with signals_kept(), ThreadPoolExecutor(1) as other:
        answer = other.submit(ask)
        assert worker.work()
    assert answer.result() == "the last"


def test_a_handed_question_that_fails_is_filed_as_failed_and_its_worker_goes_on(
    supervisor: subprocess.Popen[str], connection: Redis, caller: Client, live: Live
) -> None:
    with pytest.raises(OperatorError) as failed:
        caller.ask("quick", "/there is no such file", BUDGET_MS)
    assert failed.value.code is ErrorCode.MODEL_ERROR
    assert connection.zscore(QUICK.failed, failed.value.job_id) is not None
    assert not connection.exists(QUICK.started)
    live.check_that_it_serves()


def test_a_handed_question_of_another_type_is_refused(
    supervisor: subprocess.Popen[str], connection: Redis, caller: Client, live: Live
) -> None:
    wait_until(lambda: is_offered(connection))
    with pytest.raises(CallerError) as refused:
        caller.ask("quick", 5, BUDGET_MS)
    assert refused.value.code is ErrorCode.INVALID_QUESTION
    live.check_that_it_serves()


def test_the_same_id_is_handed_over_and_answered_with_the_kept_reply(
    supervisor: subprocess.Popen[str], connection: Redis, caller: Client
) -> None:
    wait_until(lambda: is_offered(connection))
    ended = set()
    for _ in range(3):
        assert caller.ask("quick", "?", BUDGET_MS, job_id="kept").answer == "?"
        ended.add(connection.hget(f"{keys.JOB}kept", "ended_at"))
    assert len(ended) == 1
    assert ended != {None}
    assert not is_started(connection, "kept")
    assert connection.llen(keys.reply("kept")) == 1
