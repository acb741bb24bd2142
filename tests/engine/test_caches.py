"""Caches as /sys describes them."""

from __future__ import annotations

import pytest

from edgenet.engine.caches import USUAL, data_caches, own_cache
from edgenet.engine.machine import cpu_list


def write(root, index: int, level: int, kind: str, size: str, cpus: str) -> None:
    folder = root / f"sys/devices/system/cpu/cpu0/cache/index{index}"
    folder.mkdir(parents=True)
    for name, text in (("level", str(level)), ("type", kind), ("size", size), ("shared_cpu_list", cpus)):
        (folder / name).write_text(text + "\n")


def test_without_the_files_caches_are_usual_ones(tmp_path):
    assert data_caches(f"{tmp_path}/") == USUAL
    assert own_cache(f"{tmp_path}/") == 512 << 10


def test_cores_that_share_a_cache_have_a_part_each(tmp_path):
    write(tmp_path, 0, 1, "Data", "32K", "0")
    write(tmp_path, 1, 1, "Instruction", "48K", "0")
    write(tmp_path, 2, 2, "Unified", "1024K", "0-3")
    found = data_caches(f"{tmp_path}/")
    assert (found["L1"].size, found["L2"].size, found["L2"].cores) == (32 << 10, 1 << 20, 4)
    assert own_cache(f"{tmp_path}/") == 256 << 10
    assert list(found) == ["L1", "L2"]


def test_hardware_threads_of_one_core_share_nothing_with_others(tmp_path):
    write(tmp_path, 0, 2, "Unified", "2048K", "0,8")
    for cpu in (0, 8):
        topology = tmp_path / f"sys/devices/system/cpu/cpu{cpu}/topology"
        topology.mkdir(parents=True)
        (topology / "physical_package_id").write_text("0\n")
        (topology / "core_id").write_text("3\n")
    assert own_cache(f"{tmp_path}/") == 2 << 20


@pytest.mark.parametrize(("text", "cpus"), [("0-2,5", [0, 1, 2, 5]), ("7", [7]), ("", []), ("x-y", []), ("1-", [1])])
def test_lists_of_cpus(text, cpus):
    assert cpu_list(text) == cpus
