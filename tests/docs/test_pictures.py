"""The page of methods: what it says is there for every image method, and pictures are sound."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from xml.etree import ElementTree

import pytest

from unlabeled.methods import catalogue

ROOT = Path(__file__).resolve().parents[2]
IMAGE = [n for n in catalogue.names() if catalogue.describe(n).modalities[0] == "image"]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def draw():
    spec = importlib.util.spec_from_file_location("draw", ROOT / "scripts" / "draw_methods.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_is_said_of_methods_names_methods(draw):
    assert set(draw.NOTES) <= set(catalogue.names())
    assert set(IMAGE) <= set(draw.NOTES)
    for name in draw.NOTES:
        assert draw.NOTES[name]["does"].count(". ") >= 1, "two sentences"
        assert draw.cost(name), name


def test_pictures_show_each_view_once(draw):
    drawn = draw.pictures()
    for name in set(IMAGE) - {"combine"}:
        page = ElementTree.fromstring(drawn[f"docs/pictures/{name}.svg"])
        views = [g for g in page.findall(f"{SVG}g") if "translate" in g.get("transform", "")]
        expected = sum(view.count for view in draw.views_of(name).values())
        assert len(views) == expected
        if name == "mae":
            cells = [r for r in views[0].iter(f"{SVG}rect") if r.get("fill") == "#8b8f98"]
            assert len(cells) == 48  # three quarters of 64


def test_pictures_of_clips_hide_the_same_places_at_all_times(draw):
    drawn = draw.pictures()
    for name, rows in (("videomae", 1), ("vjepa", 2), ("tcn", 1), ("vip", 1)):
        page = ElementTree.fromstring(drawn[f"docs/pictures/{name}.svg"])
        frames = [g for g in page.findall(f"{SVG}g/{SVG}g") if "translate" in g.get("transform")]
        assert len(frames) == 4 * rows
        cells = [[(r.get("x"), r.get("y")) for r in frame.findall(f"{SVG}rect")[:-1]]
                 for frame in frames]  # fmt: skip
        for row in range(rows):
            same = cells[4 * row : 4 * row + 4]
            assert all(one == same[0] for one in same)
            assert len(same[0]) == {"videomae": 58, "tcn": 0, "vip": 0}.get(name, len(same[0]))


def test_costs_are_counted_from_the_views(draw):
    assert draw.cost("simclr") == "2 passes of a whole image"
    assert draw.cost("mae").startswith("0.25 passes of a whole image through the encoder")
    assert draw.cost("dino").startswith("3 passes of a whole image, and 2 of the teacher")
