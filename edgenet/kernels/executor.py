"""The executor: runs a table of steps on every thread of a team, and the loop in which a team's workers wait for work.

Step record, in 64-bit words: kernel address, units of work, fewest units that a thread takes at once, address of the
kernel's slots, address of the step's counters. Each thread begins with its own range of adjacent units, the same share
of every step, and then helps the others with theirs. A step is over when all of its units are done, not when all
threads have come by: a thread that gets no core, or wakes up late, holds up nobody and skips what others did in its
place. A chain of layers that threads compute by parts is a step as well (see `run_parts`).

Input record: the slots of `find_nan`, the last of which is the address of the word behind them, where it tells.

Counters lie in cache lines of their own: for each thread the units taken from its range, then the units done. A counter
holds the number of the run (the epoch) in its upper bits; a smaller number there means that nothing has been counted
yet, a larger one that this thread is late for the whole run.
"""

from numba import njit

from edgenet.kernels.native import (
    atomic_add,
    atomic_exchange,
    atomic_load,
    call_c,
    call_entry,
    compare_exchange,
    futex_wait,
    futex_wake,
    load_word,
    pause,
)
from edgenet.kernels.tuples import greatest, least

STEP_WORDS = 8
STEP_BYTES = STEP_WORDS * 8
INPUT_BYTES, VERDICT = 32, 24
"""Bytes of an input's record, and where in it the verdict lies: see `find_nan`, whose slots the record begins with."""
LINE_BYTES = 64
PART_BYTES, RECORD_BYTES = 16, 24
IDLE, SLEEPING, QUIT = 0, 1, 2
"""States of a worker's mailbox; any other value is the address of the run record to execute."""
BUSY = 8
"""Offset in the mailbox's cache line: the run record that the worker works on, or 0."""
COUNT_BITS = 30
"""Lower bits of a counter: the units counted. The bits above are the epoch."""
COUNT_MASK = (1 << COUNT_BITS) - 1
NOTHING, LATE = -1, -2
SPINS_BEFORE_SLEEP = 10000
ASLEEP, SIGNAL = 0, 64
"""Byte offsets in the meeting place: threads that sleep, and the word that they sleep on."""


@njit(inline="always")
def _take(counter, word, epoch, size, grain):
    """Units of a range of `size` that are this thread's now: where they begin (or NOTHING, or LATE), where they end.

    Half of what is left, but at least `grain`: each take from a range that others look at is a message between cores.
    `word`: what the counter probably holds; a wrong guess costs less than a look.
    """
    while True:
        if (word >> COUNT_BITS) > epoch:
            return LATE, 0
        taken = 0
        if (word >> COUNT_BITS) == epoch:
            taken = word & COUNT_MASK
        if taken >= size:
            return NOTHING, 0
        last = least(size, taken + greatest(grain, (size - taken) >> 1))
        before = compare_exchange(counter, word, (epoch << COUNT_BITS) + last)
        if before == word:
            return taken, last
        word = before


@njit(inline="always")
def _report(done, epoch, count, units, meeting, syscall):
    """Count units as done; wake who waits for the last of them. Returns how many are done."""
    word = ((epoch - 1) << COUNT_BITS) + units
    while True:
        total = count
        if (word >> COUNT_BITS) == epoch:
            total += word & COUNT_MASK
        before = compare_exchange(done, word, (epoch << COUNT_BITS) + total)
        if before == word:
            break
        word = before
    if total == units and atomic_load(meeting + ASLEEP) != 0:
        atomic_add(meeting + SIGNAL, 1)
        futex_wake(syscall, meeting + SIGNAL)
    return total


@njit(inline="always")
def _await(done, complete, meeting, syscall):
    """Wait until the counter `done` is `complete`. False if it is beyond: this thread is late for the whole run."""
    spins = 0
    word = atomic_load(done)
    while word < complete:
        if spins < SPINS_BEFORE_SLEEP:
            spins += 1
            pause()
        else:
            atomic_add(meeting + ASLEEP, 1)
            signal = atomic_load(meeting + SIGNAL)
            if atomic_load(done) < complete:
                futex_wait(syscall, meeting + SIGNAL, signal)
            atomic_add(meeting + ASLEEP, -1)
        word = atomic_load(done)
    return word == complete


