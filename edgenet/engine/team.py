"""The thread team: worker threads that wait in native code for run records and share the units of each step.

One team serves the process. A caller that finds it busy runs its plan alone, so that any number of callers never wait
for each other and never interleave. After a fork the child builds its own team.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import threading
import time
from typing import Any, NamedTuple

import numpy as np

from edgenet.engine.cache import load_kernels
from edgenet.engine.loader import ENTRY_TYPE, LoadedKernel, libc_address
from edgenet.kernels.isa import InstructionSet
from edgenet.memory import address_of, aligned_words

_LINE = 8
_QUIT = 2
_BUSY = 1
"""Word of a worker's cache line of mailboxes: the run record it looks at."""
_SPINS = 20000
"""Idle turns of a worker before it sleeps: a fraction of a millisecond."""
_DEPARTURE_SECONDS = 1.0
MOST_THREADS = 256
ENGINE_KERNELS = ("execute", "serve", "find_nan")
"""Kernels that every team needs."""


class Record(NamedTuple):
    """What a run passes to the executor: its words, and their address."""

    words: memoryview
    address: int


class Team:
    """Workers 1..n of a process; thread 0 is whoever calls `run`."""

    def __init__(self, target: InstructionSet):
        kernels = load_kernels(ENGINE_KERNELS, target)
        self._execute, self._serve = kernels["execute"], kernels["serve"]
        self._find_nan = kernels["find_nan"].address
        self._entry = ENTRY_TYPE(self._execute.address)
        slots = list(self._execute.slots)
        self._threads_slot, self._epoch_slot = slots.index("threads"), slots.index("epoch")
        self._lock = threading.Lock()
        self._workers: list[threading.Thread] = []
        self._keep: list[np.ndarray] = []
        self._mailboxes = aligned_words(_LINE * MOST_THREADS)
        self._semaphores = aligned_words(_LINE * MOST_THREADS)
        self._meeting = aligned_words(2 * _LINE)
        self._kept: list[tuple[int, Any]] = []
        self._addresses = {name: libc_address(name) for name in ("syscall", "clock_gettime", "sem_post", "sem_wait")}
        self._sem_init = ctypes.CDLL(None).sem_init

    def _grow(self, threads: int) -> None:
        while len(self._workers) + 1 < threads:
            number = len(self._workers) + 1
            mailbox = self._mailboxes.ctypes.data + number * 64
            semaphore = self._semaphores.ctypes.data + number * 64
            self._sem_init(ctypes.c_void_p(semaphore), 0, 0)
            slots = slots_of(
                self._serve,
                mailbox=mailbox,
                semaphore=semaphore,
                sem_wait=self._addresses["sem_wait"],
                executor=self._execute.address,
                spins=_SPINS,
            )
            self._keep.append(slots)
            entry = ENTRY_TYPE(self._serve.address)
            worker = threading.Thread(
                target=entry, args=(slots.ctypes.data, 0, 0, number), daemon=True, name=f"edgenet-{number}"
            )
            worker.start()
            self._workers.append(worker)

    def record(self, steps: int, count: int, times: int = 0, inputs: int = 0, input_count: int = 0) -> Record:
        """A run record for `count` steps at address `steps`; `times` receives a timespec before and after each.

        `inputs`: address of the records of inputs that must not hold NaN.
        """
        words = slots_of(
            self._execute,
            steps=steps,
            count=count,
            threads=1,
            epoch=0,
            meeting=self._meeting.ctypes.data,
            syscall=self._addresses["syscall"],
            clock_gettime=self._addresses["clock_gettime"],
            times=times,
            mailboxes=self._mailboxes.ctypes.data,
            semaphores=self._semaphores.ctypes.data,
            sem_post=self._addresses["sem_post"],
            inputs=inputs,
            input_count=input_count,
            find_nan=self._find_nan,
        )
        return Record(words.data, address_of(words))

    def run(self, record: Record, threads: int, epoch: int, owner: object) -> int:
        """Execute a run record on up to `threads` threads; returns how many took part.

        `epoch` is larger than in all runs before of the same steps. `owner` holds the memory of the record and of all
        that it leads to: a late worker may look there when the run is over, so the team keeps it for as long.
        """
        if threads > 1 and self._lock.acquire(blocking=False):
            try:
                if len(self._workers) + 1 < threads:
                    self._grow(threads)
                if not self._kept or self._kept[-1][0] != record.address:
                    self._kept = [each for each in self._kept if each[0] in self._busy()]
                    self._kept.append((record.address, owner))
                record.words[self._epoch_slot] = epoch
                self._start(record, threads)
            finally:
                self._lock.release()
            return threads
        self._start(record, 1)
        return 1

    def _busy(self) -> set[int]:
        """The run records that workers look at."""
        return set(self._mailboxes[_LINE + _BUSY :: _LINE][: len(self._workers)].tolist())

    def _start(self, record: Record, threads: int) -> None:
        record.words[self._threads_slot] = threads
        self._entry(record.address, record.address, 0, 0)

    def settle(self, record: Record) -> None:
        """Wait until no worker looks at a run record."""
        while record.address in self._busy():
            time.sleep(0)

    def dismiss(self) -> None:
        """End the workers."""
        with self._lock:
            sem_post = ctypes.CDLL(None).sem_post
            for number, worker in enumerate(self._workers, 1):
                self._mailboxes[number * _LINE] = _QUIT
                sem_post(ctypes.c_void_p(self._semaphores.ctypes.data + number * 64))
                worker.join(_DEPARTURE_SECONDS)
            self._workers.clear()


_teams: dict[str, Team] = {}
_teams_lock = threading.Lock()


def slots_of(kernel: LoadedKernel, **values: int) -> np.ndarray:
    """The words of a kernel's slots, from values by name, in whole cache lines."""
    words = aligned_words(-(-len(kernel.slots) // _LINE) * _LINE)
    for i, name in enumerate(kernel.slots):
        words[i] = values[name]
    return words


def team(target: InstructionSet) -> Team:
    """The process's team for an instruction set."""
    found = _teams.get(target.name)
    if found is None:
        with _teams_lock:
            found = _teams.get(target.name) or _teams.setdefault(target.name, Team(target))
    return found


def _forget() -> None:
    """In a forked child: the workers are gone, the locks may be held by threads that do not exist."""
    global _teams_lock
    _teams_lock = threading.Lock()
    _teams.clear()


def _dismiss_all() -> None:
    for each in list(_teams.values()):
        each.dismiss()


os.register_at_fork(after_in_child=_forget)
atexit.register(_dismiss_all)
