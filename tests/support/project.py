"""A copy of what a worker needs, for tests that write task files."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.support.processes import ROOT

_VERSIONED = """
import os
from resident import task

def load():
    {load}
    return {version}

@task(load=load, max_batch=8, timeout_s=5)
def answer(version: int, questions: list[str]) -> list[list[int]]:
    return [[version, os.getpid()]] * len(questions)
"""


def copy_project(folder: Path) -> Path:
    """Copies worker.py, resident/ and tasks/ into the folder."""
    for name in ("resident", "tasks"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "worker.py", folder)
    return folder


class VersionedProject:
    """A copy of the project with one task, which answers its version and its worker's pid."""

    def __init__(self, folder: Path) -> None:
        self.folder = copy_project(folder)
        self.write(1)

    def write(self, version: int, load: str = "pass") -> None:
        text = _VERSIONED.format(version=version, load=load)
        file = self.folder / "tasks" / "mine.py"
        file.write_text(text, "utf-8")
        # Python takes bytecode of the same second and the same size for that of this text.
        os.utime(file, (version, version))

    def hold(self, gate: Path) -> None:
        """The model is busy until somebody has opened this FIFO, and closed it again."""
        file = self.folder / "tasks" / "mine.py"
        held = f"    open({str(gate)!r}).read()\n    return [["
        file.write_text(file.read_text("utf-8").replace("    return [[", held), "utf-8")
