"""A stream's connection goes back once, and only when nobody reads on it any more."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from enqueue_api.async_stream import AsyncStream
from enqueue_api.deadline import Deadline
from enqueue_api.question import Question
from resident.errors import TransportError
from resident.settings import Settings
from tests.support.stories import run


class Line:
    """In the place of a connection: counts what is said on it, and that it is dropped."""

    is_open = True

    def __init__(self) -> None:
        self.said = 0
        self.is_dropped = False

    def call_all(self, _commands: Any) -> asyncio.Future[list[Any]]:
        self.said += 1
        done = asyncio.get_running_loop().create_future()
        done.set_result([])
        return done

    def drop(self, _error: Exception) -> None:
        self.is_dropped = True


class Read:
    """A stream of which a coroutine reads, until the test says what comes of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.line, self.asking = Line(), Line()
        self.given_back: list[Any] = []
        question = Question.of(Settings(), "tell", "x", 20_000)
        links: Any = (self.line, self.asking)
        self.stream = AsyncStream(question, Deadline(20_000), links, self.given_back.append)
        self.comes: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        monkeypatch.setattr(self.stream, "_next", lambda: self.comes)
        self.reader: asyncio.Task[str] = asyncio.create_task(self._read())

    async def _read(self) -> str:
        return await anext(self.stream)


async def closed_while_it_is_read(monkeypatch: pytest.MonkeyPatch) -> Read:
    read = Read(monkeypatch)
    await asyncio.sleep(0)
    await read.stream.aclose()
    return read


def test_one_that_is_closed_while_it_is_read_goes_back_when_the_read_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story() -> None:
        read = await closed_while_it_is_read(monkeypatch)
        assert (read.line.is_dropped, read.given_back) == (True, [])
        read.comes.set_exception(TransportError("lost"))
        with pytest.raises(TransportError):
            await read.reader
        assert read.given_back == [read.line]

    run(story())


def test_one_that_is_closed_and_then_not_read_either_is_left_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story() -> None:
        read = await closed_while_it_is_read(monkeypatch)
        read.reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await read.reader
        assert read.given_back == [read.line]
        assert read.asking.said == 1

    run(story())