@njit(inline="always")
def _share(step, thread, threads, epoch, meeting, syscall, clock_gettime, time):
    """This thread's part of a step, until the step is over. False if the thread is late for the whole run.

    Who has done units sets `time`, if not 0: a thread that comes by later tells nothing of when the step was over.
    """
    kernel = load_word(step)
    units = load_word(step + 8)
    grain = load_word(step + 16)
    slots = load_word(step + 24)
    counters = load_word(step + 32)
    if units == 0:
        return True
    finished = 0
    for turn in range(threads):
        owner = (thread + turn) % threads
        begin = units - units * (threads - owner) // threads  # the first gets what is left over, and the only unit
        size = units - units * (threads - owner - 1) // threads - begin
        counter = counters + owner * LINE_BYTES
        word = ((epoch - 1) << COUNT_BITS) + size
        if turn != 0:
            word = atomic_load(counter)
        first, last = _take(counter, word, epoch, size, grain)
        while first >= 0:
            call_entry(kernel, slots, begin + first, begin + last, thread)
            finished += last - first
            first, last = _take(counter, (epoch << COUNT_BITS) + last, epoch, size, grain)
        if first == LATE:
            return False
    done = counters + threads * LINE_BYTES
    if finished > 0 and time != 0:
        call_c(clock_gettime, 1, time)
    if finished > 0 and _report(done, epoch, finished, units, meeting, syscall) == units:
        return True
    return _await(done, (epoch << COUNT_BITS) + units, meeting, syscall)


def execute(
    begin: int,
    end: int,
    thread: int,
    steps: int,
    count: int,
    threads: int,
    epoch: int,
    meeting: int,
    syscall: int,
    clock_gettime: int,
    times: int,
    mailboxes: int,
    semaphores: int,
    sem_post: int,
    inputs: int,
    input_count: int,
    find_nan: int,
):
    """Run steps 0..count-1 as `thread` of `threads`. Thread 0 first calls the others through their mailboxes.

    The slots of this entry are a run record, which the mailboxes pass on by address (`begin`). `times`, if not 0,
    receives a timespec before the first step and after each that has units.
    Nothing is run where one of the inputs holds NaN; its record says so then.
    """
    if thread >= threads:
        return
    if thread == 0:
        for i in range(input_count):
            call_entry(find_nan, inputs + i * INPUT_BYTES, 0, 0, 0)
            if load_word(inputs + i * INPUT_BYTES + VERDICT) != 0:
                return
        if times != 0:
            call_c(clock_gettime, 1, times)
        for worker in range(1, threads):
            before = atomic_exchange(mailboxes + worker * LINE_BYTES, begin)
            if before == SLEEPING:
                call_c(sem_post, semaphores + worker * LINE_BYTES, 0)
    for i in range(count):
        step = steps + i * STEP_BYTES
        time = 0
        if times != 0:
            time = times + 16 * (i + 1)
        if threads == 1:
            call_entry(load_word(step), load_word(step + 24), 0, load_word(step + 8), 0)
            if time != 0:
                call_c(clock_gettime, 1, time)
        elif not _share(step, thread, threads, epoch, meeting, syscall, clock_gettime, time):
            return
    if thread == 0:
        for worker in range(1, threads):
            compare_exchange(mailboxes + worker * LINE_BYTES, begin, IDLE)


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
    """Wait for run records and execute them as `thread`, until told to quit. Sleeps after `spins` idle turns.

    A record may be withdrawn from the mailbox until the worker has said that it is busy with it.
    """
    while True:
        job = atomic_load(mailbox)
        turns = 0
        while job == IDLE and turns < spins:
            pause()
            turns += 1
            job = atomic_load(mailbox)
        if job == IDLE and compare_exchange(mailbox, IDLE, SLEEPING) == IDLE:
            while atomic_load(mailbox) == SLEEPING:
                call_c(sem_wait, semaphore, 0)
        elif job == QUIT:
            return
        elif job != IDLE:
            atomic_exchange(mailbox + BUSY, job)
            if compare_exchange(mailbox, job, IDLE) == job:
                call_entry(executor, job, job, 0, thread)
            atomic_exchange(mailbox + BUSY, 0)


def run_parts(
    begin: int,
    end: int,
    thread: int,
    parts: int,
):
    """Run the steps of the parts begin..end-1 of a chain, all of them on this thread.

    `parts`: for each part the address of its records and their number; a record is a kernel's address, its units, and
    the address of its slots.
    """
    for part in range(begin, end):
        record = load_word(parts + part * PART_BYTES)
        for _ in range(load_word(parts + part * PART_BYTES + 8)):
            call_entry(load_word(record), load_word(record + 16), 0, load_word(record + 8), thread)
            record += RECORD_BYTES


def parts_entry():
    """Parts of chains, as a kernel whose unit is a part."""
    return run_parts


def execute_entry():
    """The executor, as an entry of the kernel table."""
    return execute


def serve_entry():
    """The workers' loop, as an entry of the kernel table."""
    return serve
