"""What a comparison looks for before and behind each turn: where the processors are, and their pace."""

from __future__ import annotations

from types import SimpleNamespace

from edgenet.bench.peers import comparison
from edgenet.bench.peers.pace import Pace
from edgenet.bench.peers.placement import Placement


def test_the_usual_distance_is_the_median():
    times = iter([40.0] * 40 + [160.0] * 20 + [42.0, 39.0, 160.0, 15.0])
    placement = Placement(lambda: next(times), pause=0)
    assert placement.usual_ns == 40.0
    assert [placement.is_usual() for _ in range(4)] == [True, True, False, False]


def test_one_processor_is_always_where_it_is():
    alone = Placement(lambda: None)
    assert alone.usual_ns is None
    assert alone.is_usual()


def test_the_pace_is_full_near_the_least_times_seen():
    at_first = [(240.0, 80.0)] * 59 + [(120.0, 90.0)]
    times = iter([*at_first, (125.0, 85.0), (240.0, 80.0), (125.0, 90.0), (100.0, 80.0), (115.0, 80.0)])
    asked = []

    def look(processors):
        asked.append(processors)
        return next(times)

    pace = Pace([0, 1], look, pause=0)
    assert pace.least_ns == (120.0, 80.0)
    assert [pace.is_full() for _ in range(5)] == [True, False, False, True, False]
    assert asked == [[0, 1]] * 65


def test_an_idle_host_has_full_pace_and_several_processors_in_their_places(monkeypatch):
    full, usual = {1: True, 2: True}, [True]
    monkeypatch.setattr(comparison, "cores", lambda threads: list(range(threads)))
    monkeypatch.setattr(comparison, "Pace", lambda processors: SimpleNamespace(is_full=lambda: full[len(processors)]))
    monkeypatch.setattr(comparison, "Placement", lambda *look: SimpleNamespace(is_usual=lambda: usual[0]))
    is_idle = comparison.idle_host((1, 2))
    assert is_idle(1)
    assert is_idle(2)
    usual[0] = False
    assert is_idle(1)
    assert not is_idle(2)
    usual[0], full[1] = True, False
    assert not is_idle(1)
    assert is_idle(2)
    full[2] = False
    assert not is_idle(2)
