"""What a death, a reload, more workers and rest cost."""

from __future__ import annotations

import contextlib
import os
import signal
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import redis

from bench import catalogue
from bench.figures import Spread, quantile, spread_of
from bench.harness import Bench, Failed, children_of
from bench.peer import START_TIMEOUT_S
from bench.run import Goal, Row, Run
from enqueue_api.client import Client
from resident.redis_client import connect

T = TypeVar("T")

_NAME = "survival"
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
#: Between two kills, so that each is that of a worker at rest.
_REST_S = 0.3
_RELOAD_CALLERS = 4
_LOAD_S = 3.0
#: Of each worker, before its memory is looked at: they take turns, and each touches all it will.
_ASKED = 3
#: Whose rows show the memory that a supervisor has for itself.
_MANY = 4


def measure(run: Run) -> None:
    """Each on its own; the processes of a worker.py are found below it."""
    _kills(run)
    _reload(run)
    _rest(run)
    many = (1, 4) if run.plan.is_quick else (1, 2, 4, 8)
    _memory(run, "large", "a numpy model of 400 MB", many, Goal(1.10, 1.25, is_least=False))
    _memory(run, "faq", "faq", (1, 4), None)
    _memory(run, "echo", "echo", (1, 4), None)


@contextlib.contextmanager
def _serving(bench: Bench, task: str, workers: int = 1) -> Iterator[int]:
    """Workers that are ready; gives the pid of the process that stays."""
    peer = catalogue.ours("Resident", task)
    told = {"RESIDENT_WORKERS": str(workers)}
    with bench.serving(peer, **told) as process, connect(bench.redis.url) as connection:
        _wait_until(lambda: connection.zcard(f"resident:ready:{task}") == workers)
        yield process.pid


def _kills(run: Run) -> None:
    times: list[float] = []
    with run.bench() as bench, _serving(bench, "echo") as pid, Client(bench.redis.url) as client:
        count = 20 if run.plan.is_quick else 30
        for number in range(count):
            if not number % 20:
                run.say(f"a worker is killed, {number} of {count} times")
            time.sleep(_REST_S)
            [worker] = _workers_of(pid)
            os.kill(worker, signal.SIGKILL)
            began = time.perf_counter()
            client.ask("echo", "still there?", 10_000)
            times.append((time.perf_counter() - began) * 1000)
    times.sort()
    what = "SIGKILL of the only worker until the next answer"
    note = f"p99 {quantile(times, 0.99):.0f} ms, {len(times)} kills"
    goal = Goal(100, 250, is_least=False)
    run.add(Row(_NAME, what, statistics.median(times), "ms", goal, spread_of(times), "ms", note))


def _reload(run: Run) -> None:
    """Callers who ask all the time, while faq is loaded anew."""
    run.say("a reload under load")
    with run.bench() as bench, _serving(bench, "faq") as pid:
        before, failed_before = _asked(bench.redis.url, lambda: None)
        during, failed = _asked(bench.redis.url, lambda: os.kill(pid, signal.SIGHUP))
        ratio = quantile(during, 0.99) / quantile(before, 0.99)
        note = (
            f"p99 {quantile(before, 0.99):.0f} ms before, {quantile(during, 0.99):.0f} during, the "
            f"slowest {during[-1]:.0f}; {len(during)} answers, {failed + failed_before} refused"
        )
        what = f"reload of faq, {_RELOAD_CALLERS} callers: p99"
        run.add(Row(_NAME, what, ratio, "× before", value=spread_of(during), unit="ms", note=note))


