"""A model file mapped into memory, unread: what loading, and finding a stored program for it, begin with."""

from __future__ import annotations

import mmap
import os
import stat
from typing import NamedTuple

from edgenet.errors import InputError, ModelFormatError


class MappedFile(NamedTuple):
    """The content of a file and its state when it was opened."""

    path: str
    content: mmap.mmap
    status: os.stat_result


def open_file(path: str | os.PathLike[str]) -> MappedFile:
    """Map a regular file that is not empty. It may be replaced while mapped, but not overwritten in place.

    Raises InputError where it cannot be read, ModelFormatError for an empty one.
    """
    name = os.fspath(path)
    try:
        if not stat.S_ISREG(os.stat(name).st_mode):
            raise InputError(f"{name} is not a regular file.")
        with open(name, "rb", buffering=0) as file:
            status = os.fstat(file.fileno())
            if not status.st_size:
                raise ModelFormatError(f"{name}: the file is too short to be a model.")
            return MappedFile(name, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), status)
    except FileNotFoundError:
        raise InputError(f"{name} does not exist.") from None
    except (OSError, ValueError, OverflowError) as error:
        raise InputError(f"{name} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
