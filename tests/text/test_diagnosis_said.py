"""Sentences of the diagnosis come out of the command, from text that deserves it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.text.sources import stories
from unlabeled.cli import main
from unlabeled.modalities import tokenizer as tokenizers

SMALL = ["loop.threads=1", "loop.batch=4", "modality.length=16", "loop.log_steps=1"]
GPT = ["--method", "gpt", "encoder.name=hf:llama-1x32h2", *SMALL]
BERT = ["--method", "bert", "encoder.name=hf:bert-1x32h2", *SMALL]


def folder(place: Path, texts: list[str]) -> str:
    place.mkdir()
    for number, text in enumerate(texts):
        (place / f"{number:03d}.txt").write_text(text, encoding="utf-8")
    return str(place)


def said(capsys: pytest.CaptureFixture[str], tmp_path: Path, *words: str) -> str:
    assert main(["pretrain", *words, "--out", str(tmp_path / "run")]) == 0
    return " ".join(capsys.readouterr().out.split())


def test_copies_and_little_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = folder(tmp_path / "data", [*stories(30), *stories(10)])
    found = said(capsys, tmp_path, data, *GPT, "--steps", "2", "modality.vocab_size=600")
    assert "documents are copies of another" in found
    assert "Too little text for the vocabulary" in found


def test_a_foreign_tokenizer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = tokenizers.train("wordpiece", stories(), 300, 16)
    given.save_pretrained(str(tmp_path / "given"))
    draws = np.random.default_rng(0)
    foreign = ["".join(map(chr, draws.integers(0x4E00, 0x5000, 40))) for _ in range(40)]
    data = folder(tmp_path / "data", foreign)
    tokenizer = f"modality.tokenizer={tmp_path / 'given'}"
    found = said(capsys, tmp_path, data, *BERT, "--steps", "3", tokenizer)
    assert "The tokenizer wastes its vocabulary" in found
    assert "of the tokens are unknown to the tokenizer" in found
    assert "had nothing to guess" in found


def test_a_rate_that_teaches_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = folder(tmp_path / "data", stories(40))
    rates = ["optim.lr=1e-9", "optim.muon_lr=1e-9"]
    found = said(capsys, tmp_path, data, *GPT, "--steps", "12", "modality.vocab_size=300", *rates)
    assert "no better than the" in found
    assert "single-token frequencies" in found
