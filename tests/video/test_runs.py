"""Whole runs on clips: choices, damage, readings, pictures, and what other libraries open."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from tests.conftest import draw_clip
from tests.loop.running import SMALL, small_config
from tests.video.test_reading import array, bad_files
from unlabeled import config as configs
from unlabeled import loop
from unlabeled.choices import Request
from unlabeled.config import EncoderConfig, VideoConfig
from unlabeled.data.inspect import inspect
from unlabeled.encoders import build
from unlabeled.errors import ConfigError, DataError, UsageError
from unlabeled.export import export
from unlabeled.items import kind_of, payload
from unlabeled.journal import read_lines
from unlabeled.modalities import video_features
from unlabeled.plan import plan
from unlabeled.report.samples import draw_samples
from unlabeled.report.video_samples import VideoSamples
from unlabeled.runs import Run
from unlabeled.transfer.evaluate import evaluate


def test_damaged_clips_are_set_aside_and_counted(clip_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    shutil.copytree(clip_folder, folder)
    bad = bad_files(folder / "bad")
    tree = small_config("videomae", folder, steps=8, batch=16).model_dump()
    tree["data"] |= {"bad_budget": 0.4, "held_out": 0.0, "path": str(folder)}
    shutil.rmtree(folder / "scratch")
    run = loop.pretrain(configs.build(tree), tmp_path / "run", quiet=True)
    lines = [json.loads(line) for line in (run / "quarantine.jsonl").read_text().splitlines()]
    said = {line["name"]: line["reason"] for line in lines}
    assert set(said) == {f"bad/{name}" for name in bad}
    for name, reason in bad.items():
        assert said[f"bad/{name}"].startswith(reason)
    tree["data"]["bad_budget"] = 0.0
    with pytest.raises(DataError, match=r"data\.bad_budget=0 forgives 0"):
        loop.pretrain(configs.build(tree), tmp_path / "strict", quiet=True)


def test_a_run_is_evaluated_drawn_and_opened_by_transformers(
    clip_folder: Path, tmp_path: Path
) -> None:
    run = Run.open(
        loop.pretrain(small_config("videomae", clip_folder, steps=3), tmp_path / "r", quiet=True)
    )
    arms = ["probe", "knn", "pca", "moments", "middle", "motion", "untrained", "finetune"]
    found = evaluate(run, counts=[2], draws=1, arms=arms, quick=True)
    assert found["classes"] == ["a", "b", "c", "d"]
    assert {row["reading"] for row in found["rows"]} == set(arms)
    assert not draw_samples(run)
    assert {p.name for p in (run.folder / "samples").glob("*.png")} == {
        "views.png", "masks.png", "neighbours.png", "map.png"
    }  # fmt: skip
    exported = export(run, "hf")
    assert exported.max_difference < 1e-4
    model = transformers.AutoModel.from_pretrained(run.folder / "encoder").eval()
    reader = transformers.AutoImageProcessor.from_pretrained(exported.path)
    clip = draw_clip(5, 4)
    raw = run.modality().read(array(clip))
    features = model(**reader(list(raw), return_tensors="pt")).last_hidden_state.mean(1)
    from unlabeled.transfer.features import features as ours

    expected = torch.from_numpy(ours(run.encoder(), run.modality(), [array(clip)]))
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(UsageError, match=r"timm cannot hold an encoder of video\. Possible: hf"):
        export(run, "timm")


def test_what_is_chosen_for_clips_and_why(clip_folder: Path) -> None:
    planned = plan(Request(str(clip_folder), steps=1))
    assert planned.config.method["name"] == "videomae"
    seen = planned.config.modality
    assert isinstance(seen, VideoConfig)
    assert (seen.size, seen.channels, seen.frames, seen.stride) == (16, 3, 10, 0)
    said = {choice.name: str(choice.reason) for choice in planned.choices}
    assert "48 clips of 8-12 frames, 16-16 px, 10 frames a second" in said["data.kind"]
    assert said["encoder.options"] == "frames of a box; 5 x 16 boxes of a clip"
    grey = plan(Request(str(clip_folder), steps=1, method="simclr", overrides={
        "modality": {"channels": 1, "mean": [0.2], "std": [0.2]}}))  # fmt: skip
    assert grey.config.optim.name == "adamw"
    with pytest.raises(ConfigError, match=r"mae works on image and audio, .* holds video"):
        plan(Request(str(clip_folder), method="mae", steps=1))


def test_inspect_tells_of_length_speed_and_stillness(clip_folder: Path, tmp_path: Path) -> None:
    seen = str(inspect(str(clip_folder)))
    assert "48 clips" in seen
    assert "Length: 8 to 12 frames, median 10" in seen
    assert "coded as mpeg4 16, ffv1 16, mjpeg 16" in seen
    for number in range(3):
        still = np.repeat(draw_clip(number, 1), 5, 0)
        (tmp_path / f"{number}.npy").write_bytes(array(still))
    assert "nothing moves" in str(inspect(str(tmp_path), "video"))


def test_arrays_of_clips_are_taken_as_they_are() -> None:
    clip = draw_clip(0)
    assert kind_of([clip]) == "video"
    assert payload(clip, "video") == array(clip)


def test_optical_flow_says_which_way_and_how_far() -> None:
    """A blurred spot that moves by half a pixel a frame, to the right and upwards."""
    y, x = np.mgrid[:32, :32]
    clip = [np.exp(-((x - 12 - t / 2) ** 2 + (y - 20 + t / 2) ** 2) / 20) for t in range(8)]
    frames = np.rint(255 * np.array(clip)).astype(np.uint8)[None, :, None]
    found = video_features.motion(frames).reshape(17, 8)[-1]  # of the whole frame
    assert found[0] == pytest.approx(0.5, abs=0.15)
    assert found[1] == pytest.approx(-0.5, abs=0.15)
    still = video_features.motion(np.repeat(frames[:, :1], 8, 1))
    assert not still.any()
    moments = video_features.moments(np.repeat(frames[:, :1], 8, 1)).reshape(2, 16, 16)
    expected = frames[0, 0, 0].reshape(16, 2, 16, 2).mean((1, 3)) / 255
    np.testing.assert_allclose(moments[0], expected, atol=1e-6)
    assert not moments[1].any()


@pytest.mark.parametrize(
    ("encoder", "modality", "sentence"),
    [
        ({"name": "hf:videomae-mni"}, {}, "Did you mean 'hf:videomae-mini'"),
        ({"name": "hf:videomae-2x32h3"}, {}, "cannot have 3 heads"),
        ({"name": "hf:vit-tiny"}, {}, "is no encoder of clips.* such as timm:resnet18"),
        ({"name": "hf:videomae-1x32h2", "patch": 5}, {}, "do not tile frames of 16"),
        ({"name": "hf:videomae-1x32h2", "patch": 4}, {"frames": 5}, "do not tile 5 frames"),
        ({"name": "hf:videomae-1x32h2", "patch": 4, "pool": "token"}, {}, r"encoder\.pool"),
    ],
)
def test_encoders_that_do_not_fit_are_refused_with_what_would(
    encoder: dict[str, object], modality: dict[str, object], sentence: str
) -> None:
    video = VideoConfig.model_validate({"size": 16, "frames": 4, **modality})
    with pytest.raises((ConfigError, UsageError), match=sentence):
        build(EncoderConfig.model_validate(encoder), video)


def test_weights_of_the_family_start_a_run_if_they_read_the_same_clips(tmp_path: Path) -> None:
    settings = transformers.VideoMAEConfig(
        image_size=16, patch_size=4, num_frames=4, hidden_size=48, num_hidden_layers=2,
        num_attention_heads=2, intermediate_size=96, decoder_hidden_size=32,
        decoder_num_attention_heads=1, decoder_num_hidden_layers=1, use_mean_pooling=False,
    )  # fmt: skip
    theirs = transformers.VideoMAEForPreTraining(settings).eval()
    theirs.save_pretrained(tmp_path)
    video = VideoConfig(size=16, frames=4)
    made = build(EncoderConfig(name="hf:videomae-mini", init=str(tmp_path)), video).eval()
    clips = torch.randn(2, 4, 3, 16, 16)
    want = theirs.videomae(clips).last_hidden_state.mean(1)
    torch.testing.assert_close(made(clips), want, rtol=1e-4, atol=1e-5)
    with pytest.raises(ConfigError, match=r"Set modality\.frames=4 modality\.size=16"):
        build(EncoderConfig(name="hf:videomae-mini", init=str(tmp_path)), VideoConfig(size=32))


@pytest.mark.parametrize("method", ["simclr", "dino", "byol", "lejepa"])
def test_methods_of_two_views_learn_from_clips(
    method: str, clip_folder: Path, tmp_path: Path
) -> None:
    """Small views too, whose positions lie between those of the whole."""
    tree = small_config("videomae", clip_folder, steps=2).model_dump()
    tree["method"] = {"name": method, **SMALL[method]["method"]}
    run = loop.pretrain(configs.build(tree), tmp_path / "run", quiet=True)
    losses = [line["loss"] for line in read_lines(run / "metrics.jsonl")]
    assert len(losses) == 2
    assert np.isfinite(losses).all()


def test_the_report_shows_what_vjepa_hides(clip_folder: Path, tmp_path: Path) -> None:
    run = Run.open(
        loop.pretrain(small_config("vjepa", clip_folder, steps=1), tmp_path / "r", quiet=True)
    )
    assert not draw_samples(run, ["masks"])
    drawer = VideoSamples(run, 1)
    said = json.loads((run.folder / "samples" / "masks.json").read_text())["caption"]
    for hidden in run.method().masks(drawer.batch(4).keys, 1 / 1):
        assert f"{hidden.float().mean():.0%}" in said
