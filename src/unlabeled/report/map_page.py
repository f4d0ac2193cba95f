"""The map as one self-contained page, and as a table that embedding-atlas opens."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from markupsafe import Markup

from unlabeled.report.atlas import Atlas, sheets
from unlabeled.report.html import filled, write

_ACROSS, _EDGE = 32, 32
_MOST_COLOURS = 12


def page(atlas: Atlas, title: str, out: Path, labels: Sequence[str | None] | None = None) -> Path:
    """Write the page.

    Args:
        atlas: the samples.
        title: of the page.
        out: where.
        labels: (N,) what each sample is called by people; None where it is not known.

    Raises:
        WriteError: the page cannot be written.
    """
    classes = _classes(labels)
    content = filled(
        "map.html",
        ["page.css", "map.css"],
        "map.js",
        title=title,
        count=len(atlas.names),
        unread=len(atlas.bad),
        classes=classes,
        others=len(atlas.names) - sum(number for _, number in classes),
        data=Markup(_data(atlas, labels)),
        sheets=[base64.b64encode(s).decode() for s in sheets(atlas.pictures, _EDGE, _ACROSS)],
    )
    return write(out, content)


def _classes(labels: Sequence[str | None] | None) -> list[tuple[str, int]]:
    """Return the most frequent labels with their numbers; the page colours these."""
    if labels is None:
        return []
    known = Counter(label for label in labels if label is not None)
    return known.most_common(_MOST_COLOURS)


def _data(atlas: Atlas, labels: Sequence[str | None] | None) -> str:
    """Return the samples as JSON that cannot end the element it stands in."""
    tree = {
        "across": _ACROSS,
        "edge": _EDGE,
        "names": atlas.names,
        "texts": atlas.texts,
        "pictures": bool(atlas.pictures),
        "x": np.round(atlas.places[:, 0], 4).tolist(),
        "y": np.round(atlas.places[:, 1], 4).tolist(),
        "near": atlas.near.tolist(),
        "cosines": np.round(atlas.cosines, 3).tolist(),
        "labels": None if labels is None else list(labels),
        "classes": [name for name, _ in _classes(labels)],
    }
    text = json.dumps(tree, separators=(",", ":"), ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def table(atlas: Atlas, out: Path, labels: Sequence[str | None] | None = None) -> Path:
    """Write a parquet file: id, name, x, y, neighbors, embedding, and label, text or image.

    ``uvx embedding-atlas FILE --x x --y y --neighbors neighbors`` opens it.
    """
    ids = np.arange(len(atlas.names))
    near = [
        {"ids": [int(i), *map(int, rows)], "distances": [0.0, *(1.0 - cosines).tolist()]}
        for i, rows, cosines in zip(ids, atlas.near, atlas.cosines, strict=True)
    ]
    dim = atlas.features.shape[1]
    flat = pa.array(np.ascontiguousarray(atlas.features).ravel())
    columns = {
        "id": pa.array(ids),
        "name": pa.array(atlas.names),
        "x": pa.array(atlas.places[:, 0]),
        "y": pa.array(atlas.places[:, 1]),
        "neighbors": pa.array(near),
        "embedding": pa.FixedSizeListArray.from_arrays(flat, dim),
    }
    if labels is not None:
        columns["label"] = pa.array(list(labels), pa.string())
    if atlas.texts:
        columns["text"] = pa.array(atlas.texts)
    if atlas.pictures:
        images = [{"bytes": data, "path": None} for data in atlas.pictures]
        kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        columns["image"] = pa.array(images, kind)
    draft = out.with_name(f".{out.name}.part")
    pq.write_table(pa.table(columns), draft)
    draft.replace(out)
    return out
