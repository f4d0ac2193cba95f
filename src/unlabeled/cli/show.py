"""What a verb prints at its end: tables, sentences, and the next commands."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.console import Console


def console() -> Console:
    """Return a console that prints plain text where the output is no terminal."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True)


def first_rank() -> bool:
    """Return whether this process prints (torchrun starts several)."""
    return os.environ.get("RANK", "0") == "0"


def say(text: str = "") -> None:
    """Print a line, on the first rank only."""
    if first_rank():
        typer.echo(text)


def command_line() -> str:
    """Return the command that was given, as it can be pasted."""
    return shlex.join(["unlabeled", *sys.argv[1:]])


def next_commands(commands: Sequence[tuple[str, str]]) -> None:
    """Print the three commands that make sense now, each with what it does."""
    width = max((len(command) for command, _ in commands), default=0)
    say()
    for number, (command, purpose) in enumerate(commands[:3]):
        say(f"{'Next' if number == 0 else '    '}  {command:<{width}}   {purpose}".rstrip())


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print left-aligned columns; the last one wraps in a terminal's width."""
    cells = [[str(cell) for cell in row] for row in [header, *rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    for row in cells:
        last = len(row) - 1
        say("  ".join(c if i == last else c.ljust(widths[i]) for i, c in enumerate(row)).rstrip())
