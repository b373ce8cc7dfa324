"""Serves models: `python worker.py faq`, `python worker.py faq=2 echo=1`.

SIGTERM: finish what is claimed and end; again: put it back and end now. SIGHUP: load task files,
models and knowledge anew, and go over to them without a break.
"""

from __future__ import annotations

import signal

signal.signal(signal.SIGHUP, signal.SIG_IGN)  # there is nothing to load anew yet

import contextlib  # noqa: E402
import sys  # noqa: E402
from collections.abc import Iterable  # noqa: E402
from pathlib import Path  # noqa: E402

from resident.program import reporting_faults, starting  # noqa: E402

with starting("worker.py"):
    import click
    from pydantic import SecretStr

    from resident import log, status
    from resident.embedded_redis import EmbeddedRedis
    from resident.generations import Generations
    from resident.loading import load
    from resident.pools import Pool, load_pools, read_pools
    from resident.pulse import Pulse
    from resident.readiness import ReadyFile
    from resident.redis_client import looking_at
    from resident.settings import MOST_WORKERS, Settings, read_settings
    from resident.startup import wait_for_server
    from resident.supervisor import Supervisor


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("tasks", nargs=-1, metavar="TASK[=WORKERS]...")
@click.option("--workers", type=click.IntRange(1, MOST_WORKERS), help="processes of each task")
@click.option("--burst", "do", flag_value="burst", help="answer what waits, then stop")
@click.option("--check", "do", flag_value="check", help="load the models, look at Redis, say so")
@click.option("--check-ready", "do", flag_value="ready", help="exit code 0 if workers here serve")
@click.option("--status", "do", flag_value="status", help="all workers: memory, jobs, deaths")
@click.option("--json", "as_json", is_flag=True, help="with --status: as JSON")
@click.option("--embedded-redis", is_flag=True, help="start a private Redis that ends with this")
@reporting_faults("worker.py")
def main(
    tasks: tuple[str, ...], workers: int | None, do: str | None, as_json: bool, embedded_redis: bool
) -> None:
    """Keeps the models of these TASKS in memory and answers their questions."""
    if as_json and do != "status":
        raise click.UsageError("--json goes with --status")
    if tasks and do == "status":
        raise click.UsageError("--status tells of all tasks, and takes none")
    settings = read_settings()
    log.configure(settings)
    pools = {} if do == "status" else read_pools(tasks, workers or settings.workers)
    with contextlib.ExitStack() as stack:
        if embedded_redis:
            server = stack.enter_context(EmbeddedRedis(Path(".run") / "redis"))
            click.echo(f"export RESIDENT_REDIS_URL='{server.url}'")
            settings = settings.model_copy(update={"redis_url": SecretStr(server.url)})
        url = settings.redis_url.get_secret_value()
        if do == "ready":
            sys.exit(check_ready(url, pools))
        if do == "status":
            sys.exit(show_status(url, as_json=as_json))
        if do is None:
            sys.exit(serve(settings, pools))
        with looking_at(url):
            pass  # neither loads a model in vain
        if do == "check":
            sys.exit(check_models(load_pools(pools)))
        sys.exit(Supervisor(load_pools(pools), settings, burst=True).run())


def serve(settings: Settings, pools: dict[str, int]) -> int:
    """Until told to stop; returns the exit code."""

    def generation(number: int, pulse: Pulse) -> int:
        with reporting_faults("worker.py"):
            return Supervisor(load_pools(pools), settings, generation=number, pulse=pulse).run()

    ready_file = ReadyFile(settings.ready_file)
    ready_file.clear()
    wait_for_server(settings.redis_url.get_secret_value())
    return Generations(generation, settings.load_timeout_s, ready_file).run()


def check_models(pools: list[Pool]) -> int:
    """Loads each model in turn and says so."""
    for pool in pools:
        load(pool.task)
        click.echo(f"{pool.task.name}: loaded and warmed up")
    return 0


def check_ready(url: str, tasks: Iterable[str]) -> int:
    """Says which of these tasks have no ready worker on this host."""
    with looking_at(url) as connection:
        missing = [name for name in tasks if not status.is_ready_here(connection, name)]
    for name in missing:
        click.echo(f"{name}: no worker on this host is ready", err=True)
    return 1 if missing else 0


def show_status(url: str, *, as_json: bool) -> int:
    """What the supervisors tell of themselves."""
    with looking_at(url) as connection:
        found = status.read(connection)
    click.echo(status.as_json(found) if as_json else status.as_table(found))
    return 0


if __name__ == "__main__":
    main()
