"""One run: Redis, relays, hosts and callers, a storm over all of them, and the ledger of it."""

from __future__ import annotations

import contextlib
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import redis

from resident import keys
from resident.embedded_redis import EmbeddedRedis
from resident.redis_client import connect
from tests.chaos.books import ended_leases, left_behind, traces_of
from tests.chaos.callers import Caller, PhpCaller, PythonCaller
from tests.chaos.disturbances import Storm, plan
from tests.chaos.hosts import Hosts
from tests.chaos.ledger import Ledger, balance
from tests.chaos.proxy import Network
from tests.chaos.questions import TASK, questions_of
from tests.chaos.server import arrange
from tests.support.project import copy_project
from tests.support.waiting import wait_until

HOSTS = 2
#: One way a host, then one for those callers who do not go to Redis directly.
CALLERS_WAY = HOSTS
#: How a worker.py may end in a storm: killed, its supervisor killed, or its workers dying one after
#: the other.
HONEST_ENDS = ("exit code -9", "exit code 137", "exit code 1")
_TICK_S = 0.25
_READY_S = 30.0
_QUIET_S = 30.0
#: A worker that hangs without a supervisor ends itself; see resident/watchdog.py.
_ORPHANS_S = 30.0
#: What must not be in a log, beside what a model may do.
_TROUBLE = re.compile(r"worker failed|supervisor failed|Traceback \(most recent call last\)")


class Run:
    """A run in a folder of its own, in which the logs stay."""

    def __init__(
        self,
        folder: Path,
        *,
        seed: int,
        storm_s: float,
        patience_s: float,
        callers: tuple[int, int] = (6, 2),
        say: Callable[[str], object] = str,
    ) -> None:
        """Takes how many callers there are in Python and in PHP, and where to say what happens."""
        self._folder = folder
        self._seed = seed
        self._storm_s = storm_s
        self._patience_s = patience_s
        self._counts = callers
        self._say = say

    def ledger(self) -> Ledger:
        """Runs; whatever happens, ends all that it started."""
        project = copy_project(self._folder / "project")
        task_file = Path(__file__).parent / "tasks" / f"{TASK}.py"
        (project / "tasks" / task_file.name).write_text(task_file.read_text("utf-8"), "utf-8")
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(EmbeddedRedis(self._folder / "redis", tcp=True))
            arrange(server)
            network = stack.enter_context(Network(server.url, HOSTS + 1))
            connection = stack.enter_context(connect(server.url))
            urls = [network.url(way) for way in range(HOSTS)]
            hosts = Hosts(project, urls, self._folder, self._say, **self._settings())
            stack.callback(hosts.orphans, 0)
            return self._run(server, network, hosts, connection)

    def _settings(self) -> dict[str, str]:
        kept_s = str(int(self._storm_s + self._patience_s) + 3_600)
        return {
            "RESIDENT_LEASE_S": "2",
            "RESIDENT_DRAIN_TIMEOUT_S": "5",
            "RESIDENT_REPLY_TTL_S": kept_s,
            "RESIDENT_RESULT_TTL": kept_s,
            "RESIDENT_LOG_FORMAT": "json",
        }

    def _run(
        self, server: EmbeddedRedis, network: Network, hosts: Hosts, connection: redis.Redis
    ) -> Ledger:
        hosts.keep_up()
        wait_until(lambda: connection.zcard(keys.of_task(TASK).ready) >= 2 * HOSTS, _READY_S)
        callers = self._callers(server.url, network.url(CALLERS_WAY))
        self._say(f"{len(callers)} callers begin")
        for caller in callers:
            caller.start()
        storm = Storm(server, hosts, network, self._say)
        planned = plan(f"{self._seed} storm", self._storm_s, _TICK_S)
        storm.run(planned, self._storm_s, HOSTS + 1)
        self._say(f"the storm is over after {self._storm_s:.0f} s")
        ledger = self._look(callers, hosts, connection, self._join(callers, hosts))
        ledger.disturbances = storm.done
        return ledger

    def _callers(self, direct: str, relayed: str) -> list[Caller]:
        python, php = self._counts
        callers: list[Caller] = []
        for number in range(python + php):
            is_php = number >= python
            name = f"{'php' if is_php else 'python'}-{number}"
            url = relayed if number % 2 else direct
            seed = f"{self._seed} {name}"
            questions = list(questions_of(seed, self._storm_s, int(self._patience_s * 1000)))
            callers.append(
                PhpCaller(name, url, questions, self._storm_s, self._folder)
                if is_php
                else PythonCaller(name, url, questions, self._storm_s)
            )
        return callers

    def _join(self, callers: Iterable[Caller], hosts: Hosts) -> list[str]:
        """Waits for the callers; the hosts are kept up meanwhile."""
        deadline = time.monotonic() + self._patience_s + 10
        troubles = []
        for caller in callers:
            while caller.is_asking() and time.monotonic() < deadline:
                hosts.keep_up()
                time.sleep(0.02)
            troubles += caller.end()
        return troubles

    def _look(
        self, callers: list[Caller], hosts: Hosts, connection: redis.Redis, troubles: list[str]
    ) -> Ledger:
        """Waits until all is quiet, looks, ends the hosts, and looks again."""
        entries = [entry for caller in callers for entry in caller.entries()]
        left = self._quiet(connection, hosts)
        traces = traces_of(connection, {entry.id for entry in entries if entry.id})
        self._say("all is looked at, the hosts are told to end")
        troubles += hosts.end()
        orphans = hosts.orphans(_ORPHANS_S)
        left += [key for key in left_behind(connection) if key not in left]
        troubles += [
            f"{host.name} ended by itself, {end}"
            for host in hosts.all
            for end in host.ends
            if end not in HONEST_ENDS
        ]
        notes = [note for host in hosts.all for note in notes_of(host.log, host.ends)]
        return Ledger(
            balance(entries, traces), left=left, orphans=orphans, troubles=troubles, notes=notes
        )

    def _quiet(self, connection: redis.Redis, hosts: Hosts) -> list[str]:
        """What is left behind after a while; nothing as soon as nothing is and all hosts serve."""
        left: list[str] = []

        def is_quiet() -> bool:
            hosts.keep_up()
            left[:] = [*left_behind(connection), *ended_leases(connection), *hosts.missing()]
            return not left

        with contextlib.suppress(AssertionError):
            wait_until(is_quiet, _QUIET_S)
        return left


def notes_of(log: Path, ends: Counter[str]) -> list[str]:
    """How often a host ended, and the lines of its log that should make somebody look."""
    text = log.read_text("utf-8", "replace") if log.exists() else ""
    found = [f"{log.stem} ended {count} times with {end}" for end, count in sorted(ends.items())]
    count = len(_TROUBLE.findall(text))
    return found + ([f"{count} lines of {log} want a look"] if count else [])
