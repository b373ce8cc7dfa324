"""Serves models: `python worker.py faq`, `python worker.py faq=2 echo=1`."""

from __future__ import annotations

import contextlib
import re
import sys
from pathlib import Path

from resident.program import reporting_faults, starting

with starting("worker.py"):
    import click
    from pydantic import SecretStr

    from resident import log
    from resident.embedded_redis import EmbeddedRedis
    from resident.errors import ConfigurationError
    from resident.redis_client import check_server, connect
    from resident.settings import Settings, read_settings
    from resident.supervisor import Pool, Supervisor, load
    from resident.task import load_task, task_names

_POOL = re.compile(r"([^=]+)(?:=(\d{1,3}))?")
MOST_WORKERS = 256


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("tasks", nargs=-1, metavar="TASK[=WORKERS]...")
@click.option("--workers", type=click.IntRange(1, MOST_WORKERS), help="processes of each task")
@click.option("--burst", is_flag=True, help="answer what waits, then stop")
@click.option("--check", is_flag=True, help="load the models, look at Redis, say so, stop")
@click.option("--embedded-redis", is_flag=True, help="start a private Redis that ends with this")
@reporting_faults("worker.py")
def main(
    tasks: tuple[str, ...], workers: int | None, burst: bool, check: bool, embedded_redis: bool
) -> None:
    """Keeps the models of these TASKS in memory and answers their questions."""
    sys.exit(run(tasks, workers, burst=burst, check=check, embedded=embedded_redis))


def run(
    tasks: tuple[str, ...], workers: int | None, *, burst: bool, check: bool, embedded: bool
) -> int:
    """Does what the command line says; returns the exit code."""
    settings = read_settings()
    log.configure(settings)
    pools = read_pools(tasks, workers or settings.workers)
    with contextlib.ExitStack() as stack:
        if embedded:
            server = stack.enter_context(EmbeddedRedis(Path(".run") / "redis"))
            click.echo(f"export RESIDENT_REDIS_URL='{server.url}'")
            settings = settings.model_copy(update={"redis_url": SecretStr(server.url)})
        look_at_redis(settings)
        if check:
            return check_models(pools)
        return Supervisor(pools, settings, burst=burst).run()


def read_pools(tasks: tuple[str, ...], workers: int) -> list[Pool]:
    """`faq=2` as two processes of the task faq; `faq` as the usual number of them."""
    if not tasks:
        msg = f"Which tasks? There are: {', '.join(task_names())}. For example: worker.py faq"
        raise ConfigurationError(msg)
    pools: dict[str, Pool] = {}
    for text in tasks:
        match = _POOL.fullmatch(text)
        count = int(match[2]) if match and match[2] else workers
        if match is None or not 1 <= count <= MOST_WORKERS:
            msg = f"{text!r} is not TASK or TASK=WORKERS with 1 to {MOST_WORKERS} workers"
            raise ConfigurationError(msg)
        if match[1] in pools:
            msg = f"The task {match[1]!r} is named twice"
            raise ConfigurationError(msg)
        pools[match[1]] = Pool(load_task(match[1]), count)
    return list(pools.values())


def look_at_redis(settings: Settings) -> None:
    """Raises ConfigurationError unless Redis can be used."""
    url = settings.redis_url.get_secret_value()
    with contextlib.closing(connect(url)) as connection:
        check_server(connection, url)


def check_models(pools: list[Pool]) -> int:
    """Loads each model in turn and says so."""
    for pool in pools:
        load(pool.task)
        click.echo(f"{pool.task.name}: loaded and warmed up")
    return 0


if __name__ == "__main__":
    main()
