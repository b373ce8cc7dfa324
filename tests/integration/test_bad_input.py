"""Whatever anybody writes into Redis, the worker answers it and goes on."""

from __future__ import annotations

import json
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from rq.command import send_shutdown_command

from resident import keys
from resident.embedded_redis import EmbeddedRedis
from resident.redis_client import connect
from tests.support.live import Fields, Live, call_data, start_worker
from tests.support.processes import Processes
from tests.support.project import copy_project
from tests.support.waiting import wait_until

ECHO = "tasks.echo.answer"
INVALID, UNKNOWN = "invalid_question", "unknown_task"
#: Sends a job through RQ's own perform_job.
SPECIAL = {"retries_left": "1", "number_of_retries": "1"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path_factory.mktemp("bad-input")) as server:
        yield server


@pytest.fixture(scope="module")
def worker(server: EmbeddedRedis, output: Path) -> Iterator[subprocess.Popen[str]]:
    """One worker that must survive every test of this file."""
    with Processes(server.url) as processes, connect(server.url) as connection:
        yield start_worker(processes, connection, output, "echo")


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bad-input-output") / "worker"


@pytest.fixture
def live(server: EmbeddedRedis, worker: subprocess.Popen[str]) -> Iterator[Live]:
    with connect(server.url) as connection:
        before = worker_names(connection)
        yield Live(connection)
        Live(connection).check_that_it_serves()
        assert worker.poll() is None
        assert worker_names(connection) == before, "the worker died and was replaced"


def worker_names(connection: Redis) -> list[bytes]:
    return list(connection.zrange(keys.of_task("echo").ready, 0, -1))


def bad_and_good(live: Live, bad: Fields) -> str:
    """Puts a bad job among good ones, sees these answered, and returns its id."""
    first, job_id, last = live.put(live.fields("first"), bad, live.fields("last"))
    assert live.answer(first) == "first"
    assert live.answer(last) == "last"
    return job_id


def nested(depth: int) -> bytes:
    return b'["tasks.echo.answer",null,[' + b"[" * depth + b"]" * depth + b"],{}]"


DATA: dict[str, tuple[bytes, str]] = {
    "empty": (b"", INVALID),
    "not_json": (b"what time is it?", INVALID),
    "pickle": (b"\x80\x04\x8c\x05posix\x94.", INVALID),
    "no_list": (b"{}", INVALID),
    "three_parts": (call_data(ECHO, None, ["?"]), INVALID),
    "five_parts": (call_data(ECHO, None, ["?"], {}, 1), INVALID),
    "no_argument": (call_data(ECHO, None, [], {}), INVALID),
    "two_arguments": (call_data(ECHO, None, ["?", "?"], {}), INVALID),
    "keyword_arguments": (call_data(ECHO, None, ["?"], {"questions": 1}), INVALID),
    "an_instance": (call_data("format", "{0.__class__}", ["?"], {}), INVALID),
    "name_is_no_string": (call_data(1, None, ["?"], {}), INVALID),
    "name_is_not_utf_8": (b'["\xff",null,["?"],{}]', INVALID),
    "os_system": (call_data("os.system", None, ["true"], {}), UNKNOWN),
    "builtin": (call_data("builtins.print", None, ["?"], {}), UNKNOWN),
    "eval": (call_data("eval", None, ["1"], {}), UNKNOWN),
    "dots": (call_data("....", None, ["?"], {}), UNKNOWN),
    "no_name": (call_data("", None, ["?"], {}), UNKNOWN),
    "long_name": (call_data("x." * 100_000, None, ["?"], {}), UNKNOWN),
    "another_task": (call_data("tasks.faq.answer", None, ["?"], {}), UNKNOWN),
    "ten_megabytes": (call_data(ECHO, None, ["x" * 10_000_000], {}), INVALID),
    "truncated_zlib": (zlib.compress(call_data(ECHO, None, ["?"], {}))[:-8], INVALID),
    "zlib_bomb": (zlib.compress(bytes(100_000_000), 9), INVALID),
    "not_utf_8": (b'["tasks.echo.answer",null,["\xff\xfe"],{}]', INVALID),
    "nan": (b'["tasks.echo.answer",null,[NaN],{}]', INVALID),
    "huge_number": (b'["tasks.echo.answer",null,[1e999],{}]', INVALID),
    "huge_integer": (b'["tasks.echo.answer",null,[1' + b"0" * 5000 + b"],{}]", INVALID),
    "lone_surrogate": (b'["tasks.echo.answer",null,["\\ud800"],{}]', INVALID),
    "nested": (nested(10_000), INVALID),
    "nested_name": (b"[" * 10_000, INVALID),
}


