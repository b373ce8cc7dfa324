"""Workers to which callers hand their questions, as an operator starts them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from rq.suspension import resume, suspend

from enqueue_api.client import Client
from resident import asking, keys
from resident.asking import Asking
from resident.link import Link
from tests.support.handing import (
    BUDGET_MS,
    QUICK,
    is_offered,
    is_started,
    offers_after_one_more,
    offers_soon,
    quick_worker,
)
from tests.support.inline import signals_kept
from tests.support.live import Live, call_data
from tests.support.lua import Full
from tests.support.odd import WITH_ODD_TASKS
from tests.support.processes import Processes, workers_of
from tests.support.waiting import wait_until


def hand_over_to_a_stopped(supervisor: subprocess.Popen[str], caller: Client) -> tuple[int, str]:
    """A question that its worker has been handed and has not heard of."""
    (worker,) = workers_of(supervisor)
    os.kill(worker, signal.SIGSTOP)
    return worker, caller.submit("quick", "handed", BUDGET_MS)


def test_questions_that_come_one_at_a_time_need_no_claim(
    supervisor: subprocess.Popen[str], connection: Redis, caller: Client
) -> None:
    def ten_without_a_claim() -> bool:
        connection.config_resetstat()
        for number in range(10):
            assert caller.ask("quick", str(number), BUDGET_MS).answer == str(number)
            if not offers_soon(connection):  # on a busy machine a call may seem slow
                return False
        return "cmdstat_lpop" not in connection.info("commandstats")  # a claim takes ids with it

    wait_until(ten_without_a_claim)


def test_many_at_once_are_all_answered_and_claimed_together(
    supervisor: subprocess.Popen[str], caller: Client, live: Live
) -> None:
    questions = [str(number) for number in range(200)]
    with ThreadPoolExecutor(16) as callers:
        replies = list(callers.map(lambda one: caller.ask("quick", one, BUDGET_MS), questions))
    assert [reply.answer for reply in replies] == questions
    live.check_that_it_serves()
    assert max(caller.ask_many("quick", questions, BUDGET_MS), key=lambda one: one.batch).batch > 1


def test_a_handed_question_survives_its_worker(
    supervisor: subprocess.Popen[str], connection: Redis, caller: Client, live: Live
) -> None:
    worker, job_id = hand_over_to_a_stopped(supervisor, caller)
    assert is_started(connection, job_id)
    os.kill(worker, signal.SIGKILL)
    assert caller.wait(job_id, BUDGET_MS).answer == "handed"
    live.check_that_it_serves()


def test_nothing_is_lost_to_an_offer_of_a_dead_worker(
    supervisor: subprocess.Popen[str], caller: Client, live: Live
) -> None:
    (worker,) = workers_of(supervisor)
    os.kill(worker, signal.SIGKILL)
    for number in range(20):
        assert caller.ask("quick", str(number), BUDGET_MS).answer == str(number)
    live.check_that_it_serves()


def test_a_question_whose_message_was_lost_is_answered_all_the_same(
    supervisor: subprocess.Popen[str], connection: Redis, caller: Client, live: Live
) -> None:
    worker, job_id = hand_over_to_a_stopped(supervisor, caller)
    assert is_started(connection, job_id)
    [channel] = connection.pubsub_channels("resident:hand:*")
    connection.client_kill_filter(_type="pubsub", skipme=False)
    wait_until(lambda: channel not in connection.pubsub_channels())
    os.kill(worker, signal.SIGCONT)
    assert caller.wait(job_id, BUDGET_MS).answer == "handed"
    live.check_that_it_serves()


def test_a_question_is_not_lost_when_another_of_the_workers_connections_breaks(
    connection: Redis, caller: Client, live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was handed over when its worker had just looked on the queue, and its counters failed."""
    monkeypatch.setattr("resident.worker.WAIT_S", 0.01)
    worker, handed, turns = quick_worker(connection, monkeypatch), list[str](), count()

    def write(*_: object) -> None:
        if not handed and worker._gathering.is_quick and worker._offering._ear.is_open:
            worker._link.call(*worker._scripts.offer_command())
            handed.append(caller.submit("quick", "handed", BUDGET_MS))
            assert is_started(connection, handed[0])
            raise RedisConnectionError
        if not worker._gathering.is_quick:  # the machine was slow
            live.put(live.fields("it is quick"))
        is_over = next(turns) > 99 or (handed and connection.exists(keys.reply(handed[0])))
        if is_over and not worker._stop_requested:
            worker.request_stop(signal.SIGTERM, None)

    monkeypatch.setattr(worker._counts, "write", write)
    with signals_kept():
        worker.work()
    assert caller.wait(handed[0], BUDGET_MS).answer == "handed"


