"""The engine: programs from plans, compiled kernels in memory, and the threads that run them. It needs Linux."""

import sys

from edgenet.errors import EngineError

if sys.platform != "linux":
    raise EngineError(
        "edgenet runs networks on Linux alone: on Windows use WSL 2, on macOS a Linux container or virtual machine."
    )
