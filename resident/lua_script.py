"""A Lua script, made of the files of lua/."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from redis.exceptions import NoScriptError

from resident.link import Link, Word

_LUA = Path(__file__).parent / "lua"


class Script:
    """A Lua script on the server, sent whole only when the server does not know it."""

    def __init__(self, source: str, sha: str) -> None:
        self.source = source
        self.sha = sha

    def command(self, keys: Sequence[str], args: Sequence[Word]) -> tuple[Word, ...]:
        """The command that runs the script if the server knows it."""
        return ("EVALSHA", self.sha, str(len(keys)), *keys, *args)

    def call(
        self,
        link: Link,
        keys: Sequence[str],
        args: Sequence[Word],
        then: tuple[Word, ...] | None = None,
    ) -> Any:
        """Runs the script and returns its answer.

        Args:
            link: Where to run it.
            keys: Its KEYS.
            args: Its ARGV.
            then: A command that goes out in the same write; its answer is the next to be read.
        """
        command = self.command(keys, args)
        try:
            link.send_all([command] if then is None else [command, then])
            return link.read(link.timeout_s)
        except NoScriptError:
            pass
        whole = ("EVAL", self.source, *command[2:])
        if then is None:
            link.send_all([whole])
        else:
            link.close()  # the answer to `then` may be long in coming
            link.send_all([whole, then])
        return link.read(link.timeout_s)


def source_of(*names: str) -> str:
    """The script that these files of lua/ make, in their order."""
    return "\n".join((_LUA / f"{name}.lua").read_text(encoding="utf-8") for name in names)


def script_of(*names: str) -> Script:
    """The same, ready to be run."""
    source = source_of(*names)
    return Script(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())
