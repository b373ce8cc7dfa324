"""Numbers that scripts repeat, because a look at another place would cost them time."""

from __future__ import annotations

import re
from pathlib import Path

from rq.defaults import DEFAULT_WORKER_TTL

from resident.holders import TOKEN_LENGTH
from resident.packed_claim import LONGEST_TTL_MS

LUA = Path(__file__).parents[2] / "resident" / "lua"
SCRIPTS = {path.name: path.read_text("utf-8") for path in LUA.glob("*.lua")}


def values_of(name: str) -> list[int]:
    """What the scripts take it for."""
    found = re.compile(rf"\b{name} = (\d+)")
    return [int(number) for text in SCRIPTS.values() for number in found.findall(text)]


def test_a_number_of_one_name_is_the_same_in_all_scripts() -> None:
    assert values_of("TEN_YEARS_MS") == [10 * 365 * 86_400_000] * 3
    assert {*values_of("LONGEST_S")} == {LONGEST_TTL_MS // 1000}
    assert {*values_of("LONGEST_TTL_MS")} == {LONGEST_TTL_MS}
    assert {*values_of("TOKEN_LENGTH")} == {TOKEN_LENGTH}
    assert values_of("DEFAULT_HEARTBEAT_S") == [DEFAULT_WORKER_TTL]


def test_the_usual_claim_writes_them_out() -> None:
    plain = SCRIPTS["claim_plain.lua"]
    assert f"tonumber(args[8]), {DEFAULT_WORKER_TTL}), {LONGEST_TTL_MS // 1000})" in plain
    assert f"string.sub(token, 1, {TOKEN_LENGTH})" in plain
