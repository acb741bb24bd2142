"""Which files may hold code: those that nobody but their owner can change, and whose owner runs code here anyway.

Accepted owners are this process's user, root, and whoever owns the installed package.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

Path = str | os.PathLike[str]


class Untrusted(Exception):
    """Others than its owner may change a file; the text says which and what to do."""


@cache
def _package_owner() -> int:
    return os.stat(__file__).st_uid


def _private_group(status: os.stat_result) -> bool:
    """Whether a file's group is root's, or that of its owner alone, by the convention that both have one name."""
    if status.st_gid == 0:
        return True
    import grp
    import pwd

    try:
        group = grp.getgrgid(status.st_gid)
        owner = pwd.getpwuid(status.st_uid).pw_name
    except KeyError:
        return False
    return group.gr_name == owner and set(group.gr_mem) <= {owner}


def _check(path: Path, status: os.stat_result) -> None:
    sticky = stat.S_ISDIR(status.st_mode) and bool(status.st_mode & stat.S_ISVTX)
    if status.st_mode & stat.S_IWOTH and not sticky:
        raise Untrusted(f"{path} may be changed by every user of this machine; use `chmod o-w` on it.")
    if status.st_mode & stat.S_IWGRP and not sticky and not _private_group(status):
        raise Untrusted(f"{path} may be changed by a group of users; use `chmod g-w` on it.")
    if status.st_uid not in (os.getuid(), 0, _package_owner()):
        raise Untrusted(f"{path} belongs to another user (number {status.st_uid}); make a copy of your own.")


def check_folder(path: Path) -> None:
    """Raises Untrusted when others may replace files in a folder, OSError when there is none."""
    _check(path, os.stat(path))


@contextmanager
def _opened(path: Path) -> Iterator[tuple[int, int]]:
    """Descriptor and size of a trusted regular file."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # else a pipe of that name is waited for
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise Untrusted(f"{path} is not a regular file.")
        _check(path, status)
        yield handle, status.st_size
    finally:
        os.close(handle)


def read(path: Path, offset: int = 0, size: int | None = None) -> bytes:
    """Bytes of a trusted regular file from `offset`, all or at most `size`.

    Raises Untrusted, OSError. What is checked is the opened file, so that exchanging it afterwards changes nothing; its
    folder is up to the caller (`check_folder`).
    """
    with _opened(path) as (handle, whole):
        return os.pread(handle, max(0, whole - offset) if size is None else size, offset)


def load(path: Path, allocate: Callable[[int], np.ndarray]) -> np.ndarray:
    """All bytes of a trusted regular file, in memory that `allocate` gives for their number. Raises as `read` does."""
    with _opened(path) as (handle, size):
        memory = allocate(size)
        done = 0
        while done < size and (more := os.preadv(handle, [memory.data[done:]], done)):
            done += more
        return memory[:done]


def write(path: Path, pieces: Iterable[bytes]) -> None:
    """Write a file whose folder, and the one above it, others cannot change; they are made where they are missing.

    The file appears complete under its name, or not at all. Raises Untrusted, OSError.
    """
    parent = os.path.dirname(path)
    os.makedirs(parent, 0o700, exist_ok=True)
    for folder in (os.path.dirname(parent), parent):
        check_folder(folder)
    temporary = f"{os.fspath(path)}.{os.getpid()}.{threading.get_ident()}.new"
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.writelines(pieces)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
