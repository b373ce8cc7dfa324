"""Redis keys."""

from __future__ import annotations

import re
from dataclasses import astuple
from pathlib import Path

import pytest
from redis import Redis
from rq import Queue
from rq.executions import Execution, ExecutionRegistry
from rq.intermediate_queue import IntermediateQueue
from rq.job import Job
from rq.registry import FailedJobRegistry, FinishedJobRegistry, StartedJobRegistry
from rq.results import Result
from rq.suspension import WORKERS_SUSPENDED
from rq.worker import Worker
from rq.worker_registration import WORKERS_BY_QUEUE_KEY

from resident import keys

FAQ = keys.of_task("faq")
#: A text of a script from which it makes the name of a key.
PART_OF_A_NAME = re.compile(r"'(:?(?:[a-z]+:+)+|(?:[a-z]*:)+[a-z]+)'")


def test_rqs_keys_are_where_rq_looks_for_them() -> None:
    assert FAQ.queue == f"{Queue.redis_queue_namespace_prefix}faq"
    assert FAQ.intermediate == IntermediateQueue.get_intermediate_queue_key(FAQ.queue)
    assert FAQ.started == StartedJobRegistry.key_template.format("faq")
    assert FAQ.finished == FinishedJobRegistry.key_template.format("faq")
    assert FAQ.failed == FailedJobRegistry.key_template.format("faq")
    assert FAQ.rq_workers == WORKERS_BY_QUEUE_KEY % "faq"
    assert Queue.redis_queues_keys == keys.QUEUES
    assert WORKERS_SUSPENDED == keys.SUSPENDED
    assert Job.redis_job_namespace_prefix == keys.JOB
    assert Worker.redis_worker_namespace_prefix == keys.WORKER
    assert keys.results("x") == Result.get_key("x")
    assert keys.executions("x") == ExecutionRegistry.key_template.format("x")
    assert keys.execution("x", "e") == Execution("e", "x", Redis()).key
    assert keys.dependents("x") == Job.dependents_key_for("x")
    assert keys.dependencies("x") == Job("x", Redis()).dependencies_key


def test_every_name_that_a_script_makes_itself_stands_here() -> None:
    known = Path(keys.__file__).read_text("utf-8")
    made = {
        part.strip(":")
        for script in (Path(keys.__file__).parent / "lua").glob("*.lua")
        for part in PART_OF_A_NAME.findall(re.sub("--.*", "", script.read_text("utf-8")))
    }
    assert {"failed", "metrics", "parents", "dependencies", "hand"} <= made
    words = {word for name in made for word in re.split(":+", name)} - {"resident"}
    assert not [word for word in words if not re.search(rf"[:`]{word}\b", known)]


def test_every_key_that_is_not_rqs_begins_with_resident() -> None:
    ours = [key for key in astuple(FAQ) if not key.startswith(f"{keys.PREFIX}:")]
    ours += [keys.TASKS, keys.reply("x"), keys.asked("x")]
    assert len(ours) == 11
    assert all(key.startswith("resident:") for key in ours)


def test_no_two_keys_of_a_task_are_the_same_and_no_two_tasks_share_one() -> None:
    both = astuple(FAQ) + astuple(keys.of_task("echo"))
    assert len(set(both)) == len(both)


@pytest.mark.parametrize("key", [f"resident:mailbox:{'0a' * 16}"])
def test_a_mailbox_is_32_hex_digits_behind_its_prefix(key: str) -> None:
    assert keys.is_mailbox(key)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "resident:mailbox:",
        f"resident:mailbox:{'0' * 31}",
        f"resident:mailbox:{'0' * 33}",
        f"resident:mailbox:{'A' * 32}",
        f"resident:mailbox:{'0' * 32}\n",
        f" resident:mailbox:{'0' * 32}",
        "rq:queue:faq",
    ],
)
def test_nothing_else_is_a_mailbox(key: str) -> None:
    assert not keys.is_mailbox(key)
