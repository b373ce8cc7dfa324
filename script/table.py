"""Tables for a terminal, in which a Chinese character is two columns wide."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import zip_longest

_GAP = "  "
#: A Latin word with the spaces behind it, or another character with the punctuation at it.
_PIECES = re.compile(r"[!-~\u00a1-\u1fff]+ *|[“‘（《]?.[，。！？；：、”’）》]*", re.DOTALL)


def table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, limits: dict[int, int], right: set[int]
) -> str:
    """The rows under their header, aligned.

    Args:
        header: The columns' names.
        rows: Their cells.
        limits: Widths at which the cells of a column are wrapped, by the column's number.
        right: The columns that are aligned to the right.
    """
    wrapped = [
        [_wrap(cell, limits.get(column, 1_000)) for column, cell in enumerate(row)]
        for row in (header, *rows)
    ]
    widths = [
        max(_width(line) for cell in column for line in cell)
        for column in zip(*wrapped, strict=True)
    ]
    lines = [line for row in wrapped for line in _row(row, widths, right)]
    lines.insert(1, _GAP.join("-" * width for width in widths).rstrip())
    return "\n".join(lines)


def _row(cells: list[list[str]], widths: list[int], right: set[int]) -> list[str]:
    return [
        _GAP.join(
            _pad(part, width, to_the_right=column in right)
            for column, (part, width) in enumerate(zip(parts, widths, strict=True))
        ).rstrip()
        for parts in zip_longest(*cells, fillvalue="")
    ]


def _pad(text: str, width: int, *, to_the_right: bool) -> str:
    space = " " * (width - _width(text))
    return space + text if to_the_right else text + space


def _wrap(text: str, limit: int) -> list[str]:
    lines = [""]
    for piece in _PIECES.findall(" ".join(text.split())):
        if lines[-1] and _width((lines[-1] + piece).rstrip()) > limit:
            lines[-1] = lines[-1].rstrip()
            lines.append("")
        lines[-1] += piece
    return lines


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text)
