"""settle.lua with a typed front: how jobs end, and the command that says so."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

import msgspec

from resident import keys
from resident.link import Word, pack
from resident.lua_script import script_of

SETTLE = script_of("write", "settle_held", "settle")

#: For so long after its claim nobody can have taken a question for abandoned, or have asked anew
#: after its budget, without a word to the registry of those that run.
REGISTRY_KNOWS_S = 1.0


class Outcome(IntEnum):
    """How a job ends; FINISHED and FAILED are RQ's Result.Type of the same number."""

    FINISHED = 1
    FAILED = 2
    DISCARDED = 3


class SettleCode(IntEnum):
    """What settle.lua did with a job."""

    LOST = 0
    SETTLED = 1
    SETTLED_WITH_DEPENDENTS = 2


class Tally(NamedTuple):
    """What came of a batch.

    Attributes:
        has_parents: Others depend on one of them.
    """

    finished: int
    failed: int
    lost: int
    has_parents: bool


#: An enum looks its members up in Python, and writes its numbers in Python, too.
_DIGITS = ("0", "1", "2", "3")
_FINISHED = Outcome.FINISHED
_LOST, _WITH_DEPENDENTS = SettleCode.LOST, SettleCode.SETTLED_WITH_DEPENDENTS
#: What comes of a question alone, nearly always.
_ONE_SETTLED, _ONE_FINISHED = [int(SettleCode.SETTLED)], Tally(1, 0, 0, False)


class Settlement(msgspec.Struct, frozen=True, gc=False):
    """How one job ends; see settle.lua for ttl_s and result.

    Attributes:
        by_hash: Only the job's hash says whether this worker still holds it.
        why: What the log says of one that failed: a kind, never a text.
    """

    id: str
    execution: str
    outcome: Outcome
    reply_key: str
    reply: bytes
    result: bytes
    ttl_s: int
    by_hash: bool = True
    why: str = ""


def tally(settlements: list[Settlement], codes: list[int]) -> Tally:
    """What came of these by the codes of settle.lua."""
    if codes == _ONE_SETTLED and settlements[0].outcome is _FINISHED:
        return _ONE_FINISHED
    ends = [one.outcome for one, code in zip(settlements, codes, strict=True) if code]
    finished = ends.count(_FINISHED)
    return Tally(finished, len(ends) - finished, codes.count(_LOST), _WITH_DEPENDENTS in codes)


class Ended(msgspec.Struct, frozen=True):
    """How a batch ended, and whom to tell when that is settled.

    Attributes:
        settlements: One a job; none if there was no batch.
        started: When it was claimed, as Redis wrote it.
        on_settled: Called as soon as it is settled, with one SettleCode a settlement.
    """

    settlements: list[Settlement]
    started: bytes
    on_settled: Callable[[list[int]], object]


def _tell_nobody(_codes: list[int]) -> None:
    """Nobody waits for it."""


#: There was no batch.
NOTHING_ENDED = Ended([], b"0", _tell_nobody)


#: Of a settle of one job, behind what is packed once; and the bytes that say how many they are.
_WORDS_OF_ONE = 13
_START_OF_ONE = len(b"*%d\r\n" % _WORDS_OF_ONE)


class SettleCommand:
    """What one worker sends to settle a batch: replies, and RQ's books."""

    def __init__(self, task: str, worker_name: str, reply_ttl_ms: int) -> None:
        of = keys.of_task(task)
        executions = keys.worker_executions(worker_name)
        script_keys = (of.started, of.finished, executions, of.anew)
        #: What is the same each time is packed once, without the number of words in front.
        head = SETTLE.command(script_keys, (keys.PREFIX, worker_name))
        self._head, self._words = _packed(head), len(head)
        self._head_of_one = b"*%d\r\n%b" % (self._words + _WORDS_OF_ONE, self._head)
        self._reply_ttl_ms = str(reply_ttl_ms)

    def of(self, ended: Ended, now_s: float, took_s: float) -> bytes:
        """The command, packed.

        Args:
            ended: A batch with a job at least.
            now_s: By Redis' clock.
            took_s: How long it has been held.
        """
        settlements = ended.settlements
        by_hash = took_s > REGISTRY_KNOWS_S
        usual, ttl_s = settlements[0].outcome, settlements[0].ttl_s
        others: list[str] = []
        values: list[Word] = []
        for number, one in enumerate(settlements, 1):
            values += (one.id, one.execution, one.reply_key, one.reply, one.result)
            by_hash = by_hash or one.by_hash
            if one.outcome is not usual or one.ttl_s != ttl_s:
                others.append(f"{number}:{one.outcome:d}:{one.ttl_s}")
        now, stamp = _now_and_stamp(now_s)
        terms = (
            *(ended.started, self._reply_ttl_ms, "1" if by_hash else "0", now, stamp),
            *(_DIGITS[usual], f"{ttl_s}", ";".join(others)),
        )
        words = (*terms, *values)
        return b"*%d\r\n%b%b" % (self._words + len(words), self._head, _packed(words))

    def of_one(self, one: Settlement, started: bytes, now_s: float, took_s: float) -> bytes:
        """The same for one job."""
        now, stamp = _now_and_stamp(now_s)
        by_hash = "1" if one.by_hash or took_s > REGISTRY_KNOWS_S else "0"
        ends = (_DIGITS[one.outcome], f"{one.ttl_s}", "")
        terms = (started, self._reply_ttl_ms, by_hash, now, stamp, *ends)
        words = (*terms, one.id, one.execution, one.reply_key, one.reply, one.result)
        return self._head_of_one + pack(words)[_START_OF_ONE:]


def _packed(words: tuple[Word, ...]) -> bytes:
    """A command's words as they are sent, without their number in front."""
    return pack(words).partition(b"\r\n")[2]


def _now_and_stamp(now_s: float) -> tuple[str, str]:
    """A moment as settle.lua takes it; a number as text is packed in a third of the time."""
    now = f"{now_s:.6f}"
    return now, f"{_calendar(now[:-7])}{now[-7:]}Z"


@functools.lru_cache(maxsize=4)
def _calendar(second: str) -> str:
    """A second as RQ writes times, up to its point."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(int(second)))
