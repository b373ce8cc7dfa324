"""`python -m enqueue_api ask faq "…"`, `serve`, `tasks`."""

from __future__ import annotations

import contextlib
import io
import sys
import time
from collections.abc import Iterator
from typing import Any

from resident.program import reporting_faults, starting

with starting("enqueue_api"):
    import click
    import msgspec
    import structlog

    from enqueue_api.client import Client
    from enqueue_api.listening import BACKLOG, files_missing_for, listen, url_of
    from resident import log
    from resident.asking import Priority
    from resident.errors import ResidentError
    from resident.settings import LONGEST_BUDGET_MS, Settings, read_settings

_EXIT_ERROR_REPLY = 1

_log = structlog.get_logger()


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.pass_context
@reporting_faults("enqueue_api")
def main(context: click.Context) -> None:
    """Ask resident models through Redis; RESIDENT_REDIS_URL says where it is."""
    context.obj = read_settings()


@main.command()
@click.argument("task")
@click.argument("question")
@click.option("--json", "as_json", is_flag=True, help="one JSON object a question")
@click.option(
    "--budget",
    "budget_ms",
    type=click.IntRange(1, LONGEST_BUDGET_MS),
    help="how long to wait, in ms",
)
@click.option(
    "--priority",
    type=click.Choice([one.value for one in Priority]),
    default=Priority.NORMAL.value,
    show_default=True,
    help="which of those that wait are taken first",
)
@click.option("--tenant", default="", help="for whom to ask; tenants that wait take turns")
@click.pass_obj
@reporting_faults("enqueue_api")
def ask(settings: Settings, /, task: str, question: str, as_json: bool, **terms: Any) -> None:
    """Ask TASK a QUESTION and print the answer; `-` reads one from each line that is not blank.

    Exit code: 0 all answered, 1 an error came back, 2 wrong usage or a wrong setting.
    """
    failures = 0
    with _client(settings) as client:
        for text in _questions(question):
            record, failed = _asked(client, task, text, terms)
            failures += failed
            _print(record, as_json=as_json)
    sys.exit(_EXIT_ERROR_REPLY if failures else 0)


@main.command()
@click.pass_obj
@reporting_faults("enqueue_api")
def tasks(settings: Settings) -> None:
    """Print the tasks that ready workers serve now."""
    with _client(settings) as client:
        try:
            names = client.tasks()
        except ResidentError as error:
            click.echo(f"enqueue_api: {error}", err=True)
            sys.exit(_EXIT_ERROR_REPLY)
    for name in names:
        click.echo(name)


@main.command()
@click.option("--host", help="address to bind; the default is loopback")
@click.option("--port", type=click.IntRange(0, 65_535), help="port to bind")
@click.pass_obj
@reporting_faults("enqueue_api")
def serve(settings: Settings, host: str | None, port: int | None) -> None:
    """Serve GET and POST /deal?question=… and /healthz over HTTP."""
    import uvicorn

    from enqueue_api.app import longest_s, make_app

    log.configure(settings)
    app = make_app(settings)
    missing = files_missing_for(settings.http_concurrency)
    # A place that cannot be had is told by us: uvicorn buries the reason in its log.
    sockets = listen(host or settings.http_host, settings.http_port if port is None else port)
    _log.info("serving over HTTP", urls=[url_of(*one.getsockname()[:2]) for one in sockets])
    if missing:
        _log.warning(
            "too few open files are allowed for RESIDENT_HTTP_CONCURRENCY", missing=missing
        )
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,  # its lines would hold the questions
        backlog=BACKLOG,
        timeout_graceful_shutdown=longest_s(settings),
    )
    with contextlib.suppress(KeyboardInterrupt):  # it has stopped as it was asked to
        uvicorn.Server(config).run([*sockets])


def _client(settings: Settings) -> Client:
    return Client(settings.redis_url.get_secret_value(), settings)


def _questions(question: str) -> Iterator[str]:
    if question != "-":
        yield question
        return
    if isinstance(sys.stdin, io.TextIOWrapper):  # a line that is no text is refused alone
        sys.stdin.reconfigure(errors="surrogateescape")
    for number, line in enumerate(sys.stdin):
        text = line if number else line.removeprefix("\ufeff")  # some editors put it before UTF-8
        if text.strip():
            yield text.rstrip("\r\n")


def _asked(
    client: Client, task: str, question: str, terms: dict[str, Any]
) -> tuple[dict[str, Any], bool]:
    began = time.perf_counter()
    try:
        reply = client.ask(task, question, **terms)
    except ResidentError as error:
        return {
            "question": question.encode(errors="replace").decode(),
            "error": {"code": error.code.value, "message": error.message},
        }, True
    ms = round((time.perf_counter() - began) * 1000, 1)
    return {"question": question, "answer": reply.answer, "ms": ms, "batch": reply.batch}, False


def _print(record: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.encode(record).decode())
    elif "error" in record:
        click.echo(f"{record['error']['code']}: {record['error']['message']}", err=True)
    else:
        answer = record["answer"]
        click.echo(answer if isinstance(answer, str) else msgspec.json.encode(answer).decode())


if __name__ == "__main__":
    main()
