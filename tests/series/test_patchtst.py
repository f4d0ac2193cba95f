"""PatchTST against transformers' own, and what must not leak out of what is hidden."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from tests.conftest import draw_log
from tests.loop.running import small_config
from unlabeled import config as configs
from unlabeled.encoders import load
from unlabeled.encoders.patchtst_layers import through
from unlabeled.prepare import Prepared, prepare
from unlabeled.state import batches, build
from unlabeled.types import Batch


@pytest.fixture(scope="module")
def data(log_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(small_config("patchtst", log_folder), tmp_path_factory.mktemp("logs"))


@pytest.fixture
def made(log_folder: Path, data: Prepared) -> tuple[Any, Batch]:
    state = build(small_config("patchtst", log_folder), Path(), data)
    return state.method, next(batches(state))


def test_loss_is_that_of_transformers_given_the_same_weights_and_masks(
    made: tuple[Any, Batch], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library's own pre-training model, told that what is hidden is not observed."""
    method, batch = made
    method.eval()
    x = batch["plain"][0].clone()
    x[..., 3:] = 1.0  # nothing is missing: the library counts errors of missing values too
    x[..., :3] = torch.randn(x[..., :3].shape, generator=torch.Generator().manual_seed(0))
    _, flags = method.encoder.patches(x)
    hidden = method.hidden(flags, batch.keys)
    settings = transformers.PatchTSTConfig(
        **{**method.encoder.model.config.to_dict(), "do_mask_input": True}
    )
    oracle = transformers.PatchTSTForPretraining(settings).eval()
    oracle.model.load_state_dict(method.encoder.model.state_dict())
    oracle.head.linear.load_state_dict(method.predict.state_dict())
    monkeypatch.setattr(
        oracle.model.masking, "forward", lambda p: (p.masked_fill(hidden, 0), hidden[..., 0])
    )
    seen = (flags * ~hidden).flatten(2).transpose(1, 2)  # (B, T, C)
    theirs = oracle(past_values=x[..., :3], past_observed_mask=seen)
    ours = method.loss(Batch({"plain": x[None]}, batch.keys), 0.0)
    torch.testing.assert_close(ours.total, theirs.loss, rtol=1e-5, atol=1e-6)
    assert ours.parts["targets"] == hidden.sum() * method.encoder.patch


@pytest.mark.parametrize("settings", [{}, {"pre_norm": False}, {"norm_type": "layernorm"}])
@pytest.mark.parametrize("count", [12, 140])
def test_layers_are_those_of_transformers(settings: dict[str, Any], count: int) -> None:
    """Outputs, gradients and running statistics; of some tokens as of all."""
    config = transformers.PatchTSTConfig(
        num_input_channels=2, context_length=4 * count, patch_length=4, patch_stride=4,
        num_hidden_layers=2, d_model=16, num_attention_heads=4, ffn_dim=32, **settings,
    )  # fmt: skip
    torch.manual_seed(0)
    nets = [transformers.PatchTSTModel(config).double().train().encoder for _ in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())
    x = torch.randn(3, 2, count, 16, dtype=torch.float64)
    asked = torch.rand(3, 2, count) < 0.4
    theirs = x
    for layer in nets[0].layers:
        theirs = layer(hidden_state=theirs)[0]
    some = through(nets[1].layers, x, asked)
    torch.testing.assert_close(some, theirs[asked])
    for found in (theirs[asked], some):
        found.square().sum().backward()
    for (name, p), q in zip(nets[0].named_parameters(), nets[1].parameters(), strict=True):
        if p.grad is not None:
            torch.testing.assert_close(q.grad, p.grad, msg=name)
    for name, value in nets[0].named_buffers():
        torch.testing.assert_close(dict(nets[1].named_buffers())[name], value)
    nets[1].load_state_dict(nets[0].state_dict())
    with torch.no_grad():
        theirs = x
        for layer in nets[0].eval().layers:
            theirs = layer(hidden_state=theirs)[0]
        torch.testing.assert_close(through(nets[1].eval().layers, x), theirs)


