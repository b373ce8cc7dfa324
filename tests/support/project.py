"""A copy of what a worker needs, for tests that write task files."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.support.processes import ROOT


def copy_project(folder: Path) -> Path:
    """Copies worker.py, resident/ and tasks/ into the folder."""
    for name in ("resident", "tasks"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "worker.py", folder)
    return folder
