"""The CSV form of a knowledge file: a header and a row for each entry in one language."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from tasks._knowledge.language import LANGUAGES, Language, language_of
from tasks._knowledge.wording import (
    Fault,
    Knowledge,
    Phrase,
    Wording,
    checked_answer,
    checked_text,
    quoted,
)

_REQUIRED = ("question", "answer")
_COLUMNS = (*_REQUIRED, "aliases", "language")
#: The question of the row that holds a fallback.
_FALLBACK = "*"

Row = dict[str, str]


def parse_csv(text: str) -> Knowledge:
    """Reads the CSV form.

    Raises:
        Fault: Something is wrong, with the line where its row starts.
    """
    wordings: list[Wording] = []
    fallbacks: dict[Language, str] = {}
    off_topic: list[Phrase] = []
    for line, row in _rows(text):
        language = _language(line, row)
        if row["question"].strip() != _FALLBACK:
            wordings.append(_wording(line, row, language))
        elif language in fallbacks:
            raise Fault(line, f"there is a {language} fallback already; remove one of the two")
        else:
            fallbacks[language] = checked_answer(line, "the fallback", row["answer"])
            off_topic += _aliases(line, row)
    if not wordings:
        raise Fault(0, "the file has a header and no entries; write at least one row")
    return Knowledge(tuple(wordings), fallbacks, tuple(off_topic))


def _wording(line: int, row: Row, language: Language) -> Wording:
    question = Phrase(checked_text(line, "the question", row["question"]), line)
    reply = checked_answer(line, "the answer", row["answer"])
    return Wording(language, (question, *_aliases(line, row)), reply)


def _aliases(line: int, row: Row) -> list[Phrase]:
    texts = row.get("aliases", "").split("|")
    return [Phrase(checked_text(line, "an alias", text), line) for text in texts if text.strip()]


def _language(line: int, row: Row) -> Language:
    given = row.get("language", "").strip().casefold()
    for language in LANGUAGES:
        if given == language:
            return language
    if given:
        raise Fault(line, f"the language is {quoted(given)}; write zh or en, or leave it empty")
    fallback = row["question"].strip() == _FALLBACK
    return language_of(row["answer"] if fallback else row["question"])


def _rows(text: str) -> Iterator[tuple[int, Row]]:
    lines = _lines(text)
    header = next(lines, None)
    if header is None:
        raise Fault(0, f"the file is empty; its first line must be {','.join(_COLUMNS)}")
    names = _header(*header)
    for line, cells in lines:
        if len(cells) != len(names):
            message = f"the row has {len(cells)} cells, the header {len(names)}"
            raise Fault(line, f'{message}; put texts with a comma or a line break in "quotes"')
        yield line, dict(zip(names, cells, strict=True))


def _header(line: int, cells: list[str]) -> list[str]:
    names = [cell.strip().casefold() for cell in cells]
    for name in names:
        if name not in _COLUMNS:
            message = f"there is no column {quoted(name)}; the columns are {', '.join(_COLUMNS)}"
            raise Fault(line, f"{message}, separated by commas")
        if names.count(name) > 1:
            raise Fault(line, f"the column {name} stands twice; remove one of the two")
    for name in _REQUIRED:
        if name not in names:
            raise Fault(line, f"the column {name} is missing; add it to the header and each row")
    return names


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not blank, each with the line where it starts."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            message = f"this is not CSV: {error}; close each quote, and double those inside a text"
            raise Fault(line, message) from None
        if cells is None:
            return
        if any(map(str.strip, cells)):
            yield line, cells
