"""ResidentWorker: an RQ worker whose model is in memory and whose jobs come in batches."""

from __future__ import annotations

import math
import os
import signal
import socket
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import FrameType
from typing import Any, TypeVar

import structlog
from redis import Redis
from redis.client import Pipeline
from redis.exceptions import RedisError, ResponseError
from rq.serializers import JSONSerializer
from rq.worker import WorkerStatus

from resident import keys, replies, special, standard_streams
from resident.announcing import Announcing
from resident.answering import Answerer
from resident.claimed import NO_CLAIM, Claim, Claimed
from resident.company import Company
from resident.counts import Counts
from resident.ear import Ear
from resident.gathering import Gathering
from resident.job import AllowedJob, job_class_for
from resident.leases import KEEP_MS
from resident.link import Link, Woken
from resident.notes import Notes
from resident.offering import Offering
from resident.outage import call_until_back, nothing
from resident.pace import Pace
from resident.packed_claim import LONGEST_TTL_MS, Limits
from resident.pulse import Pulse
from resident.rqs_worker import RqsWorker
from resident.scripts import WorkerScripts, new_token
from resident.settings import Settings
from resident.settlement import NOTHING_ENDED, Ended, Settlement
from resident.stopping import StopNow
from resident.strays import Strays
from resident.streaming import Streams
from resident.task import Task, model_of, single_question_function
from resident.tending import Tending
from resident.watchdog import Watchdog

#: One blocking pop.
WAIT_S = 5.0
#: What RQ's own path may take beside what has a time-out, before the worker is thought to hang.
SPECIAL_MARGIN_S = 30.0

T = TypeVar("T")

_log = structlog.get_logger()


