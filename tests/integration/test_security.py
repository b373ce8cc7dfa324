"""Whoever can write to Redis cannot make a worker run anything but its tasks, nor read along."""

from __future__ import annotations

import json
import pickle
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from rq.defaults import RQ_KEY_PREFIX

from resident import keys
from resident.embedded_redis import EmbeddedRedis
from resident.redis_client import connect
from tests.support.live import Fields, Live, call_data, start_worker
from tests.support.processes import Processes, workers_of
from tests.support.project import copy_project
from tests.support.waiting import wait_until

SPECIAL = {"retries_left": "1", "number_of_retries": "1"}
#: A good question's text, which must not be in any log.
SECRET = "my-pin-is-4711"


CANARY = """
from pathlib import Path

def sing(*_):
    Path(__file__).with_name("song").touch()

sing()
"""


class Canary:
    """A module that leaves a file when it is imported or called, which it must not be."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "canary.py").write_text(CANARY, "utf-8")

    def pickled(self) -> bytes:
        """What imports and calls it when it is unpickled."""
        return b"ccanary\nsing\n(tR."

    def sang(self) -> bool:
        return (self.folder / "song").exists()


@pytest.fixture(scope="module")
def canary(tmp_path_factory: pytest.TempPathFactory) -> Canary:
    return Canary(tmp_path_factory.mktemp("canary"))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return copy_project(tmp_path)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path_factory.mktemp("security")) as server:
        yield server


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("security-output") / "worker"


@pytest.fixture(scope="module")
def worker(server: EmbeddedRedis, output: Path, canary: Canary) -> Iterator[int]:
    """The process id of a worker that logs all it can."""
    with Processes(server.url) as processes, connect(server.url) as connection:
        loud = {"RESIDENT_LOG_LEVEL": "debug", "PYTHONPATH": str(canary.folder)}
        supervisor = start_worker(processes, connection, output, "echo", **loud)
        (pid,) = workers_of(supervisor)
        yield pid
        assert supervisor.poll() is None


@pytest.fixture
def live(server: EmbeddedRedis, worker: int, canary: Canary) -> Iterator[Live]:
    """A worker under attack: it must go on, and the canary must not sing."""
    with connect(server.url) as connection:
        live = Live(connection)
        yield live
        live.check_that_it_serves()
        assert not canary.sang()
        assert Path(f"/proc/{worker}").exists()


def done(live: Live, *ids: str) -> None:
    """Waits until the worker has nothing more to do with these."""
    waits = (live.of.queue, live.of.intermediate)
    wait_until(
        lambda: all(
            live.connection.lpos(key, job_id) is None
            and live.connection.hget(f"{keys.JOB}{job_id}", "status") != b"started"
            for key in waits
            for job_id in ids
        )
    )


def test_the_canary_sings_when_it_is_let_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    canary = Canary(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    pickle.loads(canary.pickled())
    assert canary.sang()
    del sys.modules["canary"]


CALLS = ["canary.sing", "canary", "os.system", "builtins.exec", "eval"]


@pytest.mark.parametrize("extra", [{}, SPECIAL, {"group_id": "g"}, {"stopped_callback_name": "x"}])
@pytest.mark.parametrize("name", CALLS)
def test_no_function_but_the_task_is_called(
    name: str, extra: Fields, live: Live, canary: Canary
) -> None:
    command = f"touch {canary.folder}/song"
    (job_id,) = live.put(live.fields() | {"data": call_data(name, None, [command], {})} | extra)
    if extra != SPECIAL:
        assert live.error_code(job_id) == "unknown_task"
    done(live, job_id)


TRICKS: dict[str, tuple[Any, ...]] = {
    "format": ("format", "{0.__class__.__mro__[1].__subclasses__}", [[]], {}),
    "join": ("join", "x", [["a", "b"]], {}),
    "list": ("append", [], ["x"], {}),
    "dict": ("update", {}, [{}], {}),
    "method of the task": ("__wrapped__", "tasks.echo.answer", ["x"], {}),
    "attribute of the task": ("tasks.echo.answer.__globals__", None, ["x"], {}),
    "module": ("tasks.echo.load", None, ["x"], {}),
    "another function": ("resident.replies.deliver", None, ["x"], {}),
}


@pytest.mark.parametrize("extra", [{}, {"group_id": "g"}], ids=["fast", "special"])
@pytest.mark.parametrize("trick", TRICKS)
def test_a_job_reaches_no_method_or_attribute(trick: str, extra: Fields, live: Live) -> None:
    (job_id,) = live.put(live.fields() | {"data": call_data(*TRICKS[trick])} | extra)
    assert live.error_code(job_id) in ("invalid_question", "unknown_task")


@pytest.mark.parametrize("extra", [{}, SPECIAL], ids=["fast", "special"])
@pytest.mark.parametrize("data", ["good", "junk"])
@pytest.mark.parametrize("callback", ["success", "failure", "stopped"])
def test_no_callback_but_the_allowed_ones_is_called(
    callback: str, data: str, extra: Fields, live: Live
) -> None:
    fields = live.fields() | extra | {f"{callback}_callback_name": "canary.sing"}
    if data == "junk":
        fields["data"] = "junk"
    done(live, *live.put(fields))


@pytest.mark.parametrize("field", ["data", "meta", "result", "description", "dependency_ids"])
@pytest.mark.parametrize("extra", [{}, SPECIAL, {"repeats_left": "1"}], ids=repr)
def test_nothing_is_unpickled_from_a_job(
    field: str, extra: Fields, live: Live, canary: Canary
) -> None:
    for value in (canary.pickled(), zlib.compress(canary.pickled())):
        done(live, *live.put(live.fields() | {field: value} | extra))


def abandoned(live: Live, job_id: str, **fields: Any) -> None:
    """A job that a worker died with, by RQ's books."""
    live.connection.hset(
        f"{keys.JOB}{job_id}", mapping=live.fields() | {"status": "started"} | fields
    )
    live.connection.zadd(live.of.started, {f"{job_id}:e": 1})


