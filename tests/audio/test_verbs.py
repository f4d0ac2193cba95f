"""From recordings to an export that is read alike elsewhere, a classifier, and speakers apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.audio.test_spectrograms import setting
from tests.loop.running import small_config
from unlabeled import loop
from unlabeled.config import RunConfig
from unlabeled.data.find import find
from unlabeled.data.labels import read_labelled
from unlabeled.errors import UsageError
from unlabeled.export import export
from unlabeled.report.samples import draw_samples
from unlabeled.runs import Run
from unlabeled.transfer.finetune import finetune, load


def config(method: str, folder: Path) -> RunConfig:
    if method == "simclr":
        return setting(method, folder)
    return small_config(method, folder, steps=2)


@pytest.mark.parametrize(
    ("method", "formats"),
    [("apc", ["hf"]), ("hubert", ["hf"]), ("wav2vec2", ["hf"]), ("simclr", ["hf", "timm"])],
)
def test_what_other_libraries_make_of_samples_equals_ours(
    method: str, formats: list[str], sound_folder: Path, tmp_path: Path
) -> None:
    run = Run.open(loop.pretrain(config(method, sound_folder), tmp_path / "run", quiet=True))
    for to in formats:
        found = export(run, to)
        assert found.max_difference < 1e-4
        assert "AutoFeatureExtractor" in found.usage
    if "timm" not in formats:
        with pytest.raises(UsageError, match="timm cannot hold an encoder of"):
            export(run, "timm")
    problems = draw_samples(run)
    assert not problems
    if method == "hubert":  # its folder holds what the library has no class for
        made = finetune(run, quick=True)
        assert list(load(run)[1].classes) == made.classes == ["a", "b", "c", "d"]


def test_speakers_are_groups_unless_they_are_the_classes(
    tmp_path: Path, sound_folder: Path
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = sorted(sound_folder.rglob("*.wav"))[:12]
    rows = [{"bytes": file.read_bytes(), "path": file.name} for file in files]
    speakers = [f"s{i % 3}" for i in range(12)]
    table = pa.table({"audio": rows, "label": [i % 2 for i in range(12)], "speaker": speakers})
    pq.write_table(table, tmp_path / "t.parquet")
    where = tmp_path / "t.parquet"
    source = find(str(where))
    _, digits = read_labelled(where, source, table=where)
    assert digits.group is not None
    assert digits.group.tolist() == speakers
    _, who = read_labelled(where, source, table=where, label_column="speaker")
    assert who.classes == ["s0", "s1", "s2"]
    assert np.array_equal(who.y, np.arange(12) % 3)


def test_an_export_is_alike_where_soft_ends_are_cut_off(sound_folder: Path, tmp_path: Path) -> None:
    made = config("apc", sound_folder)
    read = made.modality.model_copy(update={"trim": 6.0})  # these tones are loud throughout
    run = Run.open(
        loop.pretrain(made.model_copy(update={"modality": read}), tmp_path / "run", quiet=True)
    )
    assert export(run, "hf").max_difference < 1e-4


@pytest.mark.parametrize("method", ["apc", "wav2vec2", "simclr"])
def test_an_export_of_telephone_recordings_reads_their_rate(
    method: str, sound_folder: Path, tmp_path: Path
) -> None:
    if method != "wav2vec2":
        pytest.importorskip("torchaudio", reason="transformers needs it at other rates than 16 kHz")
    from transformers import AutoFeatureExtractor

    made = config(method, sound_folder)
    read = made.modality.model_copy(update={"rate": 8_000})
    run = Run.open(
        loop.pretrain(made.model_copy(update={"modality": read}), tmp_path / "run", quiet=True)
    )
    found = export(run, "hf")
    assert found.max_difference < 1e-4
    assert AutoFeatureExtractor.from_pretrained(found.path).sampling_rate == 8_000
    assert "8000 Hz" in found.usage


def test_an_export_that_transformers_would_misread_is_refused(
    sound_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = config("apc", sound_folder)
    read = made.modality.model_copy(update={"rate": 8_000})
    run = Run.open(
        loop.pretrain(made.model_copy(update={"modality": read}), tmp_path / "run", quiet=True)
    )
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    with pytest.raises(UsageError, match="pip install --no-deps torchaudio"):
        export(run, "hf")
