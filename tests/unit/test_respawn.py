"""When a worker that died is replaced."""

from __future__ import annotations

from resident.respawn import LONG_LIFE_S, LONGEST_PAUSE_S, MOST_DEATHS, Respawn


def test_the_first_deaths_cost_no_time() -> None:
    respawn = Respawn()
    assert [respawn.pause_s(0, 1.0) for _ in range(3)] == [0.0, 0.0, 0.0]


def test_the_pauses_grow_up_to_the_longest_and_end() -> None:
    respawn = Respawn()
    pauses = [respawn.pause_s(0, 1.0) for _ in range(MOST_DEATHS)]
    assert pauses[3:6] == [0.2, 0.4, 0.8]
    assert pauses[-2] == LONGEST_PAUSE_S
    assert pauses[-1] is None


def test_a_worker_that_answered_shows_that_workers_can_live() -> None:
    respawn = Respawn()
    for _ in range(5 * MOST_DEATHS):
        assert respawn.pause_s(0, 1.0) == 0.0
        assert respawn.pause_s(1, 1.0) == 0.0


def test_a_worker_that_served_for_long_shows_it_too() -> None:
    respawn = Respawn()
    for _ in range(5 * MOST_DEATHS):
        assert respawn.pause_s(0, 1.0) == 0.0
        assert respawn.pause_s(0, LONG_LIFE_S) == 0.0
