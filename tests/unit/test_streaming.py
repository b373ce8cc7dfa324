"""What a worker does with the deltas of its task, apart from Redis."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import pytest
from redis.exceptions import ConnectionError
from rq.timeouts import JobTimeoutException

from resident.claimed import Unusual
from resident.claims import Question, read_claimed
from resident.deltas import DeltaCode
from resident.errors import ErrorCode, TryAgain
from resident.protocol import FAILURE_CALLBACK, SUCCESS_CALLBACK
from resident.stopping import StopNow
from resident.streaming import Streams
from tests.unit.test_task import made

DATA = b'["tasks.made.answer",null,["?"],{}]'


def question(stream: bytes = b"1", on_success: str = SUCCESS_CALLBACK) -> Question:
    callbacks = (on_success.encode(), FAILURE_CALLBACK.encode())
    job = Unusual("a", "e", b"", b"", b"", b"1", DATA, b"", *callbacks, stream=stream)
    read = read_claimed(job, made(), 1000, 500)
    assert isinstance(read, Question)
    return read


class Told:
    """A task's generator, and whether it was closed."""

    def __init__(self, *deltas: str, at_end: Callable[[], Any] = bool) -> None:
        self.is_closed = False
        self.at_end = at_end
        self.deltas = self._run(deltas)

    def _run(self, deltas: tuple[str, ...]) -> Generator[str, None, None]:
        try:
            yield from deltas
        finally:
            self.is_closed = True
            self.at_end()


class Line:
    """Answers each send with what comes next, which it raises if it is an error."""

    def __init__(self, *codes: DeltaCode | BaseException) -> None:
        self.codes = list(codes)
        self.is_hung_up = False
        self.streams = Streams(None, self._repeat, self._hang_up, 1000)  # type: ignore[arg-type]

    def _repeat(self, _call: Callable[[], DeltaCode]) -> DeltaCode:
        code = self.codes.pop(0)
        if isinstance(code, BaseException):
            raise code
        return code

    def _hang_up(self) -> None:
        self.is_hung_up = True


SENT = DeltaCode.SENT


def test_the_whole_answer_is_what_was_sent() -> None:
    told, line = Told("a", "b"), Line(SENT, SENT)
    assert line.streams.answer(question(), told.deltas) == "ab"
    assert told.is_closed
    assert not line.is_hung_up


@pytest.mark.parametrize("code", [DeltaCode.LOST, DeltaCode.CANCELLED, DeltaCode.LEFT])
def test_when_nobody_reads_the_function_is_closed_at_once(code: DeltaCode) -> None:
    told, line = Told("a", "b", "c"), Line(SENT, code)
    with pytest.raises(TryAgain) as caught:
        line.streams.answer(question(), told.deltas)
    assert caught.value.code is ErrorCode.CANCELLED
    assert (told.is_closed, line.codes) == (True, [])


@pytest.mark.parametrize("error", [JobTimeoutException, StopNow, KeyboardInterrupt])
def test_a_send_that_is_interrupted_costs_the_connection(error: type[BaseException]) -> None:
    told, line = Told("a", "b"), Line(error())
    with pytest.raises(error):
        line.streams.answer(question(), told.deltas)
    assert (told.is_closed, line.is_hung_up) == (True, True)


def test_a_redis_that_is_given_up_ends_the_worker_and_is_not_the_models_fault() -> None:
    told, line = Told("a"), Line(ConnectionError("away"))
    with pytest.raises(StopNow):
        line.streams.answer(question(), told.deltas)
    assert told.is_closed


@pytest.mark.parametrize("error", [RuntimeError("in its end"), KeyboardInterrupt()])
def test_a_function_that_does_not_close_well_changes_nothing(error: BaseException) -> None:
    def fail() -> None:
        raise error

    told, line = Told("a", "b", at_end=fail), Line(DeltaCode.LEFT)
    with pytest.raises(TryAgain, match="Its reader left"):
        line.streams.answer(question(), told.deltas)
    assert told.is_closed


def test_a_second_sigterm_is_heard_while_a_function_closes() -> None:
    def stop() -> None:
        raise StopNow

    told, line = Told("a", "b", at_end=stop), Line(DeltaCode.LEFT)
    with pytest.raises(StopNow):
        line.streams.answer(question(), told.deltas)


@pytest.mark.parametrize(
    ("stream", "on_success", "wants"),
    [
        (b"1", SUCCESS_CALLBACK, True),
        (b"", SUCCESS_CALLBACK, False),
        (b"0", SUCCESS_CALLBACK, False),
        (b"yes", SUCCESS_CALLBACK, False),
        (b"1", "", False),
    ],
)
def test_deltas_are_for_those_who_ask_for_them_and_for_a_reply(
    stream: bytes, on_success: str, wants: bool
) -> None:
    assert question(stream, on_success).wants_deltas is wants
