"""Verbs that tell what a run is worth: evaluate, report, runs."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from unlabeled import duration
from unlabeled.cli import alike, checks, language, places, show, signals
from unlabeled.cli.given import refuse
from unlabeled.errors import UsageError

Labels = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="csv with path,label[,split,group], or path,start,end,label of recordings and logs; a "
        "label column; a folder of class folders; found in the data if absent.",
    ),
]

LabelColumn = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Column of the labels, where it cannot be guessed; several with commas are a study "
        "each, or one with --task multi-label.",
    ),
]

Against = Annotated[
    list[str] | None,
    typer.Option(
        metavar="WEIGHTS",
        help="Public weights to compare with: a local folder of timm or transformers, an "
        "installed package that holds one, or org/name in the hub's local cache.",
    ),
]

Task = Annotated[
    str | None,
    typer.Option(
        metavar="TASK",
        help="Labels are classification, multi-label, ordinal, regression, tagging, transcript or "
        "action; found. forecast foretells logs, anomaly scores what is unusual, retrieval looks "
        "for the like.",
    ),
]

Arms = Annotated[
    str | None,
    typer.Option(
        metavar="A,B,C",
        help="What is compared, such as knn,probe,joined,scratch; docs/evaluation.md lists all.",
    ),
]

Reuse = Annotated[
    str | None,
    typer.Option(
        metavar="RUN",
        help="Another run on the same data, evaluated: take over its rows from scratch, "
        "untrained and plain, where all they depend on is equal.",
    ),
]

Seeds = Annotated[
    str | None,
    typer.Option(
        metavar="RUN,RUN",
        help="Runs that differ from this one in their seed alone: all are judged as one.",
    ),
]

Draws = Annotated[int, typer.Option(metavar="N", min=1, max=100, help="Draws of each label count.")]

Quick = Annotated[
    bool, typer.Option("--quick", help="About two minutes: fewer counts, nothing tuned.")
]

Masks = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="PNG masks by the images' names: judge places instead."),
]

Windows = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=1, max=4096,
        help="Rows of a document that its feature is the mean over; else as the run says.",
    ),
]  # fmt: skip

Time = Annotated[
    str | None, typer.Option(metavar="TIME", help="Train no further network after this time.")
]

Transductive = Annotated[
    bool,
    typer.Option(
        "--transductive", help="Keep test samples that were pre-trained on; the report says so."
    ),
]

Text = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Score this text, or `held-out`, without labels."),
]

Pairs = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Samples that are the same or not: a table with a,b,same[,split,group]; or minimal "
        "pairs of sentences: good,bad[,group].",
    ),
]

Retrieval = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Search: a table with query,document pairs."),
]

Context = Annotated[
    int | None,
    typer.Option(metavar="N", min=2, help="Tokens of a window of text; a row if absent."),
]

Stride = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, help="Tokens by which windows move; half of a window."),
]

Test = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Labels to score on, in another file; logs to forecast."),
]

Horizons = Annotated[
    str | None,
    typer.Option(metavar="STEPS", help="Steps ahead that are forecast, such as 1,8,32."),
]

Normal = Annotated[
    str | None, typer.Option(metavar="CLASS", help="The class that is no anomaly; guessed.")
]

Counts = Annotated[
    str | None, typer.Option(metavar="COUNTS", help="Labels per class, such as 1,5,10,50.")
]

Seed = Annotated[int, typer.Option(metavar="N", min=0, help="Of the split and the draws.")]


def evaluate(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Folder of a run.")],
    labels: Labels = None,
    test: Test = None,
    counts: Counts = None,
    draws: Draws = 5,
    quick: Quick = False,
    label_column: LabelColumn = None,
    time: Time = None,
    seed: Seed = 0,
    against: Against = None,
    task: Task = None,
    arms: Arms = None,
    transductive: Transductive = False,
    reuse: Reuse = None,
    seeds: Seeds = None,
    masks: Masks = None,
    windows: Windows = None,
    text: Text = None,
    pairs: Pairs = None,
    retrieval: Retrieval = None,
    context: Context = None,
    stride: Stride = None,
    horizons: Horizons = None,
    normal: Normal = None,
) -> None:
    """Say with a few labels whether it helped.

    Compares k-NN, linear probe and fine-tuning with training from scratch, the untrained
    network and plain features, and says how many labels pre-training saved. A run of text is
    judged without labels where none are found: bits per byte, perplexity, memorisation.
    """
    folder = checks.run(run)
    given: dict[str, Any] = {
        "labels": labels, "label_column": label_column, "task": task, "test": test,
        "counts": counts, "against": against, "arms": arms, "reuse": reuse, "seeds": seeds,
        "time": time, "windows": windows, "masks": masks, "text": text, "pairs": pairs,
        "retrieval": retrieval, "context": context, "stride": stride, "horizons": horizons,
        "normal": normal, "quick": quick or None, "transductive": transductive or None,
    }  # fmt: skip
    asked = language.Asked(text, pairs, retrieval, context, stride, seed)
    numbers = None if counts is None else _counts(counts)
    if signals.wanted(task, horizons, normal):
        _only(f"--task {task} draws no labels and trains no network", given, signals.USED)
        told = signals.Given(labels, test, label_column, horizons, normal)
        signals.judge(str(task), folder, told, transductive, quick, seed)
    elif pairs is not None and alike.holds(folder, pairs):
        _only("--pairs compares the samples that its table names", given, alike.USED)
        alike.pairs(folder, pairs, test=test, transductive=transductive, quick=quick, seed=seed)
    elif language.wanted(folder, labels, label_column, masks, asked):
        if asked.anything:
            _only("evaluate judges text without labels here", given, language.USED)
        language.judge(run, folder, asked)
    elif masks is not None:
        _only("--masks judges places of images", given, places.USED)
        places.judge(folder, masks, numbers or [1, 5, 20, 10**9], seed)
    else:
        kept: dict[str, Any] = {"counts": numbers, "draws": draws, "seed": seed, "windows": windows}
        kept |= {"quick": quick, "transductive": transductive, "reuse": reuse, "seeds": seeds}
        _judge_labels(run, folder, given, against or (), kept)


def _judge_labels(
    run: str, folder: Path, given: Mapping[str, Any], against: Sequence[str], kept: dict[str, Any]
) -> None:
    """Check what labels, weights and times were given, and study the run with them."""
    column, task, time = given["label_column"], given["task"], given["time"]
    kept["test"], kept["minutes"] = None, None if time is None else duration.parse(time) / 60
    labels = checks.labels(given["labels"], folder, column, task)
    if given["test"] is not None:
        kept["test"] = checks.labels(given["test"], folder, column, task)
    checks.weights(against)
    kept |= {"against": against, "task": task, "arms": _arms(given["arms"])}
    judge(folder, labels, label_column=column, **kept)
    _after_labels(run, labels, column, task)


def _only(what: str, given: Mapping[str, object], used: Collection[str]) -> None:
    """Refuse what was given and is not used."""
    refuse(what, **{name: value for name, value in given.items() if name not in used})


def _after_labels(run: str, labels: str | None, label_column: str | None, task: str | None) -> None:
    column = f" --label-column {shlex.quote(label_column)}" if label_column else ""
    how = column + (f" --task {task}" if task else "")
    show.next_commands(
        [
            (f"unlabeled report {run}", "one page of everything"),
            (f"unlabeled finetune {run}{_flag(labels)}{how}", "a classifier"),
            (f"unlabeled export {run} --to hf", "use it elsewhere"),
        ]
    )


def _flag(labels: str | None) -> str:
    return "" if labels is None else f" --labels {labels}"


def judge(
    folder: Path,
    labels: str | None,
    *,
    reuse: str | None = None,
    seeds: str | None = None,
    windows: int | None = None,
    **options: Any,
) -> None:
    """Evaluate a run and print its table and verdict."""
    other = None if reuse is None else checks.run(reuse)
    repeated = [] if seeds is None else [checks.run(one.strip()) for one in seeds.split(",")]
    from unlabeled.data.label_columns import columns_in
    from unlabeled.data.label_forms import check_task
    from unlabeled.runs import Run
    from unlabeled.transfer.columns import evaluate_columns
    from unlabeled.transfer.evaluate import evaluate as measure

    run = Run.open(folder).with_windows(windows)
    taken = None if other is None else Run.open(other).with_windows(windows)
    beside = [Run.open(one).with_windows(windows) for one in repeated]
    several = columns_in(options.get("label_column"), labels or run.config.data.path)
    try:
        if len(several) > 1 and check_task(options.get("task")) != "multi":
            if taken is not None:
                raise UsageError("--reuse is for one column of labels; leave it out.")
            del options["label_column"]
            evaluate_columns(run, labels, several, beside=beside, console=show.console(), **options)
            return
        measure(run, labels, console=show.console(), reuse=taken, beside=beside, **options)
    except KeyboardInterrupt:
        found = (folder / "evaluate").rglob("rows.jsonl") if len(several) > 1 else [
            folder / "evaluate" / "rows.jsonl"
        ]  # fmt: skip
        files = [rows for rows in found if rows.is_file() and "earlier" not in rows.parts]
        kept = sum(max(0, rows.read_bytes().count(b"\n") - 1) for rows in files)
        place = folder / "evaluate"
        show.say(f"\n{kept:,} rows are kept in {place}; the same command makes the rest.")
        raise


def _arms(text: str | None) -> list[str] | None:
    if text is None:
        return None
    from unlabeled.transfer.arms import check

    names = [word.strip() for word in text.split(",") if word.strip()]
    check(names)
    return names


def _counts(text: str) -> list[int]:
    try:
        numbers = sorted({int(word) for word in text.split(",")})
    except ValueError:
        numbers = []
    if not numbers or numbers[0] < 1:
        raise UsageError(f"'{text}' are no label counts. Write for example --counts 1,5,10,50.")
    return numbers


def report(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN", help="One run, or several to compare.")
    ],
) -> None:
    """Write report.html, one page of everything."""
    folders = [checks.run(run, part=None) for run in runs]
    write_report(folders)
    first = runs[0]
    show.next_commands(
        [
            (f"unlabeled evaluate {first} --labels FILE", "add a label curve to it"),
            (f"unlabeled export {first} --to hf", "use it elsewhere"),
            ("unlabeled runs", "all runs"),
        ]
    )


def write_report(folders: Sequence[Path]) -> None:
    """Build the report and say where it is."""
    from unlabeled.report import build

    show.say(f"Report  {build(folders)}")


def runs(
    folder: Annotated[
        str, typer.Argument(metavar="FOLDER", help="Folder that holds runs.")
    ] = "runs",
) -> None:
    """List runs with status and verdict."""
    found = checks.runs_under(Path(folder) if folder == "runs" else checks.existing(folder))
    if not found:
        raise UsageError(f"There is no run in {folder}. Start one: unlabeled pretrain DATA")
    rows = []
    for path in found:
        info = checks.info(path)
        rows.append(
            (
                str(path),
                info.get("status", "unreadable"),
                info.get("method", "?"),
                info.get("steps", "?"),
                duration.words(float(info.get("seconds") or 0)),
                info.get("verdict") or "",
            )
        )
    show.table(("run", "status", "method", "steps", "time", "verdict"), rows)
    newest = rows[0]
    second = (
        (f"unlabeled evaluate {newest[0]} --labels FILE", "did it help")
        if newest[1] == "finished"
        else (f"unlabeled resume {newest[0]}", "continue it")
    )
    third = ("unlabeled pretrain DATA --seed 1", "another run, to compare")
    if len(rows) > 1:
        third = (f"unlabeled report {' '.join(row[0] for row in rows[:3])}", "compare")
    show.next_commands(
        [
            (f"unlabeled report {newest[0]}", "one page of everything"),
            second,
            third,
        ]
    )
