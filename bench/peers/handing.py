"""The floor of a lone question: as bench/peers/floor.py, but handed to a worker that waits for it.

The caller's script writes the question as started and publishes it, so nothing is claimed: two
scripts a question, and again no check, no refusal, no deadline, no library. For one caller.
"""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path

from bench.load import Ids
from bench.peer import QUESTION
from bench.peers.bare import URL, RawRedis

_ids = Ids()
_ID_LENGTH = 32
_EXPIRY_S = 500
_STAMP = "%Y-%m-%dT%H:%M:%S.000000Z"

#: PHP callers send the same.
_ASK = Path(__file__).with_name("handing_ask.lua").read_text(encoding="utf-8")
# KEYS: none. ARGV: id, reply, result, stamp, expiry in s, seconds to keep the job.
_SETTLE = """
local id = ARGV[1]
local job, reply, results = 'rq:job:' .. id, 'floor:reply:' .. id, 'rq:results:' .. id
redis.call('RPUSH', reply, ARGV[2])
redis.call('PEXPIRE', reply, 60000)
redis.call('HSET', job, 'status', 'finished', 'ended_at', ARGV[4])
redis.call('EXPIRE', job, ARGV[6])
redis.call('XADD', results, '*', 'type', '1', 'worker_name', 'resident-floor-host-1234',
  'execution_id', id, 'execution_started_at', ARGV[5], 'execution_ended_at', ARGV[5],
  'return_value', ARGV[3])
redis.call('EXPIRE', results, ARGV[6])
redis.call('ZREM', 'rq:wip:floor', id .. ':' .. id)
redis.call('ZADD', 'rq:finished:floor', ARGV[5], id)
"""


def serve() -> None:
    """Answers what it is handed until it is ended."""
    redis, ear = RawRedis(URL), RawRedis(URL)
    [settle] = redis.call(("SCRIPT", "LOAD", _SETTLE))
    ear.call(("SUBSCRIBE", "floor:hand"))
    while True:
        _, _, message = ear.read()
        job_id, data = message[:_ID_LENGTH], message[_ID_LENGTH:]
        reply = b'{"v":1,"id":"%s","answer":%s}' % (job_id, data)
        stamp, expiry = _stamp(), int(time.time()) + _EXPIRY_S
        ended = (job_id, reply, base64.b64encode(data), stamp, expiry, _EXPIRY_S)
        redis.call(("EVALSHA", settle, 0, *ended))


_caller: list[tuple[RawRedis, bytes]] = []


def ask(question: str) -> str:
    """One question."""
    if not _caller:
        redis = RawRedis(URL)
        _caller.append((redis, redis.call(("SCRIPT", "LOAD", _ASK))[0]))
    redis, script = _caller[0]
    job_id, expiry = _ids.next(), int(time.time()) + _EXPIRY_S
    asked = ("EVALSHA", script, 0, job_id, _stamp(), b'"%s"' % QUESTION.encode(), expiry)
    _, (_, reply) = redis.call(asked, ("BLPOP", b"floor:reply:" + job_id, "5"))
    return str(json.loads(reply)["answer"])


def _stamp() -> str:
    return time.strftime(_STAMP, time.gmtime())
