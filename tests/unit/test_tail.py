"""Whose doing a slow round trip was."""

from __future__ import annotations

import os
import threading

import pytest

from bench import tail
from bench.tail import Counts, Trip, explained, trip_of, watched_trips

#: Redis and the worker share a core, the caller has another.
CORES = (0, 0, 1)
NOTHING = Counts((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), 0)
USUAL = [Trip(1.0, 100.5, 0.0, 0.5, 0.0)] * 9


def test_a_thread_that_waited_while_nobody_of_ours_ran_waited_for_others():
    now = Counts((0.25, 0.5, 1.0), (4.0, 0.0, 0.0), 0)
    assert trip_of(5.0, 0.0, NOTHING, now, CORES).others_ms == 3.5


def test_a_thread_that_waited_for_ours_waited_for_nobody_else():
    now = Counts((0.25, 4.0, 0.0), (4.0, 0.0, 0.0), 0)
    assert trip_of(5.0, 0.0, NOTHING, now, CORES).others_ms == 0


def test_what_ours_ran_on_another_core_excuses_nobody():
    now = Counts((0.0, 0.0, 4.0), (4.0, 0.0, 0.0), 0)
    trip = trip_of(5.0, 0.0, NOTHING, now, CORES)
    assert (trip.others_ms, trip.ran_ms) == (4.0, 4.0)


@pytest.mark.parametrize(
    ("trip", "cause"),
    [
        (Trip(5.0, 200.0, 3.0, 0.5, 0.0), "while the kernel let others run"),
        (Trip(5.0, 200.0, 0.1, 0.5, 10.0), "while the host took a core"),
        (Trip(5.0, 300.9, 0.1, 0.5, 0.0), "while Redis waited for its file"),
        (Trip(5.0, 301.001, 0.1, 0.5, 0.0), "while Redis waited for its file"),
        (Trip(5.0, 200.0, 0.1, 3.0, 0.0), "while ours computed more than usual"),
        (Trip(5.0, 200.0, 1.0, 1.0, 0.0), "unexplained"),
    ],
)
def test_a_cause_must_explain_half_of_what_a_trip_took_too_long(trip: Trip, cause: str):
    line = explained([*USUAL, trip], {300: 4.0})
    assert line == f"of 1 trips over 3 × p50 (of 10): 1 {cause}"


def test_where_no_trip_is_slow_there_is_nothing_to_explain():
    assert explained(USUAL, {}) == "of 0 trips over 3 × p50 (of 9): none to explain"


def test_the_kernel_counts_what_this_thread_runs():
    def trip() -> float:
        sum(range(200_000))
        os.sched_yield()
        return 1.0

    trips = watched_trips(trip, 5, 60.0, [(os.getpid(), min(os.sched_getaffinity(0)))])
    assert len(trips) == 5
    assert sum(trip.ran_ms for trip in trips) > 0


def test_a_thread_that_ends_meanwhile_keeps_its_counts():
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    with tail.Watch([(os.getpid(), min(os.sched_getaffinity(0)))]) as watch:
        before = watch.look()
        over.set()
        thread.join()
        assert len(watch.look().ran_ms) == len(before.ran_ms)
