"""Turns of a comparison that count: those before and behind which the host was idle."""

from __future__ import annotations

from itertools import chain, count, repeat

from edgenet.bench.peers.turns import Turns


def turns(idle, patience: float = 600, **options) -> Turns:
    """Turns of a host that is idle as the values say, one for each look."""
    looks = iter(idle)
    return Turns(lambda threads: next(looks), patience, pause=0, **options)


def numbered():
    """A turn that tells its number."""
    numbers = iter(range(100))
    return lambda: [float(next(numbers))]


def test_a_turn_counts_if_the_host_was_idle_before_and_behind():
    assert turns([True, True]).settled(numbered(), 1) == ([0.0], 0, False)
    assert turns([False, True, False, False, True, True]).settled(numbered(), 1) == ([1.0], 1, False)


def test_the_host_is_asked_for_the_threads_of_the_turn():
    asked = []
    Turns(lambda threads: asked.append(threads) or True, 600).settled(numbered(), 2)
    assert asked == [2, 2]


def test_where_the_host_stays_busy_the_turn_counts_as_disturbed():
    assert turns(repeat(False)).settled(numbered(), 2) == ([0.0], 0, True)
    times, left_out, disturbed = turns(chain.from_iterable(repeat((True, False)))).settled(numbered(), 2)
    assert times == [left_out]
    assert disturbed


def test_patience_ends_for_all_turns_together():
    """Each turn that does not count takes a second of this clock; so does each look at it."""
    seconds = count()
    busy = turns(chain.from_iterable(repeat((True, False))), patience=3.5, clock=lambda: float(next(seconds)))
    assert busy.settled(numbered(), 2) == ([3.0], 3, True)
    assert busy.settled(numbered(), 2) == ([0.0], 0, True)
    assert turns([True, True], patience=0).settled(numbered(), 2) == ([0.0], 0, False)
