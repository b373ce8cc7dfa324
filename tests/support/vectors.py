"""The vectors of tests/contract/vectors, which PHP's tests read too."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parents[1] / "contract" / "vectors"


def read(name: str) -> dict[str, Any]:
    return json.loads((_FOLDER / f"{name}.json").read_bytes())


def _nested(levels_and_value: list[Any]) -> Any:
    levels, value = levels_and_value
    for _ in range(levels):
        value = [value]
    return value


#: How the vectors write what JSON cannot; bytes that are not UTF-8 become lone surrogates here.
FORMS: dict[str, Callable[[Any], Any]] = {
    "$bytes": lambda digits: bytes.fromhex(digits).decode(errors="surrogateescape"),
    "$float": float,
    "$repeat": lambda text_and_times: text_and_times[0] * text_and_times[1],
    "$nested": _nested,
    "$object": lambda pairs: {value_of(key): value_of(value) for key, value in pairs},
    "$concat": lambda parts: "".join(value_of(part) for part in parts),
}


def value_of(written: Any) -> Any:
    if isinstance(written, list):
        return [value_of(item) for item in written]
    if not isinstance(written, dict):
        return written
    form = next(iter(written), "")
    if form in FORMS:
        return FORMS[form](written[form])
    return {key: value_of(value) for key, value in written.items()}
