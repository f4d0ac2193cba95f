"""What `inspect --encoder` shows: a table of findings, and a page with the samples."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unlabeled.cli import checks, show
from unlabeled.cli.draft import rows_of
from unlabeled.errors import UsageError
from unlabeled.kinds import KINDS

if TYPE_CHECKING:
    from unlabeled.data.find import Source
    from unlabeled.data.labels import Labels
    from unlabeled.report.sample_page import Section
    from unlabeled.transfer.findings import Finding, Findings

Through = Annotated[
    str | None,
    typer.Option(
        metavar="RUN|PATH", help="Look through an encoder: copies, outliers, likely wrong labels."
    ),
]
Out = Annotated[
    Path, typer.Option(metavar="FILE", help="csv of what the encoder shows; a page beside it.")
]
Most = Annotated[
    int, typer.Option(metavar="N", min=3, max=200_000, help="Samples the encoder looks at.")
]
Seed = Annotated[int, typer.Option(metavar="N", min=0, help="Of draws and folds.")]

_SHOWN = 60
"""Samples of each section on the page; the table holds all."""

_NOTES = {
    "wrong_label": "The probe never saw these samples, and believes in another class than the "
    "label says. The least believed come first. Look before you change anything.",
    "conflict": "The same content with two labels: at most one is right.",
    "copy": "The bytes are equal.",
    "near_copy": "Near by their looks: a perceptual hash and thumbnail of images, band movements "
    "of recordings, shared phrases of texts.",
    "alike": "Much nearer than the nearest neighbour usually is, to the encoder alone: one thing "
    "in two forms, or two that the encoder cannot tell apart.",
    "outlier": "Far from their ten nearest, against how far that usually is. More than ten "
    "strangers of one kind are each other's neighbours and are not found.",
}


@dataclass(frozen=True)
class Asked:
    """What was asked, as for the verb."""

    path: str
    encoder: str
    kind: str | None
    column: str | None
    labels: str | None
    label_column: str | None
    out: Path
    most: int
    seed: int


def through(asked: Asked) -> None:
    """Look at data through an encoder, and say and write what is found.

    Raises:
        UsageError: with the sentence to print.
    """
    checks.writable(asked.out)
    if asked.out.suffix.lower() != ".csv":
        raise UsageError(f"--out {asked.out} is a table: name a file that ends in .csv.")
    folder = _trained(asked.encoder)
    source = checks.source(asked.path, asked.kind or _kind(folder), asked.column)
    known: Labels | None = None
    if asked.labels is not None or asked.label_column is not None:
        from unlabeled.data.labels import read_labelled
        from unlabeled.transfer.wrong_labels import check

        check()
        source, known = read_labelled(
            asked.labels, source, table=asked.path, column=asked.column,
            label_column=asked.label_column,
        )  # fmt: skip
    from unlabeled.data.sketchbook import LOOKS, Sketchbook
    from unlabeled.transfer.findings import examine

    reader = _reader(asked, folder, source)
    whole = folder is not None and (folder / "run.json").is_file()
    book = Sketchbook(folder / LOOKS) if folder is not None and whole else None
    found = examine(reader, source, known, asked.most, asked.seed, book)
    _write(found, asked.out)
    page = _page(reader, found, asked)
    _say(found, asked, page)


def _trained(given: str) -> Path | None:
    """Return the folder of a run or of a saved encoder; None for public weights."""
    folder = Path(given).expanduser()
    if (folder / "unlabeled.json").is_file():
        return folder
    if (folder / "run.json").is_file():
        return checks.run(given)
    if folder.is_dir() and not (folder / "config.json").is_file():
        return checks.run(given)  # which says what it is not
    checks.weights([given], "--encoder")
    return None


def _kind(folder: Path | None) -> str | None:
    """Return the kind of data that an encoder of ours reads."""
    if folder is None:
        return None
    saved = checks.info(folder, "unlabeled.json").get("kind")
    return str(saved) if saved else checks.kind_of(folder)


def _reader(asked: Asked, folder: Path | None, source: Source) -> Any:
    """Open the encoder.

    Raises:
        UsageError: it reads another kind of data.
    """
    if folder is None:
        from unlabeled.transfer import public

        return public.eyes(public.resolve(asked.encoder, "--encoder"), source.kind)
    from unlabeled.api import Encoder

    encoder = Encoder.from_pretrained(folder)
    if source.kind != encoder.kind:
        raise UsageError(
            f"{asked.encoder} reads {encoder.kind}, but {asked.path} holds {source.kind}."
        )
    return encoder


def _write(found: Findings, out: Path) -> None:
    """Write the table, whole or not at all."""
    with rows_of(out, errors="replace") as table:
        table.writerow(("path", "finding", "score", "like", "label", "likely"))
        for one in found.found:
            like = "" if one.like is None else found.name(one.like)
            table.writerow(
                (found.name(one.row), one.what, f"{one.score:.4f}", like, found.labels[one.row],
                 one.likely)
            )  # fmt: skip


def _page(reader: Any, found: Findings, asked: Asked) -> Path:
    from unlabeled.report import sample_page
    from unlabeled.transfer.findings import WHAT

    sections: list[Section] = []
    for what, title in WHAT.items():
        part = found.of(what)
        rows, captions = _pictured(found, part[:_SHOWN])
        if rows:
            more = f" The first {_SHOWN:,} of {len(part):,}." if len(part) > _SHOWN else ""
            shown = sample_page.shown(
                reader, found.source, [int(found.indices[row]) for row in rows], captions
            )
            sections.append(sample_page.Section(title, _NOTES[what] + more, shown))
    lead = f"{len(found.indices):,} samples of {Path(asked.path).name} through {asked.encoder}."
    page = asked.out.with_suffix(".html")
    return sample_page.page("What the encoder shows", lead, sections, page)


def _pictured(found: Findings, part: list[Finding]) -> tuple[list[int], list[str]]:
    """Return rows to be shown and what is said of each; the other one stands beside its like."""
    rows, captions = [], []
    for one in part:
        label = found.labels[one.row]
        if one.what == "wrong_label":
            said = f"labelled {label} (believed {1 - one.score:.0%}), likely {one.likely}"
        elif one.what == "outlier":
            said = f"{one.score:.1f} times as far as usual"
        else:
            said = f"labelled {label}" if label else "this one"
        rows.append(one.row)
        captions.append(said)
        if one.like is not None:
            theirs = found.labels[one.like]
            rows.append(one.like)
            captions.append(f"and {found.name(one.row)}" + (f", labelled {theirs}" * bool(theirs)))
    return rows, captions


def _say(found: Findings, asked: Asked, page: Path) -> None:
    noun = KINDS[found.source.kind].plural
    show.say(f"{asked.path}: {len(found.indices):,} {noun} through {asked.encoder}")
    counts = {what: len(found.of(what)) for what in ("copy", "near_copy", "alike", "outlier")}
    show.say(
        f"Twice: {counts['copy']:,} copies, {counts['near_copy']:,} near-copies by their looks, "
        f"{counts['alike']:,} more that are the same to the encoder"
    )
    show.say(f"Outliers: {counts['outlier']:,}")
    if found.wrong is not None:
        _say_labels(found)
    for note in found.notes:
        show.say(note)
    show.say(f"Table  {asked.out}")
    show.say(f"Page   {page}")
    show.next_commands(
        [(f"python -m webbrowser {page}", "look at them"), *_onward(asked.path, asked.encoder)]
    )


def _onward(path: str, encoder: str) -> list[tuple[str, str]]:
    """Return what can be done next, which is more with a run than with public weights."""
    if (Path(encoder) / "run.json").is_file():
        return [
            (f"unlabeled map {encoder} {path}", "all samples as a map"),
            (f"unlabeled suggest {encoder}", "which samples to label next"),
        ]
    begin = f" --init {encoder}" if Path(encoder).is_dir() else ""
    return [
        (f"unlabeled pretrain {path}{begin} --time 10m", "pre-train on these data"),
        (f"unlabeled inspect {path}", "what data is there, and what is broken"),
    ]


def _say_labels(found: Findings) -> None:
    wrong = found.wrong
    assert wrong is not None
    judged = sum(1 for label in found.labels if label)
    agreed = f"A probe that did not see the sample agrees with {wrong.accuracy:.1%} of labels"
    conflicts = f"{len(found.of('conflict')):,} contradict a copy"
    if not wrong.trusted:
        show.say(
            f"Labels: no wrong ones are named; {conflicts}. {agreed}, and doubts so many right "
            f"ones that this encoder cannot tell: of labels made wrong on purpose it doubts "
            f"{wrong.recall:.0%}, of all {wrong.flagged:.0%}."
        )
        return
    show.say(f"Labels: {len(wrong.rows):,} of {judged:,} are likely wrong, {conflicts}. {agreed}.")
    show.say(
        f"Check: of 5 % of labels that were made wrong on purpose {wrong.recall:.0%} were found; "
        f"as many drawn at random hold {wrong.flagged:.0%}. People's mistakes are harder to find "
        "than random ones."
    )
