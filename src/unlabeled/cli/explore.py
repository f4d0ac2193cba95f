"""Verbs that look at data through an encoder: map, search."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unlabeled.cli import checks, show
from unlabeled.cli.learn import RunFolder
from unlabeled.cli.measure import LabelColumn, Labels
from unlabeled.cli.train import Column, Kind
from unlabeled.errors import UsageError

if TYPE_CHECKING:
    from unlabeled.data.find import Source

Where = Annotated[
    str | None,
    typer.Argument(
        metavar="[DATA]", help="Folder, file or hf://dataset; the run's data if absent."
    ),
]


def map(
    run: RunFolder,
    data: Where = None,
    labels: Labels = None,
    label_column: LabelColumn = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Page to write; RUN/map.html if absent.")
    ] = None,
    most: Annotated[
        int, typer.Option(metavar="N", min=2, max=200_000, help="Samples to show, drawn evenly.")
    ] = 20_000,
    kind: Kind = None,
    column: Column = None,
) -> None:
    """Draw data as a map to explore in a browser, and as a table of embeddings."""
    folder = checks.run(run)
    source = source_of(folder, data, kind, column)
    page = folder / "map.html" if out is None else out
    checks.writable(page)
    known: dict[int, str] | None = None
    if labels is not None or label_column is not None:
        source, known = _labels(labels, label_column, source, path_of(folder, data), column)
    from unlabeled.api import Encoder
    from unlabeled.report import atlas, map_page

    found = atlas.chart(Encoder.from_pretrained(folder), source, most)
    called = None if known is None else [known.get(int(i)) for i in found.indices]
    map_page.page(found, f"Map of {Path(path_of(folder, data)).name}", page, called)
    table = map_page.table(found, page.with_suffix(".parquet"), called)
    rest = len(source) - len(found.names) - len(found.bad)
    left = f"; {len(found.bad):,} left out as unreadable" if found.bad else ""
    left += f"; {rest:,} not drawn (--most)" if rest else ""
    show.say(f"{len(found.names):,} samples in {page}{left}")
    show.say(f"Embeddings  {table}")
    opened = f"uvx embedding-atlas {table} --x x --y y --neighbors neighbors"
    opened += " --image image" if found.pictures else " --text text" if found.texts else ""
    show.next_commands(
        [
            (f"python -m webbrowser {page}", "look"),
            (opened, "filter and query it in another tool"),
            (f"unlabeled search {run} QUERY", "the samples nearest to one"),
        ]
    )


def search(
    run: RunFolder,
    query: Annotated[str, typer.Argument(metavar="QUERY", help="A file, or a text.")],
    data: Where = None,
    number: Annotated[
        int, typer.Option("-n", metavar="N", min=1, max=1000, help="How many to show.")
    ] = 10,
    kind: Kind = None,
    column: Column = None,
) -> None:
    """Find the samples that are nearest to a file or a text."""
    folder = checks.run(run)
    source = source_of(folder, data, kind, column)
    from unlabeled import kinds
    from unlabeled.api import Encoder

    encoder = Encoder.from_pretrained(folder)
    if not kinds.strings(encoder.kind):
        checks.existing(query)
        if Path(query).is_dir():
            raise UsageError(f"{query} is a folder. Name one file to search with.")
    asked = query if kinds.strings(encoder.kind) and not Path(query).is_file() else None
    from unlabeled.report import atlas

    vector = encoder.encode(query if asked is None else [asked])
    if len(vector) != 1:
        raise UsageError(f"{query} holds {len(vector):,} samples. Name one file, or give a text.")
    rows, cosines, names, bad = atlas.nearest_to(vector, encoder, source, number)
    show.table(
        ("cosine", "sample"), [(f"{c:.3f}", names[r]) for r, c in zip(rows, cosines, strict=True)]
    )
    if bad:
        show.say(f"{len(bad):,} left out as unreadable (first: {bad[0][0]}: {bad[0][1]})")


def path_of(folder: Path, data: str | None) -> str:
    """Return the path of what was named, or of the run's own data."""
    from unlabeled.runs import Run

    return data if data is not None else Run.open(folder).config.data.path


def source_of(folder: Path, data: str | None, kind: str | None, column: str | None) -> Source:
    """Return what was named, or the run's own data."""
    if data is not None:
        return checks.read_by(folder, data, kind, column)
    from unlabeled.runs import Run

    return Run.open(folder).source()


def _labels(
    labels: str | None, label_column: str | None, source: Source, path: str, column: str | None
) -> tuple[Source, dict[int, str]]:
    """Return the samples and what people call those that are labelled."""
    from unlabeled.data.label_forms import form_of
    from unlabeled.data.labels import read_labelled

    source, found = read_labelled(
        labels, source, table=path, column=column, label_column=label_column
    )
    form = form_of(found)
    if form in ("multi", "regression"):
        raise UsageError(
            "A map is coloured by one class a sample; these labels are "
            f"{'numbers' if form == 'regression' else 'several a sample'}. "
            "Leave --labels out, or name another column with --label-column."
        )
    pairs = zip(found.indices.tolist(), found.y.tolist(), strict=True)
    return source, {index: found.classes[y] for index, y in pairs}
