"""The verb inspect: what data is there, what would be chosen, what views and an encoder show."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unlabeled.cli import checks, findings, show, tokenizing
from unlabeled.cli.given import refuse
from unlabeled.cli.measure import LabelColumn, Labels
from unlabeled.cli.train import Column, Kind, Method
from unlabeled.errors import DataError, UsageError

if TYPE_CHECKING:
    from unlabeled.plan import Plan


def inspect(
    data: Annotated[
        list[str],
        typer.Argument(metavar="DATA", help="Folder, file or hf://dataset; then options."),
    ],
    kind: Kind = None,
    column: Column = None,
    method: Method = None,
    labels: Labels = None,
    label_column: LabelColumn = None,
    views: Annotated[
        Path | None, typer.Option(metavar="PNG", help="Draw what a method sees (images).")
    ] = None,
    tokenizers: tokenizing.Tried = None,
    encoder: findings.Through = None,
    out: findings.Out = Path("inspected.csv"),
    most: findings.Most = 20_000,
    seed: findings.Seed = 0,
) -> None:
    """Count, measure and check data; propose a method.

    For images: how they will be read and why, the views of the method (--views), and with
    labels whether an augmentation makes different classes alike. For text, with --tokenizers:
    with which tokenizer held-out text costs a generator least. With --encoder for data of any
    kind: copies, outliers and, with labels, those that are likely wrong.
    """
    paths, words = checks.separate(data)
    if len(paths) != 1:
        raise UsageError(f"inspect looks at one folder, file or data set; {len(paths)} were given.")
    path = paths[0]
    if encoder is not None:
        _only_through(words, views=views, method=method, tokenizers=tokenizers)
        findings.through(
            findings.Asked(path, encoder, kind, column, labels, label_column, out, most, seed)
        )
        return
    found = checks.source(path, kind, column).kind
    if tokenizers is not None:
        unused = {"method": method, "labels": labels, "label_column": label_column}
        refuse("--tokenizers tries tokenizers", views=views, **unused)
        tokenizing.compare(path, found, column, tokenizers, words)
        return
    _fits(found, path, views, labels)
    from unlabeled.data.inspect import inspect as look

    seen = look(path, kind, column)
    show.say(str(seen))
    if found == "image" and seen.opened > len(seen.broken):
        planned = _plan(path, kind, column, method, words)
        _choices(planned)
        if views is not None or labels is not None:
            _views(planned, path, views, labels, label_column)
    show.next_commands(
        [
            (f"unlabeled pretrain {path} --dry-run", "what would be chosen, and why"),
            (f"unlabeled pretrain {path} --time 10m", "pre-train"),
            ("unlabeled methods", "what can be learned without labels"),
        ]
    )


def _only_through(words: list[str], **options: object) -> None:
    """Refuse what says nothing where data are looked at through an encoder."""
    what = "--encoder shows what an encoder sees"
    refuse(what, **options)
    if words:
        raise UsageError(f"{what}, so it has no use for {' '.join(words)}; leave it out.")


def _fits(kind: str, path: str, views: Path | None, labels: str | None) -> None:
    """Refuse options that are not for data of a kind, and a picture that cannot be written."""
    if kind != "image" and (views or labels):
        raise UsageError(
            f"--views is for images, and --labels for images or with --encoder RUN; {path} holds "
            f"{kind}."
        )
    if views is not None:
        checks.writable(views)


def _plan(
    path: str, kind: str | None, column: str | None, method: str | None, words: list[str]
) -> Plan:
    from unlabeled import config
    from unlabeled.choices import Request
    from unlabeled.plan import plan

    overrides = config.parse_overrides(words)
    return plan(
        Request(data=path, kind=kind, column=column, method=method, steps=1, overrides=overrides)
    )


def _choices(planned: Plan) -> None:
    """Print how images will be read."""
    rows = [(c.name, c.value, c.reason) for c in planned.choices if c.name.startswith("modality.")]
    show.say()
    show.table(("chosen", "value", "because"), rows)
    show.say()


def _views(
    planned: Plan, path: str, out: Path | None, labels: str | None, label_column: str | None
) -> None:
    """Draw views, and say which augmentations make classes alike."""
    from unlabeled.modalities.image import Image
    from unlabeled.runs import build_method, build_modality

    modality = build_modality(planned.config, Path())
    assert isinstance(modality, Image)
    seen = build_method(planned.config, modality).views()
    if out is not None:
        _draw(planned, modality, seen, out)
    if labels is not None:
        from unlabeled.data.labels import read_labelled
        from unlabeled.transfer.alike import alike

        source, known = read_labelled(
            labels, planned.source, table=path, column=planned.config.data.column,
            label_column=label_column,
        )  # fmt: skip
        for sentence in alike(source, known, modality, seen):
            show.say(("Warning: " if sentence.harmful else "") + str(sentence))


def _draw(planned: Plan, modality: object, seen: object, out: Path) -> None:
    import numpy as np

    from unlabeled.report.views import sheet

    items, source = [], planned.source
    for index in np.linspace(0, len(source) - 1, min(24, len(source))).astype(int).tolist():
        try:
            items.append((modality.read(source.payload(index)), source.name(index)))  # type: ignore[attr-defined]
        except DataError:
            continue
    page, columns = sheet(items[:8], modality, seen, planned.config.loop.seed)  # type: ignore[arg-type]
    page.save(out, "PNG")
    show.say(f"Views       {out}   ({planned.config.method['name']}; columns: {columns})")
