"""Asks the FAQ model questions from PHP, or from Python where PHP is missing."""

# ruff: noqa: T201  (its output is what it is for)
from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

from resident.program import reporting_faults, starting

with starting("demo"):
    from resident.redis_client import check_server, connect
    from resident.settings import read_settings
    from script.processes import (
        environment,
        exit_on_sigterm,
        fail,
        running,
        running_redis,
        wait_until_ready,
    )
    from script.table import table

_ASK_TIMEOUT_S = 120.0
_QUESTION_WIDTH = 34
#: The question, the two numbers and what separates the four columns.
_OTHER_COLUMNS_WIDTH = _QUESTION_WIDTH + 17

Reply = dict[str, Any]

QUESTIONS = [
    "今天几点开门？",
    "你们几点开门？",
    "买的东西不喜欢可以退吗？",
    "怎么开发票",
    "包裹什么时候能送到我家",
    "你们的店开在什么地方",
    "What are your opening hours?",
    "Until when can I come by in the evening?",
    "How do I send something back?",
    "Which ways to pay do you accept?",
    "I would like to speak to a real person",
    "How far away is the moon?",
]


@reporting_faults("demo")
def main() -> None:
    """Starts what is missing, asks, shows, and stops what it started."""
    exit_on_sigterm()
    replies = _serve_and_ask()
    _show(replies)
    if any("error" in reply for reply in replies):
        sys.exit("demo: not every question was answered")


def _serve_and_ask() -> list[Reply]:
    with running_redis(read_settings()) as (url, _), tempfile.TemporaryFile() as log:
        check_server(connect(url), url)
        print("demo: starting `python worker.py faq`, which loads the model once")
        started = time.monotonic()
        with running([sys.executable, "worker.py", "faq"], url, log) as worker:
            trouble = wait_until_ready("faq", connect(url), worker)
            if trouble:
                log.seek(0)
                print(log.read().decode(errors="replace"), file=sys.stderr)
                fail("demo", f"{trouble}; its log is above", worker)
            print(f"demo: ready after {time.monotonic() - started:.1f} s")
            return _ask(url)


def _ask(url: str) -> list[Reply]:
    command = _asking_program()
    print(f"demo: asking {len(QUESTIONS)} questions with `{' '.join(command)}`\n", flush=True)
    asked = subprocess.run(
        command,
        input="\n".join(QUESTIONS) + "\n",
        stdout=subprocess.PIPE,
        env=environment(url),
        encoding="utf-8",
        timeout=_ASK_TIMEOUT_S,
        check=False,
    )
    try:
        replies: list[Reply] = [json.loads(line) for line in asked.stdout.splitlines()]
    except json.JSONDecodeError:
        sys.exit(f"demo: what it wrote is not JSON:\n{asked.stdout}")
    if len(replies) != len(QUESTIONS):
        sys.exit(f"demo: {len(replies)} replies to {len(QUESTIONS)} questions, see above")
    return replies


def _asking_program() -> list[str]:
    has_phpredis = "exit(extension_loaded('redis') ? 0 : 1);"
    if (
        shutil.which("php")
        and subprocess.run(["php", "-r", has_phpredis], check=False).returncode == 0
    ):
        return ["php", "php_client/bin/ask", "--json", "faq", "-"]
    return [".venv/bin/python", "-m", "enqueue_api", "ask", "--json", "faq", "-"]


def _show(replies: list[Reply]) -> None:
    rows = [
        (
            str(reply["question"]),
            _answer(reply),
            f"{reply['ms']:.1f}" if "ms" in reply else "",
            str(reply.get("batch", "")),
        )
        for reply in replies
    ]
    answer_width = max(24, shutil.get_terminal_size((120, 24)).columns - _OTHER_COLUMNS_WIDTH)
    limits = {0: _QUESTION_WIDTH, 1: answer_width}
    print(table(("question", "answer", "ms", "batch"), rows, limits=limits, right={2, 3}))
    times = [reply["ms"] for reply in replies if "ms" in reply]
    if times:
        print(f"\nFrom question to answer: {statistics.median(times):.1f} ms (median).")
    print("Next: script/server keeps it running, and says how to ask.")


def _answer(reply: Reply) -> str:
    if "error" in reply:
        return f"{reply['error']['code']}: {reply['error']['message']}"
    answer = reply["answer"]
    return answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)


if __name__ == "__main__":
    main()