@pytest.mark.parametrize("name", DATA)
def test_job_data_that_is_no_question_gets_its_error(name: str, live: Live) -> None:
    data, code = DATA[name]
    assert live.error_code(bad_and_good(live, live.fields() | {"data": data})) == code


@pytest.mark.parametrize("name", DATA)
def test_job_data_that_is_no_question_gets_its_error_from_rqs_own_path_too(
    name: str, live: Live
) -> None:
    data, code = DATA[name]
    (job_id,) = live.put(live.fields() | {"data": data} | SPECIAL | {"retries_left": "0x0"})
    assert live.error_code(job_id) == INVALID
    (job_id,) = live.put(live.fields() | {"data": data, "stopped_callback_name": "x"})
    assert live.error_code(job_id) == code


@pytest.mark.parametrize("extra", [{}, SPECIAL], ids=["fast", "special"])
def test_a_compression_bomb_is_not_blown_up(
    extra: Fields, live: Live, worker: subprocess.Popen[str]
) -> None:
    process = Path("/proc") / children_of(worker)[0]
    (process / "clear_refs").write_text("5", "ascii")  # the peak begins anew
    before_kb = memory_kb(process, "VmRSS")
    (job_id,) = live.put(live.fields() | {"data": DATA["zlib_bomb"][0]} | extra)
    assert "at most" in live.reply(job_id)["error"]["message"]
    assert memory_kb(process, "VmHWM") - before_kb < 30_000


def children_of(process: subprocess.Popen[str]) -> list[str]:
    return Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text("ascii").split()


