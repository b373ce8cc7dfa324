"""Whatever dies or hangs, each question gets one answer or one honest error."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from redis import Redis
from rq.job import Job
from rq.serializers import JSONSerializer

from resident import keys
from resident.respawn import FREE_DEATHS
from tests.support.live import Live, start_worker
from tests.support.odd import FOLDER
from tests.support.processes import Processes, descendants, is_there, workers_of
from tests.support.project import copy_project
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = copy_project(tmp_path_factory.mktemp("deadly"))
    text = (Path(FOLDER) / "deadly.py").read_text("utf-8")
    (folder / "tasks" / "deadly.py").write_text(text, "utf-8")
    return folder


@pytest.fixture
def live(connection: Redis) -> Live:
    return Live(connection, "deadly")


@pytest.fixture
def supervisor(
    project: Path, processes: Processes, connection: Redis, tmp_path: Path
) -> subprocess.Popen[str]:
    output = tmp_path / "output"
    return start_worker(processes, connection, output, "deadly", "echo", folder=project)


@pytest.fixture
def neighbour(connection: Redis) -> Live:
    """Another task of the same supervisor."""
    return Live(connection, "echo")


ENDS = {
    "segfault": "crashed",
    "kill": "crashed",
    "exit": "crashed",
    "exit misconfigured": "crashed",
    "exit well": "crashed",
    "hang": "timed_out",
    "fork and hang": "timed_out",
    "deadlock": "timed_out",
    "spin": "timed_out",
    "stop": "timed_out",
    "sleep": "timed_out",
    "raise": "model_error",
    "sys.exit": "model_error",
    "interrupt": "model_error",
}


#: What the log says of its error.
KINDS = {
    "raise": "ZeroDivisionError",
    "sys.exit": "SystemExit",
    "interrupt": "KeyboardInterrupt",
    "kill": "crashed",
}
#: What the log says of it, where that is not that a question has failed.
LOGGED = {
    "segfault": "SIGSEGV",
    "kill": "SIGKILL",
    "exit": "exit code 3",
    "exit misconfigured": "exit code 2",
    "exit well": "exit code 0",
    "hang": "the model ran over its time-out",
    "fork and hang": "the model ran over its time-out",
    "stop": "the model ran over its time-out",
}


@pytest.mark.parametrize("deed", ENDS)
def test_a_question_that_ends_its_worker_gets_its_error_and_its_mates_an_answer(
    deed: str, supervisor: subprocess.Popen[str], live: Live, neighbour: Live, tmp_path: Path
) -> None:
    first, culprit, last = live.put(*map(live.fields, ("first", deed, "last")))
    assert live.answer(first) == "first"
    assert live.answer(last) == "last"
    neighbour.answers_one()
    assert live.error_code(culprit) == ENDS[deed]
    live.check_that_it_serves()
    logged = (tmp_path / "output").read_text("utf-8")
    assert LOGGED.get(deed, '"failed": 1') in logged
    assert f'"first_job": "{culprit}", "first_kind": "{KINDS.get(deed, "")}' in logged
    job = Job.fetch(culprit, live.connection, serializer=JSONSerializer)
    assert job.is_failed
    assert job.latest_result().exc_string
    assert live.connection.zscore(live.of.failed, culprit) is not None


def test_a_question_that_hangs_alone_hangs_once(
    supervisor: subprocess.Popen[str], live: Live, tmp_path: Path
) -> None:
    (culprit,) = live.put(live.fields("hang"))
    assert live.error_code(culprit) == "timed_out"
    assert (tmp_path / "output").read_text("utf-8").count("worker killed") == 1


#: What the log says of those that would do harm.
NAMED = {
    "fork": "the task forked a process that ran on",
    "close": "the task closed the standard streams",
}


@pytest.mark.parametrize("deed", ["fork", "thread", "close", "chdir", "print", "signals"])
def test_a_task_that_plays_with_its_process_disturbs_nobody(
    deed: str, supervisor: subprocess.Popen[str], live: Live, neighbour: Live, tmp_path: Path
) -> None:
    played, mate = live.put(*map(live.fields, (deed, "mate")))
    assert live.reply(played)["id"] == played
    assert live.answer(mate) == "mate"
    for _ in range(3):
        live.check_that_it_serves()
        neighbour.answers_one()
    assert NAMED.get(deed, "") in (tmp_path / "output").read_text("utf-8")


def test_jobs_of_a_killed_worker_are_answered_in_their_order_by_the_next(
    project: Path, processes: Processes, live: Live, tmp_path: Path
) -> None:
    supervisor = start_worker(
        processes, live.connection, tmp_path / "output", "deadly", folder=project
    )
    (worker,) = workers_of(supervisor)
    os.kill(worker, signal.SIGSTOP)
    ids = live.put(*map(live.fields, "abc"))
    os.kill(worker, signal.SIGKILL)
    assert [live.answer(job_id) for job_id in ids] == ["a", "b", "c"]
    live.check_that_it_serves()
    wait_until(lambda: workers_of(supervisor) not in ([], [worker]))


@pytest.fixture
def frozen(
    project: Path, processes: Processes, live: Live, tmp_path: Path
) -> tuple[subprocess.Popen[str], int, str]:
    """A service, its worker, which is stopped, and a job that it was given and has not heard of."""
    supervisor = start_worker(
        processes, live.connection, tmp_path / "output", "deadly", folder=project
    )
    (worker,) = workers_of(supervisor)
    # It is ready a moment before it waits; what came then would lie on the queue.
    wait_until(lambda: any("b" in one["flags"] for one in live.connection.client_list()))
    os.kill(worker, signal.SIGSTOP)
    (job_id,) = live.put(live.fields("a"))
    wait_until(lambda: live.connection.hget(f"{keys.JOB}{job_id}", "status") == b"started")
    return supervisor, worker, job_id


def test_what_a_worker_was_given_that_hears_of_nothing_is_answered_by_another(
    frozen: tuple[subprocess.Popen[str], int, str], live: Live
) -> None:
    supervisor, worker, job_id = frozen
    assert live.answer(job_id) == "a"
    assert worker not in workers_of(supervisor)
    assert live.connection.hget(f"{keys.JOB}{job_id}", "deaths") is None  # the model never saw it


def test_what_comes_while_its_worker_is_told_to_stop_is_put_back(
    frozen: tuple[subprocess.Popen[str], int, str],
    project: Path,
    processes: Processes,
    live: Live,
    tmp_path: Path,
) -> None:
    supervisor, worker, job_id = frozen
    for signum in (signal.SIGTERM, signal.SIGCONT):
        os.kill(worker, signum)
    wait_until(lambda: supervisor.poll() == 0)
    assert live.connection.hget(f"{keys.JOB}{job_id}", "status") == b"queued"
    start_worker(processes, live.connection, tmp_path / "output", "deadly", folder=project)
    assert live.answer(job_id) == "a"


def test_what_a_vanished_host_held_is_answered_by_another(
    project: Path, processes: Processes, live: Live, tmp_path: Path
) -> None:
    short = {"RESIDENT_LEASE_S": "2"}
    supervisor = start_worker(
        processes, live.connection, tmp_path / "first", "deadly", folder=project, **short
    )
    frozen = [supervisor.pid, *descendants(supervisor)]
    (job_id,) = live.put(live.fields("stop"))
    wait_until(lambda: live.connection.hget(f"{keys.JOB}{job_id}", "status") == b"started")
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    try:
        live.connection.hset(f"{keys.JOB}{job_id}", "data", live.fields("late")["data"])
        start_worker(
            processes, live.connection, tmp_path / "second", "deadly", folder=project, **short
        )
        assert live.answer(job_id) == "late"
    finally:
        for pid in reversed(frozen):
            os.kill(pid, signal.SIGKILL)
    live.check_that_it_serves()


def test_a_killed_supervisor_leaves_no_process_and_no_job_behind(
    project: Path, processes: Processes, live: Live, tmp_path: Path
) -> None:
    supervisor = start_worker(
        processes, live.connection, tmp_path / "first", "deadly=2", folder=project
    )
    below = descendants(supervisor)
    assert len(below) == 3
    supervisor.kill()
    supervisor.wait()
    wait_until(lambda: not any(map(is_there, below)))
    assert not live.left_behind()


def test_an_alarm_that_somebody_else_rings_between_two_calls_is_not_heard(
    project: Path, processes: Processes, connection: Redis, tmp_path: Path
) -> None:
    supervisor = start_worker(processes, connection, tmp_path / "output", "echo", folder=project)
    live = Live(connection)
    for number in range(3):
        (job_id,) = live.put(live.fields(number))  # sets the handler
        assert live.answer(job_id) == number
        (worker,) = workers_of(supervisor)
        os.kill(worker, signal.SIGALRM)
    live.check_that_it_serves()
    assert workers_of(supervisor) == [worker]


PARENT = """
import os
import subprocess
from resident import task

