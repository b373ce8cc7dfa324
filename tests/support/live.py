"""A worker that is up, a Redis that anybody may write to, and what must hold after each attack."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import redis

from resident import keys
from resident.names import function_name
from resident.protocol import FAILURE_CALLBACK, SUCCESS_CALLBACK
from tests.support.processes import ROOT, Processes
from tests.support.waiting import wait_until

BUDGET_MS = 20_000
Fields = dict[str, Any]


def call_data(*call: Any) -> bytes:
    """RQ job data."""
    return json.dumps(call).encode()


def start_worker(
    processes: Processes,
    connection: redis.Redis,
    output: Path,
    *arguments: str,
    folder: Path = ROOT,
    **environment: str,
) -> subprocess.Popen[str]:
    """Starts a worker that writes what it has to say into a file, as much as it likes."""
    shell = 'output=$1; shift; exec "$0" worker.py "$@" >"$output" 2>&1'
    command = ("sh", "-c", shell, sys.executable, str(output), *arguments)
    process = processes.start(*command, folder=folder, **environment)
    of = keys.of_task(arguments[0].partition("=")[0])
    wait_until(lambda: process.poll() is not None or connection.exists(of.ready))
    assert process.poll() is None, output.read_text()
    return process


class Live:
    """Writes jobs of one task straight into Redis, as any of its users can."""

    def __init__(self, connection: redis.Redis, task: str = "echo") -> None:
        self.connection = connection
        self.task = task
        self.of = keys.of_task(task)

    def fields(self, question: Any = "?") -> Fields:
        """The hash of a good question."""
        return {
            "data": call_data(function_name(self.task), None, [question], {}),
            "origin": self.task,
            "status": "queued",
            "created_at": "2026-11-23T08:09:10.000001Z",
            "enqueued_at": "2026-11-23T08:09:10.000001Z",
            "failure_ttl": "60",
            "success_callback_name": SUCCESS_CALLBACK,
            "failure_callback_name": FAILURE_CALLBACK,
        }

    def put(self, *hashes: Fields) -> list[str]:
        """Puts jobs on the queue in one step, so that they meet in one batch."""
        ids = [uuid.uuid4().hex for _ in hashes]
        self.put_as(ids, *hashes)
        return ids

    def put_as(self, ids: list[str], *hashes: Fields) -> None:
        """The same with ids of one's own."""
        with self.connection.pipeline() as pipeline:
            for job_id, fields in zip(ids, hashes, strict=True):
                pipeline.hset(f"{keys.JOB}{job_id}", mapping=fields)
                pipeline.pexpire(f"{keys.JOB}{job_id}", BUDGET_MS)
            pipeline.rpush(self.of.queue, *ids)
            pipeline.execute()

    def reply(self, job_id: str) -> dict[str, Any]:
        """The one reply to a question."""
        key = keys.reply(job_id)
        # Not in one BLPOP: a busy machine may take longer than the connection waits for an answer.
        wait_until(lambda: self.connection.llen(key))
        (payload,) = self.connection.lpop(key, 2)
        reply: dict[str, Any] = json.loads(payload)
        assert reply["id"] == job_id
        return reply

    def error_code(self, job_id: str) -> str:
        """The code of the error that a question was answered with."""
        reply = self.reply(job_id)
        assert not reply["ok"], reply
        return str(reply["error"]["code"])

    def answer(self, job_id: str) -> Any:
        """The answer to a question."""
        reply = self.reply(job_id)
        assert reply["ok"], reply
        return reply["answer"]

    def answers_one(self) -> None:
        """The worker answers a good question."""
        (good,) = self.put(self.fields("still there?"))
        assert self.answer(good) == "still there?"

    def check_that_it_serves(self) -> None:
        """The worker answers the next good question, and has left nothing behind."""
        self.answers_one()
        try:
            wait_until(lambda: not self.left_behind())
        except AssertionError:
            raise AssertionError(self.left_behind()) from None

    def is_finished(self, job_id: str) -> bool:
        """Whether RQ has the job in its registry of finished ones."""
        try:
            return self.connection.zscore(self.of.finished, job_id) is not None
        except redis.ResponseError:  # another type yet
            return False

    def check_that_answers_come_after(self, job_id: str) -> None:
        """A job that is on the queue now leaves it, and the next question is answered."""
        wait_until(lambda: self.connection.lpos(self.of.queue, job_id) is None)
        self.check_that_it_serves()

    def left_behind(self) -> list[str]:
        """Keys that no finished question should leave."""
        connection, of = self.connection, self.of
        left = [key for key in (of.queue, of.popped, of.intermediate, of.started) if self._has(key)]
        left += [key for key in self._keys(f"{keys.PREFIX}:execution*:*")]
        left += [key for key in self._keys(f"{keys.WORKER}*:executions")]
        left += [key for key in self._keys("resident:*") if connection.ttl(key) == -1]
        return left

    def _has(self, key: str) -> bool:
        return bool(self.connection.exists(key))

    def _keys(self, pattern: str) -> list[str]:
        return [key.decode(errors="replace") for key in self.connection.scan_iter(pattern, 1000)]
