"""What can be known to be wrong before torch is imported.

Every function here either returns what the verb needs or raises a `UsageError` whose sentence
says what was given, what is allowed and what to do.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlabeled import config
from unlabeled.errors import UsageError, nearest
from unlabeled.kinds import KINDS, TEXT, rows
from unlabeled.methods import catalogue, tasks

if TYPE_CHECKING:
    from unlabeled.data.find import Source

_PREPARED = frozenset({".lock", "data", "data.json", "looks", "tokens", "tokenizer"})
"""What a run folder holds before its run.json."""
_LEFT = frozenset({"quarantine.jsonl", "log.txt"})
"""What a run that could not begin leaves for its user to read."""
_OVERRIDE = re.compile(r"[A-Za-z_][\w.]*=")


@dataclass(frozen=True)
class Asked:
    """What was asked of `pretrain`; the fields are those of `plan.Request`."""

    data: str
    method: str | None
    seconds: float | None
    steps: int | None
    kind: str | None
    column: str | None
    init: str | None
    overrides: Mapping[str, Mapping[str, Any]]
    file: Mapping[str, Any]


def request(asked: Asked) -> None:
    """Check all of a request: names, values, ranges, then the data, then whether they fit."""
    data = dict(asked.file.get("data", {}))
    kind, column = asked.kind or data.get("kind"), asked.column or data.get("column")
    name = asked.method or dict(asked.file.get("method", {})).get("name")
    if asked.init is not None:
        existing(asked.init)
    method(name, kind)
    options(asked.file, None, kind)
    options(asked.overrides, name, kind)
    found = source(asked.data, kind, column).kind
    if kind is None:
        method(name, found)
        options(asked.overrides, name, found)


def separate(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Part data paths from ``key=value`` words; a path that exists is a path."""
    options = [w for w in words if _OVERRIDE.match(w) and not os.path.exists(w)]
    return [w for w in words if w not in options], options


def source(path: str, kind: str | None, column: str | None) -> Source:
    """Find the samples of `path`; the sentences are those of `data.find`."""
    if kind is not None and kind not in KINDS:
        raise UsageError(
            f"There is no kind '{kind}'.{nearest(kind, KINDS)} Kinds: {', '.join(KINDS)}."
        )
    from unlabeled.data.find import find

    return find(path, kind, column)


def read_by(folder: Path, path: str, kind: str | None, column: str | None) -> Source:
    """Find samples that the encoder of a run can read."""
    known = kind_of(folder)
    if known is None:
        return source(path, kind, column)
    if kind is not None and kind != known:
        raise UsageError(f"{folder} reads {KINDS[known].plural}; --kind {kind} is not for it.")
    try:
        return source(path, known, column)
    except UsageError as error:
        said, advice, _ = str(error).partition(" Reading it as ")
        if not advice:  # to read it as another kind is no way out here
            raise
        raise UsageError(f"{said} {folder} reads {KINDS[known].plural} only.") from None


def method(name: str | None, kind: str | None = None) -> None:
    """Check that a method exists and fits the kind of data."""
    if name is None:
        return
    card = catalogue.describe(name)
    if kind is not None and kind not in card.modalities:
        fitting = [n for n in catalogue.names() if kind in catalogue.describe(n).modalities]
        raise UsageError(
            f"The method '{name}' is for {' and '.join(card.modalities)}, "
            f"but this is {kind}. Methods for {kind}: {', '.join(fitting)}."
        )


def options(tree: Mapping[str, Any], name: str | None = None, kind: str | None = None) -> None:
    """Check sections, names, types and ranges of options as far as is known without torch.

    Args:
        tree: section -> option -> value.
        name: the method, if it is given.
        kind: one of `kinds.KINDS`, if it is known.
    """
    for section, values in tree.items():
        if section in config.SECTIONS:
            config.check_section(section, values, config.SECTIONS[section])
        elif section == "modality":
            _check_modality(values, kind)
        elif section == "method":
            _check_method(values, name)
        elif section != "format":
            known = [*config.SECTIONS, "modality", "method"]
            raise UsageError(
                f"There is no option {_first(section, values)}.{_nearest_option(section, values)} "
                f"Sections: {', '.join(known)}."
            )


def _check_modality(values: Mapping[str, Any], kind: str | None) -> None:
    if kind is not None and kind in config.MODALITIES:
        config.check_section("modality", values, config.MODALITIES[kind])
        return
    every = {field for m in config.MODALITIES.values() for field in m.model_fields}
    for key in values:
        if key not in every:
            raise UsageError(f"There is no option modality.{key}.{nearest(key, every)}")


