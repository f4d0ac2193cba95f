"""The page: one self-contained file, derived from run folders alone.

Scripts and styles are allowed by their hash, images only as data in the page, everything else
is forbidden: whatever a file name or a label holds, the page asks no network and runs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

from unlabeled.errors import UnlabeledError
from unlabeled.report import comparison, curves, evidence, pieces, sections
from unlabeled.report.folder import Folder, read_all
from unlabeled.report.html import filled, write
from unlabeled.report.wording import number, plain
from unlabeled.transfer.column_line import said_of
from unlabeled.transfer.table import mean_errors

_RUN_SECTIONS = {
    "verdict": "Verdict",
    "labels": "Label efficiency",
    "training": "Training",
    "health": "Collapse monitors",
    "saw": "What it saw",
    "learned": "What it learned",
    "errors": "Errors",
    "data": "Data health",
    "cost": "Cost",
    "reproduce": "Reproduce",
}


def build(run_folders: Sequence[Path], out: Path | None = None, *, pictures: bool = True) -> Path:
    """Write the report of a run, or the comparison of several.

    Args:
        run_folders: at least one.
        out: the file to write; RUN/report.html for one run, else comparison.html beside the
            first run.
        pictures: whether to draw parts of RUN/samples that are absent, which opens the model.

    Returns:
        The file written.

    Raises:
        UsageError: a folder is not a run.
        WriteError: the page cannot be written.
    """
    folders = read_all([Path(path) for path in run_folders])
    if len(folders) == 1:
        out = Path(out) if out is not None else folders[0].path / "report.html"
        text = run_page(folders[0], pictures)
        for name, part in folders[0].columns.items():
            if part.get("results") is not None:
                page = run_page(of_column(folders[0], name), pictures=False)
                write(out.with_name(column_page(out.stem, part)), page)
    else:
        out = Path(out) if out is not None else folders[0].path.parent / "comparison.html"
        text = _render("comparison.html", comparison.context(folders, out.parent))
    return write(out, text)


def column_page(stem: str, part: Mapping[str, Any]) -> str:
    """Return the file name of the page of one column of labels."""
    return f"{stem}-{Path(str(part['folder'])).name}.html"


def of_column(folder: Folder, name: str) -> Folder:
    """Return what is known of a run, with one column of labels as its only one."""
    return replace(folder, results=folder.columns[name]["results"], columns={}, column=name)


def run_page(folder: Folder, pictures: bool = True) -> str:
    """Return the page of one run."""
    problems = _draw_missing(folder) if pictures else {}
    results = folder.results
    curve = curves.label_curve(results) if results is not None else None
    planned = folder.config.get("loop", {}).get("steps")
    words = [folder.method, folder.encoder, plain(folder.config.get("data", {}).get("path"))]
    return _render(
        "run.html",
        {
            "title": f"{folder.name}: {folder.column}" if folder.column else folder.name,
            "kicker": "Pre-training report",
            "subtitle": " · ".join(words),
            "names": _RUN_SECTIONS,
            "evaluated": results is not None,
            "metric": plain((results or {}).get("metric")).replace("_", " ") if results else "",
            "hint": sections.evaluate_hint(folder),
            "path": sections.shown(folder),
            "steps": number(folder.steps),
            "planned": number(planned if planned is not None else folder.steps),
            "verdict": sections.verdict(folder),
            "columns": [
                (name, None if "problem" in part else column_page("report", part), said_of(part))
                for name, part in folder.columns.items()
            ],
            "curve": sections.wide_figure(curve) if curve is not None else None,
            "table": sections.label_table(results) if results is not None else None,
            "mean_errors": mean_errors(results) if results and results.get("summary") else [],
            "training": sections.training(folder),
            "health": sections.health(folder),
            "unlabelled": sections.unlabelled(folder.results or {}),
            "spectrum": _pieces(folder, pieces.monitored(), problems),
            "saw": _pieces(folder, pieces.saw(folder.kind, folder.method), problems),
            "learned": _pieces(folder, pieces.learned(folder.kind), problems),
            "errors": evidence.errors(folder),
            "data": evidence.data_health(folder),
            "cost": evidence.cost(folder),
            "reproduce": evidence.reproduce(folder),
        },
    )


def _pieces(
    folder: Folder, wanted: Sequence[pieces.Wanted], problems: Mapping[str, str]
) -> list[pieces.Piece]:
    return [pieces.show(folder, part, problems) for part in wanted]


def _draw_missing(folder: Folder) -> dict[str, str]:
    """Draw what RUN/samples lacks; whatever goes wrong becomes a sentence on the page."""
    keys = pieces.missing(folder.path, folder.kind, folder.method, folder.steps)
    if not keys:
        return {}
    try:
        from unlabeled.report.samples import draw_samples
        from unlabeled.runs import Run

        return draw_samples(Run.open(folder.path), keys, folder.steps)
    except UnlabeledError as error:
        sentence = f"Not drawn. {error}"
    except Exception as error:
        # A picture is not worth the page: the reader gets the reason in its place.
        sentence = f"Not drawn: the run could not be opened ({type(error).__name__}: {error})."
    return dict.fromkeys(keys, sentence)


def _render(name: str, context: Mapping[str, Any]) -> str:
    names: Mapping[str, str] = context["names"]
    return filled(
        name,
        ["page.css"],
        "page.js",
        version=_version(),
        contents=list(names.items()),
        index={key: i for i, key in enumerate(names, 1)},
        **context,
    )


def _version() -> str:
    try:
        return metadata.version("unlabeled")
    except metadata.PackageNotFoundError:
        return ""
