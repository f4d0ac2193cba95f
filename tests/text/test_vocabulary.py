"""A tokenizer chosen by what held-out text costs a byte."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from tests.text.sources import stories
from unlabeled.choices import Request
from unlabeled.cli import main
from unlabeled.errors import UsageError
from unlabeled.transfer import vocabulary
from unlabeled.transfer.vocabulary import Cost, Trial, best

SMALL = {
    "encoder": {"name": "hf:llama-1x32h2"},
    "modality": {"length": 32},
    "loop": {"batch": 4, "threads": 1},
}
TRIED = (("bpe", 400), ("char", 100), ("wordpiece", 200))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    for number, story in enumerate(stories(80)):
        (folder / f"{number}.txt").write_text(story)
    return folder


def test_all_train_for_the_same_time_and_are_told_by_bytes(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = iter([0.5, 0.2, 0.25, 0.6, 0.1, 0.25])  # two rounds; the fastest counts
    monkeypatch.setattr(vocabulary, "seconds_per_step", lambda *args, **kwargs: next(taken))
    trial = Trial(Request(str(corpus), kind="text", overrides=SMALL), 1.0, tmp_path, TRIED)
    costs = list(trial.costs())
    assert [cost.steps for cost in costs] == [2, 10, 4]
    assert costs[1].bytes_per_token == pytest.approx(1, abs=0.01)  # a character is a byte here
    uniform = math.log2(costs[1].entries)
    assert 0.3 * uniform < costs[1].bits_per_byte < 1.3 * uniform
    assert [cost.lost for cost in costs] == ["", "", "capitals and spaces"]
    found = best(costs)
    assert found is not None
    assert found.bits_per_byte == min(cost.bits_per_byte for cost in costs[:2])
    assert trial.baselines()["xz"] > 0


def test_what_loses_text_is_never_chosen() -> None:
    def cost(bits: float, lost: str) -> Cost:
        return Cost("bpe", 9, 1.0, 1, 1.0, bits, lost)

    chosen = cost(2.0, "")
    assert best([cost(1.0, "3 characters"), chosen, cost(2.5, "")]) is chosen
    assert best([cost(1.0, "capitals and spaces")]) is None


def test_named_tokenizers_are_refused(corpus: Path, tmp_path: Path) -> None:
    request = Request(str(corpus), kind="text", overrides={"modality": {"vocab_size": 300}})
    with pytest.raises(UsageError, match=r"leave modality\.vocab_size out"):
        list(Trial(request, 1.0, tmp_path).costs())


def test_the_command_names_the_cheapest(
    corpus: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = [Cost("bpe", 512, 2.0, 9, 1.0, 2.5, ""), Cost("byte", 259, 1.0, 20, 0.5, 3.0, "")]
    given: list[Any] = []

    def costs(self: Trial) -> Any:
        given.append((self.seconds, self.request.overrides["encoder"]["name"]))
        return iter(made)

    monkeypatch.setattr(Trial, "costs", costs)
    monkeypatch.setattr(Trial, "baselines", lambda self: {"5-gram": 2.9, "xz": 3.1})
    words = ["inspect", str(corpus), "--tokenizers", "90s", "encoder.name=hf:llama-1x32h2"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert given == [(90.0, "hf:llama-1x32h2")]
    assert "modality.tokenizer=bpe modality.vocab_size=512" in said
    assert "5-gram 2.900; xz 3.100" in said
    assert main(["inspect", str(corpus), "--tokenizers", "soon"]) == 2
    assert "is not a time" in capsys.readouterr().err