class ResidentWorker(RqsWorker):
    """Answers the questions of one task in batches; everything else of RQ stays as it is.

    The loop: wait for a job, claim what is there, answer it, settle it and claim the next in one
    call. Jobs that use other features of RQ go through RQ's own perform_job.
    """

    def __init__(
        self,
        task: Task,
        connection: Redis,
        settings: Settings,
        token: str | None = None,
        pulse: Pulse | None = None,
    ) -> None:
        """Takes what its supervisor knows it by and watches it by; makes its own without one."""
        token = token or new_token()
        self._link = link = Link(connection)
        super().__init__(
            [task.name],
            name=name_of(task, os.getpid(), token),
            connection=connection,
            default_result_ttl=settings.result_ttl,
            job_class=_job_class_of(task, settings),
            serializer=JSONSerializer,
            log_job_description=False,
        )
        self._task = task
        self._settings = settings
        self._is_supervised, self._pulse = pulse is not None, pulse or Pulse()
        link.on_part = self._show_itself  # a claim may come in drops
        self._watchdog = Watchdog(is_on=self._is_supervised)
        self._limits = _limits_of(task, settings, self._is_supervised)
        self._scripts = WorkerScripts(link, task.name, self.name, self._limits, token)
        ear = Ear(connection, task.name, token)
        self._offering = Offering(self._scripts, ear, self._answer_at_once)
        self._gathering = Gathering(task.max_batch, task.target_ms)
        self._company = Company(
            self._gathering, self._scripts.waiting, self._claim_more, lambda: self._stop_requested
        )
        self._pace = Pace(task.max_batch)
        self._announcing = Announcing(task, settings, self._scripts, self._pace)
        self._held = NO_CLAIM
        #: How what is held ends, until it is settled.
        self._ended = NOTHING_ENDED
        self._strays = Strays(self._scripts, self.name)
        often = (self._announcing.ready, lambda: self._strays.look(self._held.jobs))
        ready = self.queues[0].ready_job_registry
        self._tend = Tending(self.name, often, (self._beat, self._clean_up, ready.cleanup))
        self._answerer = Answerer(
            task,
            model_of(task),
            settings,
            self._tend,
            self._pulse,
            Streams(link, self._repeat, self._scripts.close, self._limits.reply_ttl_ms),
        )
        self._counts = Counts()
        self._notes = Notes(
            task.name, self._counts, self._pace, self._gathering, self._answerer.calls
        )
        self._has_parents = False
        self._drained_by = math.inf
        self._was_interrupted = self._is_suspended = self._dies_with_it = False

    def work(self, burst: bool = False, *_: Any, **_options: Any) -> bool:
        """Serves until told to stop; with burst, until the queue is empty.

        RQ's other options are passed over. Returns whether any question was answered.
        """
        self._install_signal_handlers()
        try:
            self._repeat(self._register)
            self._pulse.served_from = time.monotonic()
            self._serve(burst)
        except Woken:
            pass  # should a job have come in that moment, it is put back
        except StopNow:
            _log.warning("stopped at once", worker=self.name)
        except RedisError as error:
            if not self._stop_requested:
                raise
            _log.warning("redis is away and the worker shall stop", error=str(error))
        except BaseException:  # put back, what is held might end the next worker, and so on
            self._dies_with_it = self._is_supervised
            raise
        finally:
            self._leave()
        return bool(self._pulse.jobs)

    def _register(self) -> None:
        """With RQ; may be repeated."""
        self.connection.delete(self.key)
        self.bootstrap(logging_level=None)
        self.set_state(WorkerStatus.IDLE)

    def _serve(self, burst: bool) -> None:
        while not self._stop_requested or self._held.jobs:
            self._pulse.seen_at = time.monotonic()
            claim = self._turn(0 if burst else WAIT_S)
            self._pulse.batch_began = time.monotonic() if claim.jobs else 0
            if self._has_parents:
                self._repeat(self._let_dependents_go)
            if burst and claim.is_over:
                break
            self._held = claim
            if not claim.jobs:
                self._see_to(claim, burst)

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """First signal: finish what is claimed. Second: put it back and go."""
        if self._stop_requested:
            raise StopNow
        self._stop_requested, self._pulse.is_draining = True, 1
        self._drained_by = time.monotonic() + self._settings.drain_timeout_s
        _log.info("draining", worker=self.name, signal=signal.Signals(signum).name)
        self._link.wake()
        self._offering.wake()

    def heartbeat(self, timeout: int | None = None, pipeline: Pipeline | None = None) -> None:
        """RQ's own. Its wait for the end of a suspension comes by here, and callers may ask on."""
        super().heartbeat(timeout, pipeline)
        if self._is_suspended:
            self._announcing.ready()

    def _turn(self, wait_s: float) -> Claim:
        """Answers what is held, settles it, and claims the next batch."""
        if self._held.jobs and self._gathering.may_pay and not self._stop_requested:
            self._held = self._company.join(self._held)
        turn = self._way_of_turning(wait_s)
        began, self._was_interrupted = time.monotonic(), False
        settlements = self._answerer.settlements(self._held)
        if not self._answerer.calls:
            self._tend()  # else the answerer did, in front of each call of the model
        self._scripts.least_ms = int(self._pace.typical_ms(began))
        self._note_ended(settlements, began)
        most = self._task.max_batch
        return self._repeat(
            lambda: turn(
                self._ended, 0 if self._stop_requested else most, self._strays.wait_s(wait_s)
            ),
            lambda: self._release_unknown(self._ended.settlements),
        )

    def _answer_at_once(self, claim: Claim) -> Claim | None:
        """Answers and settles a question that was just handed over; None if it waits for the next.

        Else what the turn comes to: the claim, if that goes the usual way, or an empty one.
        """
        began = time.monotonic()
        self._held, self._was_interrupted = claim, False
        self._pulse.batch_began = began
        settlement = self._answerer.alone(claim)
        if settlement is None:
            return claim
        try:
            code = self._scripts.settle_one(settlement, claim.started)
        except RedisError:
            self._note_ended([settlement], began)  # it is settled when Redis is back
            raise
        self._note_settled([settlement], [code], began)
        waits = self._gathering.is_quick and not (
            self._stop_requested or self._has_parents or self._scripts.is_busy
        )
        return None if waits else Claim(more=True)

    def _note_ended(self, settlements: list[Settlement], began: float) -> None:
        self._ended = Ended(
            settlements,
            self._held.started,
            lambda codes: self._note_settled(settlements, codes, began),
        )

    def _note_settled(self, settlements: list[Settlement], codes: list[int], began: float) -> None:
        self._held, self._ended = NO_CLAIM, NOTHING_ENDED
        self._pulse.batch_began = 0
        self._pulse.jobs += len(codes)
        if self._notes.take(settlements, codes, began, is_fair=not self._was_interrupted):
            self._has_parents = True
        if self._has_parents:
            with suppress(RedisError):  # else behind this turn, which may wait for a job
                self._let_dependents_go()

    def _way_of_turning(self, wait_s: float) -> Callable[..., Claim]:
        """By claims alone, or so that callers may hand it questions while it has nothing to do."""
        offers = self._is_supervised and self._gathering.is_quick and wait_s > 0
        offers = offers and not self._stop_requested
        if not offers:
            self._offering.close()
        if self._offering.may_have_missed:
            self._repeat(lambda: self._release_unknown(self._held.jobs))
        return self._offering.turn if offers else self._scripts.turn

    def _claim_more(self, held: tuple[Claimed, ...]) -> tuple[Claimed, ...]:
        return self._repeat(
            lambda: self._scripts.claim_more(self._task.max_batch - len(held)),
            lambda: self._release_unknown(held),
        )

    def _see_to(self, claim: Claim, burst: bool) -> None:
        """What there is to do when there is no question."""
        self._repeat(lambda: self._counts.write(self.connection, self.key))
        self._is_suspended = claim.suspended
        if claim.suspended:
            self._pulse.overdue_at = math.inf
            self._watchdog.rest()
            self._repeat(lambda: self.check_for_suspension(burst))
        elif claim.special:
            self._be_over_within(self._task.timeout_s)
            self._repeat(
                lambda: special.perform(self, claim.special, self._limits.reply_ttl_ms),
                self._put_back_begun,
            )
            self._pulse.jobs += 1
        self._is_suspended = False
        self._pulse.seen_at = time.monotonic()
        self._pulse.overdue_at = 0
        self._watchdog.expect_within(self._task.timeout_s)

    def _be_over_within(self, seconds: float) -> None:
        """Else whatever RQ's own path is at is thought to hang."""
        self._pulse.overdue_at = time.monotonic() + seconds + SPECIAL_MARGIN_S
        self._watchdog.expect_within(seconds + SPECIAL_MARGIN_S)

    def handle_execution_ended(self, job: Any, *args: Any) -> None:
        """As RQ does; its callbacks and webhooks come now, and have time-outs of their own."""
        self._be_over_within(job.filing_s)
        super().handle_execution_ended(job, *args)

    def _let_dependents_go(self) -> None:
        special.let_dependents_go(self, keys.of_task(self._task.name).parents)
        self._has_parents = False

    def _beat(self) -> None:
        """RQ's heartbeat; registers again if the worker's hash was lost or is none."""
        self._watchdog.expect_within(self._task.timeout_s)
        self._install_signal_handlers()  # the task's code may have taken them away
        silence_s = int(self._task.timeout_s) + 60
        try:
            is_registered = self.connection.hexists(self.key, "birth")
        except ResponseError:
            is_registered = False
        if not is_registered:
            self.connection.delete(self.key)
            self.register_birth()
            self.set_state(WorkerStatus.BUSY if self._scripts.is_busy else WorkerStatus.IDLE)
        self.heartbeat(max(self.worker_ttl + 60, silence_s))
        self.listen_again()
        self._counts.write(self.connection, self.key)

    def _clean_up(self) -> None:
        self._let_dependents_go()
        if self.should_run_maintenance_tasks:
            self.run_maintenance_tasks()

    def _leave(self) -> None:
        """Puts back what is held, or leaves it to who counts deaths; says good-bye to all."""
        for signum in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signum, signal.SIG_IGN)
        self._watchdog.expect_within(self._settings.drain_timeout_s)
        self._scripts.close()
        self._offering.close()
        try:
            if not self._dies_with_it:
                self._release_unknown()
                self._put_back_begun()
                self._scripts.end_lease()
            self._announcing.gone()
            self._counts.write(self.connection, self.key)
            self.teardown()
        except RedisError as error:
            _log.warning("left without a farewell", worker=self.name, error=str(error))
        self._scripts.close()
        self._pulse.batch_began = self._pulse.overdue_at = 0
        self._watchdog.rest()

    def _release_unknown(self, known: Iterable[Settlement | Claimed] = ()) -> None:
        """Puts back what Redis says this worker runs and this worker does not know of.

        A claim whose answer was cut off is such; without this it would wait for its lease's end.
        """
        self._scripts.withdraw()  # from here on it is handed nothing
        self._strays.put_back(known)
        self._offering.note_put_back()

    def _put_back_begun(self) -> None:
        """RQ had begun it, and Redis was away when it was to be filed."""
        self.executions.clear()
        # What has its reply is RQ's to file, by its clean-up.
        if not self.has_replied and (released := self._scripts.release_begun()):
            _log.warning("put back", worker=self.name, jobs=released)

    def _repeat(self, call: Callable[[], T], after_error: Callable[[], object] = nothing) -> T:
        def close_and_mend() -> None:
            self._was_interrupted = True
            self._strays.note_loss()
            if standard_streams.mend():
                _log.warning("the task closed the standard streams", task=self._task.name)
            self._show_itself()
            self._watchdog.expect_within(self._task.timeout_s)
            self._scripts.close()
            self._offering.close()
            after_error()
            if self._pulse.seen_at and not self._stop_requested:
                self._announcing.ready()  # a Redis that was started again may have forgotten it

        return call_until_back(call, close_and_mend, self._is_given_up)

    def _show_itself(self) -> None:
        if self._pulse.seen_at:  # else it does not serve yet
            self._pulse.seen_at = time.monotonic()

    def _is_given_up(self) -> bool:
        """Whether to wait for Redis no longer: nothing is held, or the drain is over."""
        if not self._stop_requested:
            return False
        return not self._held.jobs or time.monotonic() > self._drained_by


def name_of(task: Task, pid: int, token: str) -> str:
    """The name that RQ knows a worker by."""
    return f"{keys.WORKER_NAME_PREFIX}{task.name}-{socket.gethostname()}-{pid}-{token}"


def _job_class_of(task: Task, settings: Settings) -> type[AllowedJob]:
    return job_class_for(
        {task.function_name: single_question_function(task)},
        replies.callbacks_of(task),
        settings.max_question_bytes,
        task.timeout_s,
    )


def _limits_of(task: Task, settings: Settings, is_supervised: bool) -> Limits:
    return Limits(
        lease_ms=int(settings.lease_s * 1000),
        reply_ttl_ms=int(settings.reply_ttl_s * 1000),
        max_data_bytes=settings.max_question_bytes + 512,
        longest_batch_s=math.ceil(task.longest_batch_s),
        keep_ms=KEEP_MS if is_supervised else LONGEST_TTL_MS,
    )
