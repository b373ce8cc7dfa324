"""What commands are made of."""

from __future__ import annotations

import subprocess
import sys

from tests.support.processes import ROOT

PACKED_UNDER_ALARMS = """
import signal
from enqueue_api.mailbox import Mailbox
from enqueue_api.outcome import query_for_tasks
from enqueue_api.stream import still_reading_commands
from resident.asking import cancel_command
from resident.link import pack

class Alarm(Exception):
    pass

def raise_it(*_):
    raise Alarm

mailbox = Mailbox()
mailbox.read([b"reply"])
commands = [*mailbox.commands("1"), mailbox.look(), *still_reading_commands("a")]
commands += [cancel_command("a", 60_000), query_for_tasks((b"1", b"2"))]
signal.signal(signal.SIGALRM, raise_it)
alarms = 0
while alarms < 20_000:
    try:
        signal.setitimer(signal.ITIMER_REAL, 2e-5)  # once
        while True:
            for command in commands:
                pack(command)
    except Alarm:
        alarms += 1
"""


def test_a_signal_handler_that_raises_while_a_command_is_packed_is_heard() -> None:
    """Of numbers hiredis makes texts, and dies of an exception in that: see resident.link.Word."""
    ended = subprocess.run(
        [sys.executable, "-c", PACKED_UNDER_ALARMS], cwd=ROOT, check=False, timeout=50
    )
    assert ended.returncode == 0
