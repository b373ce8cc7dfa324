"""What the tests of the Lua operations share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis

from tests.support.lua import Desk, Full, a_desk


@pytest.fixture
def desk(connection: Redis) -> Iterator[Desk]:
    with a_desk(connection) as made:
        made.announce()
        yield made


@pytest.fixture
def other(connection: Redis) -> Iterator[Desk]:
    with a_desk(connection, "resident-echo-2") as made:
        yield made


@pytest.fixture
def full(connection: Redis) -> Iterator[Full]:
    with Full(connection) as full:
        yield full
