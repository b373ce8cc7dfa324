"""Every error a caller or an operator can see.

Four classes say who must act, one stable code says what happened; docs/protocol.md has the same
table, and the PHP client the same names.

    ResidentError
    ├── CallerError        invalid_question, unknown_task, conflict: change what is asked
    ├── OperatorError      no_worker, model_error, timed_out, crashed: look at the workers
    └── TryAgain           overloaded, expired, cancelled: nobody has to act; ask again later
        └── TransportError transport_error: Redis could not be reached or did not speak sense
    ConfigurationError     a setting, a task file or a knowledge file is wrong; exit code 2
"""

from __future__ import annotations

from enum import StrEnum


class ErrorCode(StrEnum):
    """The code in an error reply."""

    INVALID_QUESTION = "invalid_question"
    UNKNOWN_TASK = "unknown_task"
    CONFLICT = "conflict"
    OVERLOADED = "overloaded"
    NO_WORKER = "no_worker"
    MODEL_ERROR = "model_error"
    TIMED_OUT = "timed_out"
    CRASHED = "crashed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    TRANSPORT_ERROR = "transport_error"

    @property
    def http_status(self) -> int:
        """The HTTP status that says the same."""
        return _HTTP_STATUS[self]


_HTTP_STATUS = {
    ErrorCode.INVALID_QUESTION: 400,
    ErrorCode.UNKNOWN_TASK: 404,
    ErrorCode.CONFLICT: 409,
    ErrorCode.OVERLOADED: 429,
    ErrorCode.NO_WORKER: 503,
    ErrorCode.MODEL_ERROR: 500,
    ErrorCode.TIMED_OUT: 504,
    ErrorCode.CRASHED: 500,
    ErrorCode.CANCELLED: 499,
    ErrorCode.EXPIRED: 504,
    ErrorCode.TRANSPORT_ERROR: 503,
}


class ResidentError(Exception):
    """A question that was not answered.

    Attributes:
        code: What happened.
        job_id: The question's id, which is its RQ job's id too; empty when none was made.
    """

    def __init__(self, code: ErrorCode, message: str, job_id: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.job_id = job_id

    @property
    def message(self) -> str:
        """The sentence that is safe to show to the caller."""
        return str(self)


class CallerError(ResidentError):
    """The caller must change the question or the task's name; asking again will not help."""


class OperatorError(ResidentError):
    """Somebody must look at the workers or the model; the question was in order."""


class TryAgain(ResidentError):
    """Nobody has to act: the same question may be answered a little later."""


class TransportError(TryAgain):
    """Redis could not be reached, refused us, or broke off in the middle.

    Whether the question was asked is not known; asking again with the same id is safe.
    """

    def __init__(self, message: str, job_id: str = "") -> None:
        super().__init__(ErrorCode.TRANSPORT_ERROR, message, job_id)


class ConfigurationError(Exception):
    """A setting, a task file or a knowledge file is wrong; the message says which and how."""


_CLASS_OF_CODE: dict[ErrorCode, type[ResidentError]] = {
    ErrorCode.INVALID_QUESTION: CallerError,
    ErrorCode.UNKNOWN_TASK: CallerError,
    ErrorCode.CONFLICT: CallerError,
    ErrorCode.NO_WORKER: OperatorError,
    ErrorCode.MODEL_ERROR: OperatorError,
    ErrorCode.TIMED_OUT: OperatorError,
    ErrorCode.CRASHED: OperatorError,
    ErrorCode.OVERLOADED: TryAgain,
    ErrorCode.CANCELLED: TryAgain,
    ErrorCode.EXPIRED: TryAgain,
}


def error_for(code: ErrorCode, message: str, job_id: str = "") -> ResidentError:
    """The exception of the class that belongs to the code."""
    if code is ErrorCode.TRANSPORT_ERROR:
        return TransportError(message, job_id)
    return _CLASS_OF_CODE[code](code, message, job_id)


def invalid_question(message: str) -> ResidentError:
    """The question is not one that its task can answer; the message says why."""
    return error_for(ErrorCode.INVALID_QUESTION, message)
