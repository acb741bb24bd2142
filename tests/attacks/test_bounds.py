"""The bounds under which hostile files are judged do stop what exceeds them."""

from __future__ import annotations

import resource
import sys

import numpy as np
import pytest

from tests.attacks.survivors import BYTES, bounded


@pytest.mark.skipif(sys.platform != "linux", reason="address space is limited on Linux only")
def test_memory_is_bounded():
    before = resource.getrlimit(resource.RLIMIT_AS)
    with pytest.raises(MemoryError), bounded():
        np.empty(2 * BYTES, np.uint8)
    assert resource.getrlimit(resource.RLIMIT_AS) == before


def endless() -> None:
    while True:
        pass


def test_time_is_bounded():
    with pytest.raises(TimeoutError, match=r"more than 0\.2 seconds"), bounded(0.2):
        endless()
