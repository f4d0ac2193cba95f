"""Verbs that make an encoder: demo, pretrain, resume."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unlabeled import config, duration, naming
from unlabeled.cli import checks, show
from unlabeled.errors import BusyError, UsageError
from unlabeled.kinds import KINDS, strings

if TYPE_CHECKING:
    from unlabeled.plan import Plan

Data = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="DATA",
        help="Folder, file or hf://dataset; then options as SECTION.NAME=VALUE, "
        "such as optim.lr=0.001.",
    ),
]
Method = Annotated[
    str | None, typer.Option(metavar="NAME", help="Pretext task, see: unlabeled methods.")
]
Time = Annotated[str | None, typer.Option(metavar="TIME", help="Time to train: 90s, 10m, 1h30m.")]
Steps = Annotated[int | None, typer.Option(metavar="N", min=1, help="Optimiser steps instead.")]
Out = Annotated[str | None, typer.Option(metavar="RUN", help="Folder of the run.")]
Kind = Annotated[
    str | None, typer.Option(metavar="KIND", help=f"Read the data as: {', '.join(KINDS)}.")
]
Column = Annotated[
    str | None, typer.Option(metavar="NAME", help="Column of a table that holds the samples.")
]
Init = Annotated[
    str | None, typer.Option(metavar="FOLDER", help="Local folder with weights to start from.")
]
ConfigFile = Annotated[
    str | None,
    typer.Option("--config", metavar="FILE", help="TOML file, such as RUN/config.toml."),
]
Seed = Annotated[int | None, typer.Option(metavar="N", min=0, help="Repeat or vary a run.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the choices and stop.")]
PrintConfig = Annotated[
    bool, typer.Option("--print-config", help="Print the configuration as TOML and stop.")
]


def demo(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="digits, digits8, fonts, topics or brown.")
    ] = "digits",
    out: Annotated[str | None, typer.Option(metavar="RUN", help="Folder of the run.")] = None,
    time: Annotated[str, typer.Option(metavar="TIME", help="Time for pre-training.")] = "90s",
) -> None:
    """Run everything on real sample data.

    Pre-trains, evaluates against the baselines, writes the report and prints the verdict.
    """
    seconds = duration.parse(time)
    target = checks.new_run(out) if out else naming.free_folder(Path("runs"), f"demo-{name}")
    from unlabeled.data.samples import fetch

    sample = fetch(name, Path("runs") / "samples")
    if sample.note:
        show.say(sample.note)
    show.say(f"{sample.path}   (licence: {sample.licence})\n")
    from unlabeled.choices import Request
    from unlabeled.plan import plan

    # The image sets are digits and letters: mirrored, they are something else.
    known = {"modality": {"flip": False}} if sample.kind == "image" else {}
    request = Request(data=str(sample.path), kind=sample.kind, seconds=seconds, overrides=known)
    _start(plan(request), target)
    from unlabeled.cli.measure import judge, write_report

    if sample.labels is not None:
        test = None if sample.test is None else str(sample.test)
        judge(target, str(sample.labels), quick=True, test=test)
    write_report([target])
    flag = "" if sample.labels is None else f" --labels {sample.labels}"
    show.next_commands(
        [
            (f"unlabeled finetune {target}{flag}", "a classifier"),
            (f"unlabeled embed {target} {sample.path}", "features as parquet"),
            ("unlabeled pretrain YOUR_FOLDER --time 10m", "the same for your data"),
        ]
    )


def pretrain(
    data: Data = None,
    method: Method = None,
    time: Time = None,
    steps: Steps = None,
    out: Out = None,
    kind: Kind = None,
    column: Column = None,
    init: Init = None,
    config_file: ConfigFile = None,
    seed: Seed = None,
    dry_run: DryRun = False,
    print_config: PrintConfig = False,
) -> None:
    """Learn an encoder from unlabelled data.

    Kind, method, encoder, size, batch and schedule are chosen from the data and the machine,
    and each choice is printed with its reason.
    """
    paths, words = checks.separate(data or [])
    overrides = config.parse_overrides(words)
    if seed is not None:
        overrides.setdefault("loop", {})["seed"] = seed
    file = {} if config_file is None else config.load(checks.existing(config_file))
    asked = checks.Asked(
        data=checks.one_path(paths, dict(file.get("data", {})).get("path")),
        method=method,
        seconds=None if time is None else duration.parse(time),
        steps=steps,
        kind=kind or checks.kind_of_list(paths),
        column=column,
        init=init,
        overrides=overrides,
        file=file,
    )
    if out is None and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError("Several processes write one run: name its folder with --out RUN.")
    if out is not None and show.first_rank():
        checks.new_run(out)
    checks.request(asked)
    from unlabeled.choices import Request
    from unlabeled.plan import plan

    planned = plan(Request(**vars(asked)))
    if print_config:
        show.say(config.dump(planned.config))
    elif dry_run:
        _print_choices(planned)
        _estimate(planned)
        _after_dry_run(asked.data)
    else:
        target = naming.run_folder(planned.config) if out is None else Path(out)
        _after_run(_start(planned, target))


def resume(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Folder of an interrupted run.")],
) -> None:
    """Continue an interrupted run."""
    folder = checks.run(run, part=None)
    if checks.status(folder) == "finished":
        raise UsageError(
            f"{run} is finished. Start another from its weights: "
            f"unlabeled pretrain DATA --init {run}/encoder"
        )
    from unlabeled.loop import resume as go_on

    _after_run(go_on(folder))


def _start(planned: Plan, target: Path) -> Path:
    """Print the choices and pre-train; a run that cannot begin leaves no folder."""
    from unlabeled.loop import pretrain as run

    _print_choices(planned)
    choices = [{"name": c.name, "value": c.value, "reason": c.reason} for c in planned.choices]
    show.say(f"run {target}")
    try:
        return run(
            planned.config,
            target,
            seconds=planned.seconds,
            about={"choices": choices, "command": show.command_line()},
            quiet=not show.first_rank(),
        )
    except BusyError:
        raise
    except BaseException:
        if show.first_rank():
            checks.clear_failed_start(target)
        raise


def _print_choices(planned: Plan) -> None:
    show.table(
        ("chosen", "value", "because"),
        [(choice.name, choice.value, choice.reason) for choice in planned.choices],
    )
    show.say()


def _estimate(planned: Plan) -> None:
    """Say how large the run is and how long it takes, measured on a few steps."""
    from unlabeled.trial import trial

    found = trial(planned)
    whole = duration.words(found.seconds * found.steps)
    show.table(
        ("measured", "value"),
        [
            (
                "parameters",
                f"{found.encoder / 1e6:.1f} M kept, {found.trained / 1e6:.1f} M trained",
            ),
            ("memory", f"{found.memory / 2**30:.1f} GB at most, in a few steps"),
            ("time", f"{duration.words(found.seconds)} a step; {found.steps:,} steps in {whole}"),
        ],
    )


def _after_dry_run(data: str) -> None:
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
    show.say(f"\n{info.get('verdict') or 'The run is finished.'}")
    if info.get("kind") in KINDS and strings(str(info["kind"])) and show.first_rank():
        from unlabeled.runs import Run
        from unlabeled.transfer.diagnosis import diagnose
        from unlabeled.transfer.text_scores import score_run

        for sentence in score_run(Run.open(folder)):
            show.say(sentence)
        for sentence in diagnose(folder):
            show.say(f"To mend: {sentence}")
    show.say(f"Encoder  {folder}/encoder")
    third = (f"unlabeled embed {folder} DATA", "features as parquet")
    from unlabeled.methods import catalogue

    if catalogue.writes(info.get("method")):
        third = (f'unlabeled generate {folder} --prompt "..."', "let it write")
    show.next_commands(
        [
            (f"unlabeled evaluate {folder} --labels FILE", "did it help, how many labels saved"),
            (f"unlabeled report {folder}", "one page of everything"),
            third,
        ]
    )
