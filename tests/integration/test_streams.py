"""A worker streams an answer for as long as somebody reads it, and never a part of it twice."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from rq.job import Job
from rq.serializers import JSONSerializer

from enqueue_api.client import Client
from resident import keys
from tests.support.processes import Processes, is_there, workers_of
from tests.support.streams import Reader, start_teller
from tests.support.waiting import wait_until


@pytest.fixture
def teller(processes: Processes, connection: Redis) -> Any:
    return start_teller(processes, connection)


@pytest.fixture
def reader(connection: Redis) -> Reader:
    return Reader(connection)


def error_of(reply: dict[str, Any]) -> str:
    assert not reply["ok"], reply
    return str(reply["error"]["code"])


def test_deltas_come_in_their_order_and_the_whole_answer_at_the_end(
    teller: Any, reader: Reader
) -> None:
    job_id = reader.ask("今", "天", "", " ", {"count": 3})
    deltas, reply = reader.all(job_id)
    assert deltas == ["今", "天", " ", "0 ", "1 ", "2 "]
    assert (reply["answer"], reply["batch"]) == ("今天 0 1 2 ", 1)
    job = Job.fetch(job_id, reader.connection, JSONSerializer)
    wait_until(lambda: reader.live.is_finished(job_id))
    assert job.latest_result().return_value == "今天 0 1 2 "
    assert "streamed" not in {one.decode() for one in reader.connection.hgetall(job.key)}
    assert not reader.live.left_behind()


def test_what_a_stream_forks_does_not_speak_for_it(teller: Any, reader: Reader) -> None:
    for _ in range(5):
        deltas, reply = reader.all(reader.ask("a ", {"fork": 20}, "z"))
        assert deltas == ["a ", *["parent "] * 20, "z"]
        assert reply["ok"]
    assert len(workers_of(teller)) == 1


def test_a_delta_comes_before_the_next_is_there(
    teller: Any, reader: Reader, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    job_id = reader.ask("one", {"wait for": str(gate)}, "two")
    assert reader.next(job_id)["delta"] == "one"
    gate.touch()
    assert reader.next(job_id)["delta"] == "two"


def test_who_only_asks_gets_one_reply(teller: Any, reader: Reader, redis_url: str) -> None:
    with Client(redis_url) as client:
        reply = client.ask("tell", ["a", "", "b", {"count": 2}])
    assert (reply.answer, reply.batch) == ("ab0 1 ", 1)


@pytest.mark.parametrize("end", ["leave", "cancel"])
def test_a_stream_that_nobody_waits_for_is_stopped_at_its_next_delta(
    end: str, teller: Any, reader: Reader, connection: Redis, tmp_path: Path
) -> None:
    gate, closed, never = tmp_path / "gate", tmp_path / "closed", tmp_path / "never"
    job_id = reader.ask(
        *("one", {"wait for": str(gate)}, "two", {"touch": str(never)}, {"at end": str(closed)})
    )
    assert reader.next(job_id)["delta"] == "one"
    if end == "leave":
        reader.leave(job_id)
    else:
        connection.hset(f"{keys.JOB}{job_id}", "status", "canceled")
    gate.touch()
    wait_until(closed.exists)
    deltas, reply = reader.all(job_id)
    assert (deltas, error_of(reply)) == ([], "cancelled")
    assert not never.exists()
    if end == "leave":
        assert reply["error"]["message"] == "Its reader left"
        assert Job.fetch(job_id, connection, JSONSerializer).is_failed
    assert reader.all(reader.ask("next"))[0] == ["next"]


def test_what_came_before_the_model_raised_stays(teller: Any, reader: Reader) -> None:
    job_id = reader.ask("one", "two", {"fail": "out of words"}, "three")
    deltas, reply = reader.all(job_id)
    assert (deltas, error_of(reply)) == (["one", "two"], "model_error")
    result = Job.fetch(job_id, reader.connection, JSONSerializer).latest_result()
    assert "RuntimeError: out of words" in result.exc_string


@pytest.mark.parametrize(
    ("value", "reason"),
    [(1, "yielded a int"), (None, "yielded a NoneType"), ({"a": 1}, "yielded a dict")],
)
def test_a_delta_that_is_no_string_is_an_error_that_names_its_type(
    value: Any, reason: str, teller: Any, reader: Reader
) -> None:
    deltas, reply = reader.all(reader.ask("one", {"is": value}))
    assert (deltas, error_of(reply)) == (["one"], "model_error")
    assert reason in reply["error"]["message"]


def test_a_delta_that_is_no_text_is_an_error(teller: Any, reader: Reader) -> None:
    data = b'["tasks.tell.answer",null,[["one","\\ud800"]],{}]'
    deltas, reply = reader.all(reader.ask(data=data))  # type: ignore[arg-type]
    assert (deltas, error_of(reply)) == ([], "invalid_question")


def test_the_time_out_holds_for_the_whole_stream(teller: Any, reader: Reader) -> None:
    deltas, reply = reader.all(reader.ask({"now": 2**31}, timeout="1"))
    moments = [int(delta) for delta in deltas]
    assert error_of(reply) == "timed_out"
    assert 0 < moments[-1] - moments[0] < 1.2e9
    assert reader.all(reader.ask("next"))[0] == ["next"]


def test_a_stream_that_hangs_in_c_is_killed_and_not_begun_anew(teller: Any, reader: Reader) -> None:
    deltas, reply = reader.all(reader.ask("one", {"hang": 1}, timeout="1"))
    assert (deltas, error_of(reply)) == (["one"], "timed_out")


def test_a_worker_that_dies_in_the_middle_ends_the_stream(teller: Any, reader: Reader) -> None:
    deltas, reply = reader.all(reader.ask("one", "two", {"die": 1}))
    assert (deltas, error_of(reply)) == (["one", "two"], "crashed")
    assert "a part of the answer" in reply["error"]["message"]
    assert reader.all(reader.ask("next"))[0] == ["next"]


def test_a_stream_whose_worker_died_before_its_first_delta_comes_whole_from_the_next(
    teller: Any, reader: Reader, tmp_path: Path
) -> None:
    deltas, reply = reader.all(reader.ask({"die once": str(tmp_path / "mark")}, "one", "two"))
    assert (deltas, reply["answer"]) == (["one", "two"], "onetwo")


def test_a_worker_that_is_told_to_stop_ends_its_stream_first(
    teller: Any, reader: Reader, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    job_id = reader.ask("one", {"wait for": str(gate)}, "two")
    assert reader.next(job_id)["delta"] == "one"
    teller.terminate()
    gate.touch()
    assert reader.next(job_id)["delta"] == "two"
    assert reader.next(job_id)["answer"] == "onetwo"


def test_a_worker_that_is_told_twice_to_stop_leaves_a_stream_that_is_not_begun_anew(
    teller: Any, reader: Reader, processes: Processes, connection: Redis, tmp_path: Path
) -> None:
    job_id = reader.ask("one", {"wait for": str(tmp_path / "never")})
    assert reader.next(job_id)["delta"] == "one"
    (worker,) = workers_of(teller)

    def is_gone_or_told_again() -> bool:
        if is_there(worker):
            os.kill(worker, signal.SIGTERM)
        return not is_there(worker)

    wait_until(is_gone_or_told_again)
    start_teller(processes, connection)
    deltas, reply = reader.all(job_id)
    assert (deltas, error_of(reply)) == ([], "crashed")


def test_a_worker_whose_connection_is_cut_sends_each_delta_once(
    teller: Any, reader: Reader, connection: Redis
) -> None:
    job_id = reader.ask({"count": 3000})
    came = keys.reply(job_id)
    for wanted in range(200, 3000, 200):
        wait_until(lambda wanted=wanted: connection.llen(came) >= wanted)  # type: ignore[misc]
        connection.client_kill_filter(_type="normal", skipme=True)
    deltas, reply = reader.all(job_id)
    assert deltas == [f"{number} " for number in range(3000)]
    assert reply["answer"] == "".join(deltas)


def test_a_slow_reader_does_not_hold_the_worker(teller: Any, reader: Reader) -> None:
    job_id = reader.ask({"count": 1000})
    assert reader.all(reader.ask("next"))[0] == ["next"]  # the one worker is free again
    assert reader.connection.llen(keys.reply(job_id)) == 1001
    assert len(reader.all(job_id)[0]) == 1000


def test_a_stream_for_a_mailbox_goes_there(teller: Any, reader: Reader) -> None:
    mailbox = f"resident:mailbox:{'0' * 32}"
    job_id = reader.ask("one", reply_to=mailbox)
    wait_until(lambda: reader.connection.llen(mailbox) == 2)
    assert not reader.connection.exists(keys.reply(job_id))


def test_a_job_without_our_callbacks_is_not_streamed(teller: Any, reader: Reader) -> None:
    job_id = reader.ask("one", success_callback_name="", failure_callback_name="")
    wait_until(lambda: reader.live.is_finished(job_id))
    assert not reader.connection.exists(keys.reply(job_id))
