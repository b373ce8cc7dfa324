"""Ends this process when it has not shown itself for too long, even if it hangs in C."""

from __future__ import annotations

import faulthandler

import structlog

_STDERR = 2
#: So long after it should have shown itself the process ends.
MARGIN_S = 20.0

_log = structlog.get_logger()


class Watchdog:
    """For a worker that hangs and has lost its supervisor, which would have ended it sooner.

    The supervisor's signal Python would never hear. The thread that keeps the time needs no GIL.
    """

    def __init__(self, is_on: bool) -> None:
        """One that is not on never ends anything."""
        self._is_on = is_on
        self._has_room = True

    def expect_within(self, seconds: float) -> None:
        """The process is to come here again in so long; a margin is added.

        Without room for a thread nobody but the supervisor expects it.
        """
        if not self._is_on:
            return
        had_room, self._has_room = self._has_room, True
        try:
            # Not to sys.stderr, in whose place a task may have put what is no file.
            faulthandler.dump_traceback_later(seconds + MARGIN_S, exit=True, file=_STDERR)
        except RuntimeError as error:
            self._has_room = False
            if had_room:
                _log.warning("no watchdog for now", error=str(error))

    def rest(self) -> None:
        """Expects nothing, until told again."""
        faulthandler.cancel_dump_traceback_later()
