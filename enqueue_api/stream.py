"""The answer to one question as it comes: `for delta in client.stream("chat", "Why?")`."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, suppress
from types import TracebackType

from redis.exceptions import OutOfMemoryError, RedisError

from enqueue_api.deadline import Deadline
from enqueue_api.door import once_more, put
from enqueue_api.question import Question
from enqueue_api.waiting import payload_in, read_blocked, until_something
from resident import asking, keys
from resident.errors import ErrorCode, ResidentError, TransportError, error_for
from resident.link import Link, Word
from resident.protocol import Answered
from resident.reading import READING_MS, RENEW_S, StreamReader

#: Saying that one leaves may take so long, although the budget is over, in seconds.
LEAVE_S = 0.02
#: A worker that runs what was cancelled may find out for so long.
_CANCELLED_MS = 60_000

Connect = Callable[[Deadline, str], AbstractContextManager[Link]]


class Stream(Iterator[str]):
    """The deltas of one answer, for one thread; it holds a connection until it ends or is closed.

    Whoever stops in the middle closes it (`with`, `close`, or lets go of it), and the worker stops
    at its next delta; a reader that has not read for 15 s is taken to have left, too.

    Errors worth catching while reading: those of Client.ask. What came before is in `text`.
    """

    def __init__(self, question: Question, deadline: Deadline, connect: Connect) -> None:
        """Asks; raises why the question was not let in."""
        self.id = question.id
        self._reader = StreamReader(question.id)
        self._error: ResidentError | None = None
        # It does not know of this object, so it is closed as soon as nobody holds that any more.
        self._deltas = _Reading(question, deadline, self._reader).run(connect)
        next(self._deltas)

    @property
    def text(self) -> str:
        """What came so far."""
        return self._reader.text

    @property
    def answer(self) -> Answered:
        """The reply with the whole answer; reads what is left of the stream first.

        Raises:
            ResidentError: The one that ended the stream; TryAgain (cancelled) if it was closed.
        """
        for _ in self:
            pass
        if self._error is not None:
            raise self._error
        if self._reader.answered is None:
            raise error_for(ErrorCode.CANCELLED, "This stream was closed before its end", self.id)
        return self._reader.answered

    def close(self) -> None:
        """Leaves; what has not come yet will not."""
        self._deltas.close()

    def __next__(self) -> str:
        try:
            return next(self._deltas)
        except ResidentError as error:
            self._error = error
            raise

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _Reading:
    """What a stream does with its connection."""

    def __init__(self, question: Question, deadline: Deadline, reader: StreamReader) -> None:
        self._question = question
        self._deadline = deadline
        self._reader = reader
        self._renew_at = 0.0
        self._may_wait = self._was_lost = False

    def run(self, connect: Connect) -> Generator[str, None, None]:
        """Yields nothing when the question is asked, then the deltas."""
        with connect(self._deadline, self._question.id) as link:
            try:
                self._enter(link)
                yield ""
                yield from self._read(link)
            except TransportError:
                raise  # Redis is away or speaks no sense; what it holds of this stream expires
            except (ResidentError, GeneratorExit) as end:
                self._leave(link)
                if isinstance(end, ResidentError):
                    raise
            else:
                self._leave(link)

    def _enter(self, link: Link) -> None:
        """The reader is there before the question, else a quick worker would find nobody."""
        job_id = self._question.id
        once_more(link, self._deadline, lambda: link.call(*reading_command(job_id)), job_id)
        self._renew_at = time.monotonic() + RENEW_S
        put(link, self._deadline, self._question, is_read=True)
        self._may_wait = True

    def _leave(self, link: Link) -> None:
        """A question of which nothing has come is taken off its queue, too, in the same write."""
        job_id = self._question.id
        leave = _leave_command(job_id)
        link.give_up_at(max(self._deadline.gives_up_at, time.monotonic() + LEAVE_S))
        try:
            if self._may_wait:
                asking.cancel(link, job_id, _CANCELLED_MS, then=leave)
                link.read(link.timeout_s)
            else:
                link.call(*leave)
        except RedisError:
            link.close()  # which may owe an answer still

    def _read(self, link: Link) -> Iterator[str]:
        while self._reader.answered is None:
            payload = until_something(link, self._deadline, self._read_once, self._question.id)
            if payload is None:
                msg = f"The answer did not end within {self._deadline.budget_ms} ms"
                raise error_for(ErrorCode.EXPIRED, msg, self._question.id)
            self._may_wait = False
            try:
                delta = self._reader.read(payload)
            except ValueError as error:
                raise TransportError(f"What came back is {error}", self._question.id) from error
            if delta:
                yield delta

    def _read_once(self, link: Link) -> bytes | None:
        """What comes next, or None when it is time to say again that somebody reads."""
        if self._was_lost:
            link.send_all(end_commands(self._question.id))
            check_end(self._question.id, *(link.read(link.timeout_s) for _ in range(2)))
        self._was_lost = True
        payload = self._read_next(link)
        self._was_lost = False
        return payload

    def _read_next(self, link: Link) -> bytes | None:
        is_due = time.monotonic() >= self._renew_at
        block_s = min(float(self._deadline.block_s), RENEW_S)
        commands: list[tuple[Word, ...]] = [
            *(still_reading_commands(self._question.id) if is_due else []),
            ("BLPOP", keys.reply(self._question.id), f"{block_s:.3f}"),
        ]
        link.send_all(commands)
        if is_due:
            link.read(link.timeout_s)
            with suppress(OutOfMemoryError):
                link.read(link.timeout_s)
            self._renew_at = time.monotonic() + RENEW_S
        (popped,) = read_blocked(link, self._deadline)
        return payload_in(popped)


def reading_command(job_id: str) -> tuple[Word, ...]:
    """Says that somebody reads the stream of this question."""
    return ("SET", keys.reading(job_id), "1", "PX", str(READING_MS))


def still_reading_commands(job_id: str) -> list[tuple[Word, ...]]:
    """Says so again; a Redis that is full refuses the last, and the first is enough then."""
    return [("PEXPIRE", keys.reading(job_id), str(READING_MS)), reading_command(job_id)]


def end_commands(job_id: str) -> list[tuple[Word, ...]]:
    """What tells `check_end`, in this order, since a reply comes together with the end."""
    return [("HGET", f"{keys.JOB}{job_id}", "status"), ("LLEN", keys.reply(job_id))]


def check_end(job_id: str, status: object, waiting: object) -> None:
    """After a connection that was lost: raises TransportError if nothing more will come.

    The reply is the last that comes. If the job has ended and it is not there, it was taken and
    did not get here.
    """
    if status not in {b"queued", b"started"} and not waiting:
        msg = "The connection to Redis broke off, and took with it what came last of this stream"
        raise TransportError(msg, job_id)


def leave_commands(job_id: str, *, may_wait: bool) -> list[tuple[Word, ...]]:
    """Says that nobody reads it any more; what may wait still is taken off its queue, too."""
    cancel = [asking.cancel_command(job_id, _CANCELLED_MS)] if may_wait else []
    return [*cancel, _leave_command(job_id)]


def _leave_command(job_id: str) -> tuple[Word, ...]:
    return ("DEL", keys.reading(job_id), keys.reply(job_id))
