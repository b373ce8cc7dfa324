"""How a program of ours ends early: one line on a wrong setting, none on Ctrl-C, no traceback."""

from __future__ import annotations

import contextlib
import errno
import importlib
import sys
from collections.abc import Iterator

from resident import standard_streams
from resident.errors import ConfigurationError

_EXIT_FAILED = 1
#: A wrong setting or file: nothing that a restart could cure.
EXIT_MISCONFIGURED = 2
#: What a shell reports for a program that SIGINT ended.
EXIT_INTERRUPTED = 130


@contextlib.contextmanager
def reporting_faults(name: str) -> Iterator[None]:
    """Ends the program of this name with one line and exit code 2 at a ConfigurationError.

    Ctrl-C ends it without a word, with exit code 130; a full disk with one line and code 1.
    """
    try:
        yield
    except ConfigurationError as fault:
        _say(f"{name}: {' '.join(str(fault).split())}\n")
        sys.exit(EXIT_MISCONFIGURED)
    except OSError as fault:
        if fault.errno != errno.ENOSPC:
            raise
        standard_streams.drop_output()  # or Python tries again at the end, and fails aloud
        _say(f"{name}: {fault.strerror}\n")
        sys.exit(_EXIT_FAILED)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)


@contextlib.contextmanager
def starting(name: str) -> Iterator[None]:
    """The same, around a program's imports: RQ's reads RQ_KEY_PREFIX, and raises ValueError."""
    standard_streams.open_missing()
    with reporting_faults(name):
        _import_rq()
        yield


def _say(line: str) -> None:
    with contextlib.suppress(OSError):  # standard error may be a file on the same disk
        sys.stderr.write(line)


def _import_rq() -> None:
    try:
        importlib.import_module("rq.defaults")
    except ValueError as refusal:  # it names the variable, its value and what is allowed
        raise ConfigurationError(str(refusal)) from None
