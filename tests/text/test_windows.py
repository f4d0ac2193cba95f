"""Long documents are read in windows, and a feature is the mean over them, weighted by tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from unlabeled.config import EncoderConfig, ImageConfig, RunConfig, TextConfig
from unlabeled.encoders import families, language
from unlabeled.encoders import load as load_encoder
from unlabeled.errors import ConfigError, UsageError
from unlabeled.nn import packing
from unlabeled.runs import Run
from unlabeled.transfer.features import features
from unlabeled.transfer.kept import TextClassifier, for_text

TEXTS = ["sun moon.", "", " ".join(["river stone tree"] * 30), " ".join(["bird"] * 41)]


def encoder_of(text: Any, name: str = "hf:bert-2x32h2", **options: Any) -> language.Language:
    torch.manual_seed(0)
    config = EncoderConfig(name=name, **options)
    return language.build(config, text.config, text.vocab_size).eval()


def test_windows_hold_the_whole_document_in_equal_pieces(wordpiece: Any) -> None:
    text = wordpiece[2]
    special = len(text.opens) + len(text.closes)
    for row, body in zip(text.windows(TEXTS, 16), text.encode(TEXTS), strict=True):
        ids, numbers = row.long()
        parts = [ids[numbers == n].tolist() for n in range(int(numbers.max()) + 1)]
        assert [t for part in parts for t in part if t not in text.special_ids] == body
        assert all(part[0] == text.opens[0] and part[-1] == text.closes[0] for part in parts)
        assert max(map(len, parts)) <= 16
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
        assert len(parts) == max(1, -(-len(body) // (16 - special)))
    few = text.windows(TEXTS, 16, 2)[2]
    assert torch.equal(few[0], text.encode_documents(TEXTS[2:3], 16, 2)[0, 0])
    assert int(few[1].max()) == 1


def test_the_feature_is_the_librarys_mean_over_windows(wordpiece: Any, tmp_path: Path) -> None:
    text = wordpiece[2]
    encoder = encoder_of(text)
    found = features(encoder, text, TEXTS, batch_size=3, length=16)
    encoder.save(tmp_path)
    model = transformers.AutoModel.from_pretrained(tmp_path, add_pooling_layer=False).eval()
    for feature, row in zip(found, text.windows(TEXTS, 16), strict=True):
        total, count = torch.zeros(32), 0
        for number in range(int(row[1].max()) + 1):
            ids = row[0][row[1] == number].long()[None]
            with torch.no_grad():
                total += model(input_ids=ids).last_hidden_state[0].sum(0)
            count += ids.shape[1]
        assert np.allclose(feature, total / count, atol=1e-5)


def test_batches_are_bounded_and_change_nothing(
    wordpiece: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = wordpiece[2]
    encoder = encoder_of(text)
    whole = features(encoder, text, TEXTS, length=16)
    seen: list[int] = []
    monkeypatch.setattr("unlabeled.transfer.features.MOST_TOKENS", 50)
    monkeypatch.setattr(
        encoder, "forward", lambda x, f=encoder.forward: seen.append(x.numel()) or f(x)
    )
    assert np.allclose(features(encoder, text, TEXTS, length=16), whole, atol=1e-5)
    assert len(seen) > 2
    assert np.allclose(features(encoder, text, TEXTS[::-1], length=16)[::-1], whole, atol=1e-5)


def test_unfolded_documents_come_back(wordpiece: Any) -> None:
    x = torch.tensor(
        [[[5, 6, 7, 8], [0, 0, 1, 1]], [[9, 3, 0, 0], [0, 1, -1, -1]], [[0] * 4, [-1] * 4]]
    )
    rows, owner, sizes = packing.unfold(x)
    assert rows[:, 0].tolist() == [[5, 6], [7, 8], [9, 0], [3, 0]]
    assert rows[:, 1].tolist() == [[0, 0], [0, 0], [0, -1], [0, -1]]
    assert (owner.tolist(), sizes.tolist()) == ([0, 0, 1, 1], [2, 2, 1, 1])
    means = packing.refold(torch.tensor([[1.0], [3.0], [4.0], [6.0]]), owner, sizes, 3)
    assert means[:, 0].tolist() == [2.0, 5.0, 0.0]


@pytest.mark.parametrize("name", ["hf:bert-3x32h2", "hf:gpt2-3x32h2", "hf:llama-3x32h2"])
@pytest.mark.parametrize("pool", ["avg", "token", "last"])
def test_pooling_and_layer_are_the_librarys_hidden_states(
    name: str, pool: str, wordpiece: Any, tmp_path: Path
) -> None:
    text = wordpiece[2]
    encoder = encoder_of(text, name, pool=pool, layer=1)
    encoder.save(tmp_path)
    again = load_encoder(tmp_path)
    x = text.encode_documents(["sun moon river stone tree", "bird"], 32)
    lone = x[:1, :, : int((x[0, 1] >= 0).sum())]
    model = transformers.AutoModel.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        states = model(input_ids=lone[:, 0], output_hidden_states=True).hidden_states[1][0]
        expected = {"avg": states.mean(0), "token": states[0], "last": states[-1]}[pool]
        torch.testing.assert_close(encoder(x)[0], expected, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(again(x), encoder(x))
    with pytest.raises(ConfigError, match=r"encoder\.layer=4.*0 \(embeddings\) to 3"):
        encoder_of(text, name, layer=4)


def test_the_last_layer_is_the_default(wordpiece: Any) -> None:
    text = wordpiece[2]
    x = text.encode_documents(TEXTS, 32, 4)
    with torch.no_grad():
        torch.testing.assert_close(
            encoder_of(text, layer=2)(x), encoder_of(text)(x), atol=0, rtol=0
        )
    assert families.FAMILIES  # the table that `layer` counts in


def test_a_classifier_averages_its_windows(wordpiece: Any) -> None:
    text = wordpiece[2]
    model = for_text(encoder_of(text), text, ["bad", "good"], 0).eval()
    assert isinstance(model, TextClassifier)
    x = text.encode_documents(TEXTS[2:3], 16, 8)
    with torch.no_grad():
        parts, weights = [], []
        for number in range(int(x[0, 1].max()) + 1):
            ids = x[:, 0, x[0, 1] == number]
            parts.append(model.full(input_ids=ids).logits[0])
            weights.append(ids.shape[1])
        share = torch.tensor(weights, dtype=torch.float32) / sum(weights)
        expected = (torch.stack(parts) * share[:, None]).sum(0)
        torch.testing.assert_close(model(x)[0], expected, atol=1e-5, rtol=1e-4)


def test_windows_are_asked_for_afterwards(tmp_path: Path) -> None:
    def run(kind: str, modality: Any) -> Run:
        network = EncoderConfig(name="x")
        data: Any = {"path": "x", "kind": kind}
        return Run(
            tmp_path, RunConfig(data=data, modality=modality, encoder=network, method={"name": "x"})
        )

    changed = run("text", TextConfig()).with_windows(3)
    assert isinstance(changed.config.modality, TextConfig)
    assert changed.config.modality.windows == 3
    with pytest.raises(UsageError, match="run of image"):
        run("image", ImageConfig()).with_windows(3)
