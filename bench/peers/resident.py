"""Resident, as `python worker.py TASK` serves it; BENCH_TASK names the task, echo by default.

Tasks of bench/tasks/ may be named besides those of tasks/.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import hiredis

from bench.load import Ids, Link, RedisLink
from bench.peer import QUESTION
from bench.relay import Relay
from resident import keys, names, protocol, redis_client

URL = os.environ["BENCH_URL"]
TASK = os.environ.get("BENCH_TASK", "echo")
#: What tasks that do not echo are asked, by turns; a costly question is its own length.
_QUESTIONS: dict[str, list[Any]] = {
    "faq": ["今天几点开门？", "Do you ship abroad?", "可以开发票吗", "Is there parking nearby?"],
    "costly": [[length] for length in (3, 40, 5, 12, 2, 25, 7, 18)],
}
#: Callers with less than the default are those who may be refused, or wait in vain.
_BUDGET_MS = int(os.environ.get("BENCH_BUDGET_MS", "60000"))
_IS_PATIENT = "BENCH_BUDGET_MS" not in os.environ
_TTL_MS = 600_000
_AT_ONCE = 5_000
#: What `MULTI; HSET; PEXPIRE; RPUSH; EXEC` would do, where it takes no time to send.
_FILL = """
for number = 1, tonumber(ARGV[1]) do
  local id = ARGV[2] .. string.format('%08x', number)
  redis.call('HSET', KEYS[1] .. id, unpack(ARGV, 4))
  redis.call('PEXPIRE', KEYS[1] .. id, ARGV[3])
  redis.call('RPUSH', KEYS[2], id)
end
"""
#: What settle leaves of an answered question, for _TTL_MS.
_FINISH = """
local now = redis.call('TIME')[1]
for number = 1, tonumber(ARGV[1]) do
  local id = ARGV[2] .. string.format('%08x', number)
  redis.call('HSET', KEYS[1] .. id, 'status', 'finished', 'origin', 'echo', 'data', ARGV[4],
    'created_at', '2026-11-23T08:09:10.000001Z', 'enqueued_at', '2026-11-23T08:09:10.000001Z',
    'started_at', '2026-11-23T08:09:10.000001Z', 'ended_at', '2026-11-23T08:09:10.000001Z')
  redis.call('PEXPIRE', KEYS[1] .. id, ARGV[3])
  redis.call('XADD', KEYS[2] .. id, '*', 'type', 1, 'return_value', ARGV[4])
  redis.call('PEXPIRE', KEYS[2] .. id, ARGV[3])
  redis.call('ZADD', KEYS[3], now + ARGV[3] / 1000, id)
end
"""


def serve() -> None:
    """The product's own command line."""
    import tasks
    import worker

    tasks.__path__.append(str(Path(__file__).parent.parent / "tasks"))
    worker.main([TASK])


def ask(question: str) -> Any:
    """One question through the Python client; what does not echo is asked a question of its own."""
    if TASK in _QUESTIONS:
        _client().ask(TASK, _QUESTIONS[TASK][0])
        return question
    return _client().ask(TASK, question).answer


def links(callers: int) -> list[Link]:
    """For the load generator: what the client sends, word for word, with ids of its own."""
    recorded = [_recorded(question) for question in _QUESTIONS.get(TASK, [QUESTION])]
    templates = [(packed, job_id) for packed, job_id, _ in recorded]
    [answers] = {answers for _, _, answers in recorded}
    ids = Ids()
    made: list[Link] = []
    for _ in range(callers):
        made.append(RedisLink(URL, templates, answers, is_right, ids))
        templates.append(templates.pop(0))  # so that not all ask the same at once
    return made


def is_right(answer: Any, job_id: bytes) -> int:
    """Raises ValueError unless it is this question's answer; returns the batch's size.

    Of callers who are not patient 0 says that there was none.
    """
    payload = bytes(answer[1]) if answer else b""
    if not _IS_PATIENT and b'"ok":true' not in payload:
        return 0
    if job_id not in payload or b'"ok":true' not in payload:
        msg = f"no answer: {payload[:200]!r}"
        raise ValueError(msg)
    return int(payload.rpartition(b'"batch":')[2].rstrip(b"}").partition(b",")[0])


def fill(count: int) -> int:
    """Puts questions on the queue, with the fields that the clients write."""
    of = keys.of_task(TASK)
    fields = {
        "data": protocol.encode_job_data(TASK, QUESTION, 1_000),
        "origin": TASK,
        "description": f"{names.function_name(TASK)}(…)",
        "status": "queued",
        "created_at": "2026-11-23T08:09:10.000001Z",
        "enqueued_at": "2026-11-23T08:09:10.000001Z",
        "failure_ttl": 604_800,
        "asked": "new",
        "success_callback_name": protocol.SUCCESS_CALLBACK,
        "failure_callback_name": protocol.FAILURE_CALLBACK,
    }
    flat = [value for pair in fields.items() for value in pair]
    with redis_client.connect(URL) as connection:
        connection.sadd(keys.QUEUES, of.queue)
        for start in range(0, count, _AT_ONCE):
            many = min(_AT_ONCE, count - start)
            prefix = protocol.new_id()[:24]
            connection.eval(_FILL, 2, keys.JOB, of.queue, many, prefix, _TTL_MS, *flat)
    return count


def fill_finished(count: int) -> int:
    """Leaves as many jobs behind as if they had been answered."""
    of = keys.of_task(TASK)
    with redis_client.connect(URL) as connection:
        for start in range(0, count, _AT_ONCE):
            prefix = protocol.new_id()[:24]
            many = min(_AT_ONCE, count - start)
            left = (keys.JOB, keys.results(""), of.finished)
            connection.eval(_FINISH, 3, *left, many, prefix, _TTL_MS, QUESTION)
    return count


def submit(count: int) -> int:
    """One pipelined submission through the Python client."""
    ids = _client().submit_many(TASK, [QUESTION] * count, budget_ms=_TTL_MS)
    return len(ids)


_clients: list[Any] = []


def _client() -> Any:
    from enqueue_api.client import Client

    if not _clients:
        _clients.append(Client(URL))
    return _clients[0]


def _recorded(question: Any) -> tuple[bytes, bytes, int]:
    """What the client sends for one question, packed; the id in it; how many commands it is.

    Raises:
        ValueError: Ids of another length would be too long or too short for the packed bytes.
    """
    from enqueue_api.client import Client

    with Relay(URL) as relay, Client(relay.url) as client:
        job_id = client.ask(TASK, question, _BUDGET_MS).id.encode()
        heard = relay.commands()
    asking = [each for each in heard if any(job_id in word for word in each)]
    if len(job_id) != len(Ids().next()):
        msg = f"the client makes ids of {len(job_id)} characters"
        raise ValueError(msg)
    packed = [hiredis.pack_command(each) for each in asking]  # type: ignore[arg-type]
    return b"".join(packed), job_id, len(asking)
