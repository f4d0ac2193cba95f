"""Classifiers that read all recordings of a speaker together, and features in parts."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from tests.loop.running import small_config
from unlabeled import cli, loop
from unlabeled.data.find import find
from unlabeled.data.voices import groups_of
from unlabeled.errors import UsageError
from unlabeled.runs import Run
from unlabeled.transfer import lots
from unlabeled.transfer.features import Inputs


@pytest.fixture(scope="module")
def spoken(sound_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a table of recordings by four speakers, and a run on it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = tmp_path_factory.mktemp("lots")
    files = sorted(sound_folder.rglob("*.wav"))
    rows = [{"bytes": file.read_bytes(), "path": file.name} for file in files]
    told = [file.parent.name if i % 3 else None for i, file in enumerate(files)]
    speakers = [f"s{i % 4}" for i in range(len(files))]
    table = pa.table({"audio": rows, "label": told, "speaker": speakers})
    pq.write_table(table, folder / "t.parquet")
    config = small_config("hubert", folder / "t.parquet", steps=2)
    return folder / "t.parquet", loop.pretrain(config, folder / "run", quiet=True)


@pytest.mark.parametrize("reading", lots.READINGS)
def test_what_is_kept_labels_recordings_of_a_table(
    reading: str, spoken: tuple[Path, Path], tmp_path: Path
) -> None:
    table, folder = spoken
    made = lots.learn(Run.open(folder), None, reading, label_column="label")
    assert made.classes == ["a", "b", "c", "d"]
    out = tmp_path / "p.csv"
    assert cli.main(["predict", str(folder), str(table), "--out", str(out)]) == 0
    with out.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    source = find(str(table))
    assert [row["path"] for row in rows] == [source.name(i) for i in range(len(source))]
    inputs = Inputs(source, range(len(source)), Run.open(folder).modality())
    reader = lots.load(Run.open(folder))
    who = groups_of(source, table)
    assert who is not None
    chances = reader.chances(inputs, who)
    np.testing.assert_allclose(chances.sum(1), 1, atol=1e-5)
    assert [row["label"] for row in rows] == [made.classes[k] for k in chances.argmax(1)]
    moved = reader.chances(inputs, np.array([f"new {name}" for name in who]))
    if reading != "parts_spread":  # names of speakers say nothing; who belongs together does
        np.testing.assert_allclose(moved, chances, atol=1e-5)
        assert np.abs(reader.chances(inputs, None) - chances).max() > 1e-3


def test_features_in_parts_are_written(spoken: tuple[Path, Path], tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    table, folder = spoken
    found = {}
    for reading in ("parts", "parts_apart"):
        out = tmp_path / f"{reading}.parquet"
        words = ["embed", str(folder), str(table), "--out", str(out), "--reading", reading]
        assert cli.main(words) == 0
        found[reading] = np.array(pq.read_table(out)["embedding"].to_pylist())
    dim = Run.open(folder).encoder().dim
    assert found["parts"].shape == found["parts_apart"].shape == (64, 8 * dim)
    speaker = np.arange(64) % 4
    spread = {k: np.std([x[speaker == s].mean(0) for s in range(4)], 0) for k, x in found.items()}
    assert (spread["parts_apart"] < 0.5 * spread["parts"] + 1e-6).all()


def test_readings_that_do_not_fit_are_refused(
    spoken: tuple[Path, Path], image_folder: Path
) -> None:
    with pytest.raises(UsageError, match="Did you mean 'parts_spread'"):
        lots.learn(Run.open(spoken[1]), None, "parts_spred")
    with pytest.raises(UsageError, match="There is no classifier by 'probe'"):
        lots.learn(Run.open(spoken[1]), None, "probe")
