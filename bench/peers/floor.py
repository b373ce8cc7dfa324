"""The least that leaves RQ's books behind: no checks, no refusals, no deadlines, no library.

What it writes is what RQ's own worker leaves of such a job: each field of its hash that has a
value, in three states, the started and the finished registry, the result with its execution; and
the reply. All goes out in one call of a script a batch, packed by hiredis: what a ratio to the bare
loop can be at best.
"""

from __future__ import annotations

import base64
import json
import os
import time
from pathlib import Path
from typing import Any

import hiredis

from bench import stopwatch
from bench.load import Ids, Link, RedisLink
from bench.peer import QUESTION
from bench.peers.bare import URL, RawRedis

_ids = Ids()
_PLACEHOLDER = b"f" * 32
_MOST = 128
#: Seconds that a finished job is kept, as Resident's setting says.
_RESULT_TTL = int(os.environ.get("RESIDENT_RESULT_TTL", "500"))
_STAMP = "%Y-%m-%dT%H:%M:%S.000000Z"

_ASK = Path(__file__).with_name("floor_ask.lua").read_text(encoding="utf-8")
# KEYS: none. ARGV: most to claim, expiry in s, stamp, seconds to keep a finished job, then id,
# reply and result of each that ends.
TURN = """
local ids, finished = {}, {}
for i = 5, #ARGV, 3 do
  local id = ARGV[i]
  local job, reply, results = 'rq:job:' .. id, 'floor:reply:' .. id, 'rq:results:' .. id
  redis.call('RPUSH', reply, ARGV[i + 1])
  redis.call('PEXPIRE', reply, 60000)
  if ARGV[4] == '0' then
    redis.call('DEL', job)
  else
    redis.call('HSET', job, 'status', 'finished', 'ended_at', ARGV[3])
    redis.call('EXPIRE', job, ARGV[4])
    redis.call('XADD', results, '*', 'type', '1', 'worker_name', 'resident-floor-host-1234',
      'execution_id', id, 'execution_started_at', ARGV[2], 'execution_ended_at', ARGV[2],
      'return_value', ARGV[i + 2])
    redis.call('EXPIRE', results, ARGV[4])
    finished[#finished + 1] = ARGV[2]
    finished[#finished + 1] = id
  end
  ids[#ids + 1] = id .. ':' .. id
end
if #ids > 0 then
  redis.call('ZREM', 'rq:wip:floor', unpack(ids))
end
if #finished > 0 then
  redis.call('ZADD', 'rq:finished:floor', unpack(finished))
end
local waiting = tonumber(ARGV[1]) > 0 and redis.call('LPOP', 'rq:queue:floor', ARGV[1])
if not waiting then
  return {}
end
local found, started = {}, {}
for number, id in ipairs(waiting) do
  local job = 'rq:job:' .. id
  found[number] = {id, redis.call('HGET', job, 'data')}
  redis.call('HSET', job, 'status', 'started', 'started_at', ARGV[3], 'last_heartbeat', ARGV[3],
    'worker_name', 'resident-floor-host-1234')
  redis.call('PERSIST', job)
  started[#started + 1] = ARGV[2]
  started[#started + 1] = id .. ':' .. id
end
redis.call('ZADD', 'rq:wip:floor', unpack(started))
return found
"""


def serve() -> None:
    """Answers what is on the queue until it is ended."""
    redis = RawRedis(URL)
    [turn] = redis.call(("SCRIPT", "LOAD", TURN))
    held: list[Any] = []
    while True:
        if held:
            stopwatch.answered(len(held))
        [held] = redis.call(turn_command(turn, _MOST, held))
        if not held:
            wait = ("BLMOVE", "rq:queue:floor", "rq:queue:floor", "LEFT", "LEFT", 0)
            _, held = redis.call(wait, turn_command(turn, _MOST, []))


def turn_command(script: bytes, most: int, held: list[Any]) -> tuple[Any, ...]:
    """Settles what is held, and claims at most so many."""
    ended: list[Any] = []
    for job_id, data in held:
        ended += (job_id, b'{"v":1,"id":"%s","answer":%s}' % (job_id, data))
        ended.append(base64.b64encode(data))
    stamp, expiry = time.strftime(_STAMP, time.gmtime()), int(time.time()) + 500
    return ("EVALSHA", script, 0, most, expiry, stamp, _RESULT_TTL, *ended)


def _commands(job_id: bytes, script: bytes) -> tuple[tuple[Any, ...], ...]:
    stamp = time.strftime(_STAMP, time.gmtime())
    ask = ("EVALSHA", script, 0, job_id, stamp, b'"%s"' % QUESTION.encode())
    return ask, ("BLPOP", b"floor:reply:" + job_id, "5")


_caller: list[tuple[RawRedis, bytes]] = []


def ask(question: str) -> str:
    """One question."""
    redis, script = _connected()
    _, (_, reply) = redis.call(*_commands(_ids.next(), script))
    return str(json.loads(reply)["answer"])


def submit(count: int) -> int:
    """Many questions in one write, as a client sends them."""
    redis, script = _connected()
    redis.call(*[_commands(_ids.next(), script)[0] for _ in range(count)])
    return count


def _connected() -> tuple[RawRedis, bytes]:
    """The caller's kept connection, and the name of its script."""
    if not _caller:
        redis = RawRedis(URL)
        _caller.append((redis, redis.call(("SCRIPT", "LOAD", _ASK))[0]))
    return _caller[0]


def links(callers: int) -> list[Link]:
    """For the load generator."""
    [script] = RawRedis(URL).call(("SCRIPT", "LOAD", _ASK))

    def is_right(answer: Any, job_id: bytes) -> int:
        if not answer or job_id not in answer[1]:
            raise ValueError(repr(answer))
        return 0

    packed = b"".join(hiredis.pack_command(each) for each in _commands(_PLACEHOLDER, script))
    return [RedisLink(URL, [(packed, _PLACEHOLDER)], 2, is_right, _ids) for _ in range(callers)]


def fill(count: int) -> int:
    """Puts questions on the queue."""
    redis = RawRedis(URL)
    [script] = redis.call(("SCRIPT", "LOAD", _ASK))
    for start in range(0, count, 100):
        many = range(min(100, count - start))
        redis.call(*[_commands(_ids.next(), script)[0] for _ in many])
    return count
