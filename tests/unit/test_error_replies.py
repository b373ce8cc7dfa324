"""What an error that Redis answers means."""

from __future__ import annotations

import pytest
from redis.exceptions import (
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from resident.redis_client import error_in

_RAN_INTO = "ERR Error running script (call to f_4b15): @user_script:198: @user_script: 198: "

_MAY_NOT = "The user executing the script can't run this command or subcommand"


@pytest.mark.parametrize(
    ("told", "kind", "text"),
    [
        (_RAN_INTO + "-OOM command not allowed", OutOfMemoryError, "command not allowed"),
        (_RAN_INTO + "-READONLY You can't write", ReadOnlyError, "You can't write"),
        (_RAN_INTO + "attempt to index a nil value", ResponseError, _RAN_INTO[4:] + "attempt"),
        ("ERR x " + _RAN_INTO[4:] + "-OOM of another", ResponseError, "x Error running"),
        (_RAN_INTO + _MAY_NOT, NoPermissionError, _RAN_INTO[4:]),
        ("ERR " + _MAY_NOT, NoPermissionError, _MAY_NOT),
        ("ERR ACL failure in script: No permissions", NoPermissionError, "ACL failure"),
        ("OOM command not allowed", OutOfMemoryError, "command not allowed"),
    ],
)
def test_what_a_script_met_is_told_as_if_it_had_been_met_alone(
    told: str, kind: type[RedisError], text: str
) -> None:
    error = error_in(told)
    assert type(error) is kind
    assert str(error).startswith(text)
