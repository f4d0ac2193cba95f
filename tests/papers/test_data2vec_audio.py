"""data2vec for sound: its targets and its loss, by definition and against torch's own layers."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from transformers import AutoModel

from tests.loop.running import small_config
from unlabeled.nn.spans import over_time, span_masks
from unlabeled.prepare import prepare
from unlabeled.state import batches, build


def test_normalisation_over_time_is_instance_norm_and_padding_changes_nothing() -> None:
    x = torch.randn(3, 9, 4) * 2 + 1
    everything = torch.ones(3, 9, dtype=torch.bool)
    expected = F.instance_norm(x.transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(over_time(x, everything), expected, atol=1e-5, rtol=1e-5)
    padded = F.pad(x, (0, 0, 0, 3), value=9.0)
    real = F.pad(everything, (0, 3))
    torch.testing.assert_close(over_time(padded, real)[:, :9], expected, atol=1e-5, rtol=1e-5)
    assert not over_time(padded, real)[:, 9:].any()


def test_targets_are_the_teachers_feed_forward_outputs_and_loss_their_squared_distance(
    sound_folder: Path, tmp_path: Path
) -> None:
    config = small_config("data2vec_audio", sound_folder)
    state = build(config, Path(), prepare(config, tmp_path))
    method, batch = state.method, next(batches(state))
    x = batch["plain"][0]
    heard = method.encoder.heard(x)
    # The library's own forward pass of one clip without padding, its stream taken apart.
    count = int(heard[0].sum())
    method.encoder.save(tmp_path / "saved")
    model = AutoModel.from_pretrained(tmp_path / "saved").eval()
    given = method.encoder.stacked(x[:1])[:, :count] @ model.get_input_embeddings().weight
    said = []
    for layer in model.layers:
        layer.mlp.register_forward_hook(lambda module, inputs, output: said.append(output))
    with torch.no_grad():
        model(inputs_embeds=given)
    expected = torch.stack(
        [F.instance_norm(part.transpose(1, 2)).transpose(1, 2) for part in said]
    ).mean(0)
    found = method.targets(x, heard)
    torch.testing.assert_close(found[0, :count], expected[0], atol=2e-4, rtol=1e-3)
    method.predict.weight.data.zero_()
    method.predict.bias.data.zero_()
    loss = method.loss(batch, 0.0)
    c = method.config
    hidden = span_masks(batch.keys, heard.sum(1), heard.shape[1], c.mask_share, c.mask_span)
    squares = found[hidden].square().sum(1) / method.encoder.dim**0.5
    torch.testing.assert_close(loss.total.detach(), squares.mean())
    assert loss.parts["targets"] == hidden.sum()
    assert loss.parts["guess_spread"] == 0


def test_the_teacher_follows_the_student_after_the_step_alone(
    sound_folder: Path, tmp_path: Path
) -> None:
    config = small_config("data2vec_audio", sound_folder)
    method = build(config, Path(), prepare(config, tmp_path)).method
    with torch.no_grad():
        for part in method.encoder.parameters():
            part.add_(1.0)
    before = [part.clone() for part in method.teacher.parameters()]
    method.after_step(0.0)
    for old, now in zip(before, method.teacher.parameters(), strict=True):
        torch.testing.assert_close(now - old, torch.full_like(old, 0.01), atol=1e-5, rtol=0)
