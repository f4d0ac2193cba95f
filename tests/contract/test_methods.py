"""What every pretext task promises, whatever it is: one list of tests over all of them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from tests.loop.running import SMALL, small_config
from unlabeled.config import EncoderConfig, RunConfig
from unlabeled.errors import ConfigError
from unlabeled.gradients import backward
from unlabeled.health import read_features
from unlabeled.method import Method
from unlabeled.methods import METHODS, catalogue, tasks
from unlabeled.methods import load as load_method
from unlabeled.prepare import Prepared, prepare
from unlabeled.runs import build_method
from unlabeled.state import batches, build
from unlabeled.types import Batch


@dataclass
class Made:
    """A method, two batches for it, and what it was made from."""

    config: RunConfig
    data: Prepared
    method: Method
    batches: list[Batch]


@pytest.fixture(scope="module")
def made(
    tmp_path_factory: pytest.TempPathFactory, folders: dict[str, Path]
) -> Callable[[str], Made]:
    """Return a maker of fresh methods; data are prepared once for each kind."""
    prepared: dict[str, Prepared] = {}

    def make(name: str) -> Made:
        config = small_config(name, folders[catalogue.describe(name).modalities[0]])
        how = repr(config.modality)
        if how not in prepared:
            prepared[how] = prepare(config, tmp_path_factory.mktemp("prepared"))
        data = prepared[how]
        state = build(config, Path(), data)
        stream = batches(state)
        return Made(config, data, state.method, [next(stream), next(stream)])

    return make


def test_every_method_has_a_small_setting_here() -> None:
    """A method that is not in the list would escape every contract."""
    assert set(SMALL) == set(METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_loss_is_a_finite_scalar_in_fp32_with_detached_parts(
    name: str, made: Callable[[str], Made]
) -> None:
    it = made(name)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = it.method.loss(it.batches[0], 0.5)
    assert loss.total.ndim == 0
    assert loss.total.dtype == torch.float32
    assert torch.isfinite(loss.total)
    assert loss.total.requires_grad
    assert not any(part.requires_grad for part in loss.parts.values())


@pytest.mark.parametrize("name", METHODS)
def test_every_trained_parameter_gets_a_gradient(name: str, made: Callable[[str], Made]) -> None:
    it = made(name)
    for batch in it.batches:
        it.method.loss(batch, 0.5).total.backward()
    trained = {id(p) for group in it.method.param_groups() for p in group["params"]}
    for parameter_name, parameter in it.method.named_parameters():
        assert parameter.requires_grad == (id(parameter) in trained), parameter_name
        if parameter.requires_grad:
            assert parameter.grad is not None, parameter_name
            assert torch.isfinite(parameter.grad).all(), parameter_name


@pytest.mark.parametrize("name", METHODS)
def test_loss_in_evaluation_leaves_all_state_alone(name: str, made: Callable[[str], Made]) -> None:
    it = made(name)
    it.method.eval()
    before = copy.deepcopy(it.method.state_dict())
    it.method.loss(it.batches[0], 0.5)
    it.method.after_step(0.0)  # momentum moves a teacher towards a student that is its equal
    for key, value in it.method.state_dict().items():
        torch.testing.assert_close(value, before[key], msg=key)


@pytest.mark.parametrize("name", METHODS)
def test_loss_is_a_function_of_the_batch(name: str, made: Callable[[str], Made]) -> None:
    it = made(name)
    twice = [it.method.loss(it.batches[0], 0.5).total.item() for _ in range(2)]
    other = it.method.loss(it.batches[1], 0.5).total.item()
    assert twice[0] == twice[1] != other


@pytest.mark.parametrize("name", METHODS)
def test_couples_samples_is_true_to_fact(name: str, made: Callable[[str], Made]) -> None:
    """The gradient of a batch equals that of its halves exactly when samples are not coupled."""
    it = made(name)
    it.method.eval()  # a BatchNorm in the encoder is the encoder's coupling, not the method's
    whole = _gradient(it.method, [it.batches[0]])
    halves = _gradient(it.method, list(it.batches[0].split(4)))
    difference = (whole - halves).norm() / whole.norm()
    if it.method.couples_samples:
        train = made(name)
        train.method.train()
        if catalogue.describe(name).modalities[0] == "text":
            for parameter in train.method.parameters():  # so that attention is far from uniform
                if parameter.ndim > 1:
                    parameter.data.mul_(4)
        whole = _gradient(train.method, [train.batches[0]])
        halves = _gradient(train.method, list(train.batches[0].split(4)))
        assert (whole - halves).norm() / whole.norm() > 0.01
    else:
        assert difference < 1e-4


def _gradient(method: Method, batches: list[Batch]) -> torch.Tensor:
    method.zero_grad()
    total = 0.0
    for batch in batches:
        loss = method.loss(batch, 0.5)
        weight = float(loss.parts.get("targets", torch.tensor(float(len(batch)))))
        (loss.total * weight).backward()
        total += weight
    grads = [p.grad.flatten() for p in method.parameters() if p.grad is not None]
    return torch.cat(grads) / total


@pytest.mark.parametrize("name", METHODS)
def test_exported_features_keep_their_spread_in_training(
    name: str, made: Callable[[str], Made]
) -> None:
    it = made(name)
    state = build(it.config, Path(), it.data)
    stream = batches(state)
    for step in range(10):
        state.optim.set(step / 10)
        backward(state.method, next(stream), step / 10, state)
        state.optim.step()
        state.optim.zero()
        state.method.after_step((step + 1) / 10)
    encoder = state.method.exported()
    encoder.eval()
    with torch.no_grad():
        reading = read_features(encoder(it.data.watched))
    assert reading.spread > 0.02
    assert reading.effective_rank > 1.5


@pytest.mark.parametrize("name", METHODS)
def test_options_read_from_the_source_are_those_of_the_class(name: str) -> None:
    """The command line checks options without importing torch; both must agree."""
    real = load_method(name).Config.model_json_schema()["properties"]
    read = catalogue.model(name).model_json_schema()["properties"]
    assert read == real
    assert all(option.description for option in catalogue.describe(name).options)


@pytest.mark.parametrize("name", METHODS)
def test_a_misspelt_option_is_answered(name: str) -> None:
    with pytest.raises(Exception, match=r"There is no option method\.no_such"):
        tasks.check(name, {"no_such": 1})


ENCODERS = {
    "image": {
        "a residual network": {"name": "timm:resnet18", "small_stem": True},
        "a light CNN": {"name": "timm:regnetx_002"},
        "a transformer": {
            "name": "timm:vit_tiny_patch16_224",
            "patch": 4,
            "options": {"embed_dim": 48, "depth": 1},
        },
    },
    "text": {
        f: {"name": f"hf:{f}-1x32h2"}
        for f in ("bert", "modernbert", "xlnet", "gpt2", "llama", "t5", "bart")
    },
    "audio": {
        **{f: {"name": f"hf:{f}-2x32h2"} for f in ("bert", "modernbert", "gpt2", "llama")},
        "waves": {"name": "hf:wav2vec2-1x32"},
        "waves of HuBERT": {"name": "hf:hubert-1x32"},
    },
    "series": {
        f: {"name": f"hf:{f}-1x32h2"} for f in ("bert", "modernbert", "gpt2", "llama", "patchtst")
    },
    "video": {
        "a transformer": {"name": "hf:videomae-1x32h2", "patch": 4},
        "frames apart": {"name": "timm:resnet18", "small_stem": True},
    },
}
CASES = [
    (name, kind, label)
    for name in METHODS
    for kind in catalogue.describe(name).modalities[:1]
    for label in ENCODERS[kind]
]


@pytest.mark.parametrize(("name", "kind", "label"), CASES)
def test_every_encoder_works_or_is_refused_with_what_would(
    name: str, kind: str, label: str, made: Callable[[str], Made]
) -> None:
    it = made(name)
    encoder = EncoderConfig.model_validate(ENCODERS[kind][label])
    config = it.config.model_copy(update={"encoder": encoder})
    needs = catalogue.describe(name).needs
    fits = {
        "feature": kind != "audio" or not label.startswith("waves"),  # data are read as frames
        "tokens": label == "a transformer",
        "causal": label in ("gpt2", "llama"),
        "bidirectional": label in ("bert", "modernbert", "xlnet"),
        "two streams": label == "xlnet",
        "text": label not in ("t5", "bart"),
        "decoder": label in ("t5", "bart"),
        "waves": label.startswith("waves"),
        "channels": label == "patchtst",
        "stills": label == "frames apart",
    }[needs]
    if not fits:
        with pytest.raises(ConfigError, match=rf"{name}|Set modality\.form"):
            build_method(config, it.data.modality)
        return
    method = build_method(config, it.data.modality)
    loss = method.loss(it.batches[0], 0.5)
    loss.total.backward()
    assert torch.isfinite(loss.total)