def _check_method(values: Mapping[str, Any], name: str | None) -> None:
    rest = {k: v for k, v in values.items() if k != "name"}
    name = name or values.get("name")
    if name is not None:
        tasks.check(str(name), rest)
        return
    known = {o.name for n in catalogue.names() for o in catalogue.describe(n).options}
    for key in rest:
        if key not in known:
            raise UsageError(f"No method has an option {key}.{nearest(key, known)}")
        _check_for_some(key, rest[key])


def _check_for_some(key: str, value: Any) -> None:
    """Refuse a value that no method allows, before it is known which one will be chosen."""
    refusals = []
    for name in catalogue.names():
        if key in {option.name for option in catalogue.describe(name).options}:
            try:
                tasks.check(name, {key: value})
            except UsageError as error:
                refusals.append(error)
            else:
                return
    raise refusals[0]


def _first(section: str, values: Any) -> str:
    return f"{section}.{next(iter(values))}" if isinstance(values, Mapping) and values else section


def _nearest_option(section: str, values: Any) -> str:
    every = [f"{s}.{f}" for s, m in config.SECTIONS.items() for f in m.model_fields]
    every += [f"modality.{f}" for m in config.MODALITIES.values() for f in m.model_fields]
    for name in catalogue.names():
        every += [f"method.{o.name}" for o in catalogue.describe(name).options]
    return nearest(_first(section, values), every)


def run(folder: str, part: str | None = "encoder") -> Path:
    """Check that `folder` is a run that holds `part`.

    Args:
        folder: the path given.
        part: a folder that the verb needs inside the run; None for no more than ``run.json``.
    """
    path = existing(folder)
    if (path / "run.json").is_file():
        if part is None or (path / part).is_dir():
            return path
        verb = {"finetune": f"unlabeled finetune {folder} --labels FILE"}.get(part, "")
        raise UsageError(
            f"{folder} has no {part} yet (the run is {status(path)}). "
            f"First: {verb or f'unlabeled resume {folder}'}"
        )
    runs = runs_under(path) or runs_under(Path("runs"))
    hint = f" Runs: {', '.join(str(r) for r in runs[:5])}." if runs else " See: unlabeled runs"
    raise UsageError(f"{folder} is not a run: it holds no run.json.{hint}")


def existing(path: str) -> Path:
    """Check that a file or folder exists, and name the nearest one if it does not."""
    found = Path(path).expanduser()
    if found.exists():
        return found
    beside = found.parent if found.parent.is_dir() else Path()
    names = [child.name for child in _children(beside)]
    near = nearest(found.name, names)
    raise UsageError(f"{path} does not exist.{near}")


def _children(folder: Path, limit: int = 2000) -> Iterable[Path]:
    with os.scandir(folder) as entries:
        for _, entry in zip(range(limit), entries, strict=False):
            yield Path(entry.path)


def runs_under(folder: Path) -> list[Path]:
    """Return the runs directly inside a folder, newest first."""
    if not folder.is_dir():
        return []
    found = [child for child in folder.iterdir() if (child / "run.json").is_file()]
    return sorted(found, key=lambda r: (r / "run.json").stat().st_mtime, reverse=True)


def info(folder: Path, name: str = "run.json") -> dict[str, Any]:
    """Read ``run.json`` or another file of facts, or nothing where it cannot be read."""
    try:
        content = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def status(folder: Path) -> str:
    """Return the status of a run in a word."""
    return str(info(folder).get("status", "unreadable"))


def new_run(folder: str) -> Path:
    """Check that a run may be started in `folder`."""
    path = Path(folder).expanduser()
    if path.is_file():
        raise UsageError(f"{folder} is a file. Name a new folder for the run: --out RUN")
    if (path / "run.json").exists():
        state = status(path)
        resume = f"Continue it: unlabeled resume {folder}  " if state != "finished" else ""
        raise UsageError(f"{folder} holds a run that is {state}. {resume}New run: --out {folder}-2")
    if path.is_dir() and {child.name for child in path.iterdir()} - _LEFT:
        raise UsageError(f"{folder} is not empty and holds no run. New run: --out {folder}-2")
    return path


def one_path(paths: Sequence[str], named: str | None) -> str:
    """Return the one data path; several files become a list, a configuration may name it."""
    if len(paths) == 1:
        return paths[0]
    if paths:
        return str(_list_of(paths))
    if named is None:
        raise UsageError("Say which data: unlabeled pretrain DATA (a folder, a file, hf://...).")
    return named


