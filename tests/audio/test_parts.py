"""Parts of time, speakers apart, and ends that are cut off."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from tests.audio.test_reading import encoded
from tests.conftest import draw_sound
from tests.loop.running import small_config
from unlabeled import loop
from unlabeled.config import AudioConfig
from unlabeled.modalities import sound
from unlabeled.modalities.audio import Audio
from unlabeled.modalities.sound_features import statistics
from unlabeled.nn import parts
from unlabeled.runs import Run
from unlabeled.transfer.evaluate import evaluate
from unlabeled.transfer.parted import centred


def test_a_part_is_the_integral_over_its_stretch_of_time() -> None:
    """The oracle holds tokens for a fine grid of moments and averages those of each part."""
    tokens = torch.randn(3, 7, 5, generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([7, 5, 2])
    found = parts.means(tokens, lengths, 4).view(3, 4, 5)
    for row, length in enumerate(lengths.tolist()):
        moments = tokens[row, :length].repeat_interleave(4, 0)  # 4 moments a token, length a part
        expected = moments.view(4, length, 5).mean(1)
        torch.testing.assert_close(found[row], expected, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(parts.means(tokens, lengths, 1)[0], tokens[0].mean(0))
    assert torch.equal(parts.means(tokens, torch.zeros(3).long(), 2)[:, :5], tokens[:, 0])


def test_order_is_kept_by_parts_and_lost_by_the_mean() -> None:
    x = np.random.default_rng(0).standard_normal((16, 20)).astype(np.float32)
    once, back = statistics([x])["mfcc_parts"], statistics([x[::-1]])["mfcc_parts"]
    np.testing.assert_allclose(back.reshape(8, -1), once.reshape(8, -1)[::-1], atol=1e-5)
    assert np.abs(once - back).max() > 0.1
    np.testing.assert_allclose(
        statistics([x])["mfcc"][:, :13], once.reshape(8, -1).mean(0, keepdims=True), atol=1e-5
    )


def test_speakers_are_moved_to_one_place_and_small_groups_less() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 3)).astype(np.float32)
    group = np.where(np.arange(200) < 190, "many", "few")
    shifted = x + np.where(group == "many", 5.0, -5.0)[:, None].astype(np.float32)
    found = centred(shifted, group, np.zeros(3, np.float32))
    means = {name: found[group == name].mean() for name in ("many", "few")}
    assert abs(means["many"] - 5 * 10 / 200) < 0.1
    assert abs(means["few"] + 5 * 10 / 20) < 0.4
    alone = centred(shifted[:190], group[:190], np.zeros(3, np.float32))  # a test part of one
    np.testing.assert_allclose(alone, found[:190], atol=1e-5)


def test_soft_ends_are_cut_off_and_nothing_inside() -> None:
    loud = draw_sound(0)
    hush = 1e-4 * np.random.default_rng(0).standard_normal(4000).astype(np.float32)
    samples = np.concatenate([hush, loud, hush, loud, hush])
    found = sound.trimmed(samples, 16_000, 35.0)
    assert np.array_equal(found, samples[4000:-4000])
    assert np.array_equal(sound.trimmed(loud, 16_000, 35.0), loud)
    audio = Audio(AudioConfig(trim=35.0))
    heard = audio.heard(encoded(samples))
    assert len(heard) == len(samples) - 8000
    assert len(audio.read(encoded(samples))) < len(Audio(AudioConfig()).read(encoded(samples)))


def test_a_click_in_silence_is_left_as_it_is() -> None:
    samples = np.zeros(8000, np.float32)
    samples[4000] = 0.5
    assert len(Audio(AudioConfig(trim=35.0)).heard(encoded(samples))) == 8000


def test_a_study_of_recordings_reads_parts_and_speakers_apart(
    sound_folder: Path, tmp_path: Path
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = sorted(sound_folder.rglob("*.wav"))
    rows = [{"bytes": file.read_bytes(), "path": file.name} for file in files]
    table = pa.table(
        {
            "audio": rows,
            "label": [file.parent.name for file in files],
            "speaker": [f"s{i % 4}" for i in range(len(files))],
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    config = small_config("hubert", tmp_path / "t.parquet", steps=2)
    run = Run.open(loop.pretrain(config, tmp_path / "run", quiet=True))
    ends = ("", "_apart", "_joined", "_spread")
    arms = [f"{name}{end}" for name in ("parts", "untrained_parts") for end in ends]
    arms += ["mfcc_parts_apart", "mfcc_parts_spread"]
    found = evaluate(run, label_column="label", counts=[2], draws=1, arms=arms)
    assert {row["reading"] for row in found["rows"]} == set(arms)
    assert set(found["codes"]) == {"own", "first"}
    assert all(0 <= said["pnmi"] <= 1 and "group" in said for said in found["codes"].values())
