"""Runs the PHP tests: `python tests/php/run.py [arguments of phpunit]`.

They get three Redis of their own: one with an `echo` worker, one with a worker that streams, and
one without any, to break; and some that are broken.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from resident import keys  # noqa: E402
from resident.embedded_redis import EmbeddedRedis  # noqa: E402
from resident.lifeline import die_with_owner  # noqa: E402
from resident.redis_client import connect  # noqa: E402
from tests.support.broken import Broken  # noqa: E402
from tests.support.odd import WITH_ODD_TASKS  # noqa: E402

#: Where the tests find a Redis that breaks in this way.
BROKEN = {
    "RESIDENT_SILENT_URL": "says nothing",
    "RESIDENT_ASK_BREAKS_URL": "breaks off the ask",
    "RESIDENT_REPLY_BREAKS_URL": "breaks off the reply",
    "RESIDENT_HALF_REFUSAL_URL": "refuses without its numbers",
    "RESIDENT_OTHER_ANSWER_URL": "answers something else",
    "RESIDENT_OLD_ANSWER_URL": "has an old answer",
    "RESIDENT_OLD_ERROR_URL": "has an old error",
}
READY_WITHIN_S = 30.0
STOPPED_WITHIN_S = 15.0
TESTED_WITHIN_S = 180.0


def main() -> int:
    """Starts what the tests need; returns phpunit's exit code."""
    with ExitStack() as stack:
        served = stack.enter_context(EmbeddedRedis(tcp=True))
        told = stack.enter_context(EmbeddedRedis())
        spare = stack.enter_context(EmbeddedRedis())
        environment = {
            **os.environ,
            "RQ_KEY_PREFIX": "rq",
            "RESIDENT_REDIS_URL": served.url,
            "RESIDENT_TOLD_REDIS_URL": told.url,
            "RESIDENT_SPARE_REDIS_URL": spare.url,
        }
        for variable, way in BROKEN.items():
            environment[variable] = stack.enter_context(Broken(way)).url
        stack.enter_context(a_worker(served.url, "echo", environment))
        stack.enter_context(a_worker(told.url, "tell", environment))
        command = ["phpunit", "-c", "tests/php/phpunit.xml", *sys.argv[1:]]
        return subprocess.run(
            command, cwd=ROOT, env=environment, timeout=TESTED_WITHIN_S, check=False
        ).returncode


@contextmanager
def a_worker(url: str, task: str, environment: dict[str, str]) -> Iterator[None]:
    """A worker that is ready; its output is shown if it does not get so far."""
    with tempfile.TemporaryFile("w+") as output:
        worker = subprocess.Popen(
            [*WITH_ODD_TASKS, "worker.py", task, "--workers", "1"],
            cwd=ROOT,
            env={**environment, "RESIDENT_REDIS_URL": url},
            stdout=output,
            stderr=output,
            preexec_fn=die_with_owner(signal.SIGTERM),
        )
        try:
            if not is_ready(worker, url, task):
                output.seek(0)
                sys.exit(f"The worker of {task} did not get ready:\n{output.read()}")
            yield
        finally:
            stop(worker)


def is_ready(worker: subprocess.Popen[bytes], url: str, task: str) -> bool:
    deadline = time.monotonic() + READY_WITHIN_S
    with connect(url) as connection:
        while worker.poll() is None and time.monotonic() < deadline:
            if connection.zcard(keys.of_task(task).ready):
                return True
            time.sleep(0.02)
    return False


def stop(worker: subprocess.Popen[bytes]) -> None:
    worker.terminate()
    try:
        worker.wait(STOPPED_WITHIN_S)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.wait()


if __name__ == "__main__":
    sys.exit(main())
