"""The executor: runs a table of steps on every thread of a team, and the loop in which a team's workers wait for work.

Step record, in 64-bit words: kernel address, units of work, units a thread takes at once, address of the kernel's
slots, address of the step's work counters (a cache line for each thread). Each thread begins with its own range of
adjacent units, the same share of every step, and then helps the others with theirs. All meet at a barrier after each
step; who waits there for long sleeps, so that the scheduler can give the late ones a core.
"""

from numba import njit

from edgenet.kernels.native import (
    atomic_add,
    atomic_exchange,
    atomic_load,
    atomic_store,
    call_c,
    call_entry,
    compare_exchange,
    futex_wait,
    futex_wake,
    load_word,
    pause,
)
from edgenet.kernels.tuples import least

STEP_WORDS = 8
STEP_BYTES = STEP_WORDS * 8
IDLE, SLEEPING, QUIT = 0, 1, 2
"""States of a worker's mailbox; any other value is the address of the run record to execute."""
SPINS_BEFORE_SLEEP = 10000
LINE_BYTES = 64
ARRIVED, GENERATION, ASLEEP = 0, 64, 128
"""Byte offsets in the barrier's memory, each in a cache line of its own."""


@njit(inline="always")
def _barrier(barrier, threads, counters, syscall):
    generation = atomic_load(barrier + GENERATION)
    if atomic_add(barrier + ARRIVED, 1) == threads - 1:
        atomic_store(barrier + ARRIVED, 0)
        for owner in range(threads):
            atomic_store(counters + owner * LINE_BYTES, 0)
        atomic_exchange(barrier + GENERATION, generation + 1)
        if atomic_load(barrier + ASLEEP) != 0:
            futex_wake(syscall, barrier + GENERATION)
    else:
        spins = 0
        while atomic_load(barrier + GENERATION) == generation:
            spins += 1
            if spins > SPINS_BEFORE_SLEEP:
                atomic_add(barrier + ASLEEP, 1)
                futex_wait(syscall, barrier + GENERATION, generation)
                atomic_add(barrier + ASLEEP, -1)
            else:
                pause()


@njit(inline="always")
def _work(kernel, slots, units, grain, counters, thread, threads):
    """The thread's own range of units, then what is left of the others'."""
    for turn in range(threads):
        owner = (thread + turn) % threads
        begin = units * owner // threads
        end = units * (owner + 1) // threads
        counter = counters + owner * LINE_BYTES
        first = begin + atomic_add(counter, grain)
        while first < end:
            call_entry(kernel, slots, first, least(first + grain, end), thread)
            first = begin + atomic_add(counter, grain)


def execute(
    begin: int,
    end: int,
    thread: int,
    steps: int,
    count: int,
    threads: int,
    barrier: int,
    syscall: int,
    clock_gettime: int,
    times: int,
    mailboxes: int,
    semaphores: int,
    sem_post: int,
):
    """Run steps 0..count-1 as `thread` of `threads`. Thread 0 first calls the others through their mailboxes.

    The slots of this entry are a run record, which the mailboxes pass on by address (`begin`). `times`, if not 0,
    receives a timespec before the first step and after each.
    """
    if thread == 0:
        for worker in range(1, threads):
            before = atomic_exchange(mailboxes + worker * 64, begin)
            if before == SLEEPING:
                call_c(sem_post, semaphores + worker * 64, 0)
        if times != 0:
            call_c(clock_gettime, 1, times)
    for i in range(count):
        step = steps + i * STEP_BYTES
        kernel = load_word(step)
        units = load_word(step + 8)
        grain = load_word(step + 16)
        slots = load_word(step + 24)
        counters = load_word(step + 32)
        if threads == 1:
            call_entry(kernel, slots, 0, units, 0)
        else:
            _work(kernel, slots, units, grain, counters, thread, threads)
            _barrier(barrier, threads, counters, syscall)
        if times != 0 and thread == 0:
            call_c(clock_gettime, 1, times + 16 * (i + 1))


def serve(
    begin: int,
    end: int,
    thread: int,
    mailbox: int,
    semaphore: int,
    sem_wait: int,
    executor: int,
    spins: int,
):
    """Wait for run records and execute them as `thread`, until told to quit. Sleeps after `spins` idle turns."""
    while True:
        job = atomic_load(mailbox)
        turns = 0
        while job == IDLE and turns < spins:
            pause()
            turns += 1
            job = atomic_load(mailbox)
        if job == IDLE:
            job = compare_exchange(mailbox, IDLE, SLEEPING)
            if job == IDLE:
                while atomic_load(mailbox) == SLEEPING:
                    call_c(sem_wait, semaphore, 0)
                job = atomic_load(mailbox)
        if job == QUIT:
            return
        atomic_store(mailbox, IDLE)
        call_entry(executor, job, job, 0, thread)


def execute_entry():
    """The executor, as an entry of the kernel table."""
    return execute


def serve_entry():
    """The workers' loop, as an entry of the kernel table."""
    return serve
