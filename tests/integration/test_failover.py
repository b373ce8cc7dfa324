"""A replica takes over while callers ask, and the old master becomes its replica."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from redis import Redis

from enqueue_api.client import Client
from resident import keys
from resident.embedded_redis import EmbeddedRedis
from resident.errors import ResidentError
from resident.redis_client import connect
from tests.chaos.proxy import Network
from tests.support.live import Live, start_worker
from tests.support.processes import Processes
from tests.support.waiting import wait_until

CALLERS = 4
BUDGET_MS = 20_000
#: What a worker says, in one of two words.
GONE = "redis gone"
AWAY = "redis away from the supervisor"


@dataclass
class Pair:
    """Two servers, and the way on which clients reach the one that is the master."""

    old: EmbeddedRedis
    new: EmbeddedRedis
    network: Network

    @property
    def url(self) -> str:
        return self.network.url(0)

    def fail_over(self) -> None:
        """The replica is promoted; clients still reach the old master, which takes no writes."""
        with connect(self.old.url) as old, connect(self.new.url) as new:
            new.replicaof("NO", "ONE")
            obey(old, self.new)

    def switch(self) -> None:
        """Clients reach the new master."""
        self.network.lead_to(0, self.new.url)


def obey(replica: Redis, master: EmbeddedRedis) -> None:
    """Makes a replica of it, to which clients of the master can log in."""
    there = urlsplit(master.url)
    assert there.password
    replica.config_set("masterauth", there.password)
    replica.execute_command("ACL", "SETUSER", "default", f">{there.password}")
    replica.replicaof(there.hostname, there.port)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with ExitStack() as stack:
        old, new = (
            stack.enter_context(EmbeddedRedis(tmp_path / name, tcp=True)) for name in ("old", "new")
        )
        with connect(old.url) as master, connect(new.url) as replica:
            master.config_set("repl-diskless-sync-delay", 0)
            obey(replica, old)
            wait_until(lambda: replica.info("replication")["master_link_status"] == "up")
        yield Pair(old, new, stack.enter_context(Network(old.url, 1)))
        old.kill()  # a master that is told to end waits for its replica
        new.kill()


@dataclass
class Caller:
    """Asks with ids of its own, and again with the same id if Redis does not take it."""

    number: int
    url: str
    is_over: threading.Event
    answers: dict[str, object] = field(default_factory=dict)
    troubles: list[str] = field(default_factory=list)

    def ask_all(self) -> None:
        with Client(self.url) as client:
            while not self.is_over.is_set():
                question = f"{self.number}-{len(self.answers)}"
                self.answers[question] = self._ask(client, question)

    def _ask(self, client: Client, question: str) -> object:
        deadline = time.monotonic() + BUDGET_MS / 1000
        while time.monotonic() < deadline:
            try:
                return client.ask("echo", question, BUDGET_MS, job_id=question).answer
            except ResidentError as error:
                self.troubles.append(error.code.value)
                time.sleep(0.02)
        return None


class Crowd:
    """Some callers, who ask all the time inside of it."""

    def __init__(self, url: str) -> None:
        self._is_over = threading.Event()
        self.callers = [Caller(number, url, self._is_over) for number in range(CALLERS)]
        self._threads = [threading.Thread(target=one.ask_all) for one in self.callers]

    def __enter__(self) -> Crowd:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def answers(self) -> dict[str, object]:
        return {question: it for one in self.callers for question, it in one.answers.items()}

    def troubles(self) -> set[str]:
        return {code for one in self.callers for code in one.troubles}

    def go_on(self) -> None:
        """Waits until each caller has had another fifty answers."""
        enough = [len(one.answers) + 50 for one in self.callers]
        wait_until(
            lambda: all(len(one.answers) >= n for one, n in zip(self.callers, enough, strict=True))
        )


def edges(log: Path) -> list[str]:
    """What the log says of Redis, in its order.

    A master that becomes a replica refuses what a worker writes, or closes its connection.
    """
    events = [json.loads(line)["event"] for line in log.read_text("utf-8").splitlines()]
    one_word = {"redis refuses": GONE, "redis away": GONE}
    return [one_word.get(event, event) for event in events if "redis" in event.lower()]


def test_a_failover_loses_no_question_and_answers_none_twice(pair: Pair, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with (
        Processes(pair.url) as processes,
        connect(pair.new.url) as new,
        connect(pair.old.url) as old,
    ):
        short = {"RESIDENT_LEASE_S": "2", "RESIDENT_LOG_FORMAT": "json"}
        start_worker(processes, old, log, "echo", **short)
        with Crowd(pair.url) as crowd:
            crowd.go_on()
            pair.fail_over()
            wait_until(lambda: {GONE, AWAY} <= {*edges(log)})
            pair.switch()
            crowd.go_on()
        Live(new).check_that_it_serves()
        wait_until(lambda: "redis back at the supervisor" in edges(log))
        asked = crowd.answers()
        assert {question for question, answer in asked.items() if answer != question} == set()
        assert crowd.troubles() <= {"transport_error", "no_worker"}
        twice = [
            it for it in asked if new.xlen(keys.results(it)) > 1 or new.llen(keys.reply(it)) > 1
        ]
        assert twice == []
    back = ["redis back", "redis back at the supervisor"]
    assert sorted(edges(log)) == sorted([GONE, AWAY, *back])
