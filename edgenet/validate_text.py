"""Texts in model files: bounded, and free of characters that would forge or corrupt what a terminal shows."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from edgenet.errors import ModelFormatError


@cache
def forbidden() -> re.Pattern[str]:
    """Control characters but tab, line separators, direction marks, lone surrogates. None is printable."""
    return re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def show(value: Any) -> str:
    """A value from a file as it appears in a message: escaped and short."""
    if isinstance(value, str):
        value = value[:80]
    elif isinstance(value, int) and abs(value) >= 2**64:
        return "of more than 64 bits"
    return ascii(value)[:80]


def escaped(text: str) -> str:
    """`text`, at most 300 characters of it, with forbidden characters written as escapes."""
    return forbidden().sub(lambda match: ascii(match[0])[1:-1], text[:300])


def check_text(value: Any, what: str, longest: int, empty: bool = False) -> None:
    """ModelFormatError unless `value` is a string of at most `longest` permitted characters (and not empty)."""
    if not isinstance(value, str) or len(value) > longest or not (value or empty):
        raise ModelFormatError(f"{what} must be a text of 1 to {longest} characters, not {show(value)}.")
    if not value.isprintable() and forbidden().search(value):
        raise ModelFormatError(f"{what} holds a control character: {show(value)}.")
