"""A list in Redis to which the replies to many questions go; their ids tell them apart."""

from __future__ import annotations

import secrets
from typing import Any

from redis.exceptions import InvalidResponse

from resident import keys
from resident.link import Word

#: What is wrong with a Redis whose answer is that to another command.
SENSELESS = "it answered something else than what it was asked for"
#: So many replies are read at once.
MOST = 500


class Mailbox:
    """What to send in order to read a mailbox, and what is in the answers.

    Replies are taken out only by the read after the one that brought them: so a connection that
    breaks in the middle loses none.
    """

    def __init__(self) -> None:
        self.key = keys.mailbox(secrets.token_hex(16))
        self._read = 0

    def commands(self, block_s: str) -> list[tuple[Word, ...]]:
        """Commands that wait so long for a reply, and read those that are there.

        The last reads all of them, for a Redis that is full refuses the one that waits.
        """
        return [
            *self.take_out(),
            ("BLMOVE", self.key, self.key, "LEFT", "LEFT", block_s),
            ("LRANGE", self.key, "0", str(MOST - 1)),
        ]

    def take_out(self) -> list[tuple[Word, ...]]:
        """The command that takes out what was read, if anything was.

        It counts, so it must follow soon: a list that expired meanwhile may hold others by then.
        """
        count, self._read = self._read, 0
        return [("LTRIM", self.key, str(count), "-1")] if count else []

    def look(self) -> tuple[Word, ...]:
        """A command that reads all that are there, and neither waits nor takes any out."""
        return ("LRANGE", self.key, "0", "-1")

    def read(self, replies: Any) -> list[bytes]:
        """Takes the answer to the last of these commands, and returns the replies in it.

        Raises:
            InvalidResponse: It is the answer to something else.
        """
        came = self.replies_in(replies)
        self._read = len(came)
        return came

    @staticmethod
    def replies_in(answer: Any) -> list[bytes]:
        """The replies in the answer to any command that reads a mailbox; raises the same."""
        if not isinstance(answer, list) or not all(isinstance(one, bytes) for one in answer):
            raise InvalidResponse(SENSELESS)
        return answer

    def start_over(self) -> None:
        """The answers were lost; what has been read may be read again."""
        self._read = 0