def memory_kb(process: Path, name: str) -> int:
    lines = (process / "status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


UNREADABLE: dict[str, Fields] = {
    "timeout": {"timeout": "soon"},
    "timeout_nan": {"timeout": "nan"},
    "timeout_huge": {"timeout": "9" * 5000},
    "timeout_infinite": {"timeout": "inf"},
    "result_ttl": {"result_ttl": "\x00"},
    "result_ttl_nan": {"result_ttl": "nan"},
    "failure_ttl": {"failure_ttl": b"\xff"},
    "created_at": {"created_at": "yesterday"},
    "enqueued_at": {"enqueued_at": "2026-02-30T00:00:00.000000Z"},
    "dependency_ids": {"dependency_ids": "not JSON"},
    "dependency_ids_bytes": {"dependency_ids": b"\xff"},
    "retries_left": {"retries_left": "many"},
    "repeats_left": {"repeats_left": "\xff"},
    "stopped_callback": {"stopped_callback_name": b"\xff"},
    "success_callback": {"success_callback_name": b"\xff"},
    "special_timeout": SPECIAL | {"timeout": "soon"},
    "special_callback_timeout": SPECIAL | {"success_callback_timeout": "x"},
    "special_status": SPECIAL | {"status": "sulking"},
    "special_ttl": SPECIAL | {"ttl": "nan"},
    "special_intervals": SPECIAL | {"retry_intervals": "{"},
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_hash_that_rq_cannot_read_gets_its_error_and_is_no_job_any_more(
    name: str, live: Live
) -> None:
    job_id = bad_and_good(live, live.fields() | UNREADABLE[name])
    assert live.error_code(job_id) == INVALID
    assert not live.connection.exists(f"{keys.JOB}{job_id}")


def test_a_hash_without_data_gets_its_error(live: Live) -> None:
    for fields in ({"status": "queued"}, {"failure_callback_name": "x.y"}, SPECIAL):
        job_id = bad_and_good(live, dict(fields))
        assert live.error_code(job_id) == INVALID


ANSWERED: dict[str, Fields] = {
    "status": {"status": "sulking"},
    "no_status": {"status": ""},
    "timeout_0": {"timeout": "0"},
    "timeout_negative": {"timeout": "-7"},
    "timeout_a_year": {"timeout": "31536000"},
    "timeout_huge": {"timeout": "9" * 30},
    "ttl_huge": {"result_ttl": "9" * 30, "failure_ttl": "9" * 30},
    "ttl_negative": {"result_ttl": "-5"},
    "callback_timeout": {"success_callback_timeout": "x"},
    "meta": {"meta": b"\x80\x04N."},
    "result": {"result": b"\x80\x04N."},
    "not_a_mailbox": {"reply_to": "rq:queue:echo"},
    "mailbox_of_bytes": {"reply_to": b"resident:mailbox:\xff\x00"},
    "origin": {"origin": "elsewhere", "worker_name": b"\xff"},
    "description": {"description": b"\xff" * 1000},
    "special_timeout_huge": SPECIAL | {"timeout": "9" * 9},
    "special_timeout_endless": SPECIAL | {"timeout": "-1"},
    "special_origin": SPECIAL | {"origin": "elsewhere"},
    "special_no_origin": SPECIAL | {"origin": ""},
    "special_meta": SPECIAL | {"meta": b"\x80\x04N."},
    "webhooks": {"webhooks": "not JSON"},
    "group": {"group_id": "nobody"},
    "stopped_callback": {"stopped_callback_name": "os.system"},
}


@pytest.mark.parametrize("name", ANSWERED)
def test_junk_in_a_field_that_an_answer_does_not_need_costs_no_answer(
    name: str, live: Live
) -> None:
    (job_id,) = live.put(live.fields("hey") | ANSWERED[name])
    assert live.answer(job_id) == "hey"
    for key in live.connection.keys("*elsewhere*") + live.connection.keys("*[0-9]:elsewhere"):
        live.connection.delete(key)


def test_a_job_whose_timeout_no_clock_can_count_gets_its_error(live: Live) -> None:
    (job_id,) = live.put(live.fields() | SPECIAL | {"timeout": "9" * 30})
    assert not live.reply(job_id)["ok"]


@pytest.mark.parametrize("question", [1, None, {"text": "hey"}, ["hey"], True])
def test_a_question_of_another_type_does_not_spoil_its_batch(
    question: Any, live: Live, strict: Live
) -> None:
    first, bad, last = strict.put(*map(strict.fields, ["?", question, "?"]))
    assert strict.error_code(bad) == INVALID
    assert strict.answer(first) == strict.answer(last) != ""


@pytest.fixture(scope="module")
def strict_worker(server: EmbeddedRedis) -> Iterator[None]:
    with Processes(server.url) as processes:
        processes.start_worker("faq", RESIDENT_LOG_LEVEL="error")
        yield


@pytest.fixture
def strict(server: EmbeddedRedis, strict_worker: None) -> Iterator[Live]:
    """A task that takes strings and nothing else."""
    with connect(server.url) as connection:
        yield Live(connection, "faq")


IDS = [
    b"",
    b" ",
    b"a b",
    b"a:b",
    b"a\x00b",
    b"a\n",
    b"\xff\xfe",
    "今天".encode(),
    b"%s",
    b"*",
    b"../../x",
    b"x" * 256,
    b"x" * 300,
    b"'; DROP",
]


@pytest.mark.parametrize("job_id", IDS, ids=repr)
@pytest.mark.parametrize("fields", [{}, {"status": "queued"}, SPECIAL], ids=["none", "a", "b"])
def test_an_id_that_no_job_has_is_dropped(job_id: bytes, fields: Fields, live: Live) -> None:
    key = keys.JOB.encode() + job_id
    if fields:
        live.connection.hset(key, mapping=live.fields() | fields)
        live.connection.expire(key, 60)
    before = int(live.connection.hget(live.of.metrics, "malformed") or 0)
    live.connection.rpush(live.of.queue, job_id)
    good = live.put(live.fields("next"))[0]
    assert live.answer(good) == "next"
    assert int(live.connection.hget(live.of.metrics, "malformed") or 0) == before + 1
    live.connection.delete(key)


@pytest.mark.parametrize("times", [2, 100])
def test_an_id_that_is_pushed_again_and_again_is_answered_once(times: int, live: Live) -> None:
    with live.connection.pipeline() as pipeline:
        pipeline.hset(f"{keys.JOB}again-{times}", mapping=live.fields("once"))
        pipeline.rpush(live.of.queue, *[f"again-{times}"] * times)
        pipeline.execute()
    assert live.answer(f"again-{times}") == "once"
    live.connection.rpush(live.of.queue, *[f"again-{times}"] * times)
    live.check_that_it_serves()
    assert not live.connection.exists(keys.reply(f"again-{times}"))


@pytest.mark.parametrize("kind", ["string", "list", "set", "zset", "stream"])
def test_a_job_that_is_no_hash_is_dropped(kind: str, live: Live) -> None:
    write(live.connection, kind, f"{keys.JOB}no-hash")
    live.connection.rpush(live.of.queue, "no-hash")
    live.check_that_it_serves()
    assert not live.connection.exists(f"{keys.JOB}no-hash")


def write(connection: Redis, kind: str, key: str) -> None:
    """A key of this type, whatever it was."""
    connection.delete(key)
    {
        "string": lambda: connection.set(key, "junk"),
        "list": lambda: connection.rpush(key, "junk"),
        "set": lambda: connection.sadd(key, "junk"),
        "zset": lambda: connection.zadd(key, {"junk": 1}),
        "stream": lambda: connection.xadd(key, {"junk": 1}),
        "hash": lambda: connection.hset(key, "junk", "junk"),
    }[kind]()


@pytest.mark.parametrize("kind", ["string", "hash"])
@pytest.mark.parametrize(
    "key",
    [
        "resident:reply:{id}",
        "rq:results:{id}",
        "rq:executions:{id}",
        "resident:leases:echo",
        "rq:wip:echo",
        "rq:finished:echo",
        "rq:worker:{worker}:executions",
    ],
)
def test_a_record_of_another_type_makes_room(key: str, kind: str, live: Live) -> None:
    worker = worker_names(live.connection)[0].decode()
    job_id = f"room-{abs(hash((key, kind)))}"
    place = key.format(id=job_id, worker=worker)
    live.connection.hset(f"{keys.JOB}{job_id}", mapping=live.fields("room"))
    write(live.connection, kind, place)
    live.connection.rpush(live.of.queue, job_id)
    wait_until(lambda: live.is_finished(job_id), 5)
    assert live.answer(job_id) == "room"
    assert live.connection.type(place).decode() != kind


@pytest.mark.parametrize("key", ["resident:metrics:echo", "rq:worker:{worker}", "rq:failed:echo"])
def test_counters_and_lists_that_are_strings_make_room(key: str, live: Live) -> None:
    worker = worker_names(live.connection)[0].decode()
    write(live.connection, "string", key.format(worker=worker))
    live.connection.rpush(live.of.queue, "no-such-job")
    good, bad = live.put(live.fields("room"), live.fields() | {"data": "junk"})
    assert live.answer(good) == "room"
    assert live.error_code(bad) == INVALID


@pytest.mark.parametrize("junk", ["many", "9223372036854775807", "1e400", ""])
def test_counters_that_are_no_numbers_make_room(junk: str, live: Live) -> None:
    worker = worker_names(live.connection)[0].decode()
    counters = ["answered", "failed", "malformed", "duplicate", "expired", "lost"]
    live.connection.delete(live.of.metrics)
    live.connection.hset(live.of.metrics, mapping=dict.fromkeys(counters, junk))
    counters = ["successful_job_count", "failed_job_count", "total_working_time"]
    live.connection.hset(f"{keys.WORKER}{worker}", mapping=dict.fromkeys(counters, junk))
    good, bad = live.put(live.fields("room"), live.fields() | {"data": "junk"})
    live.connection.rpush(live.of.queue, good, "no-such-job", "no id")
    assert live.answer(good) == "room"
    assert live.error_code(bad) == INVALID
    live.check_that_it_serves()
    assert int(live.connection.hget(live.of.metrics, "expired") or 0) == 1


def test_a_stream_of_results_that_is_full_makes_room(live: Live) -> None:
    last = f"{2**64 - 1}-{2**64 - 1}"
    live.connection.xadd(f"{keys.PREFIX}:results:full", {"x": 1}, id=last)
    live.connection.hset(f"{keys.JOB}full", mapping=live.fields("room"))
    live.connection.rpush(live.of.queue, "full")
    assert live.answer("full") == "room"


@pytest.mark.parametrize("key", ["queue", "intermediate"])
def test_a_queue_of_another_type_is_waited_for(key: str, live: Live) -> None:
    place = getattr(live.of, key)
    write(live.connection, "string", place)
    wait_until(lambda: live.connection.info("errorstats")["errorstat_WRONGTYPE"]["count"] > 0)
    live.connection.delete(place)
    live.check_that_it_serves()


@pytest.mark.parametrize("key", ["resident:ready:echo", "resident:task:echo", "resident:tasks"])
def test_an_announcement_of_another_type_makes_room(key: str, live: Live) -> None:
    before = live.connection.type(key)
    write(live.connection, "string", key)
    wait_until(lambda: live.connection.type(key) == before)


@pytest.mark.parametrize("kind", ["string", "hash"])
@pytest.mark.parametrize("key", ["reply", "executions", "results", "wip"])
def test_a_special_job_with_records_of_another_type_keeps_nobody_else_waiting(
    key: str, kind: str, live: Live
) -> None:
    job_id = f"special-{key}-{kind}"
    place = {
        "reply": keys.reply(job_id),
        "executions": f"{keys.PREFIX}:executions:{job_id}",
        "results": keys.results(job_id),
        "wip": live.of.started,
    }[key]
    live.connection.hset(f"{keys.JOB}{job_id}", mapping=live.fields() | SPECIAL)
    write(live.connection, kind, place)
    live.connection.rpush(live.of.queue, job_id)
    live.check_that_answers_come_after(job_id)
    live.connection.delete(place, f"{keys.JOB}{job_id}")


def test_ten_thousand_expired_ids_do_not_hide_a_good_question(live: Live) -> None:
    before = int(live.connection.hget(live.of.metrics, "expired") or 0)
    with live.connection.pipeline() as pipeline:
        pipeline.hset(f"{keys.JOB}behind", mapping=live.fields("found"))
        pipeline.rpush(live.of.queue, *[f"gone-{number}" for number in range(10_000)], "behind")
        pipeline.execute()
    assert live.answer("behind") == "found"
    assert int(live.connection.hget(live.of.metrics, "expired") or 0) == before + 10_000


def test_a_question_whose_budget_ran_out_in_the_queue_is_never_run(live: Live) -> None:
    live.connection.rpush(live.of.queue, "late")
    live.check_that_it_serves()
    assert not live.connection.exists(f"{keys.JOB}late", keys.reply("late"))


@pytest.mark.parametrize("field", ["success_callback_name", "failure_callback_name"])
def test_a_callback_that_is_not_allowed_is_the_callers_error(field: str, live: Live) -> None:
    (job_id,) = live.put(live.fields() | {"data": "junk"} | {field: "os.system"})
    live.check_that_it_serves()
    replies = live.connection.lrange(keys.reply(job_id), 0, -1)
    assert [json.loads(one)["ok"] for one in replies] == [False] * (field[0] == "s")
    live.connection.delete(keys.reply(job_id))


JUNK = [b"", b"\xff", b"{}", b"[]", b"1", b'{"command":"nonsense"}', b'{"command":["stop-job"]}']


def test_after_junk_on_its_channel_a_worker_still_obeys(
    processes: Processes, connection: Redis, tmp_path: Path
) -> None:
    start_worker(processes, connection, tmp_path / "output", "echo")
    (worker,) = worker_names(connection)
    channel = f"{keys.PREFIX}:pubsub:{worker.decode()}"
    for message in JUNK:
        assert connection.publish(channel, message) == 1
    Live(connection).check_that_it_serves()
    send_shutdown_command(connection, worker.decode())
    wait_until(lambda: worker not in worker_names(connection), 10)


GATHERING = """
import os
import redis
from resident import task

@task(load=dict)
def answer(model, questions):
    with redis.Redis.from_url(os.environ["RESIDENT_REDIS_URL"]) as connection:
        for key in questions:
            connection.set(key, "junk") if "string" in key else connection.sadd(key, "dependent")
    return questions
"""


@pytest.mark.parametrize("parent", ["parent", "parent-of-string"])
@pytest.mark.parametrize("result_ttl", ["0", "60"])
def test_dependents_that_come_while_the_model_runs_never_end_the_worker(
    parent: str, result_ttl: str, processes: Processes, connection: Redis, tmp_path: Path
) -> None:
    project = copy_project(tmp_path)
    (project / "tasks" / "gathering.py").write_text(GATHERING, "utf-8")
    processes.start_worker("gathering", folder=project)
    live = Live(connection, "gathering")
    before = connection.zrange(live.of.ready, 0, -1)
    connection.hset(
        f"{keys.JOB}{parent}",
        mapping=live.fields(f"{keys.JOB}{parent}:dependents") | {"result_ttl": result_ttl},
    )
    connection.rpush(live.of.queue, parent)
    assert live.answer(parent) == f"{keys.JOB}{parent}:dependents"
    (after,) = live.put(live.fields("another:dependents"))
    assert live.answer(after) == "another:dependents"
    assert connection.zrange(live.of.ready, 0, -1) == before
