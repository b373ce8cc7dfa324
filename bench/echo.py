"""Round trip and drain of the echo task beside a bare list loop and rq.SimpleWorker.

    .venv/bin/python -m bench.echo

Redis and the worker run on one core, the load on another; peers take turns (A B A B) in one run,
and ratios of medians are printed first. Everything is private to the run and ends with it.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from urllib.parse import unquote, urlsplit

import click
import redis
from rq import SimpleWorker
from rq.serializers import JSONSerializer

from bench import bare
from enqueue_api.client import Client
from resident import keys, log, protocol
from resident.embedded_redis import EmbeddedRedis
from resident.redis_client import connect
from resident.settings import Settings
from resident.task import load_task
from resident.worker import ResidentWorker

SERVER_CORE, LOAD_CORE = 0, 1
QUESTION = "今天几点开门？"


@click.command()
@click.option("--rounds", default=25, show_default=True, help="turns of each peer")
@click.option("--trips", default=200, show_default=True, help="round trips a turn")
@click.option("--jobs", default=20_000, show_default=True, help="waiting jobs to drain")
@click.option("--rq-jobs", default=1_000, show_default=True, help="the same for rq.SimpleWorker")
def main(rounds: int, trips: int, jobs: int, rq_jobs: int) -> None:
    """Measures and prints."""
    log.configure(Settings(log_level="error"))
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[SERVER_CORE]})
    with tempfile.TemporaryDirectory() as folder, EmbeddedRedis(Path(folder)) as server:
        os.sched_setaffinity(0, {cores[min(LOAD_CORE, len(cores) - 1)]})
        click.echo(f"cores {cores}: Redis and worker on {cores[0]}, load on {cores[-1]}")
        round_trips(server.url, cores[0], rounds, trips)
        drains(server.url, cores[0], jobs, rq_jobs)


def round_trips(url: str, core: int, rounds: int, trips: int) -> None:
    """One caller, one worker: the bare loop and Resident by turns."""
    workers = [start(core, serve_bare, url), start(core, serve_resident, url)]
    path, password = unix_parts(url)
    link, client = bare.BareLink(path, password), Client(url)
    wait_for_worker(client)
    peers: dict[str, Callable[[], object]] = {
        "bare loop": lambda: bare.ask(link, protocol.new_id(), QUESTION),
        "Resident": lambda: client.ask("echo", QUESTION),
    }
    for ask in peers.values():
        timed(ask, trips)
    medians: dict[str, list[float]] = {name: [] for name in peers}
    tails: dict[str, list[float]] = {name: [] for name in peers}
    for _ in range(rounds):
        for name, ask in peers.items():
            times = timed(ask, trips)
            medians[name].append(statistics.median(times))
            tails[name].append(statistics.quantiles(times, n=100)[98])
    for worker in workers:
        worker.terminate()
        worker.join()
    client.close()
    report_round_trips(medians, tails)


def report_round_trips(medians: dict[str, list[float]], tails: dict[str, list[float]]) -> None:
    ratio = statistics.median(medians["Resident"]) / statistics.median(medians["bare loop"])
    click.echo(f"\nround trip, 1 caller: Resident = {ratio:.2f} x the bare loop")
    for name, values in medians.items():
        spread = f"{min(values):.3f} to {max(values):.3f}"
        tail = statistics.median(tails[name])
        click.echo(f"  {name:18} p50 {statistics.median(values):.3f} ms ({spread}), p99 {tail:.3f}")


def drains(url: str, core: int, jobs: int, rq_jobs: int) -> None:
    """How fast one worker empties a queue, each twice by turns."""
    rates: dict[str, list[float]] = {"rq.SimpleWorker": [], "Resident": []}
    for _ in range(2):
        for name, drain, count in (
            ("rq.SimpleWorker", drain_rq, rq_jobs),
            ("Resident", drain_resident, jobs),
        ):
            fill(url, count)
            rates[name].append(count / drained_in(core, drain, url))
    mean = {name: statistics.median(values) for name, values in rates.items()}
    ratio = mean["Resident"] / mean["rq.SimpleWorker"]
    click.echo(f"\ndrain of {jobs} waiting jobs: Resident = {ratio:.1f} x rq.SimpleWorker")
    for name, values in rates.items():
        click.echo(f"  {name:18} {mean[name]:8.0f} jobs/s ({min(values):.0f} to {max(values):.0f})")


def timed(ask: Callable[[], object], trips: int) -> list[float]:
    """The time of each round trip, in ms."""
    times = []
    for _ in range(trips):
        began = time.perf_counter()
        ask()
        times.append((time.perf_counter() - began) * 1000)
    return times


def fill(url: str, count: int) -> None:
    """Empties Redis and puts questions on the queue, in the documented minimal form."""
    of = keys.of_task("echo")
    with connect(url) as connection:
        connection.flushall()
        for start_of_chunk in range(0, count, 1_000):
            with connection.pipeline() as pipeline:
                for _ in range(start_of_chunk, min(count, start_of_chunk + 1_000)):
                    put(pipeline, of, protocol.new_id())
                pipeline.execute()


def put(pipeline: redis.client.Pipeline, of: keys.TaskKeys, job_id: str) -> None:
    job = {
        "data": protocol.encode_job_data("echo", QUESTION, 1_000),
        "origin": "echo",
        "status": "queued",
        "created_at": "2026-11-23T08:09:10.000001Z",
        "enqueued_at": "2026-11-23T08:09:10.000001Z",
        "success_callback_name": protocol.SUCCESS_CALLBACK,
        "failure_callback_name": protocol.FAILURE_CALLBACK,
    }
    pipeline.hset(f"{keys.JOB}{job_id}", mapping=job)
    pipeline.pexpire(f"{keys.JOB}{job_id}", 600_000)
    pipeline.sadd(keys.QUEUES, of.queue)
    pipeline.rpush(of.queue, job_id)


def drained_in(core: int, drain: Callable[[str], float], url: str) -> float:
    """Seconds that a worker of its own needs, without its start."""
    here, there = multiprocessing.Pipe()
    process = start(core, report_drain, drain, url, there)
    seconds = float(here.recv())
    process.join()
    with connect(url) as connection:
        assert connection.llen(keys.of_task("echo").queue) == 0
    return seconds


def report_drain(drain: Callable[[str], float], url: str, to: Connection) -> None:
    to.send(drain(url))


def drain_rq(url: str) -> float:
    """Seconds that rq.SimpleWorker needs."""
    worker = StockWorker(["echo"], connection=connect(url), serializer=JSONSerializer)
    return seconds_of(worker)


def drain_resident(url: str) -> float:
    """Seconds that one ResidentWorker needs."""
    return seconds_of(OurWorker(load_task("echo"), connect(url), Settings()))


def seconds_of(worker: StockWorker | OurWorker) -> float:
    """From the start to the last job; taking leave of RQ can take a second more."""
    began = time.perf_counter()
    worker.work(burst=True, logging_level="ERROR")
    return worker.drained_at - began


class Stopwatch:
    """Notes when a worker has done all its jobs."""

    drained_at = 0.0

    def teardown(self) -> None:
        """RQ calls this when the work is over."""
        self.drained_at = time.perf_counter()
        super().teardown()  # type: ignore[misc]


class StockWorker(Stopwatch, SimpleWorker):
    """RQ's own."""


class OurWorker(Stopwatch, ResidentWorker):
    """Resident's."""


def serve_bare(url: str) -> None:
    bare.serve(bare.BareLink(*unix_parts(url)))


def serve_resident(url: str) -> None:
    gc.collect()
    gc.freeze()  # as the supervisor does
    ResidentWorker(load_task("echo"), connect(url), Settings()).work()


def start(core: int, work: Callable[..., object], *arguments: object) -> multiprocessing.Process:
    """Runs the work in a process that is pinned to the core."""
    process = multiprocessing.Process(target=pinned, args=(core, work, arguments))
    process.start()
    return process


def pinned(core: int, work: Callable[..., object], arguments: tuple[object, ...]) -> None:
    os.sched_setaffinity(0, {core})
    work(*arguments)


def wait_for_worker(client: Client) -> None:
    deadline = time.monotonic() + 20
    while "echo" not in client.tasks():
        if time.monotonic() > deadline:
            raise SystemExit("the worker did not become ready")
        time.sleep(0.02)


def unix_parts(url: str) -> tuple[str, str]:
    """Path and password of an embedded Redis' URL."""
    parts = urlsplit(url)
    return parts.path, unquote(parts.password or "")


if __name__ == "__main__":
    main()
