"""The map: true neighbours, places between them, pictures, and a page that nothing escapes from."""

from __future__ import annotations

import io
import json
import re

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from unlabeled.report import atlas, map_page
from unlabeled.transfer import nearest_others as near_of
from unlabeled.transfer.nearest_others import nearest_others

HOSTILE = '</script><img src=x onerror="alerted=true">&amp;.png'


def charted(features, pictures=(), texts=(), names=None):
    near, cosines = nearest_others(features, 3)
    return atlas.Atlas(
        np.arange(len(features)),
        names or [f"{i}.png" for i in range(len(features))],
        features,
        atlas.lay_out(features, 0),
        near,
        cosines,
        list(pictures),
        list(texts),
        [("bad.png", "is damaged")],
    )


@pytest.fixture
def features():
    centres = np.random.default_rng(0).normal(size=(4, 16)) * 4
    rows = np.random.default_rng(1).normal(size=(80, 16)) + np.repeat(centres, 20, axis=0)
    return rows.astype(np.float32)


def test_neighbours_are_those_of_a_full_comparison(features, monkeypatch):
    monkeypatch.setattr(near_of, "_ROWS", 7)
    rows, found = nearest_others(features, 5)
    centred = features - features.mean(0)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -2)
    np.testing.assert_array_equal(rows, np.argsort(-cosines, axis=1)[:, :5])
    np.testing.assert_allclose(found, -np.sort(-cosines, axis=1)[:, :5], rtol=1e-5)


def test_samples_that_are_not_laid_out_stand_between_their_nearest(features, monkeypatch):
    monkeypatch.setattr(atlas, "MOST_LAID_OUT", 48)
    places = atlas.lay_out(features, 0)
    assert places.min() == 0
    assert places.max() == 1
    group = np.repeat(np.arange(4), 20)
    centres = np.stack([places[group == g].mean(0) for g in range(4)])
    nearest = np.linalg.norm(places[:, None] - centres, axis=2).argmin(1)
    assert (nearest == group).mean() > 0.95


def test_pictures_of_bytes_and_of_spectrograms():
    grey = torch.zeros(2, 1, 20, 40, dtype=torch.uint8)
    loud = torch.linspace(-9, 3, 2 * 8 * 8).reshape(2, 1, 8, 8)
    for cuts in (grey, loud):
        images = [Image.open(io.BytesIO(data)) for data in atlas.thumbnails(cuts, 16)]
        assert [image.size for image in images] == [(16, 16)] * 2
    assert np.asarray(images[1]).max() > 200
    assert atlas.thumbnails(torch.zeros(2, 5), 16) == []
    many = atlas.sheets(atlas.thumbnails(grey, 16) * 5, 16, across=3)
    assert [Image.open(io.BytesIO(sheet)).size for sheet in many] == [(48, 48), (48, 16)]


def test_the_page_holds_everything_and_nothing_escapes(features, tmp_path):
    names = [HOSTILE, *[f"{i}.png" for i in range(79)]]
    found = charted(features, names=names)
    labels = [HOSTILE if i % 2 else None for i in range(80)]
    page = map_page.page(found, HOSTILE, tmp_path / "map.html", labels).read_text()
    assert page.count("<script") == 2
    assert page.count("</script>") == 2
    assert "<img" not in page
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', page)
    tree = json.loads(data[1])
    assert tree["names"][0] == HOSTILE
    assert tree["labels"][:2] == [None, HOSTILE]
    assert "1 could not be read" in page


def test_the_table_is_what_embedding_atlas_opens(features, tmp_path):
    pictures = atlas.thumbnails(torch.zeros(80, 3, 8, 8, dtype=torch.uint8), 8)
    labels = ["a" if i < 40 else None for i in range(80)]
    path = map_page.table(charted(features, pictures), tmp_path / "map.parquet", labels)
    table = pq.read_table(path)
    assert {"id", "name", "x", "y", "neighbors", "embedding", "label", "image"} == set(
        table.column_names
    )
    first = table.slice(0, 1).to_pylist()[0]
    assert first["neighbors"]["ids"][0] == 0
    assert len(first["neighbors"]["ids"]) == len(first["neighbors"]["distances"]) == 4
    assert first["image"]["bytes"][:2] == b"\xff\xd8"
    assert table["label"].null_count == 40
    np.testing.assert_array_equal(np.stack(table["embedding"].to_pylist()), features)