def test_what_is_hidden_or_missing_changes_nothing_that_is_guessed(
    made: tuple[Any, Batch],
) -> None:
    """Not through the normalisation either, where the authors' mean and deviation leak."""
    method, batch = made
    method.eval()
    values, flags = method.encoder.patches(batch["plain"][0])
    flags[:, 0, 2] = 0.0
    hidden = method.hidden(flags, batch.keys)
    guess = method.rebuilt(values * flags, flags, hidden)[0]
    unseen = hidden | (flags < 0.5)
    other = torch.where(unseen, 100.0 * torch.ones_like(values), values)
    torch.testing.assert_close(method.rebuilt(other, flags, hidden)[0], guess)
    shifted = values + 0.5 * ~unseen  # a level is taken out; another shape is not
    torch.testing.assert_close(method.rebuilt(shifted, flags, hidden)[0], guess)
    bent = torch.where(unseen, values, values.square())
    assert (method.rebuilt(bent, flags, hidden)[0] - guess).abs().max() > 1e-3


def test_hidden_patches_are_a_share_of_those_that_were_measured(made: tuple[Any, Batch]) -> None:
    method, _ = made
    flags = torch.ones(64, 3, 20, 4)
    flags[:, 1, 10:] = 0
    flags[:, 2] = 0
    hidden = method.hidden(flags, torch.arange(64))[..., 0]
    assert (hidden[:, 0].sum(1) == 8).all()  # 20 - int(20 * 0.6)
    assert (hidden[:, 1, :10].sum(1) == 4).all()
    assert not hidden[:, 1, 10:].any()
    assert not hidden[:, 2].any()
    assert len({tuple(row.tolist()) for row in hidden[:, 0]}) > 60
    assert (hidden[:, 0, :10] != hidden[:, 1, :10]).any()


def test_a_line_has_the_error_that_the_journal_says(made: tuple[Any, Batch]) -> None:
    """On straight lines interpolation between two seen patches is exact."""
    method, _ = made
    ramp = torch.linspace(-1, 1, 48)[None, :, None].expand(1, 48, 3)
    values, flags = method.encoder.patches(torch.cat([ramp, torch.ones(1, 48, 3)], -1))
    hidden = torch.zeros(1, 3, 12, 1, dtype=torch.bool)
    hidden[:, :, 3:5] = True
    _, wanted, line = method.rebuilt(values, flags, hidden)
    torch.testing.assert_close(line[:, :, 3:5], wanted[:, :, 3:5])


def test_features_equal_those_of_the_page_beside_the_weights(
    data: Prepared, made: tuple[Any, Batch], tmp_path: Path
) -> None:
    from unlabeled.encoders import read_logs
    from unlabeled.transfer.features import features

    encoder = made[0].encoder.eval()
    encoder.save(tmp_path)
    model = read_logs.load(str(tmp_path))
    assert type(model) is transformers.PatchTSTModel
    log = np.stack(list(draw_log(5, 60).values()), 1)[:, 1:4]
    log[7:20] = np.nan
    log[30, 1] = np.nan
    logs = [log, log[:41]]
    theirs = np.stack([read_logs.features(model, x).numpy() for x in logs])
    assert theirs.shape == (2, 3 * 32)
    again: Any = load(tmp_path)
    for net in (encoder, again.eval()):
        np.testing.assert_allclose(features(net, data.modality, logs), theirs, atol=1e-5)


def test_weights_of_a_run_are_where_another_begins(
    made: tuple[Any, Batch], log_folder: Path, data: Prepared, tmp_path: Path
) -> None:
    from unlabeled.runs import build_method

    made[0].encoder.save(tmp_path)
    tree = small_config("patchtst", log_folder).model_dump()
    tree["encoder"] |= {"init": str(tmp_path), "patch": 4}
    begun = build_method(configs.build(tree), data.modality)
    for name, value in made[0].encoder.state_dict().items():
        torch.testing.assert_close(begun.encoder.state_dict()[name], value)
    tree["encoder"]["patch"] = 6
    with pytest.raises(Exception, match="reads 4 steps of 3 channels a token, not 6 of 3"):
        build_method(configs.build(tree), data.modality)