def test_rqs_maintenance_calls_and_unpickles_nothing(
    redis_url: str, connection: Redis, processes: Processes, tmp_path: Path, canary: Canary
) -> None:
    live, poison = Live(connection), canary.pickled()
    everywhere = {"data": poison, "meta": poison, "result": poison}
    attack = call_data("canary.sing", None, ["?"], {})
    abandoned(live, "plain", data=attack, failure_callback_name="canary.sing")
    abandoned(live, "pickled", **everywhere)
    abandoned(live, "both", failure_callback_name="canary.sing", **everywhere)
    abandoned(live, "retried", retries_left="2", number_of_retries="2", **everywhere)
    abandoned(live, "delayed", retries_left="2", retry_intervals="[1]", data=attack)
    abandoned(live, "stopped", stopped_callback_name="canary.sing", data=attack)
    connection.sadd(f"{keys.JOB}plain:dependents", "dependent")
    connection.hset(
        f"{keys.JOB}dependent",
        mapping=live.fields()
        | {"status": "deferred", "dependency_ids": '["plain"]', "allow_dependency_failures": "1"}
        | everywhere,
    )
    stuck = {"failure_callback_name": "canary.sing", **everywhere}
    for job_id in ("stuck", "stuck-plain"):
        connection.hset(f"{keys.JOB}{job_id}", mapping=live.fields() | stuck)
        connection.rpush(live.of.intermediate, job_id)
        connection.set(f"{live.of.intermediate}:first_seen:{job_id}", 1)
    connection.sadd(f"{RQ_KEY_PREFIX}:groups", "g")
    connection.sadd(f"{RQ_KEY_PREFIX}:group:g", "pickled", "both", "gone")
    for registry in ("deferred", "scheduled", "canceled", "finished", "failed", "ready"):
        connection.zadd(f"{RQ_KEY_PREFIX}:{registry}:echo", {"pickled": 1, "both": 1})
    connection.zadd(f"{RQ_KEY_PREFIX}:finished:echo", {"plain": 2**40})

    output = tmp_path / "output"
    start_worker(processes, connection, output, "echo", PYTHONPATH=str(canary.folder))
    wait_until(lambda: connection.zcard(live.of.started) == 0)
    wait_until(lambda: connection.llen(live.of.intermediate) == 0)
    wait_until(lambda: not connection.sismember(f"{RQ_KEY_PREFIX}:group:g", "gone"))
    live.check_that_it_serves()
    assert not canary.sang()


def test_a_dependent_of_a_question_is_put_on_its_queue_unread(live: Live, canary: Canary) -> None:
    poison = canary.pickled()
    dependent = live.fields() | {"data": poison, "meta": poison, "result": poison}
    connection = live.connection
    connection.hset(
        f"{keys.JOB}waits",
        mapping=dependent | {"status": "deferred", "dependency_ids": '["first"]'},
    )
    connection.hset(f"{keys.JOB}first", mapping=live.fields("first"))
    connection.sadd(f"{keys.JOB}first:dependents", "waits")
    connection.rpush(live.of.queue, "first")
    assert live.answer("first") == "first"
    assert live.error_code("waits") == "invalid_question"
    connection.delete(f"{keys.JOB}waits")


