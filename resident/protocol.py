"""The wire format of docs/protocol.md: job data, replies, ids. Pure; both languages test it.

A job's data is RQ's: `["tasks.faq.answer", null, [question], {}]` as JSON, plain or zlib.
A reply is one JSON object in one list element.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import re
import zlib
from typing import Any, Literal

import msgspec

from resident import keys, names
from resident.errors import ErrorCode, ResidentError, error_for, invalid_question

#: Version of the reply format; readers accept this one and the one before.
VERSION = 1
_READABLE = (VERSION, VERSION - 1)
#: RQ's success and failure callbacks of every question; they let stock RQ workers reply too.
SUCCESS_CALLBACK = "resident.replies.deliver"
FAILURE_CALLBACK = "resident.replies.deliver_error"
#: A question that is nested deeper than this is refused, by both clients and by the worker.
MAX_DEPTH = 64

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Milliseconds(msgspec.Struct, frozen=True):
    """Where an answer's time went: waiting for a worker, and in the model."""

    queued: float
    model: float


class ErrorBody(msgspec.Struct, frozen=True):
    """The error of a reply that is not ok."""

    code: str
    message: str


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """A reply with an answer.

    Attributes:
        answer: What the task returned, any JSON value.
        batch: How many questions the model answered in the same call.
    """

    v: int = VERSION
    id: str
    ok: Literal[True] = True
    answer: Any
    ms: Milliseconds
    batch: int


class Failed(msgspec.Struct, frozen=True, kw_only=True):
    """A reply with an error."""

    v: int = VERSION
    id: str
    ok: Literal[False] = False
    error: ErrorBody


class _Id(msgspec.Struct):
    id: str


class Delta(msgspec.Struct, frozen=True, kw_only=True):
    """A part of an answer, which comes before the reply.

    Attributes:
        seq: Its number, from 0.
    """

    v: int = VERSION
    id: str
    seq: int
    delta: str


class _AnyReply(msgspec.Struct):
    v: int
    id: str
    ok: bool
    answer: Any = msgspec.UNSET
    ms: Milliseconds | None = None
    batch: int = 1
    error: ErrorBody | None = None


_DATA_TAIL = b"],{}]"
_encode = msgspec.json.Encoder().encode
_decode_reply = msgspec.json.Decoder(_AnyReply).decode
_decode_id = msgspec.json.Decoder(_Id).decode
_decode_call = msgspec.json.Decoder(tuple[str, Any, list[msgspec.Raw], dict[str, Any]]).decode
_decode_any = msgspec.json.Decoder().decode


def new_id() -> str:
    """A fresh question id: 32 hex digits from the system's CSPRNG."""
    return os.urandom(16).hex()


def check_id(job_id: Any) -> str:
    """Returns the id; raises CallerError (invalid_question) if it is not a legal one."""
    if not isinstance(job_id, str):
        msg = f"An id is a text, not {type(job_id).__name__}"
        raise invalid_question(msg)
    if not _ID.fullmatch(job_id):
        msg = f"The id {job_id[:80]!r} is not 1 to 64 of A-Z a-z 0-9 _ -"
        raise invalid_question(msg)
    return job_id


def check_task_name(task: Any) -> str:
    """Returns the name; raises CallerError (unknown_task) if no task can have it."""
    if not isinstance(task, str):
        msg = f"The name of a task is a text, not {type(task).__name__}"
        raise error_for(ErrorCode.UNKNOWN_TASK, msg)
    if not names.TASK.fullmatch(task):
        msg = f"{task[:80]!r} cannot be a task: a name is 1 to 63 of a-z 0-9 _, a letter first"
        raise error_for(ErrorCode.UNKNOWN_TASK, msg)
    return task


def encode_job_data(task: str, question: Any, max_bytes: int) -> bytes:
    """A question as RQ job data.

    Raises:
        CallerError: invalid_question, if the question is no JSON value, is nested too deeply, or
            is longer than max_bytes as JSON.
    """
    try:
        if type(question) is not str:
            _check_value(question)
        encoded = _encode(question)
    except (TypeError, ValueError, RecursionError) as error:
        msg = f"The question is not a JSON value: {error}"
        raise invalid_question(msg) from None
    _check_size(len(encoded), max_bytes)
    return b"%s%s%s" % (data_head(task), encoded, _DATA_TAIL)


@functools.lru_cache(maxsize=256)
def data_head(task: str) -> bytes:
    """How the job data of a question to this task begins."""
    return b'["%s",null,[' % names.function_name(task).encode()


def decode_plain_data(data: bytes, head: bytes, max_bytes: int) -> Any:
    """The question of job data as our clients write it, without a look at the rest of it.

    Raises:
        ValueError: It is anything else; decode_job_data says what.
    """
    start, end = len(head), len(data) - len(_DATA_TAIL)
    if data[:start] != head or data[end:] != _DATA_TAIL or end - start > max_bytes:
        msg = "not as our clients write it"
        raise ValueError(msg)
    question = _decode_any(data[start:end])
    if type(question) is not str:
        _check_value(question)
    return question


