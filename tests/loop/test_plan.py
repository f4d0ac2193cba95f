"""Choices: what is asked for wins, the rest is chosen once, each with a reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from unlabeled import config, presets
from unlabeled.errors import ConfigError, UsageError
from unlabeled.plan import Plan, Request, plan


def _images(folder: Path, size: tuple[int, int], colour: bool, count: int = 40) -> Path:
    folder.mkdir()
    draws = np.random.default_rng(0)
    for number in range(count):
        shape = (size[1], size[0], 3) if colour else (size[1], size[0])
        pixels = draws.integers(0, 256, shape).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def _chosen(found: Plan) -> dict[str, Any]:
    return {choice.name: choice.value for choice in found.choices}


def test_every_choice_has_a_reason_and_the_file_repeats_them(tmp_path: Path) -> None:
    found = plan(Request(str(_images(tmp_path / "a", (32, 32), True)), seconds=60))
    assert all(choice.reason for choice in found.choices)
    assert config.build(config.load(_write(tmp_path, found))) == found.config


def _write(folder: Path, found: Plan) -> Path:
    (folder / "config.toml").write_text(config.dump(found.config))
    return folder / "config.toml"


@pytest.mark.parametrize(
    ("size", "colour", "expected", "channels", "patch"),
    [
        ((28, 28), False, 28, 1, 4),
        ((32, 32), True, 32, 3, 4),
        ((400, 300), True, 96, 3, 12),
    ],
)
def test_size_channels_and_patches_follow_the_images(
    size: tuple[int, int], colour: bool, expected: int, channels: int, patch: int, tmp_path: Path
) -> None:
    found = plan(Request(str(_images(tmp_path / "a", size, colour)), method="mae", steps=1))
    modality: Any = found.config.modality
    assert (modality.size, modality.channels) == (expected, channels)
    assert found.config.encoder.patch == patch
    assert len(modality.mean) == channels


def test_what_is_asked_for_wins(image_folder: Path) -> None:
    asked = {"optim": {"lr": 0.5}, "encoder": {"options": {}}, "loop": {"batch": 8}}
    found = plan(Request(str(image_folder), seconds=60, overrides=asked))
    assert found.config.optim.lr == 0.5
    assert found.config.encoder.options == {}
    assert _chosen(found)["optim.lr"] == 0.5


def test_a_short_budget_gets_a_small_network(image_folder: Path) -> None:
    short, longer, longest = (
        plan(Request(str(image_folder), seconds=seconds)).config.encoder
        for seconds in (60, 3600, 1e6)
    )
    assert "layers" in short.options
    assert list(longer.options) == ["channels"]
    assert longest.options == {}
    assert (short.small_stem, longer.small_stem, longest.small_stem) == (False, True, True)
    assert plan(Request(str(image_folder), steps=5)).config.encoder.small_stem


def test_a_coarse_stem_is_for_few_seconds_of_slow_cores() -> None:
    assert presets.coarse(600, 2, None)
    assert not presets.coarse(600, 2, "AMX")
    assert not presets.coarse(600, 16, None)


def test_short_runs_take_what_was_found_for_them_unless_it_is_asked_for(image_folder: Path) -> None:
    short = plan(Request(str(image_folder), method="dino", seconds=60))
    assert short.config.method["balance"] == "sinkhorn"
    assert short.config.optim.weight_decay_end == 0.04
    reasons = {choice.name: choice.reason for choice in short.choices}
    assert "docs/log.md" in reasons["method.balance"]
    asked = {"method": {"balance": "centre"}, "optim": {"name": "sgd"}}
    other = plan(Request(str(image_folder), method="dino", seconds=60, overrides=asked)).config
    assert other.method["balance"] == "centre"
    assert other.optim.weight_decay_end is None  # made for the recipe's optimiser
    longest = plan(Request(str(image_folder), method="dino", seconds=1e6)).config
    assert "balance" not in longest.method
    assert longest.optim.weight_decay_end == 0.4


def test_text_gets_a_vocabulary_for_its_size_and_one_text_is_held_out_by_its_tail(
    text_folder: Path, tmp_path: Path
) -> None:
    many: Any = plan(Request(str(text_folder), steps=1)).config.modality
    assert many.vocab_size == 2048
    assert many.split == "document"
    (tmp_path / "one.txt").write_text("to be or not to be " * 400)
    one = plan(Request(str(tmp_path / "one.txt"), method="gpt", steps=1)).config
    text: Any = one.modality
    assert text.split == "tail"
    assert one.data.held_out == 0.1


@pytest.mark.parametrize(
    ("count", "words", "expected"),
    [(1200, 120, "contriever"), (1200, 12, "bert"), (300, 120, "bert")],
)
def test_many_long_documents_get_crops(
    count: int, words: int, expected: str, tmp_path: Path
) -> None:
    path = tmp_path / "texts.csv"
    path.write_text("text\n" + "".join(f"{i} {'word ' * words}\n" for i in range(count)))
    found = plan(Request(str(path), steps=1, kind="text"))
    assert found.config.method["name"] == expected
    begun = plan(Request(str(path), steps=1, kind="text", method="gpt"))
    assert begun.config.method["name"] == "gpt"


@pytest.mark.parametrize(
    ("request_", "error", "sentence"),
    [
        ({"method": "simclrr"}, UsageError, "Did you mean 'simclr'"),
        ({"method": "bert"}, ConfigError, "Methods for image: barlow, .*simclr"),
        ({"overrides": {"optim": {"lr": -1}}}, UsageError, "optim.lr=-1"),
        ({"overrides": {"optim": {"rate": 1}}}, UsageError, "no option optim.rate"),
        ({"overrides": {"optimizer": {"lr": 1}}}, UsageError, "no section optimizer"),
        ({"overrides": {"method": {"temprature": 1}}}, UsageError, "Did you mean 'temperature'"),
    ],
)
def test_what_cannot_be_is_said(
    request_: dict[str, Any], error: type[Exception], sentence: str, image_folder: Path
) -> None:
    with pytest.raises(error, match=sentence):
        plan(Request(str(image_folder), steps=1, **request_))


def test_the_rate_follows_a_batch_that_few_samples_make_small(tmp_path: Path) -> None:
    """38 of 40 images are not held out: none meets itself; the rate is 38 / 256 of the whole."""
    found = plan(Request(str(_images(tmp_path / "a", (32, 32), True)), method="simclr", seconds=60))
    assert found.config.loop.batch == 38
    assert presets.SHORT["simclr"].lr is not None
    assert found.config.optim.lr == pytest.approx(presets.SHORT["simclr"].lr * 38 / 256, rel=1e-3)
    asked = Request(
        str(tmp_path / "a"), method="simclr", seconds=60, overrides={"loop": {"batch": 20}}
    )
    assert plan(asked).config.loop.batch == 20
