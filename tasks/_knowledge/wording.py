"""What is in a knowledge file, whichever form it has, and the checks that both forms share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tasks._knowledge.language import Language

#: Bytes of UTF-8. Source: WeChat's limit for the text of a reply.
MAX_ANSWER_BYTES = 2048


class Fault(Exception):
    """Something is wrong on a line of the file; read_knowledge adds the file's name.

    Attributes:
        line: The line, counted from 1; 0 if the fault has no place.
    """

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True)
class Phrase:
    """One way to ask, and the line where it stands."""

    text: str
    line: int


@dataclass(frozen=True)
class Wording:
    """An entry in one language: its question first, then its aliases."""

    language: Language
    phrases: tuple[Phrase, ...]
    answer: str


@dataclass(frozen=True)
class Knowledge:
    """A whole file.

    Attributes:
        wordings: Every entry, in each of its languages.
        fallbacks: The answer to what no entry answers, in the languages that the file has one for.
        off_topic: Samples of what no entry answers.
    """

    wordings: tuple[Wording, ...]
    fallbacks: dict[Language, str]
    off_topic: tuple[Phrase, ...] = ()


def checked_text(line: int, what: str, text: str) -> str:
    """The text without the space around it.

    Raises:
        Fault: Nothing is left, or it cannot be written as UTF-8.
    """
    stripped = text.strip()
    if not stripped:
        raise Fault(line, f"{what} is empty; write one, or remove the entry")
    try:
        stripped.encode()
    except UnicodeEncodeError:
        message = f"{what} has half a character (a lone surrogate such as \\ud83d); write it whole"
        raise Fault(line, message) from None
    return stripped


def checked_answer(line: int, what: str, text: str) -> str:
    """The answer without the space around it.

    Raises:
        Fault: It is empty, no UTF-8, or too long for a WeChat message.
    """
    answer = checked_text(line, what, text)
    size = len(answer.encode())
    if size > MAX_ANSWER_BYTES:
        message = f"{what} has {size:,} bytes in UTF-8, WeChat takes {MAX_ANSWER_BYTES:,}"
        raise Fault(line, f"{message}; shorten it")
    return answer


def check_distinct(wordings: Iterable[Wording]) -> None:
    """Checks that no question or alias stands twice in one language.

    Raises:
        Fault: One does; the message names both lines.
    """
    first_lines: dict[tuple[Language, str], int] = {}
    for wording in wordings:
        for phrase in wording.phrases:
            key = (wording.language, " ".join(phrase.text.casefold().split()))
            if key in first_lines:
                message = f"{quoted(phrase.text)} stands on line {first_lines[key]} already"
                raise Fault(phrase.line, f"{message}; remove one of the two")
            first_lines[key] = phrase.line


def quoted(text: str) -> str:
    """The start of a text from the file, on one line and printable, for a message."""
    short = text if len(text) <= 40 else f"{text[:40]}…"
    return repr(short)
