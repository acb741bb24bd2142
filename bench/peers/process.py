"""A peer's process, seen from the program that compares: requests, answers, time limits, standing still."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

WORKER = Path(__file__).with_name("worker.py")


class PeerFailure(Exception):
    """A peer could not do what it was asked; the text is the reason."""


class Process:
    """One worker. It stands still (all its threads) between answers, so that another one has the cores alone."""

    def __init__(self, python: str, request: dict[str, Any], threads: int = 0):
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed by `close`
        environment = {**os.environ, "PYTHONNOUSERSITE": "1", "PYTHONSAFEPATH": "1"}
        for variable in (
            "PYTHONPATH",
            "PYTHONDONTWRITEBYTECODE",
        ):  # compiled modules are kept, as an installation has them
            environment.pop(variable, None)
        environment["PATH"] = os.pathsep.join([str(Path(python).parent), environment.get("PATH", "")])
        if threads:
            environment["OMP_NUM_THREADS"] = str(threads)
        self._process = subprocess.Popen(
            [python, str(WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
            text=True,
            encoding="utf-8",
        )
        self._answers: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()
        self._send(request)

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put(None)

    def _send(self, content: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(content) + "\n")
            self._process.stdin.flush()
        except (BrokenPipeError, OSError):
            raise PeerFailure(self._last_words()) from None

    def _last_words(self) -> str:
        status = self._process.wait(10)
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        ending = f"killed by signal {-status}" if status < 0 else f"exit status {status}"
        return f"{ending}: {lines[-1].strip()[:300]}" if lines else ending

    def receive(self, timeout: float) -> dict[str, Any]:
        """The next answer. Raises PeerFailure for an error, an end without answer, or none within `timeout` s."""
        try:
            line = self._answers.get(timeout=timeout)
        except queue.Empty:
            raise PeerFailure(f"no answer within {timeout:.0f} s") from None
        if line is None:
            raise PeerFailure(self._last_words())
        content = json.loads(line)
        if "error" in content:
            raise PeerFailure(" ".join(content["error"].split())[:300])
        return content

    def ask(self, command: str, timeout: float = 120, **content: Any) -> dict[str, Any]:
        """The answer to a command."""
        self._send({"command": command, **content})
        return self.receive(timeout)

    def stand_still(self) -> None:
        """Stop every thread until `go_on`, where the system can."""
        if hasattr(signal, "SIGSTOP") and self._process.poll() is None:
            self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Undo `stand_still`."""
        if hasattr(signal, "SIGCONT") and self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:
                    continue


def convert(python: str, module: str, variant: str, folder: Path, timeout: float) -> dict[str, Any]:
    """Convert in a process of its own: {"path", "file_bytes", "seconds"}. Raises PeerFailure."""
    request = {"mode": "convert", "module": module, "variant": variant, "folder": str(folder)}
    process = Process(python, request)
    try:
        return process.receive(timeout)
    finally:
        process.close()


def serve(
    python: str, module: str, variant: str, path: str, x: Path, threads: int, cpus: Sequence[int]
) -> tuple[Process, dict[str, Any]]:
    """A process with the model loaded, run once, and standing still; the parts of its cold start. PeerFailure."""
    request = {"mode": "serve", "module": module, "variant": variant, "path": path, "input": str(x)}
    process = Process(python, {**request, "threads": threads, "cpus": list(cpus)}, threads)
    try:
        start = process.receive(300)
    except PeerFailure:
        process.close()
        raise
    process.stand_still()
    return process, start


def first(
    python: str, module: str, variant: str, path: str, x: Path, threads: int, cpus: Sequence[int], runs: int = 20
) -> dict[str, Any]:
    """One new process up to its first result (see `worker.first_result`). Raises PeerFailure.

    `total_ms` counts from before the process is made; `parts_ms` begins with what the interpreter took.
    """
    request = {"mode": "first", "module": module, "variant": variant, "path": path, "input": str(x), "runs": runs}
    started = time.monotonic()
    process = Process(python, {**request, "threads": threads, "cpus": list(cpus)}, threads)
    try:
        found = process.receive(300)
    finally:
        process.close()
    interpreter = (found["began"] - started) * 1e3
    total = (found["ended"] - started) * 1e3
    return {**found, "total_ms": total, "parts_ms": {"interpreter": interpreter, **found["parts_ms"]}}
