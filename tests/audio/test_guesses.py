"""What a method of recordings said, as frames, and recordings that can be heard on the page."""

from __future__ import annotations

import base64
import json
import wave
from io import BytesIO
from pathlib import Path

import pytest
import torch

from tests.loop.running import small_config
from unlabeled import loop, report
from unlabeled.report import sound_masks
from unlabeled.report.pictures import audible
from unlabeled.report.samples import draw_samples
from unlabeled.report.sound_samples import SoundSamples
from unlabeled.runs import Run


@pytest.fixture(scope="module", params=["hubert", "apc"])
def run(
    request: pytest.FixtureRequest, sound_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Run:
    """Return a short run of a method whose guesses can be drawn."""
    place = tmp_path_factory.mktemp("guesses") / "run"
    config = small_config(request.param, sound_folder, steps=2)
    return Run.open(loop.pretrain(config, place, quiet=True))


def test_what_was_heard_stays_and_what_was_hidden_is_said(run: Run) -> None:
    samples = SoundSamples(run, 2)
    batch = samples.batch(4)
    found = sound_masks.asked(samples.method, batch, samples.modality.examples)
    assert found.original.shape == found.masked.shape == found.said.shape
    same = (found.said == found.original).all(-1)  # (B, T)
    assert same.any()
    assert not same.all()
    gone = (found.masked == 0).all(-1) & (found.original != 0).any(-1)
    assert gone.any()
    assert not (same & gone).any()
    torch.testing.assert_close(found.masked[same], found.original[same])


def test_a_code_looks_like_the_mean_of_its_frames(run: Run) -> None:
    samples = SoundSamples(run, 2)
    method, clips = samples.method, samples.modality.examples
    if not hasattr(method, "codes_of"):
        pytest.skip("apc has no codes")
    table = sound_masks.means(method, clips, method.config.num_codes)
    heard = method.encoder.heard(clips)
    code = method.codes_of(clips)[heard]
    chosen = int(code[0])
    frames = method.encoder.stacked(clips)[heard][code == chosen]
    torch.testing.assert_close(table[chosen], frames.mean(0), atol=1e-4, rtol=1e-4)


def test_the_page_shows_them_with_players(run: Run, tmp_path: Path) -> None:
    assert not draw_samples(run)
    place = run.folder / "samples"
    assert (place / "masks.png").is_file()
    sounds = json.loads((place / "neighbours.json").read_text(encoding="utf-8"))["sounds"]
    with wave.open(BytesIO(base64.b64decode(next(iter(sounds.values()))))) as file:
        assert (file.getframerate(), file.getnchannels()) == (8000, 1)
    text = report.build([run.folder], tmp_path / "r.html").read_text(encoding="utf-8")
    assert text.count("<audio controls") == 36  # twelve queries with two neighbours each
    assert "media-src data:" in text
    assert ("Heard, hidden, named" in text) or ("Heard and foretold" in text)


@pytest.mark.parametrize(
    "hostile", ["", None, "x", '"><script>', base64.b64encode(b"<svg onload=x>").decode()]
)
def test_only_sound_reaches_the_page(hostile: str | None) -> None:
    assert audible(hostile) == ""
