"""What an error that Redis answers means."""

from __future__ import annotations

import pytest
from redis.connection import DefaultParser
from redis.exceptions import OutOfMemoryError, ReadOnlyError, ResponseError

from resident.link import met_by_script

_RAN_INTO = "ERR Error running script (call to f_4b15): @user_script:198: @user_script: 198: "


@pytest.mark.parametrize(
    ("told", "kind", "text"),
    [
        (_RAN_INTO + "-OOM command not allowed", OutOfMemoryError, "command not allowed"),
        (_RAN_INTO + "-READONLY You can't write", ReadOnlyError, "You can't write"),
        (_RAN_INTO + "attempt to index a nil value", ResponseError, _RAN_INTO[4:] + "attempt"),
        ("ERR it said: -OOM of another", ResponseError, "it said: -OOM"),
        ("OOM command not allowed", OutOfMemoryError, "command not allowed"),
    ],
)
def test_what_a_script_met_is_told_as_if_it_had_been_met_alone(
    told: str, kind: type[Exception], text: str
) -> None:
    error = met_by_script(DefaultParser.parse_error(told))
    assert type(error) is kind
    assert str(error).startswith(text)
