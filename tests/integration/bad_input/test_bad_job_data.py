"""Whatever a job's data is, it gets its error, and its batch mates their answers."""

from __future__ import annotations

import subprocess
import uuid
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from rq import Queue
from rq.serializers import JSONSerializer

from resident import keys
from resident.embedded_redis import EmbeddedRedis
from resident.redis_client import connect
from tests.support.junk import INVALID, SPECIAL, UNKNOWN, bad_and_good
from tests.support.live import Fields, Live, call_data
from tests.support.processes import Processes, workers_of

ECHO = "tasks.echo.answer"
#: 97 KB that become 100 MB.
BOMB = zlib.compress(bytes(100_000_000), 9)


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
    "zlib_bomb": (BOMB, INVALID),
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
    with grows_little(worker):
        (job_id,) = live.put(live.fields() | {"data": BOMB} | extra)
        assert "at most" in live.reply(job_id)["error"]["message"]


@pytest.mark.parametrize("extra", [{}, SPECIAL], ids=["fast", "special"])
@pytest.mark.parametrize("name", ["exc_info", "result", "meta", "webhooks"])
def test_a_compression_bomb_in_another_field_is_not_blown_up_and_costs_no_answer(
    name: str, extra: Fields, live: Live, worker: subprocess.Popen[str]
) -> None:
    with grows_little(worker):
        (job_id,) = live.put(live.fields("hey") | {name: BOMB} | extra)
        assert live.answer(job_id) == "hey"


def test_a_compression_bomb_in_a_dependent_is_not_blown_up(
    live: Live, worker: subprocess.Popen[str]
) -> None:
    first = uuid.uuid4().hex
    live.connection.hset(f"{keys.JOB}{first}", mapping=live.fields("before"))
    queue = Queue("echo", connection=live.connection, serializer=JSONSerializer)
    dependent = queue.enqueue(ECHO, "after", depends_on=first, failure_ttl=60)
    live.connection.hset(dependent.key, mapping=live.fields("after") | {"status": "deferred"})
    live.connection.hset(dependent.key, "exc_info", BOMB)
    with grows_little(worker):
        live.put_as([first], live.fields("before"))
        assert live.answer(dependent.id) == "after"


@pytest.mark.parametrize("name", ["data", "exc_info"])
def test_a_compression_bomb_in_a_dependent_of_an_abandoned_job_is_not_blown_up(
    name: str, live: Live, worker: subprocess.Popen[str], server: EmbeddedRedis
) -> None:
    live.answers_one()  # so it is behind the clean-up that it began with
    dead, child = f"dead-{name}", f"child-{name}"
    deferred = {"status": "deferred", "allow_dependency_failures": "1", name: BOMB}
    fields = live.fields("after") | deferred | {"dependency_ids": f'["{dead}"]'}
    live.connection.hset(f"{keys.JOB}{child}", mapping=fields)
    live.connection.sadd(f"{keys.JOB}{dead}:dependents", child)
    live.connection.hset(f"{keys.JOB}{dead}", mapping=live.fields() | {"status": "started"})
    live.connection.zadd(live.of.started, {f"{dead}:execution": 1})
    live.connection.delete(f"{keys.PREFIX}:clean_registries:echo")
    usual_kb = memory_kb(Path("/proc") / str(workers_of(worker)[0]), "VmRSS")
    with Processes(server.url) as processes:
        cleaner = processes.start_worker("echo")  # it cleans up as it begins
        assert live.error_code(dead) == "crashed"
        assert live.reply(child)["ok"] == (name == "exc_info")
        peak_kb = memory_kb(Path("/proc") / str(workers_of(cleaner)[0]), "VmHWM")
    assert peak_kb - usual_kb < 30_000


@contextmanager
def grows_little(worker: subprocess.Popen[str]) -> Iterator[None]:
    """Sees that the worker at no moment takes much more memory than before."""
    process = Path("/proc") / str(workers_of(worker)[0])
    (process / "clear_refs").write_text("5", "ascii")  # the peak begins anew
    before_kb = memory_kb(process, "VmRSS")
    yield
    assert memory_kb(process, "VmHWM") - before_kb < 30_000


def memory_kb(process: Path, name: str) -> int:
    lines = (process / "status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


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