def decode_job_data(data: bytes, max_bytes: int) -> tuple[str, Any]:
    """The function's name and the question of a job that anybody may have written.

    Raises:
        CallerError: invalid_question, with what is wrong.
    """
    plain = inflate(data, max_bytes + 512)
    try:
        name, instance, args, kwargs = _decode_call(plain)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        msg = f"The job's data is not JSON of the form [function, null, [question], {{}}]: {error}"
        raise invalid_question(msg) from None
    if instance is not None or kwargs or len(args) != 1:
        msg = (
            f"A task takes one question: [function, null, [question], {{}}]; this job has "
            f"{len(args)} arguments and {len(kwargs)} keyword arguments"
        )
        raise invalid_question(msg)
    _check_size(len(args[0]), max_bytes)
    try:
        question = _decode_any(args[0])
        _check_value(question)
    except (ValueError, RecursionError) as error:
        msg = f"The question is not a JSON value: {error}"
        raise invalid_question(msg) from None
    return name, question


def encode_answer(answer: Any) -> bytes:
    """An answer as JSON; raises TypeError or ValueError if it has no JSON form."""
    if type(answer) is not str:
        _check_value(answer)
    return _encode(answer)


def encode_answered(
    job_id: str, answer: bytes, queued_ms: float, model_ms: float, batch: int
) -> bytes:
    """A reply with an answer that is JSON already."""
    ms = Milliseconds(queued_ms, model_ms)
    return _encode(Answered(id=job_id, answer=msgspec.Raw(answer), ms=ms, batch=batch))


def encode_delta(job_id: str, seq: int, delta: str) -> bytes:
    """A part of an answer; raises ValueError if it has no UTF-8 form."""
    return _encode(Delta(id=job_id, seq=seq, delta=delta))


def encode_failed(job_id: str, code: ErrorCode, message: str) -> bytes:
    """A reply with an error."""
    return _encode(Failed(id=job_id, error=ErrorBody(code.value, message)))


def id_in_reply(payload: bytes) -> str:
    """Whose reply it is; empty if that cannot be read."""
    try:
        return _decode_id(payload).id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""


def decode_reply(payload: bytes, job_id: str) -> Answered:
    """The answer in a reply.

    Raises:
        ResidentError: The error that the reply carries, of the class that belongs to its code.
        ValueError: The payload is no reply to this question in a version that we read.
    """
    try:
        reply = _decode_reply(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        msg = f"not a reply: {error}"
        raise ValueError(msg) from None
    check_head(reply.v, reply.id, job_id)
    if not reply.ok:
        raise _error_of(reply)
    if reply.ms is None or reply.answer is msgspec.UNSET:
        msg = "a reply without its answer or its times"
        raise ValueError(msg)
    return Answered(id=reply.id, answer=reply.answer, ms=reply.ms, batch=reply.batch)


def check_head(version: int, reply_id: str, job_id: str) -> None:
    """Raises ValueError unless it is of a version that we read, and to this question."""
    if version not in _READABLE:
        msg = f"a reply of version {version}; this client reads {VERSION} and {VERSION - 1}"
        raise ValueError(msg)
    if reply_id != job_id:
        msg = f"the reply to another question, {reply_id[:80]!r}"
        raise ValueError(msg)


def _error_of(reply: _AnyReply) -> ResidentError:
    if reply.error is None:
        msg = "an error reply without an error"
        raise ValueError(msg)
    try:
        code = ErrorCode(reply.error.code)
    except ValueError:
        # A newer worker may know more codes than this client; somebody should look at it.
        code = ErrorCode.MODEL_ERROR
    return error_for(code, reply.error.message, reply.id)


def inflate(data: bytes, max_bytes: int) -> bytes:
    """Plain or zlib data as plain; never makes more than max_bytes of it.

    Raises:
        CallerError: invalid_question, if it is longer.
    """
    plain = data
    if data[:1] != b"[":  # no zlib stream begins so
        with contextlib.suppress(zlib.error):
            plain = zlib.decompressobj().decompress(data, max_bytes + 1)
    _check_size(len(plain), max_bytes)
    return plain


def _check_size(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        msg = f"The question has {size} bytes of JSON; at most {max_bytes} are taken"
        raise invalid_question(msg)


def _check_value(value: Any, depth: int = 0) -> None:
    """Refuses what JSON has no word for and what the encoder would write as something else."""
    if type(value) is str:
        return
    if depth >= MAX_DEPTH and isinstance(value, dict | list | tuple):
        msg = f"nested deeper than {MAX_DEPTH}"
        raise ValueError(msg)
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                msg = f"the key {key!r} of an object is not a string"
                raise TypeError(msg)
            _check_value(item, depth + 1)
    elif isinstance(value, list | tuple):
        for item in value:
            _check_value(item, depth + 1)
    else:
        _check_scalar(value)


def _check_scalar(value: Any) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        msg = f"{value} has no JSON form"
        raise ValueError(msg)
    if value is not None and not isinstance(value, str | int | float):
        msg = f"{type(value).__name__} is no type of JSON"
        raise TypeError(msg)


def reply_key(job_id: str, reply_to: str) -> str:
    """Where the reply to a question goes: a mailbox it may name, else the key of its id."""
    return reply_to if reply_to and keys.is_mailbox(reply_to) else keys.reply(job_id)
