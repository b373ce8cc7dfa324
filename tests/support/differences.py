"""The whole list of what our books and RQ's may differ in, each with its reason.

docs/decisions/0001-differences-from-rq-books.md has the same list; a test compares the names.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rq.defaults import DEFAULT_FAILURE_TTL

from tests.support.books import TOLERANCE_S, TTL, Books, agree

_RQ_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"
_MOMENTS = {"birth", "death", "last_heartbeat", "started_at", "ended_at"}


@dataclass(frozen=True)
class Spot:
    """One row that is not the same in both books; None where a book has no such row."""

    key: str
    field: str
    theirs: Any
    ours: Any
    their_books: Books = field(repr=False)

    def is_in(self, *keys: str) -> bool:
        return self.key.startswith(keys)

    @property
    def name(self) -> str:
        """The field's name without the number of its entry."""
        return self.field.rpartition(".")[2]

    @property
    def has_both(self) -> bool:
        return self.theirs is not None and self.ours is not None


@dataclass(frozen=True)
class Difference:
    """A way in which the books may differ, why, and how to tell it."""

    name: str
    reason: str
    explains: Callable[[Spot], bool]


def _is_key_of_ours(spot: Spot) -> bool:
    # A key of ours without a TTL would show as None here.
    return spot.theirs is None and spot.ours is not None and spot.is_in("resident:metrics:")


def _is_enqueued_anew(spot: Spot) -> bool:
    """RQ's retries, repeats and dependents are enqueued by the worker."""
    anew = ("retries_left", "repeats_left", "dependency_ids")
    return spot.field == "enqueued_at" and any((spot.key, one) in spot.their_books for one in anew)


def _is_moment(spot: Spot) -> bool:
    if not (spot.has_both and spot.is_in("rq:job:", "rq:worker:")):
        return False
    if spot.field not in _MOMENTS and not _is_enqueued_anew(spot):
        return False
    theirs, ours = (
        datetime.strptime(value.decode(), _RQ_TIME)  # noqa: DTZ007  (UTC, both)
        for value in (spot.theirs, spot.ours)
    )
    return abs((theirs - ours).total_seconds()) < TOLERANCE_S


def _is_moment_of_execution(spot: Spot) -> bool:
    fields = ("execution_started_at", "execution_ended_at")
    return (
        spot.has_both
        and spot.is_in("rq:results:")
        and spot.name in fields
        and abs(float(spot.theirs) - float(spot.ours)) < TOLERANCE_S
    )


def _is_execution_id(spot: Spot) -> bool:
    return (
        spot.has_both
        and spot.name == "execution_id"
        and re.fullmatch(rb"[0-9a-f]{32}", spot.ours) is not None
    )


def _is_working_time(spot: Spot) -> bool:
    if not (spot.has_both and spot.is_in("rq:worker:") and spot.field == "total_working_time"):
        return False
    return 0 <= float(spot.ours) < TOLERANCE_S


def _is_empty_field(spot: Spot) -> bool:
    return spot.is_in("rq:job:") and spot.theirs == b"" and spot.ours is None


def _is_invented_created_at(spot: Spot) -> bool:
    return spot.is_in("rq:job:") and spot.field == "created_at" and spot.ours is None


def _is_plain_data(spot: Spot) -> bool:
    if not (spot.has_both and spot.is_in("rq:job:") and spot.field == "data"):
        return False
    return zlib.decompress(spot.theirs) == spot.ours


def _is_unescaped_json(spot: Spot) -> bool:
    if not (spot.has_both and spot.name == "return_value"):
        return False
    return bool(json.loads(spot.theirs) == json.loads(spot.ours))


def _is_answer_beyond_json(spot: Spot) -> bool:
    if not spot.has_both:
        return False
    if spot.name == "exc_string":
        return bool(spot.ours.startswith(b"TypeError: the answer has no JSON form: "))
    return (
        spot.name == "error"
        and spot.theirs["code"] == spot.ours["code"] == "model_error"
        and "the answer has no JSON form" in spot.ours["message"]
    )


def _is_traceback(spot: Spot) -> bool:
    if not (spot.has_both and spot.name == "exc_string"):
        return False
    return bool(spot.theirs.splitlines()[-1] == spot.ours.splitlines()[-1])


def _is_refusal(spot: Spot) -> bool:
    if not spot.has_both:
        return False
    if spot.name == "exc_string":
        return bool(spot.ours.startswith(b"invalid_question: "))
    if spot.name != "error" or spot.ours["code"] != "invalid_question":
        return False
    return spot.theirs["code"] == "model_error" and "TypeError" in spot.theirs["message"]


