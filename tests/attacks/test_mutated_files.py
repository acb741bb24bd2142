"""6,000 files mutated by hypothesis: each is refused with ModelFormatError, or is a valid model that runs."""

from __future__ import annotations

import json
from collections import Counter
from importlib.resources import files

import jsonschema
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from edgenet import format
from tests.attacks import mutations
from tests.attacks.container import split
from tests.attacks.survivors import judge
from tests.format.graphs import GRAPHS

STRATEGIES = {
    "bytes": (lambda content: mutations.damaged_bytes(content, sealed=False), 100),
    "sealed_bytes": (lambda content: mutations.damaged_bytes(content, sealed=True), 200),
    "header": (mutations.mutated_headers, 400),
    "nodes": (mutations.mutated_nodes, 500),
}
"""Strategy and number of files, for each graph."""

SCHEMA = jsonschema.Draft202012Validator(json.loads(files("edgenet").joinpath("schema.json").read_text("utf-8")))


def test_the_number_of_files():
    assert sum(count for _, count in STRATEGIES.values()) * len(GRAPHS) == 6000


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("kind", STRATEGIES)
def test_mutated_files_are_refused_or_run(name, kind, tmp_path):
    format.save(GRAPHS[name](), tmp_path / "valid.edgenet")
    content = (tmp_path / "valid.edgenet").read_bytes()
    strategy, count = STRATEGIES[kind]
    outcomes: Counter[str] = Counter()

    @settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    @given(mutated=strategy(content))
    def attack(mutated: bytes) -> None:
        refusal = judge(mutated, tmp_path / "hostile.edgenet")
        outcomes["ran" if refusal is None else "refused"] += 1
        if refusal is None:
            SCHEMA.validate(split(mutated)[0])

    assert judge(content, tmp_path / "hostile.edgenet") is None
    attack()
    assert outcomes.total() >= count
    assert outcomes["refused"] > 0
    if kind in ("header", "nodes"):
        assert outcomes["ran"] > count // 50, "the mutations are too crude to reach the kernels"
