"""The verb suggest: which samples to label next."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unlabeled.cli import checks, show
from unlabeled.cli.draft import draft_of
from unlabeled.cli.explore import Where, path_of, source_of
from unlabeled.cli.learn import RunFolder
from unlabeled.cli.measure import LabelColumn, Labels
from unlabeled.cli.train import Column, Kind
from unlabeled.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from unlabeled.data.find import Source
    from unlabeled.data.labels import Labels as LabelsRead
    from unlabeled.transfer.next_labels import Asked

BY = ("typical", "doubtful", "random")
_WHY = {
    "typical": "one amid most of its like from each group that no label covers",
    "doubtful": "those between two classes for a probe of the labels so far",
    "random": "drawn at random",
}
_EXCERPT = 200


def suggest(
    run: RunFolder,
    data: Where = None,
    number: Annotated[
        int, typer.Option("-n", metavar="N", min=1, max=100_000, help="How many to label.")
    ] = 50,
    labels: Labels = None,
    label_column: LabelColumn = None,
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="csv to write, with an empty column label.")
    ] = Path("suggested.csv"),
    by: Annotated[
        str | None,
        typer.Option(metavar="WAY", help=f"{', '.join(BY)}; by the number of labels if absent."),
    ] = None,
    test: Annotated[
        int,
        typer.Option(
            metavar="N", min=0, max=100_000, help="Also draw N at random to score on (split test)."
        ),
    ] = 0,
    most: Annotated[
        int, typer.Option(metavar="N", min=2, max=200_000, help="Samples looked at, drawn evenly.")
    ] = 20_000,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Of clusters and draws.")] = 0,
    kind: Kind = None,
    column: Column = None,
) -> None:
    """Say which samples to label next.

    Writes a csv to fill in and a page that shows the samples. With few labels it takes typical
    samples of groups without a label, with many those that a probe doubts.
    """
    folder = checks.run(run)
    if by is not None:
        checks.choice(by, BY, "way to choose")
    earlier = _earlier(labels, out)
    checks.writable(out)
    source = source_of(folder, data, kind, column)
    given = _labels(labels, label_column, source, path_of(folder, data), column)
    from unlabeled.api import Encoder
    from unlabeled.transfer import next_labels

    encoder = Encoder.from_pretrained(folder)
    asked = next_labels.ask(
        encoder, source, number, by=by, given=given, held_out=_held_out(folder, data),
        test=test, most=most, seed=seed,
    )  # fmt: skip
    _write(asked, earlier, out)
    page = _page(encoder, asked, out)
    _say(asked, earlier, out, page)
    labels_in = f" --labels {out}"
    show.next_commands(
        [
            (f"python -m webbrowser {page}", f"look at them, and fill the column label of {out}"),
            (f"unlabeled suggest {run}{labels_in} --out {out}", "more of them, when it is filled"),
            (f"unlabeled evaluate {run}{labels_in}", "did pre-training help"),
        ]
    )


def _labels(
    labels: str | None, label_column: str | None, source: Source, path: str, column: str | None
) -> tuple[Source, LabelsRead] | None:
    """Read the labels that there are, with the samples that they are of."""
    if labels is None and label_column is None:
        return None
    from unlabeled.data.labels import read_labelled

    return read_labelled(
        labels, source, table=path, column=column, label_column=label_column, fewest=1
    )


def _held_out(folder: Path, data: str | None) -> NDArray[np.int64] | None:
    """Return which samples of the run's own data were held out, to be kept for tests."""
    from unlabeled.runs import Run

    known = data is None and (folder / "data" / "held_out.npy").is_file()
    return Run.open(folder).held_out_indices() if known else None


@dataclass(frozen=True)
class Earlier:
    """Rows of a table of labels of our own form that go into the new one."""

    fields: list[str]
    rows: list[dict[str, str]]


def _earlier(labels: str | None, out: Path) -> Earlier | None:
    """Read labelled rows to be carried over, and refuse to write over other people's work.

    Raises:
        UsageError: `out` holds labels that would be lost.
    """
    given = None if labels is None else _read(Path(labels))
    if out.exists() and (labels is None or out.resolve() != Path(labels).resolve()):
        there = _read(out)
        if there is not None and there.rows:
            raise UsageError(
                f"{out} holds {len(there.rows):,} labels, which would be lost. Go on from them "
                f"with --labels {out} --out {out}, or name another file with --out."
            )
    if given is None and labels is not None and out.exists() and out.samefile(labels):
        raise UsageError(f"{labels} is not a table with path and label: name another --out.")
    return given


def _read(path: Path) -> Earlier | None:
    """Return the rows of a csv that have a label, if it has the columns path and label."""
    if path.suffix.lower() != ".csv" or not path.is_file():
        return None
    with path.open(encoding="utf-8-sig", newline="") as file:
        table = csv.DictReader(file)
        fields = list(table.fieldnames or [])
        if not {"path", "label"} <= set(fields):
            return None
        rows = [row for row in table if (row["label"] or "").strip()]
    return Earlier([name for name in fields if name], rows)


def _write(asked: Asked, earlier: Earlier | None, out: Path) -> None:
    """Write the earlier labels and the new rows, whole or not at all."""
    texts = any(asked.texts)
    fields = ["path", "label", *(["split"] if asked.tests else []), *(["begins"] if texts else [])]
    before = [] if earlier is None else earlier.rows
    if earlier is not None:
        fields = [*earlier.fields, *(name for name in fields if name not in earlier.fields)]
    with draft_of(out) as draft, draft.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, fields, restval="", extrasaction="ignore")
        table.writeheader()
        table.writerows(before)
        for name, text, tests in zip(asked.names, asked.texts, asked.is_test, strict=True):
            split = ("test" if tests else "train") if asked.tests else ""
            begins = " ".join(text.split())[:_EXCERPT]
            table.writerow({"path": name, "label": "", "split": split, "begins": begins})


def _page(encoder: object, asked: Asked, out: Path) -> Path:
    from unlabeled.report import sample_page

    def section(title: str, note: str, tests: bool) -> list[sample_page.Section]:
        rows = [i for i, test in enumerate(asked.is_test) if test == tests]
        indices = [int(asked.indices[i]) for i in rows]
        captions = [str(place + 1) for place in range(len(rows))]
        items = sample_page.shown(encoder, asked.source, indices, captions)  # type: ignore[arg-type]
        return [sample_page.Section(title, note, items)] if items else []

    note = f"Most useful first: {_WHY[asked.by]}."
    sections = section("To learn from", note, False)
    sections += section("To score on", "Drawn at random, so that the score is fair.", True)
    lead = f"Write what each is into the column label of {out.name}; what is left empty is skipped."
    page = out.with_suffix(".html")
    return sample_page.page(f"{len(asked.names)} samples to label", lead, sections, page)


def _say(asked: Asked, earlier: Earlier | None, out: Path, page: Path) -> None:
    show.say(f"{asked.chosen:,} of {asked.pool:,} samples without a label: {_WHY[asked.by]}")
    if asked.tests:
        show.say(f"{asked.tests:,} more, drawn at random, to score on (split test)")
    for sentence in asked.notes:
        show.say(sentence)
    kept = f", after {len(earlier.rows):,} labels that were there" if earlier else ""
    show.say(f"Table  {out}{kept}")
    show.say(f"Page   {page}")
