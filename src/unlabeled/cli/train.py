"""Verbs that make an encoder: demo, inspect, pretrain, resume."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unlabeled import config, duration
from unlabeled.cli import checks, show
from unlabeled.errors import UsageError

if TYPE_CHECKING:
    from unlabeled.plan import Plan, Request

Kind = Annotated[str | None, typer.Option(help="Read the data as: image, text.")]
Column = Annotated[str | None, typer.Option(help="Column of a table that holds the samples.")]


def demo(
    name: Annotated[str, typer.Argument(help="Which sample data: see the error for names.")] = (
        "digits"
    ),
    out: Annotated[Path | None, typer.Option(help="Folder of the run.")] = None,
    time: Annotated[str, typer.Option(help="Time for pre-training, such as 90s.")] = "90s",
) -> None:
    """Run everything on real sample data.

    Pre-trains, evaluates against the baselines, writes the report and prints the verdict.
    """
    seconds = duration.parse(time)
    target = checks.new_run(str(out)) if out else checks.free_folder(Path("runs"), f"demo-{name}")
    from unlabeled.data.samples import fetch

    sample = fetch(name, Path("runs") / "samples")
    show.say(f"{name}: {sample.path} (licence: {sample.licence})")
    show.say("Labels are used for the evaluation only.\n")
    from unlabeled.pretrain import pretrain as start
    from unlabeled.plan import Request, plan

    planned = plan(Request(data=str(sample.path), kind=sample.kind, time=seconds, out=str(target)))
    _print_choices(planned)
    start(planned, target)
    if checks.status(target) != "finished":
        _say_interrupted(target)
        raise typer.Exit(130)
    from unlabeled.cli.measure import judge, write_report

    judge(target, str(sample.labels), quick=True)
    write_report([target])
    show.next_commands(
        [
            (f"unlabeled finetune {target} --labels {sample.labels}", "a classifier"),
            (f"unlabeled embed {target} {sample.path}", "features as parquet"),
            ("unlabeled pretrain YOUR_FOLDER --time 10m", "the same for your data"),
        ]
    )


def inspect(
    data: Annotated[str, typer.Argument(help="Folder, file or hf://dataset.")],
    kind: Kind = None,
    column: Column = None,
) -> None:
    """Count, measure and check data; propose a method."""
    checks.source(data, kind, column)
    from unlabeled.data.inspect import inspect as look

    show.say(str(look(data, kind, column)))
    show.next_commands(
        [
            (f"unlabeled pretrain {data} --dry-run", "what would be chosen, and why"),
            (f"unlabeled pretrain {data} --time 10m", "pre-train"),
            ("unlabeled methods", "what can be learned without labels"),
        ]
    )


def pretrain(
    data: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="DATA [SECTION.NAME=VALUE ...]",
            help="Folder, file or hf://dataset; then options such as optim.lr=0.001.",
        ),
    ] = None,
    method: Annotated[
        str | None, typer.Option(help="Pretext task, see: unlabeled methods.")
    ] = None,
    time: Annotated[str | None, typer.Option(help="Time to train: 90s, 10m, 1h30m.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Optimiser steps instead.")] = None,
    out: Annotated[str | None, typer.Option(help="Folder of the run.")] = None,
    kind: Kind = None,
    column: Column = None,
    init: Annotated[str | None, typer.Option(help="Local folder with weights to start from.")] = (
        None
    ),
    config_file: Annotated[
        str | None, typer.Option("--config", help="TOML file, such as RUN/config.toml.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Repeat or vary a run.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the choices and stop.")] = False,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print the configuration as TOML and stop.")
    ] = False,
) -> None:
    """Learn an encoder from unlabelled data.

    Kind, method, encoder, size, batch and schedule are chosen from the data and the machine,
    and each choice is printed with its reason.
    """
    paths, words = checks.separate(data or [])
    overrides = config.parse_overrides(words)
    if seed is not None:
        overrides.setdefault("loop", {})["seed"] = seed
    given = {
        "data": checks.one_path(paths, config_file),
        "method": method,
        "time": None if time is None else duration.parse(time),
        "steps": steps,
        "out": out,
        "kind": kind or checks.kind_of_list(paths),
        "column": column,
        "init": init,
        "overrides": overrides,
        "config_file": None if config_file is None else str(checks.existing(config_file)),
    }
    _check(given)
    from unlabeled.plan import Request, plan

    planned = plan(Request(**given))
    if print_config:
        show.say(config.dump(planned.config))
        return
    _print_choices(planned)
    if dry_run:
        _after_dry_run(given)
        return
    target = _target(out, planned)
    from unlabeled.pretrain import pretrain as start

    _after_run(start(planned, target))


def resume(
    run: Annotated[str, typer.Argument(help="Folder of an interrupted run.")],
) -> None:
    """Continue an interrupted run."""
    folder = checks.run(run, part=None)
    if checks.status(folder) == "finished":
        raise UsageError(
            f"{run} is finished. Start another from its weights: "
            f"unlabeled pretrain DATA --init {run}/encoder"
        )
    from unlabeled.pretrain import resume as go_on

    _after_run(go_on(folder))


def _check(given: Mapping[str, Any]) -> None:
    """Check everything that can be wrong in a request before torch is imported."""
    tree = config.load(Path(given["config_file"])) if given["config_file"] else {}
    data = dict(tree.get("data", {}))
    kind, column = given["kind"] or data.get("kind"), given["column"] or data.get("column")
    if given["out"]:
        checks.new_run(given["out"])
    if given["init"]:
        checks.existing(given["init"])
    name = given["method"] or dict(tree.get("method", {})).get("name")
    checks.method(name, kind)
    checks.options(tree, None, kind)
    checks.options(given["overrides"], name, kind)
    path = given["data"] or data.get("path")
    if path is None:
        raise UsageError(f"{given['config_file']} names no data. Add: unlabeled pretrain DATA")
    found = checks.source(path, kind, column).kind
    if kind is None:
        checks.method(name, found)
        checks.options(given["overrides"], name, found)


def _target(out: str | None, planned: Plan) -> Path:
    """Return the run's folder; several ranks must be told, they cannot choose alike."""
    if out:
        return Path(out)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError("Several processes write one run: name its folder with --out RUN.")
    stem = Path(planned.config.data.path).stem or "data"
    return checks.free_folder(Path("runs"), f"{stem}-{planned.config.method['name']}")


