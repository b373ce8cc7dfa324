"""RQ's side of a story: its command line, its workers, its jobs."""

from __future__ import annotations

import json
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from redis import Redis
from rq import Callback
from rq.job import Job
from rq.serializers import JSONSerializer

from resident import keys, protocol
from tests.support.desks import Asking
from tests.support.odd import WITH_ODD_TASKS
from tests.support.processes import Processes
from tests.support.waiting import wait_until


class Hook(HTTPServer):
    """Keeps what one webhook posts."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Posted)
        self.received: dict[str, Any] = {}


class _Posted(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received = json.loads(body)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


def for_a_reply() -> dict[str, Callback]:
    """What Queue.enqueue is told so that a caller gets a reply."""
    return {
        "on_success": Callback(protocol.SUCCESS_CALLBACK),
        "on_failure": Callback(protocol.FAILURE_CALLBACK),
    }


def start_stock_worker(processes: Processes, redis_url: str, *queues: str) -> None:
    """`rq worker`, as RQ ships it: a fork for each job."""
    arguments = ("--serializer", "json", "--quiet", "--url", redis_url)
    processes.start(*WITH_ODD_TASKS, "rq", "worker", *arguments, *queues)


def rq(redis_url: str, *arguments: str) -> str:
    """Runs a command of RQ's command line, and returns what it prints."""
    command = [sys.executable, "-m", "rq.cli", arguments[0], "--url", redis_url, *arguments[1:]]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def wait_for_reply(connection: Redis, asked: Asking | Job) -> dict[str, Any]:
    """The reply, as the caller takes it off its list."""
    job_id = asked.job_id if isinstance(asked, Asking) else asked.id
    # Not in one BLPOP: to load a model may take longer than the connection waits for an answer.
    wait_until(lambda: connection.llen(keys.reply(job_id)))
    return dict(json.loads(connection.lpop(keys.reply(job_id))))


def fetch(connection: Redis, job_id: str) -> Job:
    return Job.fetch(job_id, connection, JSONSerializer)