def _is_reply_statistics(spot: Spot) -> bool:
    if not (spot.has_both and spot.is_in("resident:reply:")):
        return False
    if spot.name == "ms":
        return all(value >= 0 for value in spot.ours.values()) and spot.ours.keys() == {
            "queued",
            "model",
        }
    return spot.name == "batch" and spot.theirs == 1 and spot.ours >= 1


def _is_dangling_failure(spot: Spot) -> bool:
    if not spot.is_in("rq:failed:") or spot.ours is not None:
        return False
    if spot.field == TTL:
        return not any(
            (f"rq:job:{field}", TTL) in spot.their_books
            for key, field in spot.their_books
            if key == spot.key
        )
    return (f"rq:job:{spot.field}", TTL) not in spot.their_books


def _is_failure_kept_for_ever(spot: Spot) -> bool:
    hash_key = spot.key.replace("rq:results:", "rq:job:")
    return (
        spot.is_in("rq:results:")
        and spot.field == TTL
        and spot.theirs is None
        and spot.ours is not None
        and not spot.their_books.get((hash_key, "failure_ttl"))
        and agree(TTL, float(DEFAULT_FAILURE_TTL), spot.ours)
    )


def _is_vanished_job(spot: Spot) -> bool:
    return spot.key.endswith(":intermediate") and spot.ours is None


DIFFERENCES = (
    Difference(
        "keys of our own",
        "resident:metrics:<task> counts what happened; nothing of RQ reads it.",
        _is_key_of_ours,
    ),
    Difference(
        "moments",
        "The same job run twice starts and ends at two times.",
        lambda spot: _is_moment(spot) or _is_moment_of_execution(spot),
    ),
    Difference(
        "execution ids",
        "A fresh id for each run, in both; ours are 32 hex digits as RQ's are.",
        _is_execution_id,
    ),
    Difference(
        "execution",
        "A field of ours: which execution of the job was the last.",
        lambda spot: spot.is_in("rq:job:") and spot.field == "execution" and spot.theirs is None,
    ),
    Difference(
        "working time",
        "A batch takes its time once, not once for each of its jobs.",
        _is_working_time,
    ),
    Difference(
        "empty fields",
        "RQ writes the whole hash anew, '' for what it has not; we write what has changed.",
        _is_empty_field,
    ),
    Difference(
        "created_at",
        "For the same reason RQ makes one up for a job that was enqueued without.",
        _is_invented_created_at,
    ),
    Difference(
        "plain data",
        "For the same reason RQ packs data that came plain; ours stays as the caller wrote it.",
        _is_plain_data,
    ),
    Difference(
        "unescaped JSON",
        "RQ's return value is ASCII with escapes, ours is UTF-8 and compact: the same value.",
        _is_unescaped_json,
    ),
    Difference(
        "answers beyond JSON",
        "A set or NaN has no JSON form. Both fail such a job; RQ with the error of the callback.",
        _is_answer_beyond_json,
    ),
    Difference(
        "tracebacks",
        "Other frames above the model's; the same exception in the last line.",
        _is_traceback,
    ),
    Difference(
        "refusals",
        "A job that is no question never reaches the model: one line instead of a traceback, and "
        "the code says that the caller must act.",
        _is_refusal,
    ),
    Difference(
        "a reply's statistics",
        "Other milliseconds, and how many questions shared the call: in RQ always one.",
        _is_reply_statistics,
    ),
    Difference(
        "vanished jobs",
        "RQ leaves the id of a job whose hash is gone on the intermediate list until a clean-up.",
        _is_vanished_job,
    ),
    Difference(
        "failure_ttl 0",
        "RQ deletes the job and leaves its id in the failed registry until a clean-up; we leave "
        "none.",
        _is_dangling_failure,
    ),
    Difference(
        "failures without failure_ttl",
        "RQ keeps the hash a year and the stream of results for ever; with us both go together.",
        _is_failure_kept_for_ever,
    ),
)


def spots(their_books: Books, our_books: Books) -> list[Spot]:
    """The rows that differ."""
    rows = sorted(their_books.keys() | our_books.keys())
    found = []
    for row in rows:
        theirs, ours = their_books.get(row), our_books.get(row)
        is_missing = (row in their_books) != (row in our_books)
        if is_missing or not agree(row[1], theirs, ours):
            found.append(Spot(*row, theirs, ours, their_books))
    return found


def explanation_of(spot: Spot) -> str | None:
    """The name of the difference that explains this row."""
    return next((one.name for one in DIFFERENCES if one.explains(spot)), None)
