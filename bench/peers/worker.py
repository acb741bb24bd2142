"""Runs in a peer's environment, as a script: converts a network, gives a first result, or serves one loaded model.

Speaks JSON, one object a line, on the standard input and output it was started with; whatever the peer prints goes to
standard error. The first line is the request, its answer {"error": ...} where it failed. A server then answers

    {"command": "run", "seconds": s}    {"times_ms": [...]}      at least 3 runs after 2 unmeasured ones
    {"command": "output"}               {"output": [...]}
    {"command": "outputs", "inputs": file, "outputs": file}  {}  runs each sample of a .npy file, writes all outputs
    {"command": "memory"}               {"rss_bytes": n, "peak_rss_bytes": n}

until its input ends.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

PACKAGE = "edgenet_peers"
"""Name under which this script imports the adapters beside it: the environment need not have edgenet."""

MOST_RUNS = 500


def adapters(name: str) -> Any:
    """The module `name` of this folder."""
    if PACKAGE not in sys.modules:
        folder = Path(__file__).parent
        spec = importlib.util.spec_from_file_location(
            PACKAGE, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[PACKAGE] = module
        spec.loader.exec_module(module)
    return importlib.import_module(f"{PACKAGE}.{name}")


def milliseconds(started: float) -> float:
    return (time.perf_counter() - started) * 1e3


def convert(request: dict[str, Any]) -> dict[str, Any]:
    """Convert: the path and size of what was written, and the seconds it took."""
    started = time.perf_counter()
    peer = adapters(request["module"])
    job = adapters("job").Job(Path(request["folder"]))
    variant = request["variant"]
    path = peer.convert(job, variant, job.output_folder(peer.NAME, variant))
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files)
    return {"path": str(path), "file_bytes": size, "seconds": time.perf_counter() - started}


def rss_bytes() -> int:
    """Resident memory now; the peak where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return peak_rss_bytes()


def peak_rss_bytes() -> int:
    """Most resident memory since this program began; `ru_maxrss` counts the one that started it, too."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def measure(run: Any, x: Any, seconds: float) -> list[float]:
    """Times of single runs in ms."""
    for _ in range(2):
        run(x)
    times: list[float] = []
    ends = time.perf_counter() + seconds
    while len(times) < 3 or (time.perf_counter() < ends and len(times) < MOST_RUNS):
        started = time.perf_counter()
        run(x)
        times.append(milliseconds(started))
    return times


def serve(request: dict[str, Any], replies: Any) -> None:
    """Load the model, answer with the parts of the cold start, then answer commands."""
    import numpy as np

    peer = adapters(request["module"])
    x = np.load(request["input"])
    started = time.perf_counter()
    for module in peer.RUNTIME:
        importlib.import_module(module)
    import_ms, started = milliseconds(started), time.perf_counter()
    run = peer.load(Path(request["path"]), request["variant"], request["threads"])
    load_ms, started = milliseconds(started), time.perf_counter()
    run(x)
    answer(replies, {"import_ms": import_ms, "load_ms": load_ms, "first_ms": milliseconds(started)})
    for line in sys.stdin:
        command = json.loads(line)
        if command["command"] == "run":
            answer(replies, {"times_ms": measure(run, x, command["seconds"])})
        elif command["command"] == "outputs":
            samples = np.load(command["inputs"], mmap_mode="r")
            found = [np.asarray(run(np.array(sample[None])), np.float32).copy() for sample in samples]
            np.save(command["outputs"], np.concatenate(found))
            answer(replies, {})
        elif command["command"] == "output":
            answer(replies, {"output": np.asarray(run(x), np.float32).ravel().tolist()})
        else:
            answer(replies, {"rss_bytes": rss_bytes(), "peak_rss_bytes": peak_rss_bytes()})


def first_result(request: dict[str, Any], replies: Any) -> None:
    """Answer once, with the parts of the way from a new process to its first result.

    {"parts_ms": {...}, "began": s, "ended": s, "output": [...], "rss_bytes": n, "peak_rss_bytes": n}: times of the
    system's monotonic clock, memory after some more runs. The module "numpy" is no peer: it copies the input.
    """
    marks = [("interpreter", time.monotonic())]

    def mark(name: str) -> None:
        marks.append((name, time.monotonic()))

    import numpy as np

    mark("numpy")
    x = np.load(request["input"])
    mark("input")
    run: Any = np.copy
    if request["module"] != "numpy":
        peer = adapters(request["module"])
        mark("adapter")
        for module in peer.RUNTIME:
            importlib.import_module(module)
        mark("import")
        run = peer.load(Path(request["path"]), request["variant"], request["threads"])
        mark("load")
    output = run(x)
    mark("first run")
    parts = {name: (ended - before) * 1e3 for (name, ended), (_, before) in zip(marks[1:], marks, strict=False)}
    for _ in range(request["runs"]):
        run(x)
    answer(
        replies,
        {
            "parts_ms": parts,
            "began": marks[0][1],
            "ended": marks[-1][1],
            "output": np.asarray(output, np.float32).ravel().tolist(),
            "rss_bytes": rss_bytes(),
            "peak_rss_bytes": peak_rss_bytes(),
        },
    )


def answer(replies: Any, content: dict[str, Any]) -> None:
    replies.write(json.dumps(content) + "\n")
    replies.flush()


def main() -> int:
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).parent]
    request = json.loads(sys.stdin.readline())
    try:
        if request.get("cpus") and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, request["cpus"])
        if request["mode"] == "convert":
            answer(replies, convert(request))
        elif request["mode"] == "first":
            first_result(request, replies)
        else:
            serve(request, replies)
    except Exception as error:
        answer(replies, {"error": f"{type(error).__name__}: {error}"})
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main())