def test_a_worker_that_waits_for_whatever_comes_stops_when_it_is_told_to(
    connection: Redis, caller: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resident.worker.WAIT_S", 30.0)
    worker = quick_worker(connection, monkeypatch)

    def stop() -> None:
        wait_until(lambda: connection.exists(QUICK.ready))
        wait_until(lambda: offers_after_one_more(connection, caller))
        wait_until(lambda: connection.info("clients")["blocked_clients"] == 1)
        told.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGTERM)

    told: list[float] = []
    with signals_kept(), ThreadPoolExecutor(1) as other:
        stopped = other.submit(stop)
        worker.work()
    stopped.result()
    assert time.monotonic() - told[0] < 20
    assert not connection.exists(QUICK.announcement)


def test_a_worker_that_nobody_watches_is_handed_nothing(
    connection: Redis, live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody would keep its lease."""
    monkeypatch.setattr("resident.worker.WAIT_S", 0.01)
    worker, turns = quick_worker(connection, monkeypatch), count()
    worker._is_supervised = False

    def write(*_: object) -> None:
        assert not is_offered(connection)
        if next(turns) > 9 and not worker._stop_requested:
            worker.request_stop(signal.SIGTERM, None)

    monkeypatch.setattr(worker._counts, "write", write)
    live.put(live.fields("it is quick"))
    with signals_kept():
        assert worker.work()


def test_a_worker_that_leaves_puts_back_what_it_has_not_heard(
    supervisor: subprocess.Popen[str], connection: Redis, caller: Client
) -> None:
    worker, job_id = hand_over_to_a_stopped(supervisor, caller)
    supervisor.send_signal(signal.SIGTERM)
    os.kill(worker, signal.SIGCONT)
    assert supervisor.wait(20) == 0
    answered, waiting = connection.llen(keys.reply(job_id)), connection.llen(QUICK.queue)
    assert (answered, waiting) in ((1, 0), (0, 1))
    assert not connection.exists(QUICK.announcement)


def test_nothing_is_handed_to_a_worker_that_has_left(
    supervisor: subprocess.Popen[str], connection: Redis, caller: Client
) -> None:
    (worker,) = workers_of(supervisor)
    (name,) = connection.zrange(QUICK.ready, 0, -1)
    connection.zadd(QUICK.ready, {"resident-quick-of-another-host": 1e15})
    with connection.pubsub() as late:  # Redis hears late, or never, that a connection is no more
        late.psubscribe("resident:hand:*")
        os.kill(supervisor.pid, signal.SIGSTOP)  # which would bury it
        os.kill(worker, signal.SIGTERM)
        wait_until(lambda: connection.zscore(QUICK.ready, name) is None)
        job_id = caller.submit("quick", "later", BUDGET_MS)
        os.kill(supervisor.pid, signal.SIGCONT)
    assert connection.lrange(QUICK.queue, 0, -1) == [job_id.encode()]


def test_stock_ways_of_asking_find_the_worker_that_offers_itself(
    supervisor: subprocess.Popen[str], connection: Redis, live: Live
) -> None:
    def offers_after_one() -> bool:
        live.answers_one()
        return offers_soon(connection)

    for _ in range(3):
        wait_until(offers_after_one)  # on a busy machine a call may seem slow


def test_a_full_redis_keeps_nothing_from_the_worker_that_offers_itself(
    supervisor: subprocess.Popen[str], connection: Redis, live: Live
) -> None:
    (worker,) = workers_of(supervisor)
    os.kill(worker, signal.SIGSTOP)
    ids = live.put(*map(live.fields, "abc"))
    with Full(connection) as full:
        full.fill()
        os.kill(worker, signal.SIGCONT)
        assert [live.answer(job_id) for job_id in ids] == ["a", "b", "c"]
        wait_until(lambda: b"offer" not in connection.hkeys(QUICK.announcement))
    live.check_that_it_serves()


def test_a_suspended_worker_is_handed_nothing(
    supervisor: subprocess.Popen[str], connection: Redis, caller: Client
) -> None:
    suspend(connection)
    job_id = caller.submit("quick", "later", BUDGET_MS)
    assert not is_started(connection, job_id)
    resume(connection)
    assert caller.wait(job_id, BUDGET_MS).answer == "later"


def test_a_worker_that_has_answered_is_idle_to_rq(
    supervisor: subprocess.Popen[str], connection: Redis, caller: Client
) -> None:
    assert caller.ask("quick", "handed", BUDGET_MS).answer == "handed"
    (name,) = (name.decode() for name in connection.zrange(QUICK.ready, 0, -1))
    leases = {lease_end(connection)}
    while len(leases) < 4:  # ticks go by
        leases.add(wait_until(lambda: lease_end(connection)))
    assert connection.hget(f"{keys.WORKER}{name}", "state") == b"idle"


def lease_end(connection: Redis) -> float:
    [(_, end)] = connection.zrange(QUICK.leases, 0, -1, withscores=True)
    return float(end)


def test_a_slow_model_is_handed_nothing(
    processes: Processes, connection: Redis, caller: Client
) -> None:
    processes.start(sys.executable, *WITH_ODD_TASKS[1:], "worker.py", "slow")
    of = keys.of_task("slow")
    wait_until(lambda: connection.exists(of.ready))
    for number in range(3):
        caller.ask("slow", str(number), BUDGET_MS)
        assert not connection.hexists(of.announcement, "offer")
    assert not connection.pubsub_channels("resident:hand:*")


def test_a_worker_that_may_not_listen_serves_from_the_queue(
    processes: Processes, connection: Redis, caller: Client
) -> None:
    connection.execute_command("ACL", "SETUSER", "default", "resetchannels", "&rq:*")
    try:
        processes.start(*WITH_ODD_TASKS, "worker.py", "quick")
        wait_until(lambda: connection.exists(QUICK.ready))
        for number in range(5):
            assert caller.ask("quick", str(number), BUDGET_MS).answer == str(number)
        assert not is_offered(connection)
    finally:
        connection.execute_command("ACL", "SETUSER", "default", "allchannels")


@pytest.mark.parametrize("length", [13, 40])
def test_an_offer_that_somebody_spoilt_loses_no_question(
    length: int,
    supervisor: subprocess.Popen[str],
    connection: Redis,
    caller: Client,
    live: Live,
) -> None:
    """Nobody listens where ask.lua would tell of it."""
    token, *terms = connection.hget(QUICK.announcement, "offer").split()
    spoilt = token.ljust(length, b"0")
    connection.hset(QUICK.announcement, "offer", b" ".join([spoilt, *terms]))
    assert caller.ask("quick", "asked", BUDGET_MS).answer == "asked"
    live.check_that_it_serves()


def test_a_question_that_its_worker_does_not_understand_is_answered_all_the_same(
    supervisor: subprocess.Popen[str], connection: Redis, caller: Client, live: Live
) -> None:
    """What a caller may write into a field stands in the message, too."""
    (worker,) = workers_of(supervisor)
    os.kill(worker, signal.SIGSTOP)
    data, link = call_data("tasks.quick.answer", None, ["handed"], {}), Link(connection)
    asking.ask(link, Asking("quick", "a", BUDGET_MS, data, 60, reply_to="no\nmailbox"))
    link.close()
    assert is_started(connection, "a")
    os.kill(worker, signal.SIGCONT)
    assert caller.wait("a", BUDGET_MS).answer == "handed"
    live.check_that_it_serves()
