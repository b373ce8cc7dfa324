"""The file that is there while a worker.py is ready."""

from __future__ import annotations

import os
import re
import stat
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
    try:
        if path.is_dir():
            return "it is a folder"
        if not path.parent.is_dir():
            return "its folder does not exist"
        if not _may_be_replaced(path):
            return "something else is there, which would be deleted"
    except OSError as error:
        return (error.strerror or type(error).__name__).lower()
    return "" if os.access(path.parent, os.W_OK) else "its folder may not be written to"


def _may_be_replaced(path: Path) -> bool:
    """Nothing is there, or what a worker.py has left: its process id, or not even that yet."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return False
    except FileNotFoundError:
        return True
    with path.open("rb") as left:
        return re.fullmatch(rb"\d{0,10}\n?", left.read(32)) is not None
