"""Frames of sound and steps of logs: when tokens are, exact counts, whole studies, readers."""

from __future__ import annotations

import csv
import json
import wave
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas
import pytest
import torch
from torch import nn

from tests.loop.running import small_config
from unlabeled import encoders, loop
from unlabeled.cli import main
from unlabeled.config import EncoderConfig
from unlabeled.data.find import find
from unlabeled.data.spans import from_column, read
from unlabeled.errors import UsageError
from unlabeled.modalities.audio import Audio
from unlabeled.modalities.series import Series
from unlabeled.runs import Run
from unlabeled.transfer import tag_form, tag_roster, tag_split, tagging
from unlabeled.transfer.frame_baselines import Around, _windows
from unlabeled.transfer.frame_clock import Clock, clock_of
from unlabeled.transfer.frame_rows import FrameRows
from unlabeled.transfer.readings import Search
from unlabeled.transfer.tag_features import Beside
from unlabeled.transfer.tag_form import asked
from unlabeled.types import PLAIN

RATE, PITCHES = 8000, {"low": 300.0, "high": 1500.0}


def tones(folder: Path, count: int = 16) -> Path:
    """Write recordings of tones with noise between, and the table of which is when."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(count):
        path, begin, parts = folder / "sounds" / f"{number:02d}.wav", 0.0, []
        for place, name in enumerate([*rng.permutation([*PITCHES, ""]), "low"]):
            seconds = round(float(rng.uniform(0.1, 0.25)), 2)
            t = np.arange(round(seconds * RATE)) / RATE
            tone = 0.4 * np.sin(2 * np.pi * PITCHES.get(name, 0.0) * t)
            parts.append(tone + rng.normal(0, 0.01, len(t)))
            if name:
                rows.append((f"{path.name}", f"{begin:.2f}", f"{begin + seconds:.2f}", name))
            begin = round(begin + seconds, 2)
            assert place < 4
        path.parent.mkdir(exist_ok=True)
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE)
            file.writeframes((np.concatenate(parts) * 32767).astype("<i2").tobytes())
    with (folder / "spans.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "start", "end", "label"), *rows])
    return folder / "sounds"


def regimes(folder: Path, count: int = 16) -> Path:
    """Write logs of a weight on a spring whose stiffness changes, which a column tells."""
    (folder / "logs").mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        state, rows = rng.normal(size=2), []
        change = int(rng.integers(20, 44))
        for step in range(64):
            stiff = (step < change) == (number % 2 == 0)
            push = float(rng.normal(0, 0.3))
            label = "" if step == 3 else "stiff" if stiff else "soft"
            rows.append([*state, push, label])
            speed = state[1] + 0.3 * (push - (2.0 if stiff else 0.2) * state[0] - 0.1 * state[1])
            state = np.array([state[0] + 0.3 * speed, speed])
        frame = pandas.DataFrame(rows, columns=["place", "speed", "action.push", "regime"])
        frame.to_csv(folder / "logs" / f"{number:02d}.csv", index=False)
    return folder / "logs"


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tones")
    config = small_config("apc", tones(folder), steps=2)
    read_as = config.modality.model_copy(update={"rate": RATE, "trim": 20.0})
    loop.pretrain(config.model_copy(update={"modality": read_as}), folder / "run", quiet=True)
    return folder


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("regimes")
    loop.pretrain(small_config("mtm", regimes(folder), steps=2), folder / "run", quiet=True)
    return folder


class Middles(nn.Module):
    """Says of every token the mean of what its stack holds: of a ramp its own middle."""

    def __init__(self, stack):
        super().__init__()
        self.stack = stack

    def forward(self, x):
        values = x[..., 0][:, : x.shape[1] // self.stack * self.stack]
        return values.reshape(len(x), -1, self.stack).mean(2, keepdim=True)


def ramp(folder: Path, steps: int) -> Path:
    folder.mkdir()
    for number in range(2):
        frame = pandas.DataFrame({"x": np.arange(steps) + 500.0 * number})
        frame["label"] = np.where(np.arange(steps) < 21, "a", "b")
        frame.to_csv(folder / f"{number}.csv", index=False)
    return folder


def test_windows_cover_every_token_once_in_order(tmp_path):
    """Tokens of a ramp say themselves when they are, whatever window they are read in."""
    config = SimpleNamespace(observations=("x",), actions=(), mean=(0.0,), std=(1.0,), change=(1,),
                             length=16, shortest=2, missing=0.5)  # fmt: skip
    modality = Series(config)
    source = find(str(ramp(tmp_path / "ramp", 90)), "series", window=40)
    found = from_column(source, "label")
    assert [len(whole.parts) for whole in found.wholes] == [3, 3]
    clock = clock_of(SimpleNamespace(modality="series", stack=4), modality)
    assert (clock.room, clock.span) == (4, 16)
    rows = FrameRows(found, modality, clock)
    assert rows.starts.tolist() == [0, 24, 48]  # 30 steps a part are 8 tokens, the last half empty
    chosen = np.array([1, 0])
    items = rows.items_of(chosen)
    whole = rows.token[items] < 7  # the last is padded
    said = rows.at_items(Middles(4), chosen, batch=3)[:, 0]
    # a token of the steps 4n to 4n + 3 has the mean 4n + 1.5, and its middle is at 4n + 2
    middles = rows.moment[items] - 0.5 + 500 * (items >= 24)
    np.testing.assert_allclose(said[whole], middles[whole])
    # steps 0 to 20 are a: tokens 0 to 4 wholly, and one step of four of token 5
    assert [found.classes[tag] for tag in rows.labels[:7]] == ["a"] * 5 + ["b"] * 2
    tags = rows.tags()
    assert (tags != -100).sum() == 48
    assert tags[rows.row, rows.place].tolist() == rows.labels.tolist()


def test_tokens_of_samples_see_what_the_clock_says():
    """The gradient of a token reaches the samples that the clock names, and no other."""
    from unlabeled.config import AudioConfig

    audio = AudioConfig(form="wave", seconds=0.2, rate=16_000)
    encoder = encoders.build(EncoderConfig(name="hf:wav2vec2-1x32"), audio)
    clock = clock_of(encoder, Audio(audio))
    assert clock.step == 0.02
    assert clock.asked == (0.0125,)
    x = torch.ones(1, 2, 3200)
    x[:, 0] = torch.randn(1, 3200, generator=torch.Generator().manual_seed(0))
    x.requires_grad_()
    convolved = encoder.model.feature_extractor.conv_layers[0].conv(x[:, :1])
    for layer in encoder.model.feature_extractor.conv_layers[1:]:
        convolved = layer.conv(convolved)  # without the norm over time, which sees everything
    convolved[0, :, 4].square().sum().backward()
    reached = x.grad[0, 0].nonzero().flatten()
    assert (int(reached[0]), int(reached[-1]) + 1) == (
        4 * clock.stack,
        4 * clock.stack + clock.reach,
    )
    middle = (reached[0] + reached[-1] + 1) / 2 / 16_000
    assert float(middle) == pytest.approx(clock.moments(5)[4, 0])
    assert convolved.shape[2] == clock.count(3200) == clock.room


def test_frames_get_the_label_of_their_middle(sounds):
    run = Run.open(sounds / "run")
    form = tag_form.form_of(run)
    found = form.read(sounds / "spans.csv", None)
    rows = form.rows(found)
    clock = form.clock
    # two frames of 25 ms, 10 ms apart, make a token of 20 ms
    assert (clock.step, clock.asked) == (0.02, (0.0175,))
    assert form.modality.config.trim == 0.0
    with (sounds / "spans.csv").open() as file:
        spans = [row for row in csv.DictReader(file) if row["path"] == "05.wav"]
    number = [whole.name for whole in found.wholes].index("05.wav")
    frames = 1 + (round(found.lengths[number] * RATE) - 200) // 80
    tokens = -(-frames // 2)
    expected = {name: 0 for name in PITCHES}
    for span in spans:
        begin, end = float(span["start"]), float(span["end"])
        expected[span["label"]] += sum(begin <= 0.02 * n + 0.0175 < end for n in range(tokens))
    mine = rows.labels[rows.items_of(np.array([number]))]
    there = {name: int((mine == i).sum()) for i, name in enumerate(found.classes)}
    assert len(mine) == tokens
    assert {name: there[name] for name in expected} == expected
    assert there["other"] == tokens - sum(expected.values())


def test_what_lies_around_is_counted_by_what_is_there():
    rows = SimpleNamespace(
        samples=[np.array([[1.0, 0], [3, np.nan], [2, 2], [8, 4]])],
        clock=Clock(2.0, (0.5, 1.5), 2, 4, 2, 2),
        modality=SimpleNamespace(config=SimpleNamespace(mean=(0.0, 0.0), std=(1.0, 2.0))),
    )
    found = _windows(rows, far=1)[0]
    second = [0.0, 1.0, 2.0]
    expected = [5, 1.5, 6, 1, 3.5, 1.0, np.std([1, 3, 2, 8]), np.std(second), 9 / 4, 0.5]
    np.testing.assert_allclose(found[1], expected, rtol=1e-6)
    known = SimpleNamespace(
        train=SimpleNamespace(
            sample=np.array([0, 0, 1]), token=np.array([0, 1, 0]), starts=np.array([0, 3]),
            items_of=lambda chosen: np.arange(3),
        )
    )  # fmt: skip
    plain = Around(known, lambda rows: [np.array([[1.0], [2.0]]), np.array([[9.0]])], (-1, 0, 1))
    assert plain.train(np.array([0]))[:, 0].tolist() == [[1, 1, 2], [1, 2, 2], [9, 9, 9]]


def test_both_blocks_weigh_the_same_side_by_side():
    def part(width):
        return SimpleNamespace(checked=np.zeros((2, 1, width), np.float32))

    sizes = Beside(part(3), part(12)).sizes
    assert (sizes[:3] ** 2).sum() == pytest.approx((sizes[3:] ** 2).sum())
    assert (sizes**2).sum() / 15 == pytest.approx(2)  # both have the length they have alone


def judged(place: Path, *words: str) -> dict:
    run = str(place / "run")
    assert main(["evaluate", run, *words]) == 0
    return json.loads((place / "run" / "evaluate" / "results.json").read_text())


def predicted(out: Path) -> dict[str, list[dict[str, str]]]:
    rows: dict[str, list[dict[str, str]]] = {}
    with out.open() as file:
        for row in csv.DictReader(file):
            rows.setdefault(row["path"], []).append(row)
    return rows


@pytest.fixture
def short(monkeypatch):
    """Make trainings short."""
    search = Search((PLAIN,), rates=(1e-3,), lengths=(1.0,), epochs=1, fewest=12, most=12)
    monkeypatch.setattr(tag_roster, "search_of", lambda quick: search)


def test_frames_of_sound_from_the_command_line(sounds, capsys, short):
    labels, run = str(sounds / "spans.csv"), str(sounds / "run")
    arms = "knn,probe,untrained,frames,joined,finetune,scratch"
    found = judged(sounds, "--labels", labels, "--counts", "2,8", "--draws", "1", "--quick",
                   "--arms", arms)  # fmt: skip
    said = " ".join(capsys.readouterr().out.split())
    assert (found["task"], found["counts"]) == ("frames", [2, 8])
    assert found["classes"] == ["high", "low", "other"]
    assert found["split"]["how"] == "a random quarter of the recordings"
    assert found["split"]["test"] == 4
    assert found["split"]["transductive"]
    assert "labelled recordings" in said
    assert "a class" not in found["verdict"]
    by = {(row["reading"], row["labels_per_class"]): row["score"] for row in found["rows"]}
    assert {name for name, _ in by} == set(arms.split(","))
    assert by["frames", 8] > 0.9
    # every frame of a recording comes and goes with the others of it
    assert "intervals go by whole recordings" in " ".join(found["notes"])
    assert main(["finetune", run, "--labels", labels, "--frozen"]) == 0
    out = capsys.readouterr().out
    assert "high, low, other" in out
    assert "Note: Labels cover" in out
    assert main(["predict", run, str(sounds / "sounds"), "--out", str(sounds / "out.csv")]) == 0
    rows = predicted(sounds / "out.csv")
    assert len(rows) == 16
    lengths = read(sounds / "spans.csv", find(str(sounds / "sounds")), sounds / "sounds").lengths
    for name, parts in rows.items():
        assert float(parts[0]["start"]) == 0
        assert float(parts[-1]["end"]) == pytest.approx(lengths[int(name[:2])], abs=1e-3)
        assert all(a["end"] == b["start"] and a["label"] != b["label"]
                   for a, b in pairwise(parts))  # fmt: skip
    # what is written can be read as labels again
    assert asked(sounds / "out.csv", str(sounds / "sounds"), "audio", None)


def test_steps_of_logs_from_the_command_line(logs, capsys, short):
    words = ("--labels", "regime", "--task", "tagging")
    found = judged(logs, *words, "--counts", "8", "--draws", "2", "--arms",
                   "knn,probe,windows,untrained_joined")  # fmt: skip
    assert (found["task"], found["classes"]) == ("steps", ["soft", "stiff"])
    assert "labelled episodes" in " ".join(capsys.readouterr().out.split())
    by = {(row["reading"], row["labels_per_class"]): row["score"] for row in found["rows"]}
    assert by["windows", 8] > 0.6
    assert any("98.4% of 1,024 steps of 16 episodes" in note for note in found["notes"])
    assert main(["finetune", str(logs / "run"), *words, "--quick"]) == 0
    capsys.readouterr()
    assert main(["predict", str(logs / "run"), str(logs / "logs"), "--out",
                 str(logs / "out.csv")]) == 0  # fmt: skip
    rows = predicted(logs / "out.csv")
    assert [parts[-1]["end"] for parts in rows.values()] == ["64"] * 16
    assert {int(part["start"]) % 2 for parts in rows.values() for part in parts} == {0}


def test_many_frames_are_tested_by_whole_recordings_up_to_a_limit():
    sizes = np.array([60_000.0, 30_000, 30_000, 30_000, 5_000])
    kept = tag_split.some(np.arange(5), 300, 0, sizes)
    assert 0 < sizes[kept].sum() <= tag_split.MOST_ITEMS
    assert len(kept) >= 2
    assert tag_split.some(np.arange(5), 300, 0).tolist() == [0, 1, 2, 3, 4]
    assert len(tag_split.some(np.arange(2), 300, 0, np.array([2e5, 3e5]))) == 1


def test_a_recording_that_is_tested_is_not_learned_from(sounds, tmp_path):
    run = Run.open(sounds / "run")
    head, *rows = (sounds / "spans.csv").read_text().splitlines()
    tested = tmp_path / "test.csv"
    tested.write_text("\n".join([head, *(row for row in rows if row[:2] in ("03", "04", "11"))]))
    known = tagging.prepare(
        tag_form.form_of(run), sounds / "spans.csv", tested, None, most=20, draws=1, most_test=9,
        seed=0,
    )  # fmt: skip
    names = {whole.name for whole in known.train.source.wholes}
    assert not names & {"03.wav", "04.wav", "11.wav"}
    assert len(names) == 13
    assert any(note.startswith("3 labelled recordings are tested") for note in known.notes)
    assert len(set(known.group.tolist())) == 3


def test_what_has_no_frames_is_told(sounds):
    with pytest.raises(UsageError, match="needs words, recordings or logs, and these data are im"):
        asked(sounds / "spans.csv", "data", "image", "tagging")
    with pytest.raises(UsageError, match="needs labelled stretches of time, and none were given"):
        asked(None, "data", "audio", "tagging")
    assert not asked(sounds / "spans.csv", "data", "audio", "single")
    picture = SimpleNamespace(modality="audio", name="timm:resnet18")
    with pytest.raises(UsageError, match=r"timm:resnet18 are places of a picture"):
        clock_of(picture, SimpleNamespace(config=None))
