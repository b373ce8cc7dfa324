"""What a worker tells callers and RQ while it has no time for it."""

from __future__ import annotations

import signal

import pytest
from redis import Redis
from redis.exceptions import ResponseError

from resident.settings import Settings
from resident.task import load_task
from resident.worker import ResidentWorker
from tests.support.inline import work_off
from tests.support.live import Live, call_data


@pytest.mark.parametrize("function", ["tasks.echo.answer", "os.system"])
def test_a_worker_announces_itself_between_batches_that_it_runs_or_refuses(
    function: str, connection: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else callers would hear `no_worker` where nothing comes but what is refused."""
    live, task, left = Live(connection), load_task("echo"), list[int]()
    worker = ResidentWorker(task, connection, Settings())
    monkeypatch.setattr("resident.tending.ANNOUNCE_S", 0.0)
    monkeypatch.setattr(
        worker._tend, "_announce", [lambda: left.append(connection.llen(live.of.queue))]
    )
    fields = live.fields() | {"data": call_data(function, None, ["?"], {})}
    live.put(*[fields] * (3 * task.max_batch))
    work_off(worker)
    assert left == [3 * task.max_batch, 2 * task.max_batch, task.max_batch, 0]


def test_signal_handlers_that_the_tasks_code_took_away_are_back_with_the_next_heartbeat(
    connection: Redis,
) -> None:
    worker = ResidentWorker(load_task("echo"), connection, Settings())
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        for number in before:
            signal.signal(number, signal.SIG_IGN)
        worker._tend()
        assert signal.SIG_IGN not in map(signal.getsignal, before)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_what_ends_the_thread_that_listens_for_rqs_commands_does_not_tell_the_password(
    connection: Redis,
) -> None:
    """Python writes it to stderr, past the log."""
    worker = ResidentWorker(load_task("echo"), connection, Settings())
    refusal = ResponseError("unknown command 'AUTH', with args beginning with: 'S3cret' ")
    with pytest.raises(ResponseError) as told:
        pass_on(refusal, worker)
    assert str(told.value) == "unknown command 'AUTH'"


def pass_on(error: Exception, worker: ResidentWorker) -> None:
    """As redis-py's thread does."""
    try:
        raise error
    except ResponseError as raised:
        worker._pubsub_exception_handler(raised, None, None)
