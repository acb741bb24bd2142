"""The `edgenet` command. Each subcommand is one file in `edgenet.commands` and is imported only when it is called."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import warnings
from collections.abc import Sequence

from edgenet import __version__
from edgenet.commands.streams import escape_output
from edgenet.errors import EdgenetError

COMMANDS = {
    "convert": "convert a PyTorch checkpoint to an .edgenet file",
    "run": "classify pictures, or run a network on arrays",
    "profile": "measure each layer of a network",
    "inspect": "show what a file holds, what it costs, and verify it on this machine",
    "cost": "compute what a layer costs on paper: size, parameters, FLOPs, bytes",
    "bench": "measure latency, or the saving of depthwise-separable convolution",
    "compare": "compare a converted network with its checkpoint, layer by layer",
    "doctor": "check that edgenet works on this machine",
    "warmup": "compile every kernel of this CPU into the cache",
    "kernels": "list the kernels of this CPU",
    "demo": "convert a network with real weights and classify real photographs",
}
"""Subcommands and what they do, in the order of the help text."""


def build_parser(command: str | None) -> argparse.ArgumentParser:
    """The parser of all subcommands; the arguments of `command` are filled in."""
    parser = argparse.ArgumentParser(prog="edgenet", description="Convolutional networks from PyTorch on CPUs.")
    parser.add_argument("--version", action="version", version=f"edgenet {__version__}")
    choices = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, text in COMMANDS.items():
        chosen = choices.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        if name == command:
            module = importlib.import_module(f"edgenet.commands.{name}")
            module.add_arguments(chosen)
            chosen.set_defaults(function=module.run)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (default: the process's) and return the exit code.

    Errors that a user can cause are one line on stderr and exit code 1; a command line that cannot be parsed exits with
    2, Ctrl-C with 130.
    """
    escape_output()
    given = list(sys.argv[1:] if arguments is None else arguments)
    command = next((word for word in given if not word.startswith("-")), None)
    parsed = build_parser(command).parse_args(given)
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        warnings.filterwarnings("ignore", module=r"torch(\.|$)")
        try:
            if getattr(parsed, "kernels", None):
                from edgenet.commands.console import use_kernels

                use_kernels(parsed.kernels)
            return parsed.function(parsed) or 0
        except EdgenetError as error:
            return _fail(str(error))
        except KeyboardInterrupt:
            return _fail("interrupted.", 130)
        except MemoryError:
            return _fail("this machine has not enough memory for that.")
        except BrokenPipeError:
            # The reader of our output is gone; keep the interpreter from complaining when it flushes stdout.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except OSError as error:
            return _fail(f"{error.filename or 'the system'}: {error.strerror or error}.")


def _fail(message: str, code: int = 1) -> int:
    print(f"edgenet: {message}", file=sys.stderr)
    return code


def _show_warning(message: Warning | str, *_: object) -> None:
    print(f"edgenet: warning: {message}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
