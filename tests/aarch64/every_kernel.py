"""pytest plugin (`-p tests.aarch64.every_kernel`): the run fails unless each kernel of the table has run in it.

Kernels of operations count when a kernel test has run them for comparison with the oracle; the executor and the kernels
that measure the machine when they were loaded, which only their users do.
"""

from __future__ import annotations

import pytest

from edgenet.engine import cache
from edgenet.kernels.isa import host
from edgenet.kernels.table import kernels
from tests.kernels import harness


def missing() -> list[str]:
    """Kernels of this machine's instruction set that no test has run so far."""
    loaded = {name for isa, name in cache._loaded if isa == host().name}
    executed = {name for isa, name in harness.executed if isa == host().name}
    return [
        name
        for name, row in kernels(host()).items()
        if name not in (loaded if row.operation in ("engine", "bench") else executed)
    ]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Turn a good run into a failed one if kernels are left."""
    if missing():
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name what was not run."""
    total, left = len(kernels(host())), missing()
    names = f"; not run: {', '.join(left)}" if left else ""
    terminalreporter.write_line(f"{total - len(left)} of {total} kernels of {host().name} have run{names}")
