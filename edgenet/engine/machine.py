"""The machine as the system describes it: CPU, cores, limits, frequency, temperature, throttling.

What the system does not tell is None, empty or the neutral value. `root` is where /proc and /sys are looked for.
"""

from __future__ import annotations

import os
import platform
from typing import Any

_NOW = {0: "under-voltage", 1: "a capped frequency", 2: "throttling", 3: "the soft temperature limit"}
"""Bits of a Raspberry Pi's `get_throttled`; 16 higher: since the system was started."""


def read(path: str, root: str = "/") -> str | None:
    """Text of a small system file without white space around it; None where it cannot be read."""
    try:
        with open(root + path, encoding="utf-8", errors="replace") as file:
            return file.read().strip("\0 \t\n")
    except OSError:
        return None


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def usable_threads() -> int:
    """Physical cores that this process may use (affinity and cgroup limit honoured), at most 4."""
    limit = cgroup_cpus()
    whole = 4 if limit is None else max(1, int(limit + 0.5))
    return max(1, min(physical_cores(), whole, 4))


def physical_cores() -> int:
    """Physical cores among the logical CPUs that this process may use."""
    return len({core_of(cpu) for cpu in os.sched_getaffinity(0)})


def core_of(cpu: int, root: str = "/") -> str:
    """The physical core of a logical CPU."""
    base = f"sys/devices/system/cpu/cpu{cpu}/topology"
    package, core = read(f"{base}/physical_package_id", root), read(f"{base}/core_id", root)
    return str(cpu) if package is None or core is None else f"{package}:{core}"


def cpu_list(text: str) -> list[int]:
    """The CPUs of a list like "0-2,5"; none for what is no such list."""
    found = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first.isdigit() and (last or first).isdigit():
            found.extend(range(int(first), int(last or first) + 1))
    return found


def cgroup_cpus(root: str = "/") -> float | None:
    """CPUs' worth of time that the process's control group, or one above it, may use; None without a limit."""
    limits = []
    place = next((line[3:] for line in (read("proc/self/cgroup", root) or "").split("\n") if line[:3] == "0::"), "/")
    while True:
        words = (read(f"sys/fs/cgroup{place.rstrip('/')}/cpu.max", root) or "").split()
        if len(words) == 2 and words[0] != "max":
            limits.append(float(words[0]) / float(words[1]))
        if place in ("/", ""):
            break
        place = os.path.dirname(place)
    quota = _number(read("sys/fs/cgroup/cpu/cpu.cfs_quota_us", root))
    period = _number(read("sys/fs/cgroup/cpu/cpu.cfs_period_us", root))
    if quota is not None and period and quota > 0:
        limits.append(quota / period)
    return min(limits, default=None)


def cpu_name(root: str = "/") -> str:
    """The CPU's model; on a Raspberry Pi, the board's."""
    board = read("proc/device-tree/model", root)
    if board:
        return board
    for line in (read("proc/cpuinfo", root) or "").split("\n"):
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model", "Hardware"):
            return value.strip()
    return platform.processor() or platform.machine()


def governor(root: str = "/") -> str:
    """The frequency governor of the first CPU, "not visible" where the system hides it (as virtual machines do)."""
    return read("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", root) or "not visible"


def frequency_mhz(root: str = "/") -> dict[str, float] | None:
    """Frequency of the first CPU now, and the highest that it has."""
    place = "sys/devices/system/cpu/cpu0/cpufreq"
    now, most = (_number(read(f"{place}/{name}", root)) for name in ("scaling_cur_freq", "cpuinfo_max_freq"))
    return None if now is None or most is None else {"now": now / 1e3, "most": most / 1e3}


def temperature(root: str = "/") -> float | None:
    """Degrees Celsius of the hottest thermal zone."""
    try:
        zones = os.listdir(f"{root}sys/class/thermal")
    except OSError:
        return None
    found = [_number(read(f"sys/class/thermal/{zone}/temp", root)) for zone in zones if zone.startswith("thermal_zone")]
    return max((value / 1e3 for value in found if value is not None), default=None)


def throttling(root: str = "/") -> dict[str, Any]:
    """What slows the CPU down: reasons `now`, reasons `since_start` of the system, `events` counted by x86 CPUs."""
    events = None
    for cpu in range(os.cpu_count() or 1):
        count = _number(read(f"sys/devices/system/cpu/cpu{cpu}/thermal_throttle/core_throttle_count", root))
        if count is not None:
            events = int(count) + (events or 0)
    bits = _raspberry_bits(root)
    return {
        "now": [reason for bit, reason in _NOW.items() if bits >> bit & 1],
        "since_start": [reason for bit, reason in _NOW.items() if bits >> bit + 16 & 1],
        "events": events,
    }


def _raspberry_bits(root: str) -> int:
    """`get_throttled` of a Raspberry Pi: from the kernel, else from the firmware's tool; 0 on other machines."""
    text = read("sys/devices/platform/soc/soc:firmware/get_throttled", root)
    if text is None and "Raspberry Pi" in (read("proc/device-tree/model", root) or ""):
        import subprocess

        try:
            done = subprocess.run(["vcgencmd", "get_throttled"], capture_output=True, text=True, timeout=5, check=True)
        except (OSError, subprocess.SubprocessError):
            return 0
        text = done.stdout.strip().removeprefix("throttled=")
    try:
        return int(text or "0", 16)
    except ValueError:
        return 0


def throttled_between(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Why the CPU was slow at some time between two states of `throttling`; empty if it was not."""
    found = dict.fromkeys([*before["now"], *after["now"]])
    found |= dict.fromkeys(reason for reason in after["since_start"] if reason not in before["since_start"])
    if (after["events"] or 0) > (before["events"] or 0):
        found["throttling"] = None
    return list(found)


def facts() -> dict[str, Any]:
    """All of the above for this process."""
    return {
        "cpu": cpu_name(),
        "cpus": os.cpu_count(),
        "allowed_cpus": len(os.sched_getaffinity(0)),
        "physical_cores": physical_cores(),
        "cgroup_cpus": cgroup_cpus(),
        "governor": governor(),
        "frequency_mhz": frequency_mhz(),
        "temperature_celsius": temperature(),
        "throttling": throttling(),
        "load": round(os.getloadavg()[0], 2),
    }
