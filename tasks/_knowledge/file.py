"""Reads a knowledge file, and turns whatever is wrong with it into one readable line."""

from __future__ import annotations

import codecs
from pathlib import Path

from resident.errors import ConfigurationError
from tasks._knowledge.csv_form import parse_csv
from tasks._knowledge.wording import Fault, Knowledge, check_distinct
from tasks._knowledge.yaml_form import parse_yaml

#: About 11,000 short entries, which take 5 s to parse. Source: our measurement.
MAX_FILE_BYTES = 2_000_000

_PARSERS = {".yaml": parse_yaml, ".yml": parse_yaml, ".csv": parse_csv}


def read_knowledge(path: Path) -> Knowledge:
    """Reads and checks a knowledge file; its extension says which form it has.

    Raises:
        ConfigurationError: It cannot be read or something in it is wrong. The message is one
            line: the file, the line, what is wrong and what to do.
    """
    try:
        return _parse(path)
    except Fault as fault:
        place = f"{path}, line {fault.line}" if fault.line else f"{path}"
        message = " ".join(f"{place}: {fault}".split())
        raise ConfigurationError(message) from None


def _parse(path: Path) -> Knowledge:
    parse = _PARSERS.get(path.suffix.lower())
    if parse is None:
        raise Fault(0, f"the name must end in {', '.join(_PARSERS)}; rename the file")
    knowledge = parse(_decode(_read(path)))
    check_distinct(knowledge.wordings)
    return knowledge


def _read(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise Fault(0, "this is not a regular file; give the path of a .yaml or .csv file")
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise Fault(
            0, "there is no such file; check the path, or unset RESIDENT_FAQ_FILE"
        ) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise Fault(0, f"the file cannot be read ({reason}); check its path and rights") from None
    if len(content) > MAX_FILE_BYTES:
        raise Fault(0, f"the file is larger than {MAX_FILE_BYTES:,} bytes; shorten or split it")
    return content


def _decode(content: bytes) -> str:
    try:
        return content.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, len(content) - len(error.object) + error.start) + 1
        raise Fault(line, "this is not UTF-8; save the file again as UTF-8") from None
