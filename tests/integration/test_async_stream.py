"""A coroutine reads an answer as it comes, from a real worker or from what a test pushes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from redis import Redis

import enqueue_api.async_stream
from enqueue_api.async_client import AsyncClient
from enqueue_api.async_stream import AsyncStream
from resident import keys, protocol
from resident.embedded_redis import EmbeddedRedis
from resident.errors import ErrorCode, ResidentError, TransportError, TryAgain
from resident.settings import read_settings
from tests.support.broken import hung
from tests.support.lua import Desk, Full
from tests.support.processes import Processes
from tests.support.stories import blocked, run, until
from tests.support.streams import start_teller

BUDGET_MS = 20_000


def push(connection: Redis, stream: AsyncStream, delta: str, seq: int = 0) -> None:
    connection.rpush(keys.reply(stream.id), protocol.encode_delta(stream.id, seq, delta))


def push_reply(connection: Redis, stream: AsyncStream, answer: str) -> None:
    encoded = protocol.encode_answer(answer)
    reply = protocol.encode_answered(stream.id, encoded, 1, 2, 1)
    connection.rpush(keys.reply(stream.id), reply)


def test_many_streams_are_read_at_once(
    processes: Processes, connection: Redis, redis_url: str
) -> None:
    start_teller(processes, connection)

    async def read(client: AsyncClient, number: int) -> str:
        stream = await client.stream("tell", [f"{number}", "!"], BUDGET_MS)
        deltas = [delta async for delta in stream]
        assert (await stream.answer()).answer == stream.text == "".join(deltas)
        return stream.text

    async def story() -> None:
        async with AsyncClient(redis_url) as client:
            texts = await asyncio.gather(*[read(client, number) for number in range(20)])
        assert texts == [f"{number}!" for number in range(20)]

    run(story())


def test_a_reader_is_there_although_redis_is_full(
    desk: Desk, full: Full, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enqueue_api.async_stream, "RENEW_S", 0.02)

    async def story() -> None:
        async with AsyncClient(redis_url) as client:
            stream = await client.stream("echo", "?", BUDGET_MS)
            key = keys.reading(stream.id)
            full.fill()
            answer = asyncio.create_task(stream.answer())
            for _ in range(3):
                desk.connection.pexpire(key, 5_000)
                await until(lambda: desk.connection.pttl(key) > 5_000)
            full.free()
            push_reply(desk.connection, stream, "a")
            assert (await answer).answer == "a"

    run(story())


@pytest.mark.parametrize("way", ["aclose", "async with", "cancel"])
def test_who_stops_reading_stops_the_model(
    way: str, processes: Processes, connection: Redis, redis_url: str, tmp_path: Path
) -> None:
    start_teller(processes, connection)
    gate, closed = tmp_path / "gate", tmp_path / "closed"
    orders = [{"wait for": str(gate)}, {"count": 2**31}, {"at end": str(closed)}]

    async def story() -> None:
        async with AsyncClient(redis_url) as client:
            stream = await client.stream("tell", ["one", *orders], BUDGET_MS)
            if way == "async with":
                async with stream:
                    assert await anext(stream) == "one"
            else:
                assert await anext(stream) == "one"
            if way == "aclose":
                await stream.aclose()
            elif way == "cancel":
                reading = asyncio.create_task(anext(stream))  # type: ignore[arg-type]
                await until(lambda: blocked(connection))
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
            await until(lambda: not connection.exists(keys.reading(stream.id)))
            gate.touch()
            await until(closed.exists)
            with pytest.raises(TryAgain) as caught:
                await stream.answer()
            assert (caught.value.code, stream.text) == (ErrorCode.CANCELLED, "one")

    run(story())


def test_a_stream_that_is_closed_before_anything_came_leaves_nothing(
    desk: Desk, redis_url: str
) -> None:
    desk.announce()
    before = desk.snapshot()

    async def story() -> None:
        async with AsyncClient(redis_url) as client:
            stream = await client.stream("echo", "x", BUDGET_MS)
            assert desk.waiting() == [stream.id]
            await stream.aclose()
            await stream.aclose()
            assert [delta async for delta in stream] == []

    run(story())
    assert desk.waiting() == []
    common = keys.common("echo", read_settings().failure_ttl)
    assert {key: value for key, value in desk.snapshot().items() if key != common} == before


@pytest.mark.parametrize("way", ["in the loop", "in a thread", "as the client closes"])
def test_who_lets_go_of_a_stream_is_warned_and_has_left(
    way: str, desk: Desk, redis_url: str
) -> None:
    desk.announce()

    async def read_one(client: AsyncClient) -> list[AsyncStream]:
        stream = await client.stream("echo", "x", BUDGET_MS)
        push(desk.connection, stream, "one")
        async for _ in stream:
            break
        assert desk.connection.exists(keys.reading(stream.id))
        return [stream]

    async def let_go(held: list[AsyncStream]) -> None:
        if way == "in a thread":
            await asyncio.to_thread(held.clear)
        else:
            held.clear()

    async def story() -> None:
        async with AsyncClient(redis_url) as client:
            held = await read_one(client)
            job_id = held[0].id
            with pytest.warns(ResourceWarning, match=f"The stream {job_id} was dropped"):
                await let_go(held)
            if way != "as the client closes":
                await until(lambda: not desk.connection.exists(keys.reading(job_id)))
        assert not desk.connection.exists(keys.reading(job_id))

    run(story())


def test_a_stream_that_outlives_its_client_opens_nothing(desk: Desk, redis_url: str) -> None:
    desk.announce()
    before = len(desk.connection.client_list())

    async def story() -> None:
        async with AsyncClient(redis_url) as client:
            held = [await client.stream("echo", "x", BUDGET_MS)]
        assert not desk.connection.exists(keys.reading(held[0].id))  # it was left with the client
        held.clear()
        await until(lambda: len(desk.connection.client_list()) == before)

    run(story())


def test_a_stream_that_outlives_its_loop_does_no_harm(desk: Desk, redis_url: str) -> None:
    desk.announce()

    async def story() -> list[AsyncStream]:
        return [await AsyncClient(redis_url).stream("echo", "x", BUDGET_MS)]

    held = asyncio.run(story())
    with pytest.warns(ResourceWarning):
        held.clear()


def test_a_redis_that_hangs_holds_up_a_close_for_as_long_as_it_may_and_no_longer(
    desk: Desk, redis_server: EmbeddedRedis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enqueue_api.async_stream, "SOCKET_TIMEOUT_S", 0.1)
    desk.announce()

    async def story() -> None:
        client = AsyncClient(redis_url)
        stream = await client.stream("echo", "x", BUDGET_MS)
        with hung(redis_server.pid):
            await asyncio.wait_for(client.close(), 5)
        assert [delta async for delta in stream] == []

    run(story())


def test_who_reads_a_stream_that_another_closes_is_told_and_nobody_else_waits(
    desk: Desk, redis_url: str
) -> None:
    desk.announce()

    async def story() -> None:
        async with AsyncClient(redis_url) as client:
            stream = await client.stream("echo", "x", BUDGET_MS)
            reading = asyncio.create_task(anext(stream))  # type: ignore[arg-type]
            await until(lambda: blocked(desk.connection))
            with pytest.raises(RuntimeError, match="read by another coroutine already"):
                await anext(stream)
            await stream.aclose()
            with pytest.raises(TryAgain) as caught:
                await asyncio.wait_for(reading, 5)
            assert caught.value.code is ErrorCode.CANCELLED
            # The next one that needs a connection for itself must not get one that waits.
            job_id = await client.submit("echo", "y", BUDGET_MS, job_id="own")
            encoded = protocol.encode_answered(job_id, protocol.encode_answer("y"), 1, 2, 1)
            desk.connection.rpush(keys.reply(job_id), encoded)
            assert (await asyncio.wait_for(client.wait(job_id, BUDGET_MS), 5)).answer == "y"

    run(story())


def test_a_stream_that_is_refused_leaves_nothing(connection: Redis, redis_url: str) -> None:
    async def story() -> None:
        async with AsyncClient(redis_url) as client:
            with pytest.raises(ResidentError) as caught:
                await client.stream("echo", "x", BUDGET_MS)
            assert caught.value.code is ErrorCode.NO_WORKER
            await until(lambda: connection.keys() == [])

    run(story())


def test_a_reader_that_loses_its_connection_reads_on(desk: Desk, redis_url: str) -> None:
    desk.announce()

    async def story() -> None:
        async with AsyncClient(redis_url) as client:
            stream = await client.stream("echo", "x", BUDGET_MS)
            for seq, delta in enumerate("abc"):
                reading = asyncio.ensure_future(anext(stream))
                for reader in await until(lambda: blocked(desk.connection)):
                    desk.connection.client_kill_filter(_id=reader)
                push(desk.connection, stream, delta, seq)
                assert await reading == delta
            push_reply(desk.connection, stream, "abcd")
            assert [delta async for delta in stream] == ["d"]
            assert (await stream.answer()).answer == "abcd"

    run(story())


def test_a_reader_whose_reply_is_lost_with_its_connection_is_told_so(
    desk: Desk, redis_url: str
) -> None:
    desk.announce()

    async def story() -> None:
        async with AsyncClient(redis_url) as client:
            stream = await client.stream("echo", "x", BUDGET_MS)
            reading = asyncio.ensure_future(anext(stream))
            for reader in await until(lambda: blocked(desk.connection)):
                desk.connection.hset(f"{keys.JOB}{stream.id}", "status", "finished")
                desk.connection.client_kill_filter(_id=reader)
            with pytest.raises(TransportError, match="took with it what came last"):
                await asyncio.wait_for(reading, 10)

    run(story())


def test_what_does_not_come_next_is_a_transport_error(desk: Desk, redis_url: str) -> None:
    desk.announce()

    async def story() -> None:
        async with AsyncClient(redis_url) as client:
            stream = await client.stream("echo", "x", BUDGET_MS)
            push(desk.connection, stream, "late", seq=1)
            with pytest.raises(TransportError, match="part 1 of a stream") as caught:
                await anext(stream)
            with pytest.raises(TransportError) as again:
                await stream.answer()
            assert again.value is caught.value

    run(story())


def test_who_reads_when_the_client_is_closed_is_told_so(desk: Desk, redis_url: str) -> None:
    desk.announce()

    async def story() -> None:
        client = AsyncClient(redis_url)
        stream = await client.stream("echo", "x", BUDGET_MS)
        reading = asyncio.ensure_future(anext(stream))
        await until(lambda: blocked(desk.connection))
        await client.close()
        with pytest.raises(TryAgain, match="closed"):
            await reading
        assert not desk.connection.exists(keys.reading(stream.id))

    run(story())


def test_a_script_that_redis_forgot_is_sent_again(desk: Desk, redis_url: str) -> None:
    desk.announce()

    async def story() -> None:
        async with AsyncClient(redis_url) as client:
            job_id = await client.submit("echo", "x", BUDGET_MS)
            desk.connection.script_flush()
            assert await client.cancel(job_id)
            assert not await client.cancel(job_id)
            with pytest.raises(TryAgain) as caught:
                await client.wait(job_id, BUDGET_MS)
            assert caught.value.code is ErrorCode.CANCELLED

    run(story())
