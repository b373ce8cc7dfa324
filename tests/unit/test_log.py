"""What a log line does not tell, whoever wrote it."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import logging, sys, structlog
from redis.exceptions import ResponseError
from resident import log
from resident.settings import Settings

log.configure(Settings())
said = "unknown command 'AUTH', with args beginning with: 'default' 'S3cret' "
structlog.get_logger().warning("one", error=said)
logging.getLogger("rq.worker").warning("two: %s", ResponseError(said))
try:
    raise ResponseError(said)
except ResponseError:
    structlog.get_logger().exception("three")
    logging.getLogger("other").exception("four")
"""


@pytest.mark.parametrize("form", ["json", "console"])
def test_what_redis_quotes_of_a_command_that_it_does_not_know_is_in_no_line(
    form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESIDENT_LOG_FORMAT", form)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=30
    )
    assert all(word in done.stderr for word in ("one", "two", "three", "four"))
    assert done.stderr.count("unknown command 'AUTH'") == 4
    assert "S3cret" not in done.stderr
