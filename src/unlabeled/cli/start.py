"""Start a verb, and turn whatever stops it into one sentence and an exit code."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from unlabeled import __version__
from unlabeled.cli import about, apply, compare, explore, inspect, learn, measure, suggest, train
from unlabeled.errors import UnlabeledError, nearest

app = typer.Typer(
    name="unlabeled",
    add_completion=False,
    no_args_is_help=False,
    rich_markup_mode=None,
    suggest_commands=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

VERBS = (
    train.demo,
    inspect.inspect,
    train.pretrain,
    train.resume,
    measure.evaluate,
    compare.compare,
    learn.finetune,
    apply.predict,
    apply.embed,
    apply.generate,
    explore.map,
    explore.search,
    suggest.suggest,
    measure.report,
    apply.export,
    measure.runs,
    about.methods,
    about.doctor,
)

for verb in VERBS:
    app.command(verb.__name__)(verb)


@app.callback(invoke_without_command=True)
def unlabeled(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error (works anywhere).")
    ] = False,
) -> None:
    """Turn unlabelled data into a model that needs few labels, and prove it.

    Start with: unlabeled demo
    """
    if version:
        typer.echo(f"unlabeled {__version__}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main(words: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code; never raises for what a user can cause.

    Args:
        words: the arguments, the process's own if absent.
    """
    given = list(sys.argv[1:] if words is None else words)
    debug = "--debug" in given or bool(os.environ.get("UNLABELED_DEBUG"))
    given = [word for word in given if word != "--debug"]
    try:
        code = app(given, prog_name="unlabeled", standalone_mode=False)
    except (Exception, KeyboardInterrupt) as error:
        return explain(error, given, debug)
    if code == 128 + signal.SIGINT:
        return _interrupted()
    return code if isinstance(code, int) else 0


def explain(error: BaseException, given: Sequence[str], debug: bool) -> int:
    """Print the sentence that tells a person what happened; return the exit code."""
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        return _interrupted()
    if debug:
        traceback.print_exception(error)
    if isinstance(error, UnlabeledError):
        typer.echo(str(error), err=True)
        return error.exit_code
    if hasattr(error, "format_message"):
        typer.echo(_usage_sentence(error, given), err=True)
        return 2
    if isinstance(error, BrokenPipeError):
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        return 1
    typer.echo(_bug_sentence(error), err=True)
    return 1


def _interrupted() -> int:
    typer.echo("Stopped. What was finished is kept.", err=True)
    return 128 + signal.SIGINT


def _usage_sentence(error: Any, given: Sequence[str]) -> str:
    """Say what is wrong with the words of the command line, and where help is."""
    command = getattr(error, "ctx", None)
    verb = getattr(command, "info_name", None) if getattr(command, "parent", None) else None
    path = f"unlabeled {verb}" if verb else "unlabeled"
    option = getattr(error, "option_name", None)
    message = error.format_message()
    if message.startswith("No such option") and option:
        known = [name for p in command.command.params for name in p.opts] if command else []
        return f"{path} has no option {option}.{nearest(option, known)} See: {path} --help"
    if message.startswith("No such command"):
        names = [v.__name__ for v in VERBS]
        name = next((w for w in given if not w.startswith("-")), "")
        return f"There is no command '{name}'.{nearest(name, names)} Commands: {', '.join(names)}."
    return f"{path}: {message.rstrip('.')}. See: {path} --help"


def _bug_sentence(error: BaseException) -> str:
    """Write the traceback to a file and say where it is."""
    with tempfile.NamedTemporaryFile(
        "w", prefix="unlabeled-", suffix=".log", delete=False, encoding="utf-8"
    ) as file:
        traceback.print_exception(error, file=file)
    first = (str(error).strip().splitlines() or [""])[0][:200]
    return (
        f"Something went wrong inside unlabeled ({type(error).__name__}: {first}). "
        f"The traceback is in {file.name}; please report it, or repeat with --debug."
    )
