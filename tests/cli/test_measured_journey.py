"""Measured images from a folder to features and a report, with what a person types."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import tifffile

from unlabeled.cli.start import main

TINY = ["encoder.name=timm:test_vit", "encoder.patch=4", "modality.size=16", "loop.batch=8"]


@pytest.fixture
def tell(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def run(*words, code=0):
        monkeypatch.setattr("sys.argv", ["unlabeled", *words])
        got = main(list(words))
        shown = capsys.readouterr()
        assert got == code, shown.err
        return shown.out if code == 0 else shown.err

    return run


def draw(number: int, channels: int) -> np.ndarray:
    """Return a bright spot in one of four quarters, values of 12 bits, (20, 24, channels)."""
    rng = np.random.default_rng(number)
    image = rng.integers(100, 400, (20, 24, channels))
    y, x = 10 * (number % 4 // 2) + 3, 12 * (number % 2) + 3
    image[y : y + 5, x : x + 5] += rng.integers(1000, 3600, channels)
    return image.astype(np.uint16)


def test_a_folder_of_sixteen_bit_tiff(tell, tmp_path):
    for number in range(24):
        place = tmp_path / "scans" / "abcd"[number % 4]
        place.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(place / f"{number}.tif", draw(number, 1)[..., 0], photometric="minisblack")
    (tmp_path / "scans" / "a" / "bad.tif").write_bytes(b"II*\x00nothing")
    shown = tell("inspect", "scans")
    assert "24 readable, 1 broken" in shown
    assert "1 channel uint16 24; stored values 1" in shown
    assert "modality.jitter" in shown
    assert "no colour: gains are varied" in shown
    tell("pretrain", "scans", "--method", "simclr", "--steps", "2", "--out", "run",
         "data.bad_budget=0.1", *TINY)  # fmt: skip
    config = (tmp_path / "run" / "config.toml").read_text()
    assert "channels = 1" in config
    assert 'jitter = "values"' in config
    tell("embed", "run", "scans/b", "--out", "b.parquet")
    found = np.stack(pq.read_table("b.parquet")["embedding"].to_pylist())
    assert found.shape == (6, 64)
    assert found.std(0).max() > 0


def test_a_folder_of_arrays_of_thirteen_channels(tell, tmp_path):
    (tmp_path / "scenes").mkdir()
    for number in range(20):
        np.save(tmp_path / "scenes" / f"{number}.npy", draw(number, 13).transpose(2, 0, 1))
    shown = tell("inspect", "scenes")
    assert "13 channels uint16 20" in shown
    tell("pretrain", "scenes", "--method", "mae", "--steps", "2", "--out", "run", *TINY)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "finished"
    tell("report", "run")
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Not drawn" not in page
    tell("embed", "run", "scenes", "--out", "s.parquet")
    assert pq.read_table("s.parquet").num_rows == 20
    from unlabeled.api import Encoder

    found = pq.read_table("s.parquet").to_pylist()
    stored = next(row["embedding"] for row in found if row["name"] == "3.npy")
    given = Encoder.from_pretrained("run").encode([draw(3, 13)])[0]  # an array of channels last
    np.testing.assert_allclose(given, stored, atol=2e-2)
