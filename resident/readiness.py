"""The file that is there while a worker.py is ready."""

from __future__ import annotations

import os
from pathlib import Path

import structlog

from resident.errors import ConfigurationError

_log = structlog.get_logger()


class ReadyFile:
    """RESIDENT_READY_FILE; without a path there is none, and nothing is done."""

    def __init__(self, path: str) -> None:
        self._path = Path(path) if path else None

    def clear(self) -> None:
        """Before the beginning: takes away what a worker.py that was killed has left.

        Raises:
            ConfigurationError: It could not be written.
        """
        if self._path and (reason := _fault_of(self._path)):
            msg = f"RESIDENT_READY_FILE={str(self._path)!r} cannot be written: {reason}"
            raise ConfigurationError(msg)
        self.take_away()

    def put(self) -> None:
        """Ready."""
        try:
            if self._path:
                self._path.write_text(f"{os.getpid()}\n", "ascii")
        except OSError as error:
            _log.error("the ready file cannot be written", error=str(error))

    def take_away(self) -> None:
        """Ready no longer."""
        try:
            if self._path:
                self._path.unlink(missing_ok=True)
        except OSError as error:
            _log.error("the ready file cannot be taken away", error=str(error))


def _fault_of(path: Path) -> str:
    if path.is_dir():
        return "it is a folder"
    if not path.parent.is_dir():
        return "its folder does not exist"
    return "" if os.access(path.parent, os.W_OK) else "its folder may not be written to"
