"""Transcripts: the loss against all alignments, decoding, error rates, and a run that learns."""

import itertools
import wave
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from unlabeled import encoders
from unlabeled.cli import write
from unlabeled.config import AudioConfig, DataConfig, EncoderConfig, RunConfig
from unlabeled.data.find import find
from unlabeled.errors import UsageError
from unlabeled.modalities.audio import Audio
from unlabeled.transfer import transcribe, transcripts
from unlabeled.transfer.readings import Search
from unlabeled.transfer.transcripts import Alphabet
from unlabeled.types import PLAIN


def test_the_loss_is_that_of_all_alignments():
    torch.manual_seed(0)
    alphabet = Alphabet("ab")
    logits = torch.randn(2, 5, 3)
    real = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    target = torch.from_numpy(alphabet.encode(["aba", "b"]))
    expected = []
    for row, frames, text in zip(logits.double(), (5, 3), ("aba", "b"), strict=True):
        chances = row[:frames].softmax(1)
        total = sum(
            float(chances[range(frames), path].prod())
            for path in itertools.product(range(3), repeat=frames)
            if alphabet.decode(np.array(path)) == text
        )
        expected.append(-np.log(total) / len(text))
    found = transcripts.loss(transcripts.silent(logits, real), target)
    assert float(found) == pytest.approx(np.mean(expected), rel=1e-5)


def test_equal_neighbours_need_a_frame_between_them():
    target = Alphabet("elo").encode(["lool", "e"])
    assert transcripts.frames_needed(target).tolist() == [5, 1]


def test_error_rates_and_their_intervals():
    said, real = ["one"] * 80 + ["ene"] * 20, ["one"] * 100
    rate, low, high = transcripts.error_rate(said, real)
    assert rate == pytest.approx(20 / 300)
    half = 1.96 * (1 / 3) * np.sqrt(0.2 * 0.8 / 100)
    assert (rate - low, high - rate) == pytest.approx((half, half), rel=0.25)
    group = np.array(["a"] * 80 + ["b"] * 20)
    assert transcripts.error_rate(said, real, group=group)[1:] == (0, pytest.approx(1 / 3))


TONES = {"a": 500.0, "b": 1200.0, "c": 2500.0}


def spoken(folder, text: str, name: str, rng) -> None:
    """Write a recording in which every letter is a tone of its own, apart by silence."""
    parts = []
    for letter in text:
        time = np.arange(int(rng.integers(700, 1000))) / 8000
        tone = 0.3 * np.sin(2 * np.pi * TONES[letter] * (time + rng.random()))
        parts += [tone, np.zeros(int(rng.integers(200, 400)))]
    sound = np.concatenate(parts) + rng.normal(scale=0.01, size=sum(map(len, parts)))
    with wave.open(str(folder / name), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes((sound * 32767).clip(-32768, 32767).astype("<i2").tobytes())


@pytest.fixture
def run(tmp_path, monkeypatch):
    pytest.importorskip("soundfile")
    rng = np.random.default_rng(0)
    data = tmp_path / "sounds"
    data.mkdir()
    rows = ["path,transcript,speaker"]
    for number in range(60):
        text = "".join(rng.choice(list("abc"), int(rng.integers(1, 4))))
        spoken(data, text, f"{number:02d}.wav", rng)
        rows.append(f"{number:02d}.wav,{text},s{number % 6}")
    (tmp_path / "texts.csv").write_text("\n".join(rows) + "\n")
    config = RunConfig(
        data=DataConfig(path=str(data), kind="audio"),
        modality=AudioConfig(rate=8000, seconds=0.6, mels=20),
        encoder=EncoderConfig(name="hf:bert-2x32h2"), method={"name": "apc"},
    )  # fmt: skip

    def fresh():
        torch.manual_seed(0)
        return encoders.build(config.encoder, config.modality).eval()

    search = Search((PLAIN,), rates=(4e-3,), lengths=(1.0,), epochs=1, fewest=250, most=250)
    monkeypatch.setattr(transcribe, "SEARCH", search)
    return SimpleNamespace(
        folder=tmp_path, config=config, modality=lambda: Audio(config.modality), encoder=fresh,
        source=lambda: find(str(data), "audio"),
    )  # fmt: skip


def test_tones_are_read_as_letters_and_the_transcriber_is_kept(run, monkeypatch):
    found = transcribe.finetune(run, run.folder / "texts.csv", label_column="transcript")
    assert found.alphabet.letters == "abc"
    assert (found.validation, found.train, found.left_out) == (20, 40, 0)  # two speakers of six
    assert found.error < 0.2
    assert found.low <= found.error <= found.high
    assert found.constant_error > 0.5
    monkeypatch.setattr("unlabeled.runs.Run.open", lambda folder: run)
    count = write.transcripts(run.folder, run.source(), run.folder / "out.csv")
    lines = (run.folder / "out.csv").read_text().splitlines()
    assert (count.good, lines[0]) == (60, "path,text")
    real = [line.split(",")[1] for line in (run.folder / "texts.csv").read_text().splitlines()[1:]]
    said = [line.split(",")[1] for line in lines[1:]]
    assert transcripts.error_rate(said, real)[0] < 0.2


def test_what_cannot_be_transcribed_is_told(run):
    with pytest.raises(UsageError, match="has no transcriber yet"):
        transcribe.load(run.folder / "finetune")
    run.config = run.config.model_copy(update={"data": DataConfig(path="x", kind="text")})
    with pytest.raises(UsageError, match="is for recordings, and these data are text"):
        transcribe.finetune(run, None)
