"""What is printed where the terminal's encoding lacks a character."""

from __future__ import annotations

import sys


def escape_output() -> None:
    r"""From now on, stdout and stderr show characters that their encoding lacks as escapes, such as \xe9."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
