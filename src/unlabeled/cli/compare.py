"""Compare methods on a person's own data at equal compute, or runs that are there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unlabeled import duration
from unlabeled.cli import checks, show
from unlabeled.cli.given import refuse
from unlabeled.cli.measure import LabelColumn, Labels, Test, write_report
from unlabeled.errors import UsageError

if TYPE_CHECKING:
    from unlabeled.transfer.contest import Contest


def compare(
    things: Annotated[
        list[str],
        typer.Argument(metavar="DATA|RUN...", help="Data to try methods on, or several runs."),
    ],
    methods: Annotated[
        str | None,
        typer.Option(metavar="A,B,C", help="Pretext tasks to try, such as simclr,mae,dino."),
    ] = None,
    time: Annotated[
        str, typer.Option(metavar="TIME", help="Pre-training in all, divided among the methods.")
    ] = "30m",
    labels: Labels = None,
    test: Test = None,
    label_column: LabelColumn = None,
    kind: Annotated[
        str | None, typer.Option(metavar="KIND", help="Kind of data, where it is not clear.")
    ] = None,
    out: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Folder of the comparison.")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Of everything.")] = 0,
    no_labels: Annotated[
        bool,
        typer.Option("--no-labels", help="Runs of one method by their loss on held-out text."),
    ] = False,
) -> None:
    """Find the method that fits your data: equal compute, decided on validation labels.

    The better half goes on each round and trains for longer; the same command goes on with an
    interrupted comparison. With RUN RUN ... it puts runs that are there side by side.
    """
    if no_labels:
        what = "--no-labels compares runs by their loss on held-out text"
        refuse(what, label_column=label_column, kind=kind, out=out)
        _without_labels(things, methods, labels or test)
        return
    if methods is None:
        what = "compare RUN RUN shows what evaluate found of each"
        unused = {"labels": labels, "test": test, "label_column": label_column, "kind": kind}
        folders = [checks.run(thing, part=None) for thing in things]
        refuse(what, out=out, **unused)
        _runs(folders)
        return
    if len(things) != 1:
        raise UsageError(f"compare takes one DATA with --methods, not {len(things)}.")
    from unlabeled.transfer.contest import Contest

    names = _methods(methods, checks.source(things[0], kind, None).kind)
    place = Path(out) if out else Path("runs") / f"compare-{Path(things[0]).stem}"
    _contest(
        Contest(things[0], names, duration.parse(time), labels, test, label_column, kind, seed),
        place,
    )


def _contest(contest: Contest, place: Path) -> None:
    """Hold a comparison of methods and show it."""
    from unlabeled.transfer.contest import check_labels, hold, table

    check_labels(contest)
    show.say(f"comparison {place}")
    record = hold(contest, place, show.say)
    show.say()
    header, rows = table(record)
    show.table(header, rows)
    winner = place / record["rounds"][-1]["runs"][record["winner"]]["folder"]
    show.say(
        f"\n{record['winner']} goes first, by validation labels. One run of each stands behind "
        "it: where intervals overlap, another seed may turn the order."
    )
    write_report([place / row[-1] for row in rows])
    flag = "" if contest.labels is None else f" --labels {contest.labels}"
    longer = f"unlabeled pretrain {contest.data} --method {record['winner']} --time 2h"
    show.next_commands(
        [
            (f"unlabeled evaluate {winner}{flag}", "how many labels it saves, from scratch too"),
            (longer, "for longer"),
            (f"unlabeled finetune {winner}{flag}", "a classifier"),
        ]
    )


def _methods(text: str, kind: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    if len(names) < 2:
        raise UsageError(f"--methods {text}: name at least two, such as --methods simclr,mae.")
    for name in names:
        checks.method(name, kind)
    return names


def _runs(folders: list[Path]) -> None:
    """Print a table of runs that were made before, and write their common page."""
    if len(folders) < 2:
        raise UsageError(
            "compare takes several runs, or DATA with --methods a,b,c and --labels FILE."
        )
    from unlabeled.transfer.grade import word_of

    rows, quality, scores = [], [], []
    for folder in folders:
        info, results = checks.info(folder), _results(folder)
        best = [r for r in results.get("summary", []) if r["reading"] == results.get("ours")]
        score = f"{best[-1]['mean']:.3f} at {best[-1]['labels_per_class']}" if best else "-"
        rows.append(
            (str(folder), info.get("method", "?"), f"{info.get('steps', '?')}", score,
             word_of(results).lower() if results else "not evaluated")
        )  # fmt: skip
        if best:
            quality.append(results.get("quality", {}).get("probe", {}))
            scores.append(best[-1]["mean"])
    show.table(("run", "method", "steps", "test score", "verdict"), rows)
    _agreement(quality, scores)
    write_report(folders)


def _without_labels(things: list[str], methods: str | None, labels: str | None) -> None:
    """Put runs of one method in the order of their loss on held-out text; refuse all else."""
    if labels is not None:
        raise UsageError("--no-labels and labels exclude each other: leave one of them out.")
    if methods is not None:
        raise UsageError(
            "--no-labels ranks no methods: of what can be measured without labels nothing was "
            "shown to put methods in the order that labels give (docs/results.md, Measures "
            "without labels). Give --labels FILE; a few labels a class tell more. "
            f"`unlabeled inspect {things[0]}` says which method is proposed for such data."
        )
    from unlabeled.transfer.held_out_loss import ranked

    show.table(
        ("run", "steps", "held-out loss"),
        [(str(place), f"{steps:,}", f"{loss:.4f}") for place, steps, loss in ranked(
            [checks.run(thing, part=None) for thing in things])],
    )  # fmt: skip
    show.say(
        "\nThe lowest is best at the pretext task, on the same held-out text. Whether it is best "
        "with your labels too only labels can tell: unlabeled compare RUN RUN after evaluate."
    )


def _agreement(quality: list[dict[str, float]], scores: list[float]) -> None:
    """Say how far measures without labels agree with what labels say, where there are enough."""
    if len(scores) < 3:
        return
    from unlabeled.transfer.quality import agreement

    found = agreement(quality, scores)
    if found:
        said = ", ".join(f"{name} {value:.2f}" for name, value in found.items())
        show.say(f"Rank correlation of what is measured without labels with the scores: {said}")


def _results(folder: Path) -> dict[str, Any]:
    path = folder / "evaluate" / "results.json"
    if not path.is_file():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))
    return found if isinstance(found, dict) else {}
