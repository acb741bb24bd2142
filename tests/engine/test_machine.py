"""What the system tells of the machine, read from made-up /proc and /sys trees; what follows from it."""

import pytest

from edgenet.commands import doctor
from edgenet.engine import machine
from edgenet.errors import EngineError
from edgenet.kernels import isa

PI = "Raspberry Pi 4 Model B Rev 1.4"


@pytest.fixture
def system(tmp_path):
    """Writes files of a made-up system; returns its root."""

    def write(**files):
        for name, text in files.items():
            path = tmp_path / PLACES[name]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return f"{tmp_path}/"

    return write


PLACES = {
    "model": "proc/device-tree/model",
    "cpuinfo": "proc/cpuinfo",
    "throttled": "sys/devices/platform/soc/soc:firmware/get_throttled",
    "events": "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count",
    "governor": "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
    "frequency": "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq",
    "most": "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq",
    "cool": "sys/class/thermal/thermal_zone0/temp",
    "hot": "sys/class/thermal/thermal_zone1/temp",
    "group": "proc/self/cgroup",
    "top": "sys/fs/cgroup/cpu.max",
    "slice": "sys/fs/cgroup/system.slice/cpu.max",
    "service": "sys/fs/cgroup/system.slice/camera.service/cpu.max",
    "quota": "sys/fs/cgroup/cpu/cpu.cfs_quota_us",
    "period": "sys/fs/cgroup/cpu/cpu.cfs_period_us",
}


def test_a_system_that_tells_nothing(tmp_path):
    root = f"{tmp_path}/"
    assert machine.cgroup_cpus(root) is None
    assert machine.frequency_mhz(root) is None
    assert machine.temperature(root) is None
    assert machine.governor(root) == "not visible"
    assert machine.throttling(root) == {"now": [], "since_start": [], "events": None}
    assert machine.cpu_name(root)


def test_a_raspberry_pi_that_is_throttled(system):
    root = system(model=PI + "\0", throttled="50005\n", governor="ondemand\n", frequency="600000", most="1500000")
    assert machine.cpu_name(root) == PI
    assert machine.throttling(root)["now"] == ["under-voltage", "throttling"]
    assert machine.throttling(root)["since_start"] == ["under-voltage", "throttling"]
    assert machine.frequency_mhz(root) == {"now": 600.0, "most": 1500.0}
    assert machine.governor(root) == "ondemand"


def test_the_firmware_tool_tells_where_the_kernel_does_not(system, tmp_path, monkeypatch):
    tool = tmp_path / "bin" / "vcgencmd"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho throttled=0x80008\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tool.parent), prepend=":")
    root = system(model=PI)
    assert machine.throttling(root)["now"] == ["the soft temperature limit"]
    tool.write_text("#!/bin/sh\nexit 1\n")
    assert machine.throttling(root)["now"] == []


def test_the_hottest_zone_counts(system):
    assert machine.temperature(system(cool="41000\n", hot="83500\n")) == 83.5


def test_limits_of_control_groups(system):
    assert machine.cgroup_cpus(system(top="max 100000")) is None
    root = system(group="0::/system.slice/camera.service\n", slice="250000 100000", service="max 100000")
    assert machine.cgroup_cpus(root) == 2.5
    assert machine.cgroup_cpus(system(service="50000 100000")) == 0.5
    assert machine.cgroup_cpus(system(top="20000 100000")) == 0.2


def test_limits_of_old_control_groups(system):
    assert machine.cgroup_cpus(system(quota="150000", period="100000")) == 1.5
    assert machine.cgroup_cpus(system(quota="-1")) is None


def test_what_counts_as_throttled():
    quiet = {"now": [], "since_start": [], "events": None}
    assert machine.throttled_between(quiet, quiet) == []
    old = {"now": [], "since_start": ["under-voltage"], "events": 7}
    assert machine.throttled_between(old, old) == []
    assert machine.throttled_between(quiet, {**old, "events": None}) == ["under-voltage"]
    assert machine.throttled_between(old, {**old, "events": 8}) == ["throttling"]
    assert machine.throttled_between(old, {**old, "now": ["throttling"]}) == ["throttling"]


def test_a_throttled_measurement_is_no_result(monkeypatch):
    from edgenet.bench import timing

    states = iter([{"now": [], "since_start": [], "events": n} for n in (1, 1, 1, 2)])
    monkeypatch.setattr(machine, "throttling", lambda: next(states))
    assert timing.interleave({"a": lambda: None}, 1)["a"].rounds == 1
    with pytest.raises(EngineError, match="no result"):
        timing.interleave({"a": lambda: None}, 1)


def test_a_32_bit_python_is_refused(monkeypatch):
    monkeypatch.setattr(isa.sys, "maxsize", 2**31 - 1)
    with pytest.raises(EngineError, match="64-bit Raspberry Pi OS"):
        isa.available()


FINE = {
    "throttling": {"now": [], "since_start": [], "events": None},
    "cgroup_cpus": None,
    "temperature_celsius": 50.0,
    "governor": "performance",
    "physical_cores": 4,
    "allowed_cpus": 4,
    "cpus": 4,
    "load": 0.5,
    "features": ["avx2", "fma"],
    "instruction_sets": ["portable", "avx2"],
}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"throttling": {"now": [], "since_start": ["under-voltage"], "events": None}}, "power supply"),
        ({"throttling": {"now": ["throttling"], "since_start": [], "events": None}}, "cool it"),
        ({"temperature_celsius": 82.0}, "heat sink"),
        ({"governor": "powersave"}, "echo performance"),
        ({"cgroup_cpus": 1.5}, "--cpus"),
        ({"allowed_cpus": 2}, "taskset"),
        ({"load": 9.0}, "other programs"),
        ({"features": ["amx_int8", "amx_tile"], "instruction_sets": ["avx512_vnni"]}, "matrix registers"),
    ],
)
def test_the_doctor_advises(change, text):
    advice = []
    doctor.speed(FINE, advice)
    assert advice == []
    doctor.speed({**FINE, **change}, advice)
    assert len(advice) == 1
    assert text in advice[0]
