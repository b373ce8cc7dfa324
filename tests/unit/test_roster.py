"""Who works for a supervisor, with no process behind it."""

from __future__ import annotations

from itertools import count

import pytest

from resident.pools import Pool
from resident.pulse import Pulse
from resident.recycling import Recycling
from resident.roster import STUCK_S, Place, Roster, Running
from resident.settings import Settings
from resident.task import load_task

_pids = count(1)


@pytest.fixture
def roster() -> Roster:
    return Roster([Pool(load_task("echo"), 2)])


@pytest.fixture
def place(roster: Roster) -> Place:
    return roster.places[0]


def running(place: Place, *, serves: bool = True) -> Running:
    pulse = Pulse()
    pulse.seen_at = 100.0 if serves else 0.0
    pid = next(_pids)
    return Running(pid, place.task, f"token-{pid}", f"name-{pid}", pulse, began=90.0)


def test_it_is_ready_when_all_places_are_taken_by_workers_that_serve(
    roster: Roster, place: Place
) -> None:
    loading = running(place, serves=False)
    roster.add(running(place))
    roster.add(loading)
    assert not roster.is_ready
    loading.pulse.seen_at = 101.0
    assert roster.is_ready


def test_nobody_has_loaded_until_somebody_lives(roster: Roster, place: Place) -> None:
    """There may be room for a supervisor and none for its workers."""
    assert not roster.has_loaded
    one = running(place)
    roster.add(one)
    assert not roster.has_loaded
    one.pulse.has_loaded = 1
    assert roster.has_loaded


def test_a_worker_that_leaves_makes_room_and_one_that_is_due_takes_it(
    roster: Roster, place: Place
) -> None:
    leaving = running(place)
    roster.add(running(place))
    roster.add(leaving)
    assert roster.is_full(place)
    leaving.is_leaving = True
    assert not roster.is_full(place)
    place.due.append(105.0)
    assert roster.is_full(place)


def test_a_replacement_is_due_once(place: Place) -> None:
    place.due += [105.0, 106.0]
    assert (place.take_due(104.0), place.take_due(105.0), place.take_due(105.5)) == (0, 1, 0)


def test_it_is_over_when_nobody_lives_and_nobody_is_due(roster: Roster, place: Place) -> None:
    one = running(place)
    roster.add(one)
    assert not roster.is_over
    assert roster.remove(one.pid) is one
    assert roster.remove(one.pid) is None
    assert roster.is_over
    place.due.append(105.0)
    assert roster.is_empty
    assert not roster.is_over


@pytest.mark.parametrize(
    ("overdue_at", "seen_at", "now", "fault"),
    [
        (0, 100.0, 100.0 + STUCK_S, ""),
        (0, 100.0, 101.0 + STUCK_S, "it stands still"),
        (110.0, 100.0, 109.0, ""),
        (110.0, 100.0, 111.0, "the model ran over its time-out"),
        (0, 0, 95.0, ""),
        (0, 0, 101.0, "still loading"),
    ],
)
def test_a_worker_is_faulty_when_it_shows_itself_no_longer(
    overdue_at: float, seen_at: float, now: float, fault: str, place: Place
) -> None:
    one = running(place)
    one.pulse.overdue_at, one.pulse.seen_at = overdue_at, seen_at
    assert one.fault(now, load_timeout_s=10.0) == fault


def test_a_worker_that_has_loaded_may_wait_for_redis(place: Place) -> None:
    one = running(place, serves=False)
    one.pulse.has_loaded = 1
    assert one.fault(1000.0, load_timeout_s=10.0) == ""


def test_rq_hears_of_a_batch_after_a_second(place: Place) -> None:
    one = running(place)
    assert one.at_it_ms(200.0) == 0
    one.pulse.batch_began = 199.5
    assert one.at_it_ms(200.0) == 0
    assert one.at_it_ms(201.0) == 1500


def test_a_worker_with_nothing_to_do_is_silent_when_it_no_longer_comes_by(place: Place) -> None:
    one = running(place)
    one.pulse.seen_at = 200.0
    assert not one.is_silent(206.0)
    assert one.is_silent(208.0)
    one.pulse.batch_began = 201.0
    assert not one.is_silent(209.0)
    one.pulse.batch_began, one.pulse.overdue_at = 0, 230.0
    assert not one.is_silent(209.0)
    assert not running(place, serves=False).is_silent(209.0), "it loads yet"


def test_a_worker_is_frozen_that_misses_what_it_was_given_at_two_ticks(place: Place) -> None:
    one = running(place)
    assert not one.is_frozen(misses=True)
    assert one.is_frozen(misses=True)
    assert not one.is_frozen(misses=False)
    assert not one.is_frozen(misses=True)
    one.pulse.seen_at = 101.0  # it has come by meanwhile
    assert not one.is_frozen(misses=True)
    one.pulse.batch_began = 102.0  # it has just heard of it
    assert not one.is_frozen(misses=True)


def test_how_long_it_has_served_is_without_its_loading(place: Place) -> None:
    one = running(place)
    assert one.served_s(500.0) == 0
    one.pulse.served_from = 400.0
    assert one.served_s(500.0) == 100


def test_no_other_worker_is_recycled_while_a_replacement_is_due(
    roster: Roster, place: Place
) -> None:
    """There may be no room for it: each look would make another one due."""
    forked = list[Place]()
    recycling = Recycling(roster, Settings(recycle_jobs=1), forked.append)
    for _ in range(2):
        roster.add(running(place))
    next(iter(roster)).pulse.jobs = 1
    place.due.append(105.0)
    recycling.look()
    assert forked == []
    place.due.clear()
    recycling.look()
    assert forked == [place]
