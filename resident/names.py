"""What a task may be called, and what that makes of its function's name."""

from __future__ import annotations

import re

#: A task that can be asked for.
TASK = re.compile(r"[a-z][a-z0-9_]{0,62}")


def function_name(task: str) -> str:
    """The dotted name that RQ knows the task's function by, and that jobs carry."""
    return f"tasks.{task}.answer"
