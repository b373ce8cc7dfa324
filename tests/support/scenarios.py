"""Plays the scenarios of tests/contract/vectors/scenarios.json.

tests/php/Support/Scene.php and Calls.php do the same for PHP.

A new kind of call is a method of `Calls`, a new thing that happens beside it one of `Scene`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from redis import Redis

from enqueue_api.async_client import AsyncClient
from enqueue_api.async_stream import AsyncStream
from enqueue_api.client import Client
from enqueue_api.outcome import Outcome
from resident import keys
from resident.errors import ResidentError
from tests.support.vectors import value_of
from tests.support.waiting import wait_until

Step = dict[str, Any]
Result = dict[str, Any]

BUDGET_MS = 5_000
#: Over the budget; what a machine that has other things to do may add is much more than ours.
OVER_MS = 50 + 450

#: Lays a reply where it is waited for and ends its job, as a worker does: all at once, and after a
#: first write that needs no memory, so that a Redis which is full takes it.
_ANSWER = """
redis.call('DEL', '')
redis.call('RPUSH', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[1], 60000)
if KEYS[2] then redis.call('HSET', KEYS[2], 'status', 'finished') end
"""


class Asker(Protocol):
    """What both clients can do."""

    def ask(self, *args: Any, **kwargs: Any) -> Any: ...
    def ask_many(self, *args: Any, **kwargs: Any) -> Any: ...
    def submit(self, *args: Any, **kwargs: Any) -> Any: ...
    def wait(self, *args: Any, **kwargs: Any) -> Any: ...
    def cancel(self, *args: Any, **kwargs: Any) -> Any: ...
    def stream(self, *args: Any, **kwargs: Any) -> Any: ...
    def close(self) -> Any: ...


class Calls:
    """The steps that call a client."""

    NAMES = ("ask", "ask_many", "submit", "wait", "cancel", "stream")

    def __init__(self, open_client: Callable[[], Asker]) -> None:
        self._open_client = open_client

    def result_of(self, step: Step) -> Result:
        """What came of a call, and that it came in time."""
        began = time.monotonic()
        try:
            result = asyncio.run(self._call(step))
        except ResidentError as error:
            result = _result_of(error)
        took_ms = (time.monotonic() - began) * 1000
        budget_ms = value_of(step.get("budget_ms", BUDGET_MS))
        if isinstance(budget_ms, int):
            assert took_ms < max(budget_ms, 0) + OVER_MS, f"{step} took {took_ms:.0f} ms"
        return result

    async def _call(self, step: Step) -> Result:
        client = self._open_client()
        try:
            budget_ms = value_of(step.get("budget_ms", BUDGET_MS))
            return await getattr(self, step["do"])(client, step, budget_ms)
        finally:
            await _come(client.close())

    async def ask(self, client: Asker, step: Step, budget_ms: Any) -> Result:
        question = value_of(step["question"])
        asked = client.ask(
            step["task"], question, budget_ms, job_id=step.get("id"), **_lane_in(step)
        )
        return _result_of(await _come(asked))

    async def ask_many(self, client: Asker, step: Step, budget_ms: Any) -> Result:
        questions = value_of(step["questions"])
        asked = client.ask_many(step["task"], questions, budget_ms, **_lane_in(step))
        return {"outcomes": [_result_of(one) for one in await _come(asked)]}

    async def submit(self, client: Asker, step: Step, budget_ms: Any) -> Result:
        question = value_of(step["question"])
        asked = client.submit(
            step["task"], question, budget_ms, job_id=step.get("id"), **_lane_in(step)
        )
        return {"id": await _come(asked)}

    async def wait(self, client: Asker, step: Step, budget_ms: Any) -> Result:
        return _result_of(await _come(client.wait(step["id"], budget_ms)))

    async def cancel(self, client: Asker, step: Step, _budget_ms: Any) -> Result:
        return {"cancelled": await _come(client.cancel(step["id"]))}

    async def stream(self, client: Asker, step: Step, budget_ms: Any) -> Result:
        """Reads to the end, or leaves after so many deltas."""
        asked = client.stream(step["task"], value_of(step["question"]), budget_ms, **_lane_in(step))
        stream, deltas = await _come(asked), []
        most = step.get("leave_after", sys.maxsize)
        try:
            while len(deltas) < most:
                deltas.append(await _next(stream))
            await _come(stream.aclose() if isinstance(stream, AsyncStream) else stream.close())
        except ResidentError as error:
            return {"deltas": deltas, **_result_of(error)}
        except StopAsyncIteration:
            answer = stream.answer() if isinstance(stream, AsyncStream) else stream.answer
            return {"deltas": deltas, **_result_of(await _come(answer))}
        return {"deltas": deltas}


def _lane_in(step: Step) -> dict[str, str]:
    return {name: step[name] for name in ("priority", "tenant") if name in step}


async def _next(stream: Any) -> str:
    if isinstance(stream, AsyncStream):
        return await anext(stream)
    try:
        return str(next(stream))
    except StopIteration:
        raise StopAsyncIteration from None


async def _come(value: Any) -> Any:
    return await value if asyncio.iscoroutine(value) else value


def _result_of(outcome: Outcome) -> Result:
    if isinstance(outcome, ResidentError):
        return {"error": outcome.code.value}
    return {"answer": outcome.answer}


def opener(kind: str, url: str) -> Callable[[], Asker]:
    """Makes clients of this kind."""
    return (lambda: Client(url)) if kind == "Client" else (lambda: AsyncClient(url))


class Scene:
    """One scenario on its stage; `redis` is what the test sees of it, if there is one."""

    def __init__(self, calls: Calls, redis: Redis | None) -> None:
        self._calls = calls
        self._redis = redis
        self._names = {"$new": uuid.uuid4().hex, "$new64": uuid.uuid4().hex * 2}
        self._names |= {f"$new-{n}": uuid.uuid4().hex for n in range(1, 5)}
        self._folder = tempfile.TemporaryDirectory()
        self._names |= {f"$file-{n}": f"{self._folder.name}/{n}" for n in (1, 2)}
        self._callers: dict[str, tuple[threading.Thread, list[Result]]] = {}

    def play(self, steps: list[Step]) -> None:
        try:
            for step in steps:
                self._play_one(self._named(step))
        finally:
            self._folder.cleanup()
            if self._redis is not None:
                self.change({"state": "well"})

    def _play_one(self, step: Step) -> None:
        if step["do"] in Calls.NAMES:
            self._compare(step, self._calls.result_of(step))
        else:
            verb = {"check": "check_queue", "redis": "change"}.get(step["do"], step["do"])
            getattr(self, verb)(step)

    def begin(self, step: Step) -> None:
        results: list[Result] = []
        call = step["call"]
        caller = threading.Thread(target=lambda: results.append(self._calls.result_of(call)))
        self._callers[step["name"]] = (caller, results)
        caller.start()

    def end(self, step: Step) -> None:
        caller, results = self._callers.pop(step["name"])
        caller.join(20)
        assert results, "it did not end"
        self._compare(step, results[0])

    def announce(self, step: Step) -> None:
        of = keys.of_task(step["task"])
        self.redis.zadd(keys.TASKS, {step["task"]: (self.redis.time()[0] + 60) * 1000})
        said = {name: step[name] for name in ("rate", "model_ms") if name in step}
        said["max_backlog"] = step.get("max_backlog", 1000)
        self.redis.hset(of.announcement, mapping=said)

    def fill(self, step: Step) -> None:
        ids = [f"filled-{number}" for number in range(step["jobs"])]
        self.redis.rpush(keys.of_task(step["task"]).queue, *ids)

    def work(self, step: Step) -> None:
        """Answers the next question that waits; an id whose hash is gone is passed over."""
        job_id = wait_until(lambda: self._next_job(step["task"])).decode()
        job = f"{keys.JOB}{job_id}"
        reply_to = (self.redis.hget(job, "reply_to") or keys.reply(job_id).encode()).decode()
        self._push(step, job_id, reply_to, job)

    def claim(self, step: Step) -> None:
        """Takes this id off its queue as a worker does that begins to run it."""
        assert self.redis.lrem(keys.of_task(step["task"]).queue, 1, step["id"]) == 1
        self.redis.hset(f"{keys.JOB}{step['id']}", "status", "started")

    def _next_job(self, task: str) -> bytes | None:
        job_id = self.redis.lpop(keys.of_task(task).queue)
        is_there = job_id and self.redis.exists(f"{keys.JOB}{job_id.decode()}")
        return job_id if is_there else None

    def reply(self, step: Step) -> None:
        key = keys.reply(step["id"])
        if "string" in step:
            self.redis.set(key, step["string"])
        elif "payload" in step:
            self.redis.rpush(key, step["payload"])
        else:
            self._push(step, step["id"], key)

    def _push(self, step: Step, job_id: str, *keys: str) -> None:
        said = {"ok": True, "answer": step.get("answer"), "ms": {"queued": 1.5, "model": 2.5}}
        if "error" in step:
            said = {"ok": False, "error": {"code": step["error"], "message": "So it is."}}
        self.redis.eval(_ANSWER, len(keys), *keys, json.dumps({"v": 1, "id": job_id, **said}))

    def forget(self, step: Step) -> None:
        self.redis.delete(keys.reply(step["id"]))

    def gone(self, step: Step) -> None:
        wait_until(lambda: not self.redis.exists(f"{keys.JOB}{step['id']}"))

    def touch(self, step: Step) -> None:
        Path(step["file"]).touch()

    def touched(self, step: Step) -> None:
        wait_until(Path(step["file"]).exists)

    def runs(self, step: Step) -> None:
        wait_until(lambda: self.redis.hget(f"{keys.JOB}{step['id']}", "status") == b"started")

    def order(self, step: Step) -> None:
        """In which the questions with these ids were answered, each with the time."""
        moments = {}
        for job_id in step["ids"]:
            key = keys.reply(job_id)
            reply = json.loads(wait_until(lambda key=key: self.redis.lindex(key, 0)))
            moments[job_id] = int(reply["answer"])
        assert sorted(moments, key=moments.__getitem__) == step["ids"]

    def check_queue(self, step: Step) -> None:
        queue = keys.of_task(step["task"]).queue + step.get("lane", "")
        wait_until(lambda: self.redis.llen(queue) == step["waiting"])

    def callers(self, step: Step) -> None:
        wait_until(lambda: len(self._blocked()) == step["waiting"])

    def refuses(self, _step: Step) -> None:
        wait_until(lambda: "errorstat_OOM" in self.redis.info("errorstats"))

    def change(self, step: Step) -> None:
        if step["state"] == "cuts":
            for client_id in self._blocked():
                self.redis.client_kill_filter(_id=client_id)
        elif step["state"] == "full":
            self.redis.config_resetstat()
            self.redis.config_set("maxmemory", "1")
        elif step["state"] == "read-only":
            self.redis.execute_command("REPLICAOF", "127.0.0.1", "1")
        else:
            self.redis.execute_command("REPLICAOF", "NO", "ONE")
            self.redis.config_set("maxmemory", "0")

    def _blocked(self) -> list[str]:
        return [one["id"] for one in self.redis.client_list() if "b" in one["flags"]]

    @property
    def redis(self) -> Redis:
        assert self._redis is not None, "there is no Redis in this scenario"
        return self._redis

    def _named(self, step: Any) -> Any:
        if isinstance(step, dict):
            return {key: self._named(value) for key, value in step.items()}
        if isinstance(step, list):
            return [self._named(one) for one in step]
        return self._names.get(step, step) if isinstance(step, str) else step

    def _compare(self, step: Step, result: Result) -> None:
        expected = dict(value_of(step["expect"]))
        expected.pop("byte", None)  # of a text that is not UTF-8, which Python has none of
        if expected == {"id": "$any"}:
            self._names[step["keep"]] = result["id"]
        else:
            assert result == expected, step
