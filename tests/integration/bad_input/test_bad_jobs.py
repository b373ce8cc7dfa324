"""Whatever ids are on the queue and whatever their hashes hold, the worker goes on."""

from __future__ import annotations

import json

import pytest

from resident import keys
from tests.support.junk import INVALID, SPECIAL, bad_and_good, write
from tests.support.live import Fields, Live

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
    "special_intervals_of_words": SPECIAL | {"retry_intervals": '["soon"]'},
    "special_interval_endless": SPECIAL | {"retry_intervals": "[Infinity]"},
    "special_repeats": SPECIAL | {"repeats_left": "1", "repeat_intervals": "[NaN]"},
    "special_meta": SPECIAL | {"meta": "[1]"},
    "depends_on_nothing": {"dependency_ids": "[null]"},
    "depends_on_lists": {"dependency_ids": "[[]]"},
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