def _list_of(paths: Sequence[str]) -> Path:
    """Write the files that a shell's ``*`` made into a list beside the runs."""
    for path in paths:
        if not existing(path).is_file() or "\n" in path:
            raise UsageError(
                f"{path} is not a file, and {len(paths)} paths were given. "
                "Give one folder, or files only."
            )
    lines = "".join(f"{Path(path).absolute()}\n" for path in sorted(paths))
    target = Path("runs") / f"files-{hashlib.sha256(lines.encode()).hexdigest()[:8]}.list"
    target.parent.mkdir(exist_ok=True)
    target.write_text(lines, encoding="utf-8")
    return target


def kind_of_list(paths: Sequence[str]) -> str | None:
    """Return ``text`` where several files were given and none is of another kind or a table."""
    found = {Path(path).suffix.lower() for path in paths}
    return "text" if len(paths) > 1 and found <= TEXT else None


def clear_failed_start(folder: Path) -> None:
    """Remove what a run prepared that never began; what it has to say about bad data stays."""
    if (folder / "run.json").exists() or not folder.is_dir():
        return
    for child in folder.iterdir():
        if child.name in _PREPARED:
            shutil.rmtree(child) if child.is_dir() else child.unlink()
    if not any(folder.iterdir()):
        folder.rmdir()


def choice(given: str, allowed: Sequence[str], what: str) -> str:
    """Check a word against those allowed."""
    if given in allowed:
        return given
    raise UsageError(
        f"There is no {what} '{given}'.{nearest(given, allowed)} Possible: {', '.join(allowed)}."
    )


def kind_of(folder: Path) -> str | None:
    """Return the kind of data that a run was trained on."""
    found = info(folder).get("kind")
    return str(found) if found else None


def writable(path: Path) -> None:
    """Check that a file can be written where it shall be."""
    if path.is_dir():
        raise UsageError(f"{path} is a folder. Name a file: --out {path / 'out'}{path.suffix}")
    if not path.parent.is_dir():
        raise UsageError(f"{path.parent} does not exist. Make it first, or name another --out.")
    if not os.access(path.parent, os.W_OK):
        raise UsageError(f"{path.parent} cannot be written. Name another file with --out.")


def labels(
    given: str | None, folder: Path, label_column: str | None = None, task: str | None = None
) -> str | None:
    """Check that labels can be read and belong to the run's samples.

    Returns:
        What was given; ``column:NAME`` where it was the name of a column.
    """
    from unlabeled.data import spans, tags
    from unlabeled.data.find import of_config
    from unlabeled.data.label_columns import columns_in
    from unlabeled.data.labels import read_labelled
    from unlabeled.runs import Run

    data = Run.open(folder).config.data
    if given is not None and data.kind == "text" and tags.form_of(Path(given)) is not None:
        tags.read_tagged(Path(given), label_column)
        return given
    samples = of_config(data)
    table = Path(data.path)
    timed = task in (None, "tagging") and spans.timed(data.kind)
    if timed and given is not None and spans.form_of(Path(given), label_column) is not None:
        if spans.own_folder(Path(given), data.path, label_column) is None:
            spans.read(Path(given), samples, data.path, label_column)
        return given
    if given is not None and not Path(given).exists() and (table.is_file() or rows(data.kind)):
        known = _columns(table, samples) if table.suffix != ".txt" else []
        given = f"column:{given}" if given in known else given
    if task == "tagging":
        return given
    several = columns_in(label_column, table if given is None else given)
    for name in several if len(several) > 1 else [label_column]:
        read_labelled(
            given, samples, table=data.path, column=data.column, label_column=name,
            fewest=1 if len(several) > 1 else 2,
        )  # fmt: skip
    return given


def _columns(table: Path, samples: Any) -> list[str]:
    """Return the columns of the table that samples lie in, or of logs."""
    from unlabeled.data.labels import columns_of

    return list(samples.columns()) if hasattr(samples, "columns") else columns_of(table)


def learnt(task: str | None) -> str | None:
    """Return a task that `finetune` can learn, under its own name."""
    from unlabeled.data.label_forms import check_task

    return check_task(task)


def parts(reading: str | None, folder: Path) -> None:
    """Refuse readings in parts that do not exist, or that are asked of no recordings.

    Raises:
        UsageError: with what would do.
    """
    if reading is None:
        return
    choice(reading, ("parts", "parts_apart"), "reading of features")
    if kind_of(folder) != "audio":
        raise UsageError(f"--reading is for recordings; {folder} is of {kind_of(folder)}.")


def weights(given: Sequence[str], option: str = "--against") -> None:
    """Check that public weights can be found, before anything heavy is loaded.

    Raises:
        UsageError: with the sentence to print.
    """
    from unlabeled.transfer.public import resolve

    for name in given:
        resolve(name, option)
