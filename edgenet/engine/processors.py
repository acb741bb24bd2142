"""Functions that run on several processors at once, each on a thread that stays where it is."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


def on_each(processors: Sequence[int], call: Callable[[int], Result]) -> list[Result]:
    """What `call` returns on each of some processors of this process, at the same time; it is given the place in them.

    Whatever it raises is raised here.
    """

    def there(place: int) -> Result:
        os.sched_setaffinity(0, {processors[place]})  # of this thread alone
        return call(place)

    with ThreadPoolExecutor(len(processors)) as pool:
        return list(pool.map(there, range(len(processors))))
