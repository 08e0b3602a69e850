"""Where the command begins and ends: signals are met before anything is loaded."""

from __future__ import annotations

import sys

from dplabtools.cli.interruption import ending_when_interrupted

__all__ = ["main"]


def main() -> None:
    """Run the command; the exit code says how it went.

    0: everything was done; 1: something failed; 2: the command was not understood; 130,
    138 or 143: interrupted, by Ctrl-C, SIGUSR1 or SIGTERM, and the last line says how to
    go on.
    """
    with ending_when_interrupted(sys.argv[1:]):
        from dplabtools.cli.app import app

        app(prog_name="dplabtools")
