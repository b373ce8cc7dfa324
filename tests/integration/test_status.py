"""What supervisors tell of themselves, and what anybody may have written in its place."""

from __future__ import annotations

import socket
from collections.abc import Callable

import msgspec
import pytest
from redis import Redis

from resident import keys
from resident import status as status_module
from resident.status import STATUS_TTL_S, Status, Worker, as_table, is_ready_here, publish, read
from tests.support.lua import Full

WORKER = Worker("echo", 1, "resident-echo-1", "idle", 20.0, 0, 5)

JUNK: dict[str, Callable[[Redis, str], object]] = {
    "string": lambda connection, key: connection.set(key, "junk"),
    "list": lambda connection, key: connection.rpush(key, "junk"),
    "hash": lambda connection, key: connection.hset(key, "junk", "junk"),
}


@pytest.fixture(params=JUNK)
def spoil(request: pytest.FixtureRequest, connection: Redis) -> Callable[[str], object]:
    """Puts something else at a key."""

    def put(key: str) -> object:
        connection.delete(key)
        return JUNK[request.param](connection, key)

    return put


@pytest.fixture
def status() -> Status:
    return Status.of_this_process(1)


def member(status: Status) -> str:
    return f"{keys.SUPERVISORS}:{status.host}-{status.pid}-{status_module._TOKEN}"


def told(connection: Redis) -> list[Status]:
    """What is read, whenever it was told."""
    return [msgspec.structs.replace(one, silent_s=0) for one in read(connection)]


def test_what_is_told_is_read(status: Status, connection: Redis) -> None:
    publish(connection, status, [WORKER])
    assert told(connection) == [status]
    publish(connection, status, [])
    assert told(connection) == []
    assert not connection.exists(keys.SUPERVISORS, member(status))


def test_two_containers_of_one_host_name_each_have_a_line(
    status: Status, connection: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each with process ids of its own, which are the same."""
    publish(connection, status, [WORKER])
    other = Status.of_this_process(1)
    with monkeypatch.context() as patch:
        patch.setattr(status_module, "_TOKEN", "other")
        publish(connection, other, [WORKER])
        assert told(connection) == [status, other]
        publish(connection, other, [])
    assert told(connection) == [status]


def test_a_supervisor_that_has_not_been_heard_of_is_told_apart(
    status: Status, connection: Redis
) -> None:
    """Until it expires: kill -9 leaves what it told last."""
    publish(connection, status, [WORKER])
    assert "not heard of" not in as_table(read(connection))
    connection.expire(member(status), STATUS_TTL_S - 17)
    [found] = read(connection)
    assert 17 <= found.silent_s < STATUS_TTL_S
    said = f"{status.host} {status.pid}: not heard of for {found.silent_s} s; it and its workers"
    assert said in as_table([found])


def test_another_type_where_the_supervisors_stand_is_nobody(
    spoil: Callable[[str], object], connection: Redis
) -> None:
    spoil(keys.SUPERVISORS)
    assert told(connection) == []


def test_another_type_where_the_supervisors_stand_makes_room(
    spoil: Callable[[str], object], status: Status, connection: Redis
) -> None:
    spoil(keys.SUPERVISORS)
    publish(connection, status, [WORKER])
    assert told(connection) == [status]
    spoil(keys.SUPERVISORS)
    publish(connection, status, [])
    assert told(connection) == []


def test_another_type_where_one_supervisor_stands_hides_it_until_it_tells_again(
    spoil: Callable[[str], object], status: Status, connection: Redis
) -> None:
    publish(connection, status, [WORKER])
    spoil(member(status))
    assert told(connection) == []
    publish(connection, status, [WORKER])
    assert told(connection) == [status]


def test_a_full_redis_does_not_cost_the_others_their_place(
    status: Status, connection: Redis
) -> None:
    publish(connection, status, [WORKER])
    with Full(connection) as full:
        full.fill()
        publish(connection, Status("other", 1, 1), [WORKER])
    assert told(connection) == [status]


def test_another_type_where_workers_announce_themselves_is_nobody(
    spoil: Callable[[str], object], connection: Redis
) -> None:
    spoil(keys.of_task("echo").ready)
    assert not is_ready_here(connection, "echo")


@pytest.mark.parametrize(("host", "is_ready"), [("", True), ("-2", False)])
def test_a_worker_of_a_host_whose_name_begins_like_ours_is_not_here(
    host: str, is_ready: bool, connection: Redis
) -> None:
    name = f"resident-echo-{socket.gethostname()}{host}-6466-0a1b"
    connection.zadd(keys.of_task("echo").ready, {name: 2**53})
    assert is_ready_here(connection, "echo") is is_ready
