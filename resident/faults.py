"""What is told of an exception: a code, a sentence, a traceback; whatever its class does then.

Of its text only what is ours is told to a caller: the model's may hold anything.
"""

from __future__ import annotations

import traceback

from rq.exceptions import AbandonedJobError, DeserializationError
from rq.timeouts import JobTimeoutException

from resident.errors import ErrorCode, ResidentError, error_for
from resident.stopping import StopNow

_name_of = type.__dict__["__name__"].__get__
_trace_of = BaseException.__dict__["__traceback__"].__get__


def kind_of(kind: type[BaseException]) -> str:
    """A class's name; its metaclass is not asked."""
    return str(_name_of(kind))


def text_of(error: BaseException) -> str:
    """Its traceback; without its own words if they cannot be had."""
    try:
        return "".join(traceback.format_exception(error))
    except StopNow:
        raise
    except BaseException:  # noqa: BLE001  (its class may do anything)
        lines = traceback.format_tb(_trace_of(error))
        return "".join([*lines, f"{kind_of(type(error))}, which has no text\n"])


def showable(error: BaseException) -> BaseException:
    """The same, or what stands for it if its text cannot be had; RQ would trip over that."""
    try:
        traceback.format_exception(error)
    except Exception:  # noqa: BLE001  (the same)
        msg = f"The model raised {kind_of(type(error))}, which has no text"
        return error_for(ErrorCode.MODEL_ERROR, msg)
    return error


def code_and_sentence(kind: type[BaseException], error: BaseException) -> tuple[ErrorCode, str]:
    """What a caller is told; the sentence is empty if there is none but `model_raised`."""
    if issubclass(kind, ResidentError):
        return _told_by(error)
    if issubclass(kind, JobTimeoutException):
        return ErrorCode.TIMED_OUT, "The model took too long with this question and was stopped."
    if issubclass(kind, DeserializationError):
        return ErrorCode.INVALID_QUESTION, "The job's data is not JSON."
    if issubclass(kind, AbandonedJobError):
        return ErrorCode.CRASHED, "The worker died with this question."
    return ErrorCode.MODEL_ERROR, ""


def model_raised(kind: str, job_id: str) -> str:
    """The sentence for what the model raised."""
    return f"The model raised {kind}; RQ keeps the traceback under the id {job_id}."


def _told_by(error: BaseException) -> tuple[ErrorCode, str]:
    """By an error of ours, which a task may have made of anything."""
    try:
        code, message = ErrorCode(error.code), str(error)  # type: ignore[attr-defined]
    except Exception:  # noqa: BLE001  (the same)
        return ErrorCode.MODEL_ERROR, ""
    return code, message.encode(errors="replace").decode()
