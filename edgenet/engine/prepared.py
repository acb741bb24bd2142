"""A network prepared for inputs of some shapes: what a run of it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgenet.dtypes import DTYPES
from edgenet.engine.program import Context, Linked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgenet.engine.team import Team
    from edgenet.prepare.plan import Plan


class Prepared:
    """A linked plan with its contexts: one for each run that is going on at the same time.

    `plan` is None where the program came from the cache.
    """

    def __init__(self, linked: Linked, plan: Plan | None):
        self.linked, self.plan = linked, plan
        self.idle: list[Context] = []
        self._ports = [(port.shape, DTYPES[port.dtype]) for port in linked.program.inputs]

    def context(self) -> Context:
        """A context for one run, which belongs to `idle` when the run is over."""
        try:
            return self.idle.pop()
        except IndexError:
            return Context(self.linked)

    def takes(self, inputs: Sequence[Any]) -> bool:
        """Whether these are what `run` needs: C-contiguous arrays of the network's types and the plan's shapes."""
        if len(inputs) != len(self._ports):
            return False
        for i, array in enumerate(inputs):  # strict zips are slow where caches are cold
            shape, dtype = self._ports[i]
            if type(array) is not np.ndarray or array.shape != shape or array.dtype != dtype:
                return False
            if not array.flags.c_contiguous:
                return False
        return True

    def run(self, inputs: Sequence[np.ndarray], team: Team) -> list[np.ndarray]:
        """The outputs for arrays that it `takes`, both in order. Raises InputError where an input holds NaN."""
        context = self.context()
        try:
            return context.compute(team, inputs)
        finally:
            self.idle.append(context)
