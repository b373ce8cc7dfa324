"""A Python caller reads an answer as it comes, from a real worker or from what a test pushes."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from redis import Redis

import enqueue_api.stream
from enqueue_api.client import Client
from enqueue_api.stream import Stream
from resident import keys, protocol
from resident.errors import ErrorCode, OperatorError, TransportError, TryAgain
from resident.settings import Settings
from tests.support.desks import announced
from tests.support.lua import Full
from tests.support.processes import Processes
from tests.support.rq_side import start_stock_worker
from tests.support.streams import start_teller
from tests.support.waiting import wait_until

BUDGET_MS = 20_000


@pytest.fixture
def client(redis_url: str) -> Iterator[Client]:
    with Client(redis_url) as made:
        yield made


@pytest.fixture
def teller(processes: Processes, connection: Redis) -> None:
    start_teller(processes, connection)


@pytest.fixture
def nobody(connection: Redis) -> Iterator[None]:
    """A task that is announced, and whose answers the test pushes."""
    with announced(connection, "tell"):
        yield


def push(connection: Redis, stream: Stream, *deltas: str, seq: int = 0) -> None:
    payloads = [protocol.encode_delta(stream.id, seq + n, one) for n, one in enumerate(deltas)]
    connection.rpush(keys.reply(stream.id), *payloads)


def push_reply(connection: Redis, stream: Stream, answer: str) -> None:
    encoded = protocol.encode_answer(answer)
    reply = protocol.encode_answered(stream.id, encoded, 1, 2, 1)
    connection.rpush(keys.reply(stream.id), reply)


def is_read(connection: Redis, stream: Stream) -> bool:
    return bool(connection.exists(keys.reading(stream.id)))


def test_deltas_are_iterated_and_the_answer_is_whole(teller: None, client: Client) -> None:
    stream = client.stream("tell", ["你", "好", {"count": 2}], BUDGET_MS)
    assert list(stream) == ["你", "好", "0 ", "1 "]
    assert (stream.text, stream.answer.answer) == ("你好0 1 ", "你好0 1 ")
    assert (stream.answer.id, stream.answer.batch) == (stream.id, 1)
    assert list(stream) == []


def test_the_answer_alone_reads_the_stream_to_its_end(teller: None, client: Client) -> None:
    assert client.stream("tell", ["a", "b"], BUDGET_MS).answer.answer == "ab"


def test_a_task_that_does_not_stream_is_answered_in_one_delta(
    processes: Processes, client: Client
) -> None:
    processes.start_worker("echo")
    stream = client.stream("echo", "whole", BUDGET_MS)
    assert (list(stream), stream.answer.answer) == (["whole"], "whole")
    assert list(client.stream("echo", [1], BUDGET_MS)) == []


def test_a_stock_worker_answers_a_stream_in_one_delta(
    processes: Processes, redis_url: str, client: Client, connection: Redis
) -> None:
    start_stock_worker(processes, redis_url, "tell")
    wait_until(lambda: connection.scard(keys.of_task("tell").rq_workers))
    stream = client.stream("tell", ["a", "b"], BUDGET_MS)
    assert (list(stream), stream.answer.answer) == (["ab"], "ab")


@pytest.mark.parametrize("way", ["with", "close", "dropped"])
def test_who_stops_reading_stops_the_model(
    way: str, teller: None, client: Client, connection: Redis, tmp_path: Path
) -> None:
    gate, closed = tmp_path / "gate", tmp_path / "closed"
    question = ["one", {"wait for": str(gate)}, {"count": 2**31}, {"at end": str(closed)}]
    stream = client.stream("tell", question, BUDGET_MS)
    job_id = stream.id
    if way == "with":
        with stream:
            assert next(stream) == "one"
    else:
        assert next(stream) == "one"
    stream.close() if way == "close" else None
    del stream
    assert not connection.exists(keys.reading(job_id))
    gate.touch()
    wait_until(closed.exists)
    assert client.stream("tell", ["next"], BUDGET_MS).answer.answer == "next"


def test_a_stream_that_was_closed_has_no_answer(teller: None, client: Client) -> None:
    stream = client.stream("tell", ["one", "two"], BUDGET_MS)
    assert next(stream) == "one"
    stream.close()
    with pytest.raises(TryAgain) as caught:
        _ = stream.answer
    assert (caught.value.code, caught.value.job_id) == (ErrorCode.CANCELLED, stream.id)
    assert (stream.text, list(stream)) == ("one", [])


def test_a_budget_that_runs_out_in_the_middle_stops_the_model(
    teller: None, client: Client, connection: Redis, tmp_path: Path
) -> None:
    gate, closed = tmp_path / "gate", tmp_path / "closed"
    question = ["one", {"wait for": str(gate)}, "two", {"at end": str(closed)}]
    stream = client.stream("tell", question, 2_000)
    with pytest.raises(TryAgain, match="did not end within 2000 ms") as caught:
        list(stream)
    assert caught.value.code is ErrorCode.EXPIRED
    assert stream.text == "one"
    assert not is_read(connection, stream)
    gate.touch()
    wait_until(closed.exists)
    wait_until(lambda: connection.hget(f"{keys.JOB}{stream.id}", "status") == b"failed")


def test_what_came_before_an_error_stays(teller: None, client: Client) -> None:
    stream = client.stream("tell", ["one", {"fail": "no more"}], BUDGET_MS)
    came = []
    with pytest.raises(OperatorError) as caught:
        came.extend(stream)
    assert (came, stream.text, caught.value.code) == (["one"], "one", ErrorCode.MODEL_ERROR)
    with pytest.raises(OperatorError) as again:
        _ = stream.answer
    assert again.value is caught.value


def test_a_stream_that_is_refused_leaves_nothing(redis_url: str, connection: Redis) -> None:
    with Client(redis_url) as client, pytest.raises(OperatorError, match="served now: none"):
        client.stream("tell", ["a"])
    assert connection.keys() == []


def test_a_stream_that_has_ended_leaves_nothing_but_its_job(
    nobody: None, client: Client, connection: Redis
) -> None:
    stream = client.stream("tell", ["a"], BUDGET_MS)
    assert connection.hget(f"{keys.JOB}{stream.id}", "stream") == b"1"
    assert 0 < connection.pttl(keys.reading(stream.id)) <= 15_000
    push(connection, stream, "a")
    push_reply(connection, stream, "a")
    assert list(stream) == ["a"]
    assert connection.keys(f"*{stream.id}*") == [f"{keys.JOB}{stream.id}".encode()]


def test_streams_one_after_the_other_share_a_connection(teller: None, client: Client) -> None:
    def connections() -> list[int]:
        return [link.call("CLIENT", "ID") for link in client._idle]

    client.stream("tell", ["a"], BUDGET_MS).close()
    before = connections()
    for _ in range(3):
        with client.stream("tell", ["a", "b"], BUDGET_MS) as stream:
            next(stream)
        assert client.stream("tell", ["a"], BUDGET_MS).answer.answer == "a"
    assert connections() == before
    assert len(before) == 1


def test_a_reader_says_again_and_again_that_it_is_there(
    nobody: None, client: Client, connection: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enqueue_api.stream, "RENEW_S", 0.02)
    stream = client.stream("tell", ["a"], BUDGET_MS)
    with ThreadPoolExecutor(1) as threads:
        came = threads.submit(list, stream)
        for _ in range(3):
            connection.delete(keys.reading(stream.id))
            wait_until(lambda: is_read(connection, stream))
        push_reply(connection, stream, "a")
        assert came.result(20) == ["a"]


def test_a_reader_is_there_although_redis_is_full(
    nobody: None, client: Client, connection: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enqueue_api.stream, "RENEW_S", 0.02)
    stream = client.stream("tell", ["a"], BUDGET_MS)
    with ThreadPoolExecutor(1) as threads, Full(connection) as full:
        full.fill()
        came = threads.submit(list, stream)
        for _ in range(3):
            connection.pexpire(keys.reading(stream.id), 5_000)
            wait_until(lambda: connection.pttl(keys.reading(stream.id)) > 5_000)
        full.free()
        push_reply(connection, stream, "a")
        assert came.result(20) == ["a"]


def test_a_reader_that_loses_its_connection_reads_on(
    nobody: None, client: Client, connection: Redis
) -> None:
    stream = client.stream("tell", ["a"], BUDGET_MS)
    with ThreadPoolExecutor(1) as threads:
        came = threads.submit(list, stream)
        for seq in range(3):
            blocked = wait_until(lambda: readers(connection))
            connection.client_kill_filter(_id=blocked[0])
            wait_until(lambda gone=blocked: readers(connection) not in ([], gone))  # type: ignore[misc]
            push(connection, stream, f"{seq}", seq=seq)
        push_reply(connection, stream, "012")
        assert came.result(20) == ["0", "1", "2"]


def test_a_reader_whose_reply_is_lost_with_its_connection_is_told_so(
    nobody: None, client: Client, connection: Redis
) -> None:
    stream = client.stream("tell", ["a"], BUDGET_MS)
    with ThreadPoolExecutor(1) as threads:
        came = threads.submit(list, stream)
        [reader] = wait_until(lambda: readers(connection))
        connection.hset(f"{keys.JOB}{stream.id}", "status", "finished")  # its reply was taken
        connection.client_kill_filter(_id=reader)
        with pytest.raises(TransportError, match="took with it what came last"):
            came.result(10)


def readers(connection: Redis) -> list[str]:
    return [one["id"] for one in connection.client_list() if one["cmd"] == "blpop"]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b'{"v":1,"id":"%s","seq":1,"delta":"b"}', "part 1 of a stream where part 0 comes next"),
        (b'{"v":9,"id":"%s","seq":0,"delta":"a"}', "a reply of version 9"),
        (b"junk", "no part of a stream"),
    ],
)
def test_what_does_not_come_next_is_a_transport_error(
    payload: bytes, reason: str, nobody: None, client: Client, connection: Redis
) -> None:
    stream = client.stream("tell", ["a"], BUDGET_MS)
    connection.rpush(keys.reply(stream.id), payload.replace(b"%s", stream.id.encode()))
    with pytest.raises(TransportError, match=f"What came back is .*{reason}"):
        next(stream)


def test_the_budget_is_the_settings_unless_one_is_given(
    nobody: None, redis_url: str, connection: Redis
) -> None:
    with Client(redis_url, Settings(budget_ms=50)) as client:
        stream = client.stream("tell", ["a"])
        with pytest.raises(TryAgain, match="within 50 ms"):
            list(stream)


@pytest.mark.parametrize("way", ["read to the end", "closed at once"])
def test_a_stream_that_could_not_be_taken_back_leaves_no_answer_to_the_next(
    way: str, client: Client, nobody: None, connection: Redis
) -> None:
    assert not client.cancel("nobody")  # the script is known, so that what follows is sent with it
    stream = client.stream("tell", "x", 200 if way == "read to the end" else BUDGET_MS)
    deltas = iter(stream)
    connection.set(f"{keys.JOB}{stream.id}", "no hash any more")
    if way == "closed at once":
        stream.close()
    else:
        with pytest.raises(TryAgain):
            next(deltas)
    with pytest.raises(OperatorError, match="No worker is ready"):
        client.submit("echo", "x", BUDGET_MS)