def _print_choices(planned: Plan) -> None:
    show.table(
        ("chosen", "value", "because"),
        [(choice.name, choice.value, choice.reason) for choice in planned.choices],
    )
    show.say()


def _after_dry_run(given: Mapping[str, Any]) -> None:
    data = given["data"] or f"--config {given['config_file']}"
    show.next_commands(
        [
            (f"unlabeled pretrain {data} --time 10m", "run it"),
            (f"unlabeled pretrain {data} --print-config > my.toml", "edit all of it"),
            ("unlabeled methods", "choose another pretext task"),
        ]
    )


def _after_run(folder: Path) -> None:
    """Say what a run became and what to do with it."""
    info = checks.info(folder)
    if info.get("status") != "finished":
        _say_interrupted(folder)
        raise typer.Exit(130)
    show.say(f"\n{info.get('verdict') or 'The run is finished.'}")
    show.say(f"Encoder  {folder}/encoder")
    third = (f"unlabeled embed {folder} DATA", "features as parquet")
    if info.get("method") == "gpt":
        third = (f'unlabeled generate {folder} --prompt "..."', "let it write")
    show.next_commands(
        [
            (f"unlabeled evaluate {folder} --labels FILE", "did it help, how many labels saved"),
            (f"unlabeled report {folder}", "one page of everything"),
            third,
        ]
    )


def _say_interrupted(folder: Path) -> None:
    state = checks.status(folder)
    typer.echo(f"The run is {state}; it is saved. Continue: unlabeled resume {folder}", err=True)