def load():
    orderly = subprocess.Popen(["sh", "-c", f"cat; touch {mark}"], stdin=subprocess.PIPE)
    return [subprocess.Popen(["sleep", "600"]).pid, orderly.pid]

@task(load=load, preload=False)
def answer(model, questions):
    return [[os.getpid(), *model]]
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_what_a_model_starts_ends_with_its_worker(
    end: signal.Signals, project: Path, processes: Processes, connection: Redis, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    text = PARENT.replace("{mark}", str(mark)).replace('f"', '"')
    (project / "tasks" / "parent.py").write_text(text, "utf-8")
    supervisor = start_worker(processes, connection, tmp_path / "out", "parent=2", folder=project)
    live = Live(connection, "parent")
    worker, *children = live.answer(*live.put(live.fields()))
    assert all(map(is_there, children))
    if end == signal.SIGKILL:
        os.kill(worker, end)
    else:
        supervisor.send_signal(end)
        assert supervisor.wait(20) == 0
        assert mark.exists()  # it was left the time to end in order
    wait_until(lambda: not any(map(is_there, children)))


#: worker.py with a fault of its own, which one question meets.
BROKEN = """
import sys
from resident import answering
answer_batch = answering.answer_batch
def break_at(call, questions, *others):
    if "bad" in questions:
        raise AssertionError("nobody thought of this")
    return answer_batch(call, questions, *others)
answering.answer_batch = break_at
sys.argv[0] = "worker.py"
sys.path.insert(0, ".")
import worker
worker.main()
"""


def test_a_question_at_which_the_worker_itself_fails_is_given_up_after_three_deaths(
    project: Path, processes: Processes, connection: Redis
) -> None:
    live = Live(connection)
    first, bad, last = live.put(*map(live.fields, ("a", "bad", "b")))
    process = processes.start(sys.executable, "-c", BROKEN, "echo", folder=project)
    assert (live.answer(first), live.answer(last)) == ("a", "b")
    assert live.error_code(bad) == "crashed"
    live.check_that_it_serves()
    process.terminate()
    _, errors = process.communicate(timeout=20)
    assert errors.count("worker died") == 3
    assert "nobody thought of this" in errors


@pytest.mark.parametrize(
    ("load", "told"), [("os._exit(9)", 0), ("exec('raise KeyboardInterrupt')", 12)]
)
def test_workers_that_cannot_live_are_given_up(
    load: str, told: int, project: Path, processes: Processes, connection: Redis
) -> None:
    (project / "tasks" / "stillborn.py").write_text(
        "import os\nfrom resident import task\n"
        f"@task(load=lambda: {load}, preload=False)\n"
        "def answer(model, questions): return questions\n",
        "utf-8",
    )
    process = processes.start(
        sys.executable, "-c", IMPATIENT, "stillborn", folder=project, RESIDENT_LOG_FORMAT="json"
    )
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "workers keep dying before they answer anything" in errors
    assert errors.count("worker died") == 12
    assert errors.count("worker failed") == told


#: worker.py with pauses that a test can wait for.
IMPATIENT = """
import sys
from resident import respawn
respawn.LONGEST_PAUSE_S = 0.05
sys.argv[0] = "worker.py"
sys.path.insert(0, ".")
import worker
worker.main()
"""


#: Who has served for a moment has served for long.
SATISFIED = """
import runpy, sys
from resident import respawn
respawn.LONG_LIFE_S = 0.001
sys.argv = ["worker.py", "echo"]
runpy.run_path("worker.py", run_name="__main__")
"""


def test_workers_that_have_served_for_long_are_replaced_at_once_although_nobody_asked(
    processes: Processes, connection: Redis
) -> None:
    service = processes.start(sys.executable, "-c", SATISFIED)
    ready = keys.of_task("echo").ready
    killed = set[bytes]()
    for _ in range(FREE_DEATHS + 2):
        wait_until(lambda: {*connection.zrange(ready, 0, -1)} - killed)
        (pid,) = workers_of(service)
        killed.update(connection.zrange(ready, 0, -1))
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: {*connection.zrange(ready, 0, -1)} - killed)
    service.terminate()
    output = "".join(service.communicate(timeout=20))
    assert output.count("worker died") == FREE_DEATHS + 2
    assert "next worker later" not in output
