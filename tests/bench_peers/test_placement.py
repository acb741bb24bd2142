"""Turns of a comparison that count: those in which the host left the processors where they usually are."""

from __future__ import annotations

from itertools import count
from typing import Any

from edgenet.bench.peers.placement import Placement


def placement(after: list[float], **options: Any) -> Placement:
    """Processors that were 40 ns apart most of the time, and the times of the messages that follow."""
    times = iter([40.0] * 40 + [160.0] * 20 + after)
    return Placement(lambda: next(times), pause=0, **options)


def turns():
    """A turn that tells its number."""
    numbers = iter(range(100))
    return lambda: [float(next(numbers))]


def test_the_usual_distance_is_the_median():
    assert placement([]).usual_ns == 40.0


def test_a_turn_counts_if_the_distance_was_usual_before_and_behind():
    assert placement([42.0, 39.0]).settled(turns()) == ([0.0], 0, False)
    assert placement([160.0, 40.0, 170.0, 15.0, 40.0, 36.0]).settled(turns()) == ([1.0], 1, False)


def test_where_the_processors_stay_away_the_turn_counts_as_moved():
    assert placement([160.0] * 1000).settled(turns()) == ([0.0], 0, True)
    times, left_out, moved = placement([40.0, 160.0] * 100).settled(turns())
    assert times == [left_out]
    assert moved


def test_patience_ends_for_all_turns_together():
    """Each turn that does not count takes a second of this clock; so does each look at it."""
    seconds = count()
    moving = placement([40.0, 160.0] * 100, patience=3.5, clock=lambda: float(next(seconds)))
    assert moving.settled(turns()) == ([3.0], 3, True)
    assert moving.settled(turns()) == ([0.0], 0, True)
    settled = placement([40.0, 40.0], patience=0)
    assert settled.settled(turns()) == ([0.0], 0, False)


def test_one_processor_is_always_where_it_is():
    alone = Placement(lambda: None)
    assert alone.usual_ns is None
    assert alone.settled(turns()) == ([0.0], 0, False)
