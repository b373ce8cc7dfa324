"""RQ is the oracle: whatever is asked, our worker leaves the books that RQ's worker leaves."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from redis import Redis
from rq import Callback, Queue, Repeat, Retry, SimpleWorker
from rq.group import Group
from rq.serializers import JSONSerializer

from resident import keys
from resident.embedded_redis import EmbeddedRedis
from resident.redis_client import connect
from resident.settings import Settings
from resident.task import load_task
from resident.worker import ResidentWorker
from tests.support import desks
from tests.support.books import Books, read_books
from tests.support.desks import Asking
from tests.support.differences import DIFFERENCES, Spot, explanation_of, spots
from tests.support.inline import work_off
from tests.support.odd import odd_tasks
from tests.support.processes import ROOT
from tests.support.waiting import wait_until

#: The workers set the alarm clock by which pytest-timeout's other method works.
pytestmark = pytest.mark.timeout(120, method="thread")

DECISION = ROOT / "docs/decisions/0001-differences-from-rq-books.md"
DESK, THEIRS, OURS = 0, 1, 2
#: Not shrunk, which takes minutes: the row that differs says it all.
EXAMPLES = settings(
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    report_multiple_bugs=False,
)

ANSWER, FAIL = "tasks.odd.answer", {"do": "fail"}
FEATURES = {
    "retries": lambda queue: queue.enqueue(ANSWER, FAIL, retry=Retry(max=2)),
    "dependents": lambda queue: queue.enqueue(ANSWER, "b", depends_on=queue.enqueue(ANSWER, "a")),
    "a dependent of a failure": lambda queue: queue.enqueue(
        ANSWER, "b", depends_on=queue.enqueue(ANSWER, FAIL)
    ),
    "a dependent of a job that is not kept": lambda queue: queue.enqueue(
        ANSWER, "b", depends_on=queue.enqueue(ANSWER, "a", result_ttl=0)
    ),
    "repeats": lambda queue: queue.enqueue(ANSWER, "again", repeat=Repeat(times=2)),
    "a callback": lambda queue: queue.enqueue(
        ANSWER, "noted", on_success=Callback("tasks.odd.note")
    ),
    "a group": lambda queue: Group.create(queue.connection, "g").enqueue_many(
        queue, [Queue.prepare_data(ANSWER, [one]) for one in "abc"]
    ),
    "a group of jobs that are not kept": lambda queue: Group.create(
        queue.connection, "g"
    ).enqueue_many(queue, [Queue.prepare_data(ANSWER, [one], result_ttl=0) for one in "abc"]),
    "at the front": lambda queue: queue.enqueue(ANSWER, "first", at_front=True),
}

Way = Callable[[Redis, str, Asking], None]


@pytest.fixture(autouse=True, scope="module")
def _odd_tasks() -> Iterator[None]:
    with odd_tasks():
        yield


texts = st.one_of(
    st.sampled_from(["", " ", "今天几点开门？", "🦆👩‍👩‍👧", "0", "null", "\x00", "a:b", "é\r\n"]),
    st.text(max_size=40),
    st.builds(lambda one, count: one * count, st.sampled_from("a问🦆"), st.integers(0, 16_000)),
)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)
orders = st.one_of(
    st.fixed_dictionaries({"do": st.just("fail"), "what": texts}),
    st.just({"do": "answer none"}),
)
askings = st.builds(
    Asking,
    question=texts | values | orders,
    arguments=st.sampled_from([1, 1, 1, 1, 1, 1, 2]),
    result_ttl=st.sampled_from([None, 0, -1, 5, 500]),
    failure_ttl=st.sampled_from([None, 0, -1, 5, 500]),
    meta=st.none() | st.dictionaries(texts, values, max_size=2),
    description=st.none() | texts,
)
ways = st.sampled_from(desks.WAYS)


@settings(EXAMPLES, max_examples=40)
@given(way=ways, asking=askings)
def test_one_job_leaves_the_books_that_rq_leaves(
    redis_server: EmbeddedRedis, way: Way, asking: Asking
) -> None:
    assert ask_and_compare(redis_server, "odd", [(way, asking)]).unexplained == []


@settings(EXAMPLES, max_examples=20)
@given(asked=st.lists(st.tuples(ways, askings), min_size=2, max_size=12))
def test_a_batch_leaves_the_books_that_rq_leaves_one_by_one(
    redis_server: EmbeddedRedis, asked: list[tuple[Way, Asking]]
) -> None:
    assert ask_and_compare(redis_server, "odd", asked).unexplained == []


@pytest.mark.parametrize("way", desks.WAYS)
def test_a_question_of_the_wrong_type_leaves_the_books_of_a_failed_job(
    redis_server: EmbeddedRedis, way: Way
) -> None:
    assert ask_and_compare(redis_server, "gate", [(way, Asking(17))]).unexplained == []


@pytest.mark.parametrize("order", ["answer a set", "answer nan"])
@pytest.mark.parametrize("way", [desks.ask_by_rq_for_a_reply, desks.ask_by_hand])
def test_an_answer_with_no_json_form_fails_the_job_in_both_books(
    redis_server: EmbeddedRedis, way: Way, order: str
) -> None:
    asked = [(way, Asking({"do": order}))]
    assert ask_and_compare(redis_server, "odd", asked).unexplained == []


@pytest.mark.skipif(
    shutil.which("php") is None and "CI" not in os.environ, reason="needs php-cli and ext-redis"
)
@pytest.mark.parametrize("question", ["今天几点开门？", "🦆", "", 'a\\/"b'])
@pytest.mark.parametrize("program", ["bin/ask", "examples/bare.php"])
def test_a_job_made_by_php_leaves_the_books_that_rq_leaves(
    redis_server: EmbeddedRedis, php_desk: EmbeddedRedis, program: str, question: str
) -> None:
    with (
        connect(php_desk.url) as desk,
        asking_in_php(php_desk, program, "odd", question),
        desks.announced(desk, "odd"),
    ):
        wait_until(lambda: desk.llen(keys.of_task("odd").queue))
    assert compare(redis_server, "odd", desk).unexplained == []


@pytest.mark.parametrize("enqueue", FEATURES.values(), ids=FEATURES)
def test_a_job_that_uses_more_of_rq_leaves_the_books_that_rq_leaves(
    redis_server: EmbeddedRedis, enqueue: Callable[[Queue], object]
) -> None:
    with database(redis_server, DESK) as desk:
        desk.flushdb()
        enqueue(Queue("odd", connection=desk, serializer=JSONSerializer))
        assert compare(redis_server, "odd", desk).unexplained == []


def test_each_difference_on_the_list_can_be_seen(redis_server: EmbeddedRedis) -> None:
    asked = [
        (desks.ask_by_rq_for_a_reply, Asking("今天几点开门？")),
        (desks.ask_by_hand, Asking({"do": "answer a set"})),
        (desks.ask_by_hand, Asking({"do": "fail"})),
        (desks.ask_by_hand, Asking({"do": "fail"}, failure_ttl=0)),
        (desks.ask_by_hand, Asking("two", arguments=2)),
        (desks.ask_with_the_least, Asking("")),
        (desks.ask_in_vain, Asking("")),
    ]
    seen = ask_and_compare(redis_server, "odd", asked).explained
    assert seen == {one.name for one in DIFFERENCES}


def test_the_decision_names_each_difference_on_the_list() -> None:
    written = re.findall(r"^- \*\*(.+?)\*\*", DECISION.read_text(encoding="utf-8"), re.MULTILINE)
    assert written == [one.name for one in DIFFERENCES]


@dataclass(frozen=True)
class Comparison:
    """What differs between the books, told apart by whether the list explains it."""

    explained: set[str]
    unexplained: list[Spot]


def ask_and_compare(
    server: EmbeddedRedis, task_name: str, asked: list[tuple[Way, Asking]]
) -> Comparison:
    with database(server, DESK) as desk:
        desk.flushdb()
        for way, asking in asked:
            way(desk, task_name, asking)
        return compare(server, task_name, desk)


def compare(server: EmbeddedRedis, task_name: str, desk: Redis) -> Comparison:
    """Lets RQ's worker and ours run the jobs of the desk, each in a database of its own."""
    with database(server, THEIRS) as theirs, database(server, OURS) as ours:
        for copy in (theirs, ours):
            copy.flushdb()
            desks.copy_everything(desk, copy)
        desks.release_callers(desk)
        generous = Settings(max_question_bytes=16_777_216)  # RQ knows no limit
        resident = ResidentWorker(load_task(task_name), ours, generous)
        # Both have the same name, so that it is the same in the books.
        stock = SimpleWorker(
            [task_name], name=resident.name, connection=theirs, serializer=JSONSerializer
        )
        found = spots(books_after(stock), books_after(resident))
    named = [(explanation_of(spot), spot) for spot in found]
    return Comparison(
        explained={name for name, _ in named if name},
        unexplained=[spot for name, spot in named if not name],
    )


def books_after(worker: SimpleWorker) -> Books:
    """What is in the worker's database when it has done what waited there."""
    work_off(worker)
    return read_books(worker.connection)


@pytest.fixture(scope="module")
def php_desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """A server of its own: bare.php speaks TCP only."""
    with EmbeddedRedis(tmp_path_factory.mktemp("php"), tcp=True) as server:
        yield server


@contextmanager
def asking_in_php(server: EmbeddedRedis, program: str, task: str, question: str) -> Iterator[None]:
    """PHP asks and waits for its reply, which it has got in the end."""
    environment = {**os.environ, "RESIDENT_REDIS_URL": server.url}
    command = ("php", str(ROOT / "php_client" / program), task, question)
    with (
        connect(server.url) as desk,
        subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as php,
    ):
        desk.flushdb()
        yield
        desks.release_callers(desk)
        assert "cancelled" in php.communicate()[1]


@contextmanager
def database(server: EmbeddedRedis, number: int) -> Iterator[Redis]:
    with connect(server.url) as connection:
        connection.connection_pool.connection_kwargs["db"] = number
        yield connection
