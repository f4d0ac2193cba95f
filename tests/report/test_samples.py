"""Pictures of real, tiny runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from unlabeled import config, report
from unlabeled.report import grid, nearest, text_map
from unlabeled.report.samples import draw_samples
from unlabeled.runs import Run

IMAGE = {"size": 16, "channels": 3, "mean": [0.4, 0.4, 0.4], "std": [0.3, 0.3, 0.3], "blur": False}
TEXT = {"tokenizer": "bpe", "vocab_size": 300, "length": 32}
VIT = {
    "name": "timm:vit_tiny_patch16_224",
    "patch": 4,
    "options": {"embed_dim": 48, "depth": 2},
}
ENCODERS = {"mae": VIT, "simclr": VIT, "bert": {"name": "hf:bert-1x32h2"},
            "gpt": {"name": "hf:gpt2-1x32h2"}}  # fmt: skip


def train(method: str, data: Path, out: Path) -> Run:
    from unlabeled.loop import pretrain

    text = method in ("bert", "gpt")
    tree = {
        "data": {"path": str(data), "kind": "text" if text else "image", "held_out": 0.3},
        "modality": TEXT if text else IMAGE,
        "encoder": ENCODERS[method],
        "method": {"name": method},
        "loop": {"steps": 3, "batch": 16, "health_steps": 2, "log_steps": 1, "seed": 3},
    }
    return Run.open(pretrain(config.build(tree), out, quiet=True))


@pytest.fixture(scope="module")
def images(image_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    torch.set_num_threads(1)
    return train("mae", image_folder, tmp_path_factory.mktemp("runs") / "mae")


@pytest.mark.parametrize("method", ["bert", "gpt"])
def test_a_text_run_is_drawn(method: str, text_folder: Path, tmp_path: Path) -> None:
    run = train(method, text_folder, tmp_path / method)
    assert draw_samples(run) == {}
    read = {p.stem: json.loads(p.read_text()) for p in (run.folder / "samples").glob("*.json")}
    assert sum(read["spectrum"]["shares"]) == pytest.approx(1)
    places = [(dot["x"], dot["y"]) for dot in read["map"]["texts"]]
    assert np.min(places) == 0
    assert np.max(places) == 1
    assert {dot["group"] for dot in read["map"]["texts"]} == set(range(len(read["map"]["groups"])))
    if method == "bert":
        for row in read["fills"]["rows"]:
            hidden = [piece for piece in row["pieces"] if "guesses" in piece]
            assert hidden
            assert all(len(piece["guesses"]) == 5 for piece in hidden)
            shares = [share for piece in hidden for _, share in piece["guesses"]]
            assert 0 < min(shares) <= max(shares) <= 1
    else:
        assert all(row["text"] for row in read["generations"]["texts"])


def test_an_image_run_is_drawn(images: Run) -> None:
    assert draw_samples(images) == {}
    place = images.folder / "samples"
    names = ("views", "masks", "neighbours", "patches", "map")
    assert all((place / f"{name}.png").is_file() for name in names)
    with Image.open(place / "masks.png") as page:
        assert page.size == (6 * 16 + 5 * grid.GAP + 3 * grid.GAP, 4 * 16 + 3 * grid.GAP)
    assert sum(json.loads((place / "spectrum.json").read_text())["shares"]) == pytest.approx(1)
    queries = json.loads((place / "neighbours.json").read_text())["queries"]
    assert len(queries) == nearest.NUM_QUERIES
    for query in queries:
        assert query["name"] not in [near["name"] for near in query["neighbours"]]
        cosines = [near["similarity"] for near in query["neighbours"]]
        assert cosines == sorted(cosines, reverse=True)


def test_drawing_again_gives_the_same_pictures(images: Run) -> None:
    place = images.folder / "samples"
    draw_samples(images, ["views", "masks", "patches"])
    before = {name: (place / name).read_bytes() for name in ("views.png", "masks.png")}
    draw_samples(images, ["views", "masks", "patches"])
    assert before == {name: (place / name).read_bytes() for name in before}


def test_pictures_are_drawn_anew_when_the_run_went_on(images: Run) -> None:
    draw_samples(images)
    assert draw_samples(images, step=3) == {}
    place = images.folder / "samples" / "views.png"
    drawn = place.stat().st_mtime_ns
    draw_samples(images, step=3)
    assert place.stat().st_mtime_ns == drawn
    draw_samples(images, step=4)
    assert place.stat().st_mtime_ns != drawn


def test_the_report_draws_what_is_absent(images: Run) -> None:
    for path in (images.folder / "samples").glob("masks.*"):
        path.unlink()
    text = report.build([images.folder]).read_text()
    assert "Not drawn" not in text
    assert (images.folder / "samples" / "masks.png").is_file()


def test_a_part_that_fails_leaves_the_others(images: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("the map is lost <b>")

    monkeypatch.setattr(nearest, "plane", fail)
    problems = draw_samples(images, ["map", "views"])
    assert problems == {"map": "Not drawn: RuntimeError: the map is lost <b>"}


def test_neighbours_of_planted_groups_are_of_their_group() -> None:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(5, 16)) * 4
    groups = np.arange(200) % 5
    features = (centres[groups] + rng.normal(size=(200, 16))).astype(np.float32)
    found = nearest.choose(features, seed=0)
    assert len({query for query, _ in found}) == nearest.NUM_QUERIES
    assert all(groups[query] == groups[row] for query, near in found for row, _ in near)


def test_a_map_keeps_planted_groups_together() -> None:
    rng = np.random.default_rng(0)
    groups = np.arange(60) % 3
    features = (9 * np.eye(8)[groups] + rng.normal(size=(60, 8))).astype(np.float32)
    places = nearest.plane(features, seed=0)
    middles = np.stack([places[groups == g].mean(0) for g in range(3)])
    nearest_middle = ((places[:, None] - middles) ** 2).sum(-1).argmin(1)
    assert (nearest_middle == groups).mean() > 0.95


def test_groups_of_texts_are_the_planted_ones_with_their_typical_texts() -> None:
    rng = np.random.default_rng(0)
    topic = np.arange(60) % 6
    features = 4 * np.eye(6)[topic] + 0.1 * rng.normal(size=(60, 6))
    features[:6] += 2 * np.eye(6)[(topic[:6] + 1) % 6]  # odd ones, that lean to another topic
    texts = [f"{'abcdef'[t]}{i}" for i, t in enumerate(topic)]
    found = text_map.lay_out(features.astype(np.float32), texts, 0)
    pairs = {(text[0], dot["group"]) for text, dot in zip(texts, found["texts"], strict=True)}
    assert len(pairs) == len(found["groups"]) == 6
    for number, typical in enumerate(found["groups"]):
        assert {(text[0], number) for text in typical} <= pairs
        assert len(typical) == 3
        assert not set(texts[:6]) & set(typical)


def test_the_spectrum_is_that_of_the_covariance() -> None:
    features = np.random.default_rng(0).normal(size=(50, 6)) * [5, 3, 1, 1, 0.1, 0]
    found = nearest.spectrum(features.astype(np.float32))
    expected = np.sort(np.linalg.eigvalsh(np.cov(features.T)))[::-1]
    np.testing.assert_allclose(found, expected / expected.sum(), atol=1e-5)
    assert nearest.spectrum(np.ones((3, 8), np.float32)) == [0, 0]  # collapsed to a point


def test_few_samples_have_a_map_and_neighbours() -> None:
    features = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    assert nearest.plane(features, 0).shape == (4, 2)
    assert all(len(near) == 3 for _, near in nearest.choose(features, 0))


def test_patch_colours_separate_two_kinds_of_patches() -> None:
    tokens = np.zeros((2, 4, 6), np.float32)
    tokens[:, :2, 0] = 5
    tokens += 0.01 * np.random.default_rng(0).normal(size=tokens.shape).astype(np.float32)
    colours = grid.principal_colours(tokens)
    assert colours.shape == (2, 4, 3)
    assert abs(int(colours[0, 0, 0]) - int(colours[0, 3, 0])) > 200
    assert abs(int(colours[0, 0, 0]) - int(colours[1, 1, 0])) < 30


def test_a_montage_places_cells_on_a_transparent_ground() -> None:
    red, small = np.full((8, 8, 3), [255, 0, 0], np.uint8), np.full((4, 4, 1), 9, np.uint8)
    page = grid.montage([[red, None], [red, small]], after=[0])
    assert page.size == (8 + 8 + 4 * grid.GAP, 16 + grid.GAP)
    assert page.getpixel((0, 0)) == (255, 0, 0, 255)
    assert page.getpixel((page.width - 1, 0))[3] == 0
    assert page.getpixel((page.width - 5, page.height - 5)) == (9, 9, 9, 255)
