"""Resident's scripts with nothing in them but what they write: what do their checks cost?

Same callers, same worker, same fields and keys; no refusal but for want of a worker or for a full
backlog, no deadline, no second look whose a question is or whether anything about it is unusual.
Importing this puts the files of this folder in the place of the product's, so it comes before what
loads those. Only for plain questions that are asked with time to spare, as a load generator asks
them.
"""

from __future__ import annotations

from pathlib import Path

from resident import lua_script

_HERE = Path(__file__).parent
_product = lua_script.source_of


def _source_of(*names: str) -> str:
    ours = (_HERE / f"{name}.lua" for name in names)
    return "\n".join(
        path.read_text(encoding="utf-8") if path.exists() else _product(name)
        for name, path in zip(names, ours, strict=True)
    )


lua_script.source_of = _source_of
