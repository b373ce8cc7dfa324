"""Every Redis key that Resident reads or writes.

RQ's keys follow RQ 3 and its RQ_KEY_PREFIX. Our own start with `resident:`, those of a task behind
the prefix if that is not `rq`, so that callers never take workers of another prefix for theirs;
replies go by id alone. Each has a TTL but the list of popped ids and those of lanes, which are a
part of RQ's queue.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

from rq.defaults import RQ_KEY_PREFIX

#: In front of every key of RQ.
PREFIX = RQ_KEY_PREFIX
#: In front of our own keys that are about a task.
OWN = "resident" if PREFIX == "rq" else f"{PREFIX}:resident"

#: RQ: set of queue keys; never expires.
QUEUES = f"{PREFIX}:queues"
#: RQ: string, exists while `rq suspend` holds all workers.
SUSPENDED = f"{PREFIX}:suspended"
#: RQ: hash per job; its TTL is the budget, ten years more while it runs for long, then
#: result_ttl or failure_ttl.
JOB = f"{PREFIX}:job:"
#: RQ: hash per worker; expires when heartbeats stop.
WORKER = f"{PREFIX}:worker:"
#: Ours: zset task -> expiry (Redis' clock, ms) of the tasks that ready workers serve.
TASKS = f"{OWN}:tasks"
#: Ours: set of the keys `<this>:<host>-<pid>`, strings where each worker.py tells of itself; they
#: and it expire 30 s after the last sign of life.
SUPERVISORS = f"{OWN}:supervisors"
#: Workers of ours carry this in front of their names, so that asking can tell them from RQ's.
WORKER_NAME_PREFIX = "resident-"

_MAILBOX = re.compile(r"resident:mailbox:[0-9a-f]{32}")


@dataclass(frozen=True)
class TaskKeys:
    """The keys of one task; its queue in RQ has the task's name."""

    #: RQ: list of waiting job ids, next one leftmost.
    queue: str
    #: RQ: list of ids that a stock worker, or RQ's own path in ours, has popped and not started.
    intermediate: str
    #: Ours, beside RQ's: list of ids that a blocking pop of ours moved, until the claim behind it
    #: in the same write, or the next claim of any worker, takes them. A part of the queue, so
    #: like the queue it has no TTL, and it is empty but for moments.
    popped: str
    #: RQ: zset `<job>:<execution>` -> expiry in s, the started jobs.
    started: str
    #: RQ: zset job -> expiry in s.
    finished: str
    #: RQ: zset job -> expiry in s.
    failed: str
    #: RQ: set of worker keys that listen to the queue.
    rq_workers: str
    #: Ours: zset worker's token -> end of its lease (Redis' clock, ms); TTL a day.
    leases: str
    #: Ours: hash, what ready workers announce: function, limits, and the offer of one whose model
    #: is quick; expires with the last of them.
    announcement: str
    #: Ours: zset worker name -> end of its announcement (Redis' clock, ms); expires with it.
    ready: str
    #: Ours: hash worker name -> questions a second that it can answer; expires with `ready`.
    rates: str
    #: Ours: in front of the lists `:high`, `:normal` and `:low` of lanes in which questions wait.
    #: A part of the queue, so like the queue they have no TTL; see lua/lanes.lua.
    lanes: str
    #: Ours: hash of counters; TTL a day after the last count.
    metrics: str
    #: Ours: set of jobs that ended while others began to depend on them, until those are on their
    #: queues; TTL a day after the last one.
    parents: str
    #: Ours: string, there while an id that was asked anew may be of a question that runs; TTL 10 s.
    anew: str


@functools.lru_cache(maxsize=256)
def of_task(task: str) -> TaskKeys:
    """The keys of the task with this name."""
    queue = f"{PREFIX}:queue:{task}"
    return TaskKeys(
        queue=queue,
        intermediate=f"{queue}:intermediate",
        popped=f"{queue}:popped",
        started=f"{PREFIX}:wip:{task}",
        finished=f"{PREFIX}:finished:{task}",
        failed=f"{PREFIX}:failed:{task}",
        rq_workers=f"{PREFIX}:workers:{task}",
        leases=f"{OWN}:leases:{task}",
        announcement=f"{OWN}:task:{task}",
        ready=f"{OWN}:ready:{task}",
        rates=f"{OWN}:rates:{task}",
        lanes=f"{OWN}:lanes:{task}",
        metrics=f"{OWN}:metrics:{task}",
        parents=f"{OWN}:parents:{task}",
        anew=f"{OWN}:anew:{task}",
    )


def reply(job_id: str) -> str:
    """Ours: list with the reply to one question; expires after reply_ttl_s, or when it is read."""
    return f"resident:reply:{job_id}"


def asked(job_id: str) -> str:
    """Ours: string, digest of what was asked with an id of the caller's own; budget and 2 h."""
    return f"resident:asked:{job_id}"


def cancelled(job_id: str) -> str:
    """Ours: string, which call cancelled the question; expires reply_ttl_s after it."""
    return f"resident:cancelled:{job_id}"


def mailbox(token: str) -> str:
    """Ours: list of the replies to one caller's questions; expires reply_ttl_s after the last.

    Takes 32 hex digits that no other caller has.
    """
    return f"resident:mailbox:{token}"


def reading(job_id: str) -> str:
    """Ours: string, there while somebody reads the stream of one question; expires after 15 s."""
    return f"resident:reading:{job_id}"


def results(job_id: str) -> str:
    """RQ: stream of a job's results; expires with the job."""
    return f"{PREFIX}:results:{job_id}"


def executions(job_id: str) -> str:
    """RQ: zset execution -> expiry in s, of runs that last a second or more; expires with them."""
    return f"{PREFIX}:executions:{job_id}"


def execution(job_id: str, execution_id: str) -> str:
    """RQ: hash, the record of one such run; expires as the job may be thought abandoned."""
    return f"{PREFIX}:execution:{job_id}:{execution_id}"


def dependents(job_id: str) -> str:
    """RQ: set of jobs that wait for this one's end; never expires."""
    return f"{JOB}{job_id}:dependents"


def dependencies(job_id: str) -> str:
    """RQ: set of jobs that this one waited for, expires with it; the two colons are RQ's."""
    return f"{JOB}:{job_id}:dependencies"


def common(task: str, failure_ttl: int, token: str = "") -> str:
    """Ours: hash, the fields that all jobs of a task have in common; expires a minute later.

    With a worker's token those of jobs that were handed to it.
    """
    common = f"{OWN}:common:{task}:{failure_ttl}"
    return f"{common}:{token}" if token else common


def hand(token: str) -> str:
    """Ours: the channel on which a worker is told of a question that it was handed."""
    return f"{OWN}:hand:{token}"


def worker_executions(name: str) -> str:
    """RQ: set of `<job>:<execution>` that the worker has been running for a second or more."""
    return f"{WORKER}{name}:executions"


def is_mailbox(key: str) -> bool:
    """Whether the key is one that a caller may name as the place for its replies."""
    return _MAILBOX.fullmatch(key) is not None
