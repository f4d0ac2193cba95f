"""Whether an augmentation makes different classes alike, on drawings where the answer is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageDraw
import pytest

from unlabeled.cli.start import main
from unlabeled.config import ImageConfig
from unlabeled.data.find import find
from unlabeled.data.labels import read_labels
from unlabeled.modalities.image import Image
from unlabeled.transfer.alike import alike
from unlabeled.types import View

VIEWS = {"global": View(extent=(0.2, 1), flip=True, distort=0.5, grey=0.2, blur=(0.5,))}


def arrow(draw, colour, side: int, x: int, y: int) -> None:
    tip, tail = (x - 7, x + 7) if side else (x + 7, x - 7)
    draw.polygon([(tip, y), (x, y - 6), (x, y + 6)], fill=colour)
    draw.rectangle([min(x, tail), y - 2, max(x, tail), y + 2], fill=colour)


def folder(place: Path, kind: str, count: int = 80) -> Path:
    """Draw two classes: arrows to the left and right, red and blue discs, bars and discs."""
    rng = np.random.default_rng(0)
    for number in range(count):
        label = number % 2
        image = PIL.Image.fromarray(rng.integers(0, 60, (32, 32, 3), dtype=np.uint8))
        draw, (x, y) = PIL.ImageDraw.Draw(image), rng.integers(12, 20, 2).tolist()
        colour = tuple(rng.integers(150, 255, 3).tolist())
        if kind == "arrows":
            arrow(draw, colour, label, x, y)
        elif kind == "colours":
            red, low = rng.integers(180, 255), rng.integers(0, 60)
            colour = (int(red), int(low), int(low))
            draw.ellipse([x - 7, y - 7, x + 7, y + 7], fill=colour[:: -1 if label else 1])
        elif label:
            draw.rectangle([x - 2, 2, x + 2, 30], fill=colour)
        else:
            draw.ellipse([x - 7, y - 7, x + 7, y + 7], fill=colour)
        name = {"arrows": "right left", "colours": "red blue"}.get(kind, "disc bar").split()[label]
        (place / name).mkdir(parents=True, exist_ok=True)
        image.save(place / name / f"{number}.png")
    return place


def measure(place: Path, **settings) -> dict:
    source = find(str(place))
    images = Image(ImageConfig(size=32, **settings))
    return {found.name: found for found in alike(source, read_labels(None, source), images, VIEWS)}


@pytest.mark.parametrize(
    ("kind", "harmful"),
    [("arrows", {"mirroring"}), ("colours", {"removing colour"}), ("shapes", set())],
)
def test_only_what_removes_the_difference_is_called_harmful(tmp_path, kind, harmful):
    found = measure(folder(tmp_path, kind))
    assert set(found) == {"mirroring", "changing colours", "removing colour", "blurring"}
    assert {name for name, row in found.items() if row.harmful} == harmful
    for name in harmful:
        assert found[name].plain > 0.9
        assert found[name].augmented < 0.85
        assert found[name].chance == pytest.approx(0.5)


def test_what_is_switched_off_is_not_measured(tmp_path):
    place = folder(tmp_path, "shapes", 20)
    assert set(measure(place, flip=False, blur=False, jitter="values")) == {"changing gains"}
    assert "turning" in measure(place, turn=True)


def test_inspect_draws_views_and_warns_with_the_remedy(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder(tmp_path / "arrows", "arrows", 48)
    rows = [f"{p.relative_to(tmp_path)},{p.parent.name}" for p in tmp_path.rglob("*.png")]
    (tmp_path / "labels.csv").write_text("path,label\n" + "\n".join(rows) + "\n")
    words = ["inspect", "arrows", "--labels", "labels.csv", "--views", "views.png"]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "Warning: mirroring: neighbours agree" in shown
    assert "left and right most. If they matter, set modality.flip=false." in shown
    assert "modality.channels" in shown
    with PIL.Image.open(tmp_path / "views.png") as page:
        assert page.width > 3 * 32
    assert main([*words, "modality.flip=false"]) == 0
    assert "Warning: mirroring" not in capsys.readouterr().out
    (tmp_path / "words.txt").write_text("no picture")
    assert main(["inspect", "words.txt", "--views", "v.png"]) == 2
    assert (
        "--views is for images, and --labels for images or with --encoder"
        in capsys.readouterr().err
    )