def _asked(url: str, disturb: Callable[[], object]) -> tuple[list[float], int]:
    """Sorted times in ms of some seconds, with a disturbance after the first, and the refusals."""
    times: list[float] = []
    refused: list[Exception] = []
    until = time.monotonic() + _LOAD_S

    def ask() -> None:
        with Client(url) as client:
            while time.monotonic() < until:
                began = time.perf_counter()
                try:
                    client.ask("faq", "今天几点开门？", 10_000)
                except Exception as error:  # noqa: BLE001  (counted)
                    refused.append(error)
                else:
                    times.append((time.perf_counter() - began) * 1000)

    threads = [threading.Thread(target=ask) for _ in range(_RELOAD_CALLERS)]
    for thread in threads:
        thread.start()
    time.sleep(_LOAD_S / 6)
    disturb()
    for thread in threads:
        thread.join()
    if not times:
        msg = f"nothing was answered: {refused[:1]}"
        raise Failed(msg)
    return sorted(times), len(refused)


def _rest(run: Run) -> None:
    """A worker.py that has nothing to do."""
    workers, seconds = 4, 5.0 if run.plan.is_quick else 10.0
    run.say(f"{workers} workers at rest")
    with (
        run.bench() as bench,
        _serving(bench, "echo", workers) as pid,
        connect(bench.redis.url) as connection,
    ):
        time.sleep(2)
        above = [pid, *children_of(pid)]
        cpu, commands = _cpu_s(above), _commands(connection)
        time.sleep(seconds)
        cpu, commands = _cpu_s(above) - cpu, _commands(connection) - commands
    rate = commands / seconds / workers
    goal = Goal(2, 3, is_least=False)
    what = f"writes a second to Redis at rest, of each of {workers} workers and their supervisor"
    run.add(Row(_NAME, what, rate, "/s", goal, note="some are several commands"))
    share = cpu / seconds * 100
    value = Spread(share, share, share)
    run.add(Row(_NAME, "CPU of the supervisor at rest", value=value, unit="% of a core"))


def _memory(run: Run, task: str, what: str, many: tuple[int, ...], goal: Goal | None) -> None:
    """What the processes take together: each page counts once, however many share it.

    And what the two that answer nothing have for themselves.
    """
    sums: dict[int, float] = {}
    own: dict[str, float] = {}
    for workers in many:
        run.say(f"memory of {workers} workers of {task}")
        with run.bench() as bench, _serving(bench, task, workers) as pid:
            with Client(bench.redis.url) as client:
                for _ in range(workers * _ASKED):
                    client.ask(task, "今天几点开门？", 60_000)
            [supervisor] = children_of(pid)
            sums[workers] = sum(map(_pss_mb, [pid, supervisor, *_workers_of(pid)]))
            if workers == _MANY:
                own = {
                    "the supervisor": _private_mb(supervisor),
                    "the process that stays": _private_mb(pid),
                }
    note = ", ".join(f"{workers}: {mb:.0f} MB" for workers, mb in sums.items())
    row = f"memory (PSS) of {_MANY} workers, {what}"
    run.add(Row(_NAME, row, sums[_MANY] / sums[1], "× one worker's", goal, note=note))
    for whose, mb in own.items():
        goal_of_own = Goal(30, 40, is_least=False)
        run.add(Row(_NAME, f"memory of its own of {whose}, {what}", mb, "MB", goal_of_own))


def _workers_of(pid: int) -> list[int]:
    return _wait_until(lambda: [one for each in children_of(pid) for one in children_of(each)])


def _wait_until(condition: Callable[[], T]) -> T:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not (value := condition()):
        if time.monotonic() > deadline:
            msg = "the workers did not come up"
            raise Failed(msg)
        time.sleep(0.01)
    return value


def _commands(connection: redis.Redis) -> int:
    """What Redis read from its sockets: several commands that go out together are one."""
    return int(connection.info("stats")["total_reads_processed"])


def _cpu_s(pids: list[int]) -> float:
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(one[11]) + int(one[12]) for one in fields) * _TICK_S


def _pss_mb(pid: int) -> float:
    return _rollup_mb(pid, "Pss")


def _private_mb(pid: int) -> float:
    return _rollup_mb(pid, "Private_Clean", "Private_Dirty")


def _rollup_mb(pid: int, *names: str) -> float:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(text.partition(f"\n{name}:")[2].split()[0]) for name in names) / 1024
