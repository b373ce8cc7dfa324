"""The scenarios that PHP's client plays too, with both of Python's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from resident.embedded_redis import EmbeddedRedis
from resident.redis_client import connect
from tests.support.broken import WAYS, Broken
from tests.support.processes import Processes
from tests.support.scenarios import Calls, Scene, opener
from tests.support.streams import start_teller
from tests.support.vectors import read

SCENARIOS = read("scenarios")["scenarios"]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis with an echo worker, for all scenarios that want one."""
    with EmbeddedRedis(tmp_path_factory.mktemp("served")) as server, Processes(server.url) as each:
        each.start_worker("echo")
        yield server.url


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis with a worker that streams, for all scenarios that want one."""
    folder = tmp_path_factory.mktemp("told")
    with (
        EmbeddedRedis(folder) as server,
        Processes(server.url) as each,
        connect(server.url) as there,
    ):
        start_teller(each, there, "--workers", "1")
        yield server.url


@pytest.mark.parametrize("kind", ["Client", "AsyncClient"])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=[one["name"] for one in SCENARIOS])
def test_scenario(
    scenario: dict[str, Any],
    kind: str,
    redis_url: str,
    connection: Redis,
    served: str,
    told: str,
) -> None:
    state = scenario["redis"]
    with Broken(state) if state in WAYS else nullcontext() as broken:
        if state in ("served", "told"):
            url = served if state == "served" else told
            with connect(url) as there:
                play(scenario, kind, url, there)
        elif state == "spare":
            play(scenario, kind, redis_url, connection)
        else:
            play(scenario, kind, broken.url if broken else f"unix://{Path(__file__)}.sock", None)


def play(scenario: dict[str, Any], kind: str, url: str, connection: Redis | None) -> None:
    scene = Scene(Calls(opener(kind, url)), connection)
    scene.play(scenario["steps"])


def test_the_names_of_scenarios_are_their_own() -> None:
    assert len({one["name"] for one in SCENARIOS}) == len(SCENARIOS)
