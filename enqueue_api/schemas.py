"""What the HTTP API says in JSON."""

from __future__ import annotations

from pydantic import BaseModel


class Health(BaseModel):
    """Whether questions can be asked: Redis answers, and these tasks have ready workers."""

    ok: bool
    tasks: list[str]
    reason: str = ""
