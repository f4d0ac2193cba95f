"""wav2vec 2.0 against `Wav2Vec2ForPreTraining` with the same weights, and closed forms."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from transformers import Wav2Vec2ForPreTraining

from unlabeled.config import AudioConfig, EncoderConfig
from unlabeled.encoders import waves
from unlabeled.methods.wav2vec2 import Wav2Vec2
from unlabeled.nn.gumbel import GumbelQuantizer, choices
from unlabeled.nn.spans import negatives, span_masks
from unlabeled.types import Batch

OPTIONS = {"num_negatives": 7, "entries": 12, "code_dim": 16, "mask_span": 3, "penalty": 0.0}


def ours(**more: Any) -> Wav2Vec2:
    torch.manual_seed(0)
    encoder = waves.build(EncoderConfig(name="hf:wav2vec2-2x32"), AudioConfig(form="wave"))
    return Wav2Vec2(Wav2Vec2.Config(**{**OPTIONS, **more}), encoder, None)  # type: ignore[arg-type]


def theirs(method: Any) -> Any:
    """Return the library's model with the method's weights."""
    config = method.encoder.model.config
    config.num_codevector_groups, config.num_codevectors_per_group = 2, 12
    config.codevector_dim = config.proj_codevector_dim = 16
    config.num_negatives, config.mask_time_prob, config.diversity_loss_weight = 7, 0.05, 0.1
    model = Wav2Vec2ForPreTraining(config)
    state = {f"wav2vec2.{k}": v for k, v in method.encoder.model.state_dict().items()}
    state |= {
        "wav2vec2.masked_spec_embed": method.mask,
        "quantizer.codevectors": method.quantizer.codes,
        "quantizer.weight_proj.weight": method.quantizer.score.weight,
        "quantizer.weight_proj.bias": method.quantizer.score.bias,
        "project_hid.weight": method.project_context.weight,
        "project_hid.bias": method.project_context.bias,
        "project_q.weight": method.project_code.weight,
        "project_q.bias": method.project_code.bias,
    }
    model.load_state_dict(state)
    return model


@pytest.mark.parametrize("padded", [False, True])
def test_the_whole_loss_equals_transformers(padded: bool) -> None:
    method = ours().eval()
    x = torch.randn(3, 2, 6000)
    x[:, 1] = 1
    if padded:
        for row, length in enumerate((6000, 4000, 5000)):
            x[row, :, length:] = 0
    heard = method._waves.heard(x)
    hidden = span_masks(torch.arange(3), heard.sum(1), heard.shape[1], 0.65, 3)
    others = negatives(torch.arange(3), hidden, 7)
    with torch.no_grad():
        terms = method.terms(method._waves.convolved(x), heard, hidden, others, 2.0, None)
        place = hidden.flatten().nonzero().flatten()
        drawn = torch.zeros(*hidden.shape, 7, dtype=torch.long)
        drawn[hidden] = place[others]
        expected = theirs(method).eval()(
            x[:, 0],
            attention_mask=x[:, 1].long() if padded else None,
            mask_time_indices=hidden,
            sampled_negative_indices=drawn,
        )
    torch.testing.assert_close(terms.contrast, expected.contrastive_loss, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(terms.diversity, expected.diversity_loss, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(terms.perplexity, expected.codevector_perplexity)
    total = terms.contrast + 0.1 * terms.diversity
    torch.testing.assert_close(total, expected.loss, atol=1e-4, rtol=1e-5)


def test_training_perplexity_and_straight_through_equal_transformers() -> None:
    method = ours()
    library = theirs(method).quantizer.train()
    rows = torch.randn(20, 32)
    found = method.quantizer(rows, 2.0, torch.rand(20, 24))
    torch.testing.assert_close(found.perplexity, library(rows[None])[1])
    likeliest = method.quantizer(
        rows, 2.0, torch.full((20, 24), 0.5)
    )  # equal noise changes nothing
    expected, _ = library.eval()(rows[None])
    torch.testing.assert_close(likeliest.vectors, expected[0], atol=1e-6, rtol=1e-5)
    (gradient,) = torch.autograd.grad(likeliest.vectors.sum(), method.quantizer.score.weight)
    assert gradient.abs().sum() > 0


def test_closed_forms() -> None:
    """One code for all: G of G V in use; no distractor is left, so nothing is to be told apart."""
    quantizer = GumbelQuantizer(8, 2, 320, 16)
    with torch.no_grad():
        quantizer.score.weight.zero_()
        quantizer.score.bias[[0, 320]] = 50.0
    found = quantizer(torch.randn(30, 8), 2.0, None)
    assert (640 - float(found.perplexity)) / 640 == pytest.approx(638 / 640)
    others = torch.randint(0, 30, (30, 100))
    scores = choices(torch.randn(30, 16), found.vectors, others, 0.1)
    assert float(-scores.log_softmax(1)[:, 0].sum().detach()) == 0
    others = torch.arange(1, 101).expand(200, -1)
    away = choices(torch.eye(300)[:1].expand(200, -1), torch.eye(300)[1:201], others, 0.1)
    free = (torch.arange(1, 101) != torch.arange(200)[:, None]).all(1)
    chance = float(-away.log_softmax(1)[free, 0].mean())
    assert chance == pytest.approx(math.log(101))
    assert ours(num_negatives=100).chance(4) == pytest.approx(4.6151205)


def test_padding_changes_neither_loss_nor_gradient() -> None:
    """A short clip alone, and the same clip in a longer row."""
    method = ours(penalty=10.0, diversity=0.0)
    short = torch.randn(2, 2, 4000)
    short[:, 1] = 1
    long = torch.nn.functional.pad(short, (0, 2000))
    found = []
    for x in (short, long):
        heard = method._waves.heard(x)
        hidden = torch.zeros_like(heard)
        hidden[:, 3:7] = True
        others = negatives(torch.arange(2), hidden, 7)
        convolved = method._waves.convolved(x)
        terms = method.terms(convolved, heard, hidden, others, 2.0, None)
        loss = terms.contrast + convolved[heard].square().mean()
        grads = torch.autograd.grad(loss, list(method.encoder.parameters()))
        found.append((loss, torch.cat([g.flatten() for g in grads])))
    torch.testing.assert_close(found[0][0], found[1][0], atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(found[0][1], found[1][1], atol=1e-3, rtol=1e-3)


def test_training_loss_starts_near_chance() -> None:
    method = ours(num_negatives=100, code_dim=32, entries=320)
    x = torch.randn(4, 2, 16000)
    x[:, 1] = 1
    loss = method.loss(Batch({"plain": x[None]}, torch.arange(4)), 0.0)
    assert 3.8 < float(loss.parts["contrast"]) < 5.6
    assert 0.35 < float(loss.parts["mask_share"]) < 0.65