def test_an_execution_of_our_worker_is_never_followed_to_a_pickle(
    live: Live, canary: Canary
) -> None:
    worker = live.connection.zrange(live.of.ready, 0, -1)[0].decode()
    poison = {"data": canary.pickled(), "meta": canary.pickled(), "result": canary.pickled()}
    live.connection.hset(f"{keys.JOB}forged", mapping=live.fields() | poison)
    live.connection.hset(f"{RQ_KEY_PREFIX}:execution:forged:e", mapping={"job_id": "forged"})
    live.connection.sadd(keys.worker_executions(worker), "forged:e")
    for command in ("stop-job", "stop-execution", "kill-horse"):
        payload = {"command": command, "job_id": "forged", "execution_id": "e"}
        live.connection.publish(f"{RQ_KEY_PREFIX}:pubsub:{worker}", json.dumps(payload))
    live.answers_one()
    live.connection.srem(keys.worker_executions(worker), "forged:e")
    live.connection.delete(f"{RQ_KEY_PREFIX}:execution:forged:e", f"{keys.JOB}forged")


# what logs say

TEXTS: list[Callable[[Live], Fields]] = [
    lambda live: live.fields(SECRET),
    lambda live: live.fields({"text": SECRET, "more": [SECRET]}),
    lambda live: live.fields(SECRET) | {"data": call_data("os.system", None, [SECRET], {})},
    lambda live: live.fields(SECRET) | {"data": call_data("x", SECRET, [SECRET], {"a": SECRET})},
    lambda live: live.fields(SECRET) | {"data": f'["tasks.echo.answer",null,["{SECRET}"'},
    lambda live: live.fields(SECRET) | {"timeout": "soon", "description": SECRET},
    lambda live: {"description": SECRET, "status": "queued", **SPECIAL},
    lambda live: live.fields(SECRET) | {"success_callback_name": "os.system"},
    lambda live: live.fields(SECRET) | {"webhooks": SECRET, "meta": SECRET},
]


@pytest.mark.parametrize("extra", [{}, SPECIAL, {"group_id": "g"}], ids=["a", "b", "c"])
@pytest.mark.parametrize("number", range(len(TEXTS)))
def test_the_text_of_a_question_is_never_logged(
    number: int, extra: Fields, live: Live, output: Path
) -> None:
    done(live, *live.put(TEXTS[number](live) | extra))
    live.check_that_it_serves()
    assert SECRET not in output.read_text("utf-8")


RAISING = """
from resident import task

@task(load=dict, max_batch=8)
def answer(model, questions):
    if isinstance(questions[0], str):
        raise ValueError(questions[0])
    return [object() for _ in questions]
"""


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_not_even_when_the_model_raises_it(
    level: str, processes: Processes, connection: Redis, project: Path
) -> None:
    (project / "tasks" / "raising.py").write_text(RAISING, "utf-8")
    worker = processes.start_worker("raising", folder=project, RESIDENT_LOG_LEVEL=level)
    live = Live(connection, "raising")
    ids = live.put(
        live.fields(SECRET),
        live.fields(SECRET) | {"group_id": "g"},
        live.fields(SECRET) | {"group_id": "g", "failure_callback_name": "canary.sing"},
        live.fields({"text": SECRET}) | {"group_id": "g"},
        live.fields({"text": SECRET}),
        live.fields(SECRET),
    )
    for job_id in (*ids[:2], *ids[3:]):
        assert live.error_code(job_id) == "model_error"
    worker.terminate()
    said = "".join(worker.communicate(timeout=20))
    assert SECRET not in said
    assert level == "error" or "batch" in said


@pytest.mark.parametrize("level", ["debug", "error"])
def test_the_password_is_never_logged_even_when_redis_goes_away(level: str, tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path / "redis") as server, Processes(server.url) as processes:
        password = server.url.partition("://:")[2].partition("@")[0]
        worker = processes.start_worker("echo", RESIDENT_LOG_LEVEL=level)
        server.kill()
        server.start()
        with connect(server.url) as connection:
            Live(connection).check_that_it_serves()
        server.kill()
        worker.terminate()
        said = "".join(worker.communicate(timeout=20))
    assert len(password) == 64
    assert password not in said
