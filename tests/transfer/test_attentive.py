"""The attentive probe and the sum of layers, on encoders of every kind."""

import numpy as np
import pytest
import torch

from unlabeled import encoders
from unlabeled.config import AudioConfig, EncoderConfig, ImageConfig, TextConfig
from unlabeled.errors import UsageError
from unlabeled.transfer import attentive, layered
from unlabeled.transfer.attentive import Tokens
from unlabeled.transfer.hidden import layers_of, pooled_layers, real_tokens

RNG = np.random.default_rng(0)


def marked(count: int, places: int = 12, width: int = 16) -> tuple[Tokens, np.ndarray]:
    """Return samples of which one token tells the class, and says so by its first value."""
    y = RNG.integers(0, 3, count)
    x = RNG.normal(size=(count, places, width)).astype(np.float32)
    x[:, :, 0] = 0.1 * x[:, :, 0]
    x[:, :, 1:4] += 2 * np.eye(3)[RNG.integers(0, 3, (count, places))]  # decoys
    chosen = RNG.integers(0, places, count)
    x[np.arange(count), chosen, 0] = 4
    x[np.arange(count), chosen, 1:4] = 3 * np.eye(3)[y]
    return Tokens(torch.from_numpy(x).half(), torch.ones(count, places, dtype=torch.bool)), y


def test_the_query_finds_the_token_that_tells():
    train, y = marked(400)
    checked, y_checked = marked(200)
    test, y_test = marked(300)
    found = attentive.fit(train, y, 3, checked, y_checked, train)
    mean = [part.values.float().mean(1, keepdim=True).numpy() for part in (train, checked, test)]
    plain = layered.fit(mean[0], y, 3, mean[1], y_checked)
    assert (plain.predict(mean[2]) == y_test).mean() < 0.65
    assert (found.scores(test).argmax(1) == y_test).mean() > 0.9


def test_under_a_strong_penalty_it_is_the_probe_of_the_mean():
    train, y = marked(120)
    found = attentive.fit(train, y, 3, train, y, train, penalties=(1e5,))
    assert float(found.query.norm()) < 0.01
    scaled = (train.values.float() - found.mean) * found.scale
    mean = scaled.mean(1) @ found.weight + found.bias
    assert found.scores(train) == pytest.approx(mean.numpy(), abs=1e-3)


def test_padding_says_nothing():
    train, y = marked(60)
    real = train.real.clone()
    real[::2, 8:] = False
    other = train.values.clone()
    other[~real] = 99
    parts = [Tokens(values, real) for values in (train.values, other)]
    found = [attentive.fit(part, y, 3, part, y, part).scores(part) for part in parts]
    assert found[0] == pytest.approx(found[1], abs=1e-4)


def test_nothing_to_choose_by_takes_the_default_penalty():
    train, y = marked(30)
    nothing = train.take(np.zeros(0, dtype=np.int64))
    assert attentive.fit(train, y, 3, nothing, y[:0], train).penalty == 0.1


def built(kind: str):
    torch.manual_seed(0)
    if kind == "image":
        config = EncoderConfig(name="timm:vit_tiny_patch16_224", patch=8)
        return encoders.build(config, ImageConfig(size=16)), torch.randn(3, 3, 16, 16)
    if kind == "text":
        x = torch.stack([torch.randint(5, 60, (3, 9)), torch.zeros(3, 9, dtype=torch.int64)], 1)
        x[1, 1, 6:] = -1
        return encoders.build(EncoderConfig(name="hf:bert-3x32h2"), TextConfig(vocab_size=64)), x
    audio = AudioConfig(rate=8000, seconds=0.5, mels=16)
    encoder = encoders.build(EncoderConfig(name="hf:bert-3x32h2"), audio)
    x = torch.randn(3, 40, 17)
    x[..., -1] = 1
    x[1, 30:, -1] = 0
    return encoder, x


@pytest.mark.parametrize("kind", ["image", "text", "audio"])
def test_layers_are_those_between_embedding_and_tokens(kind):
    encoder, x = built(kind)
    encoder.eval()
    with torch.no_grad():
        layers = layers_of(encoder, x)
        tokens = encoder.tokens(x)
        pooled = pooled_layers(encoder, x)
        assert torch.equal(layers[-1], tokens)
        assert len(layers) == (13 if kind == "image" else 4)
        assert torch.allclose(pooled[:, -1], encoder(x), atol=1e-6)
        real = real_tokens(encoder, x, tokens)
        assert real.shape == tokens.shape[:2]
        assert bool(real.all()) == (kind == "image")
        if kind == "text":  # the library's own hidden states
            full = encoder.model(
                input_ids=x[:, 0], attention_mask=(x[:, 1] >= 0).long(), output_hidden_states=True
            ).hidden_states
            for own, theirs in zip(layers, full, strict=True):
                assert torch.allclose(own[real], theirs[real], atol=1e-5)


def test_networks_without_layers_that_attend_are_told():
    encoder = encoders.build(EncoderConfig(name="timm:resnet18"), ImageConfig(size=32))
    with pytest.raises(UsageError, match="no layers that attend"):
        layers_of(encoder, torch.randn(2, 3, 32, 32))
