"""Writing a file so that it appears complete under its name, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from edgenet.errors import InputError


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file to write in, which takes the name `path` at the end; nothing is left behind when the block fails.

    It has a temporary name in the same folder until it is flushed to the disk. A device or pipe is written directly.
    Raises InputError where it cannot be written.
    """
    import secrets

    target = os.path.abspath(os.fspath(path))
    folder, name = os.path.split(target)
    temporary = os.path.join(folder, f".{name[:100]}.{secrets.token_hex(4)}.tmp")
    try:
        if _is_device(target):
            with open(target, "wb") as file:
                yield file
            return
        with open(temporary, "xb") as file:
            try:
                yield file
                file.flush()
                os.fsync(file.fileno())
                os.replace(temporary, target)
            except BaseException:
                os.unlink(temporary)
                raise
        _sync_folder(folder)
    except OSError as error:
        raise InputError(f"{os.fspath(path)} cannot be written: {error.strerror or error}.") from error


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a UTF-8 text file by `replacing`. Raises InputError."""
    with replacing(path) as file:
        file.write(text.encode("utf-8"))


def _is_device(path: str) -> bool:
    """Whether something that is neither a file nor a folder has this name, such as /dev/null or /dev/stdout."""
    special = path.startswith(("/dev/", "/proc/")) or not os.path.isfile(path)
    return special and os.path.exists(path) and not os.path.isdir(path)


def _sync_folder(folder: str) -> None:
    """Make the rename durable where folders can be flushed."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
