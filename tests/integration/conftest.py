"""What the tests of the Lua operations share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis

from resident.ear import Ear
from tests.support.lua import JUDGED, Desk, Full, a_desk, offer


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


@pytest.fixture
def ear(connection: Redis, desk: Desk) -> Iterator[Ear]:
    """That of the desk's worker, which has made an offer."""
    made = Ear(connection, "echo", desk.token)
    made.open()
    offer(desk)
    yield made
    made.close()


@pytest.fixture(params=["by its hash", "by the registry"])
def judged(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to find out whose a job is come to the same."""
    monkeypatch.setitem(JUDGED, "by_hash", request.param == "by its hash")
