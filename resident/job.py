"""RQ's Job with its two doors to foreign code closed.

RQ imports whatever dotted name a job hash holds, as function and as callback, in the worker and
in its clean-ups. Here every name is looked up in the task's allow-list instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

from redis import Redis
from rq.exceptions import NoSuchJobError
from rq.job import UNEVALUATED, Job, parse_job_id
from rq.timeouts import JobTimeoutException

from resident.death_penalty import FineDeathPenalty
from resident.errors import ErrorCode, ResidentError, error_for
from resident.faults import showable
from resident.holders import VERDICTS
from resident.protocol import decode_job_data, inflate

#: What anybody may have a job's callbacks and webhooks take together.
LONGEST_FILING_S = 3600
#: Between two runs of a job, thirty years: no calendar ends there.
LONGEST_INTERVAL_S = 1_000_000_000


class AllowedJob(Job):
    """A job of one task; its subclass from `job_class_for` holds the allow-list."""

    allowed_functions: ClassVar[Mapping[str, Callable[..., Any]]] = {}
    allowed_callbacks: ClassVar[Mapping[str, Callable[..., Any]]] = {}
    max_question_bytes: ClassVar[int] = 0
    longest_timeout_s: ClassVar[float] = 0
    _is_let_go = False
    _deaths = b""
    #: Of a job that another waits for, or that waits for another: its data as it is in Redis.
    _packed = b""
    #: This run's caller has its answer, whatever becomes of the books.
    is_answered = False

    @classmethod
    def fetch_many(
        cls, job_ids: Iterable[str], connection: Redis, serializer: Any = None
    ) -> list[Job | None]:
        """As RQ does, which asks for dependents and what they depend on, of any queue.

        Nothing here reads what they are to do: it stays packed, however long it is. One that RQ
        could not read is none.
        """
        ids = [parse_job_id(job_id) for job_id in job_ids]
        with connection.pipeline() as pipeline:
            for job_id in ids:
                pipeline.hgetall(cls.key_for(job_id))
            found = pipeline.execute()
        return [
            cls._packed_from(job_id, fields, connection, serializer)
            for job_id, fields in zip(ids, found, strict=True)
        ]

    @classmethod
    def _packed_from(
        cls, job_id: str, fields: dict[bytes, bytes], connection: Redis, serializer: Any
    ) -> Job | None:
        job = cls(job_id, connection=connection, serializer=serializer)
        job._packed = fields.get(b"data", b"")
        try:
            job.restore(fields)
        except NoSuchJobError:
            return None
        return job

    def to_dict(self, *args: Any, **options: Any) -> dict[str, Any]:
        """As RQ does; what stayed packed is written as it was."""
        fields = super().to_dict(*args, **options)
        return fields | {"data": self._packed} if self._packed else fields

    def let_go(self) -> None:
        """From now on RQ writes nothing of this run: the id was taken back, or asked anew."""
        self._is_let_go = True

    def set_status(self, *args: Any, **options: Any) -> None:
        """As RQ does, if the books of the id are this run's."""
        if not self._is_let_go:
            super().set_status(*args, **options)

    def cleanup(self, *args: Any, **options: Any) -> None:
        """As RQ does, if the books of the id are this run's."""
        if not self._is_let_go:
            super().cleanup(*args, **options)

    def _handle_success(self, result_ttl: Any, pipeline: Any, *args: Any, **options: Any) -> None:
        if not self._is_let_go:
            super()._handle_success(result_ttl, pipeline, *args, **options)
            self._forget_deaths(pipeline)

    def _handle_failure(self, exc_string: str, pipeline: Any, *args: Any, **options: Any) -> None:
        if not self._is_let_go:
            super()._handle_failure(exc_string, pipeline, *args, **options)
            self._forget_deaths(pipeline)

    def _forget_deaths(self, pipeline: Any) -> None:
        """It has ended, and a requeue begins anew."""
        if self._deaths:
            pipeline.hdel(self.key, "deaths")

    def restore(self, raw_data: Any) -> None:
        """Reads the hash; one that RQ itself cannot read is no job (NoSuchJobError).

        RQ inflates two fields without a limit. The data is tried within one before; the traceback
        of an earlier failure, which RQ keeps in its results now, is left out.
        """
        data = raw_data.get(b"data")
        if data is None:
            msg = "it has no field 'data'"
            raise NoSuchJobError(msg)
        try:
            if not self._packed:
                inflate(data, max(self.max_question_bytes, len(data)))  # RQ would inflate a bomb
            fields = {name: raw_data[name] for name in raw_data if name != b"exc_info"}
            super().restore(fields | {b"data": b""} if self._packed else fields)
            self._check_what_rq_believes()
            self._deaths = raw_data.get(b"deaths", b"")
        except ResidentError as error:
            raise NoSuchJobError(str(error)) from error
        except Exception as error:
            msg = f"The hash of job {self.id} is not one that RQ can read: {error}"
            raise NoSuchJobError(msg) from error

    def _check_what_rq_believes(self) -> None:
        """What RQ trips over when the job has run, and then can neither file nor give up."""
        self.retry_intervals = self.retry_intervals or None  # an empty list is RQ's, too
        if not (
            isinstance(self.meta, dict)
            and all(isinstance(one, str) for one in self._dependency_ids)
            and all(_is_length(one) for one in self.retry_intervals or ())
            and all(_is_length(one) for one in self.repeat_intervals or ())
        ):
            msg = "meta, dependency_ids or intervals are none"
            raise ValueError(msg)

    def perform(self) -> Any:
        """Runs the job, within its own time-out or the task's, whichever is shorter.

        Raises:
            OperatorError: The verdict on a job with which too many workers have died.
        """
        if self._deaths in VERDICTS:
            self.retries_left = 0  # a try that is not run is none
            raise VERDICTS[self._deaths]
        own_s = self.timeout if self.timeout and self.timeout > 0 else self.longest_timeout_s
        try:
            with FineDeathPenalty(min(own_s, self.longest_timeout_s), JobTimeoutException):
                return super().perform()
        except Exception as error:
            shown = showable(error)
            if shown is error:
                raise
        raise shown

    @property
    def filing_s(self) -> float:
        """How long RQ's callbacks and webhooks may take when the function has ended."""
        lengths = [one.timeout for one in self.webhooks]
        if self._success_callback_name:
            lengths.append(self.success_callback_timeout)
        if self._failure_callback_name:
            lengths.append(self.failure_callback_timeout)
        is_bounded = all(one > 0 for one in lengths)  # RQ's -1 is no end
        return min(sum(lengths), LONGEST_FILING_S) if is_bounded else LONGEST_FILING_S

    @property
    def func(self) -> Callable[..., Any]:
        """The task's function.

        Raises:
            CallerError: unknown_task for any other name, invalid_question for what is no call
                of a task with one question.
        """
        name, _ = decode_job_data(self.data, self.max_question_bytes)
        if name not in self.allowed_functions:
            allowed = ", ".join(sorted(self.allowed_functions))
            msg = f"{name[:120]!r} is not a task; this queue runs {allowed}"
            raise error_for(ErrorCode.UNKNOWN_TASK, msg)
        return self.allowed_functions[name]

    @property
    def success_callback(self) -> Callable[..., Any] | None:
        """The allowed function of that name; raises CallerError for any other."""
        return self._allowed(self._success_callback_name)

    @property
    def failure_callback(self) -> Callable[..., Any] | None:
        """The allowed function of that name; raises CallerError for any other."""
        return self._allowed(self._failure_callback_name)

    @property
    def stopped_callback(self) -> Callable[..., Any] | None:
        """The allowed function of that name; raises CallerError for any other."""
        return self._allowed(self._stopped_callback_name)

    def _allowed(self, name: Any) -> Callable[..., Any] | None:
        if not name or name is UNEVALUATED:
            return None
        if name not in self.allowed_callbacks:
            msg = f"The callback {name!r} is not on the allow-list; name it in @task(callbacks=...)"
            raise error_for(ErrorCode.UNKNOWN_TASK, msg)
        return self.allowed_callbacks[name]


def _is_length(value: Any) -> bool:
    return isinstance(value, int | float) and abs(value) <= LONGEST_INTERVAL_S


def job_class_for(
    functions: Mapping[str, Callable[..., Any]],
    callbacks: Mapping[str, Callable[..., Any]],
    max_question_bytes: int,
    longest_timeout_s: float,
) -> type[AllowedJob]:
    """AllowedJob with these allow-lists, dotted name -> function, and limits."""
    return type(
        "AllowedJob",
        (AllowedJob,),
        {
            "allowed_functions": dict(functions),
            "allowed_callbacks": dict(callbacks),
            "max_question_bytes": max_question_bytes,
            "longest_timeout_s": longest_timeout_s,
        },
    )
