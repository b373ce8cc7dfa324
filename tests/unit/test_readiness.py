"""What RESIDENT_READY_FILE may name."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from resident.errors import ConfigurationError
from resident.readiness import ReadyFile

#: What may be there already, and is nobody's ready file.
OTHERS: dict[str, Callable[[Path], object]] = {
    "text": lambda path: path.write_text("precious\n", "ascii"),
    "two lines": lambda path: path.write_text("1\n2\n", "ascii"),
    "much": lambda path: path.write_text("1" * 33, "ascii"),
    "device": lambda path: os.mkfifo(path),
    "link": lambda path: path.symlink_to("nowhere"),
}


@pytest.mark.parametrize("what", OTHERS)
def test_what_is_no_ready_file_stays_where_it_is(what: str, tmp_path: Path) -> None:
    path = tmp_path / "ready"
    OTHERS[what](path)
    with pytest.raises(ConfigurationError, match="something else is there, which would be deleted"):
        ReadyFile(str(path)).clear()
    assert os.path.lexists(path)


@pytest.mark.parametrize("left", ["4711\n", "", "1"])
def test_what_a_killed_worker_left_is_taken_away(left: str, tmp_path: Path) -> None:
    path = tmp_path / "ready"
    path.write_text(left, "ascii")
    ReadyFile(str(path)).clear()
    assert not path.exists()


def test_what_it_writes_itself_it_takes_away(tmp_path: Path) -> None:
    file = ReadyFile(str(tmp_path / "ready"))
    file.clear()
    file.put()
    assert (tmp_path / "ready").exists()
    file.clear()
    assert not (tmp_path / "ready").exists()


def test_a_place_that_cannot_be_looked_at_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be written: file name too long"):
        ReadyFile(str(tmp_path / ("a" * 256))).clear()


def test_a_folder_that_may_not_be_entered_is_told(tmp_path: Path) -> None:
    child = os.fork()
    if not child:
        os._exit(_refusal_of(tmp_path))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _refusal_of(folder: Path) -> int:
    """0 if it is told, as a user who may not enter."""
    folder.chmod(0)
    if os.getuid() == 0:
        os.setuid(65_534)
    try:
        ReadyFile(str(folder / "ready")).clear()
    except ConfigurationError as error:
        return int("permission denied" not in str(error))
    except BaseException:  # noqa: BLE001  (the child must not go on as a test)
        return 2
    return 3
