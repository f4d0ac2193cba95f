"""ELECTRA against transformers, its published rules, and what it must never see."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import transformers

from tests.text.sources import batch_of, method_of
from unlabeled.encoders import hub_folder
from unlabeled.types import Batch

NAME = "hf:electra-2x32h2"


def single(rows: Any) -> Batch:
    """Return rows as one document each, as the library reads them."""
    batch = batch_of(rows)
    x = batch["plain"].clone()
    x[:, :, 1] = 0
    return Batch({"plain": x}, batch.keys)


def test_both_losses_are_the_librarys(wordpiece: Any) -> None:
    """The generator as `ElectraForMaskedLM` of the same width, the encoder as `ForPreTraining`."""
    rows, _, text, _ = wordpiece
    method = method_of("electra", NAME, text, generator_size=1.0)
    for parameter in method.parameters():
        if parameter.ndim > 1:
            parameter.data.mul_(4)
    batch = single(rows)
    x = batch["plain"][0]
    hidden, chosen = method.hiding(x, batch.keys, 0.15)
    config = copy.deepcopy(method.encoder.model.config)
    config._attn_implementation = "eager"
    guesser = transformers.ElectraForMaskedLM(config)
    guesser.electra.encoder.load_state_dict(method.generator.model.encoder.state_dict())
    guesser.electra.embeddings.load_state_dict(method.encoder.model.embeddings.state_dict())
    predictions = guesser.generator_predictions
    predictions.dense.load_state_dict(method.generator.dense.state_dict())
    predictions.LayerNorm.load_state_dict(method.generator.norm.state_dict())
    guesser.tie_weights()
    labels = torch.where(chosen, x[:, 0], -100)
    logits = guesser(input_ids=hidden).logits
    nats = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view_as(labels)
    expected = (nats.sum(1) / chosen.sum(1)).mean()
    spoiled, guessing = method.spoil(x, batch.keys)
    torch.testing.assert_close(guessing, expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(spoiled[~chosen], x[:, 0][~chosen])  # drawn into the unhidden text

    judge = transformers.ElectraForPreTraining(config)
    judge.electra.load_state_dict(method.encoder.model.state_dict())
    judge.discriminator_predictions.load_state_dict(method.detector.state_dict())
    detection = judge(input_ids=spoiled, labels=(spoiled != x[:, 0]).long()).loss
    loss = method.loss(batch, 0.0)
    torch.testing.assert_close(loss.parts["detection"], detection, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(loss.total, guessing + 50 * detection, atol=1e-4, rtol=1e-5)


def test_embeddings_are_shared_and_no_gradient_passes_the_drawing(wordpiece: Any) -> None:
    rows, _, text, _ = wordpiece
    method = method_of("electra", NAME, text)
    assert not [n for n, _ in method.generator.named_parameters() if "embeddings" in n]
    batch = batch_of(rows)
    x = batch["plain"][0]
    spoiled, _ = method.spoil(x, batch.keys)
    logits, wrong, real = method._judge(x, spoiled)
    F.binary_cross_entropy_with_logits(logits[real], wrong[real].float()).backward()
    assert all(p.grad is None for p in method.generator.parameters())
    table = method.encoder.model.get_input_embeddings().weight
    method.zero_grad()
    method.spoil(x, batch.keys)[1].backward()
    assert table.grad.abs().sum() > 0


def test_a_right_guess_is_an_original(wordpiece: Any) -> None:
    rows, _, text, _ = wordpiece
    method = method_of("electra", NAME, text)
    batch = batch_of(rows)
    x = batch["plain"][0]
    _, chosen = method.hiding(x, batch.keys, 0.15)
    target = int(x[:, 0][chosen].mode().values)
    method.generator.bias.data[target] = 50.0  # always guesses one token
    spoiled, _ = method.spoil(x, batch.keys)
    assert (spoiled[chosen] == target).all()
    wrong = spoiled != x[:, 0]
    assert torch.equal(wrong, chosen & (x[:, 0] != target))
    assert wrong.sum() < chosen.sum()


def test_every_real_token_is_judged_and_padding_is_not(wordpiece: Any) -> None:
    rows, _, text, _ = wordpiece
    method = method_of("electra", NAME, text)
    batch = batch_of(rows)
    x = batch["plain"].clone()
    x[:, :, 1, 20:] = -1
    part = Batch({"plain": x}, batch.keys)
    scores = method.scores(part)
    assert len(scores.targets) == 8 * 20  # what opens and closes documents too
    other = x.clone()
    other[:, :, 0, 20:] = 9
    again = method.scores(Batch({"plain": other}, batch.keys))
    torch.testing.assert_close(scores.nats, again.nats)


@pytest.mark.parametrize("name", [NAME, "hf:bert-2x32h2", "hf:modernbert-2x32h2"])
def test_no_document_is_guessed_or_judged_by_another(name: str, wordpiece: Any) -> None:
    rows, _, text, _ = wordpiece
    method = method_of("electra", name, text)
    for parameter in method.parameters():  # so that attention is far from uniform
        if parameter.ndim > 1:
            parameter.data.mul_(4)
    x = batch_of(rows)["plain"][0]
    other = x.clone()
    other[:, 0][(x[:, 1] > 0) & (x[:, 0] != text.closes[0])] = 20
    first = (x[:, 1] == 0).flatten()
    where = first.nonzero().flatten()
    made = [method.generator(method.encoder, y, where) for y in (x, other)]
    guesses = [guess.head(guess.tokens) for guess in made]
    torch.testing.assert_close(*guesses, atol=1e-5, rtol=1e-5)
    judged = [method._judge(y, y[:, 0])[0].flatten()[first] for y in (x, other)]
    torch.testing.assert_close(*judged, atol=1e-5, rtol=1e-5)


def test_first_loss_and_the_base_rate(wordpiece: Any) -> None:
    rows, _, text, _ = wordpiece
    method = method_of("electra", NAME, text)
    loss = method.loss(batch_of(rows), 0.0)
    assert loss.parts["nats"].item() == pytest.approx(math.log(text.vocab_size), rel=0.03)
    assert loss.parts["detection"].item() == pytest.approx(math.log(2), abs=0.05)
    assert loss.parts["replaced"].item() == pytest.approx(0.14, abs=0.03)


def test_the_untrained_generators_guesses_cost_the_base_rate(wordpiece: Any) -> None:
    """Without its inputs, the best that can be said is how often a token is replaced."""
    rows, _, text, _ = wordpiece
    method = method_of("electra", NAME, text)
    batch = batch_of(rows, 16)
    x = batch["plain"][0]
    spoiled, _ = method.spoil(x, batch.keys)
    _, wrong, real = method._judge(x, spoiled)
    share = wrong[real].float().mean()
    entropy = -(share * share.log() + (1 - share) * (1 - share).log())
    method.detector.dense_prediction.weight.data.zero_()
    method.detector.dense_prediction.bias.data.fill_(float(torch.logit(share)))
    assert method.loss(batch, 0.0).parts["detection"].item() == pytest.approx(
        entropy.item(), abs=1e-5
    )


@pytest.mark.parametrize("spoil", ["shuffled", "random"])
def test_spoiling_without_a_generator(spoil: str, wordpiece: Any) -> None:
    rows, _, text, _ = wordpiece
    method = method_of("electra", NAME, text, spoil=spoil)
    batch = batch_of(rows)
    x = batch["plain"][0]
    spoiled, guessing = method.spoil(x, batch.keys)
    assert guessing is None
    _, chosen = method.hiding(x, batch.keys, 0.15)
    assert torch.equal(spoiled[~chosen], x[:, 0][~chosen])
    if spoil == "shuffled":
        assert torch.equal(spoiled.sort(1).values, x[:, 0].sort(1).values)
    else:
        assert not torch.isin(spoiled[chosen], torch.tensor(list(text.special_ids))).any()
    assert 0.5 < method.loss(batch, 0.0).total.item() < 0.9


def test_one_batch_is_learned_far_below_the_base_rate(wordpiece: Any) -> None:
    rows, _, text, _ = wordpiece
    method = method_of("electra", "hf:electra-2x64h2", text, spoil="random")
    batch = batch_of(rows, 4)
    optimizer = torch.optim.AdamW(method.parameters(), lr=3e-3)
    for _ in range(80):
        optimizer.zero_grad()
        loss = method.loss(batch, 0.0)
        loss.total.backward()
        optimizer.step()
    assert loss.total.item() < 0.05
    assert loss.parts["caught"].item() > 0.9


def test_the_encoder_with_its_judge_opens_in_transformers(wordpiece: Any, tmp_path: Path) -> None:
    rows, _, text, _ = wordpiece
    method = method_of("electra", "hf:electra-1x256h4", text).eval()
    x = single(rows)["plain"][0]
    method.encoder.save(tmp_path)
    with hub_folder.quiet():
        judge = transformers.ElectraForPreTraining.from_pretrained(tmp_path).eval()
        bare = transformers.AutoModel.from_pretrained(tmp_path).eval()
    tokens = method.encoder.tokens(x)
    torch.testing.assert_close(bare(input_ids=x[:, 0]).last_hidden_state, tokens)
    torch.testing.assert_close(judge(input_ids=x[:, 0]).logits, method.detector(tokens))
