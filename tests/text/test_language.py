"""Encoders of text: documents in packed rows do not know of each other, folders open without us."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers
from torch import Tensor

from unlabeled.config import EncoderConfig, TextConfig
from unlabeled.encoders import families, hub_folder, language, sizes
from unlabeled.encoders import load as load_encoder
from unlabeled.errors import ConfigError, UsageError
from unlabeled.nn import attention
from unlabeled.nn.attention import Layout, attend

NAMES = [
    "hf:bert-2x32h2",
    "hf:modernbert-3x32h2",
    "hf:roberta-2x32h2",
    "hf:electra-2x256h2",
    "hf:gpt2-2x32h2",
    "hf:llama-2x32h2",
    "hf:qwen2-2x32h2",
    "hf:qwen3-2x32h2",
    "hf:deberta-v2-2x32h2",
    "hf:xlnet-2x32h2",
]


def build(name: str, length: int = 64) -> language.Language:
    torch.manual_seed(0)
    encoder = language.build(EncoderConfig(name=name), TextConfig(length=length), 50)
    for parameter in encoder.parameters():  # so that attention is far from uniform
        if parameter.ndim > 1:
            parameter.data.mul_(4)
    return encoder.eval()


def packed() -> Tensor:
    """Return three rows: one document, three documents, two and padding."""
    documents = torch.zeros(3, 64, dtype=torch.long)
    documents[1, 5:], documents[1, 40:] = 1, 2
    documents[2, 30:], documents[2, 50:] = 1, -1
    ids = torch.randint(2, 50, (3, 64), generator=torch.Generator().manual_seed(1))
    return torch.stack([ids, documents], 1)


@pytest.mark.parametrize("loop", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_packed_tokens_are_those_of_documents_alone(
    name: str, loop: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, x = build(name), packed()
    monkeypatch.setattr(attention, "_LOOP_FROM", 1 if loop else 512)
    if "modernbert" in name:  # narrower than a document, so that the window matters
        encoder.model.config.local_attention = 16
        for layer in encoder.model.layers:
            if layer.attn.sliding_window is not None:
                layer.attn.sliding_window = 9
        encoder.model.config.sliding_window = 8
    tokens = encoder.tokens(x)
    for row, found in zip(x, tokens, strict=True):
        for document in row[1].unique().tolist():
            inside = row[1] == document
            if document >= 0:
                alone = encoder.model(input_ids=row[0, inside][None]).last_hidden_state[0]
                torch.testing.assert_close(found[inside], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_document_does_not_change_another(name: str) -> None:
    encoder, x = build(name), packed()
    other = x.clone()
    other[1, 0, 5:40] = (other[1, 0, 5:40] + 7) % 50
    same = x[1, 1] != 1
    before, after = encoder.tokens(x)[1], encoder.tokens(other)[1]
    torch.testing.assert_close(after[same], before[same], atol=1e-6, rtol=0)
    assert (after[~same] - before[~same]).abs().max() > 1e-2


@pytest.mark.parametrize("name", NAMES)
def test_only_causal_tokens_ignore_what_comes_later(name: str) -> None:
    encoder, x = build(name), packed()[:1]
    later = x.clone()
    later[0, 0, 40] = (later[0, 0, 40] + 1) % 50
    change = (encoder.tokens(later) - encoder.tokens(x))[0].abs().amax(-1)
    assert change[40:].min() > 0
    assert bool((change[:40] < 1e-6).all()) == encoder.causal


@pytest.mark.parametrize("name", NAMES)
def test_bf16_attention_is_close(name: str) -> None:
    torch.manual_seed(0)
    documents = packed()[:, 1]
    query, key, value = (torch.randn(3, 2, 64, 16) for _ in range(3))
    layout = Layout.of(documents)
    causal = any(family in name for family in families.CAUSAL)
    exact = attend(query, key, value, layout, causal=causal)
    with torch.autocast("cpu", torch.bfloat16):
        near = attend(query, key, value, layout, causal=causal)
    torch.testing.assert_close(near.float(), exact, atol=0.03, rtol=0.03)


def test_shared_key_heads_are_repeated() -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(1, 4, 8, 4), torch.randn(1, 2, 8, 4), torch.randn(1, 2, 8, 4)
    layout = Layout.of(torch.zeros(1, 8, dtype=torch.long))
    found = attend(query, key, value, layout, causal=True)
    whole = attend(
        query, key.repeat_interleave(2, 1), value.repeat_interleave(2, 1), layout, causal=True
    )
    torch.testing.assert_close(found, whole)


@pytest.mark.parametrize("name", NAMES)
def test_tokens_at_places_are_the_tokens(name: str) -> None:
    encoder, x = build(name), packed()
    where = torch.tensor([3, 64, 100, 150])
    torch.testing.assert_close(
        encoder.tokens_at(x, where), encoder.tokens(x).flatten(0, 1)[where], atol=5e-6, rtol=1e-5
    )


@pytest.mark.parametrize("name", NAMES)
def test_feature_is_the_mean_of_real_tokens(name: str) -> None:
    encoder, x = build(name), packed()
    feature, tokens = encoder(x), encoder.tokens(x)
    torch.testing.assert_close(feature[2], tokens[2, :50].mean(0))
    changed = x.clone()
    changed[2, 0, 50:] = 9
    torch.testing.assert_close(encoder(changed)[2], feature[2], atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_folder_opens_in_transformers(name: str, tmp_path: Path) -> None:
    encoder, x = build(name), packed()[:1]
    tokens = encoder.tokens(x)
    logits = encoder.add_head()(tokens[0])
    encoder.save(tmp_path)
    assert not list(tmp_path.glob("*.bin"))
    config = json.loads((tmp_path / "config.json").read_text())
    assert attention.NAME not in json.dumps(config)
    causal = encoder.causal or encoder.family == "xlnet"  # where the library has its head
    headed = transformers.AutoModelForCausalLM if causal else transformers.AutoModelForMaskedLM
    with hub_folder.quiet():
        bare = transformers.AutoModel.from_pretrained(tmp_path).eval()
        full = headed.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(bare(input_ids=x[:, 0]).last_hidden_state, tokens)
    torch.testing.assert_close(full(input_ids=x[:, 0]).logits[0], logits)
    again = load_encoder(tmp_path)
    assert isinstance(again, language.Language)
    torch.testing.assert_close(again.eval().tokens(x), tokens)
    back = language.load(tmp_path, head=True).eval()
    torch.testing.assert_close(back.add_head()(back.tokens(x)[0]), logits)


@pytest.mark.parametrize("name", ["hf:gpt2-8x64", "hf:llama-8x64"])
def test_residual_matrices_start_smaller(name: str) -> None:
    torch.manual_seed(0)
    encoder = language.build(EncoderConfig(name=name), TextConfig(length=64), 50)
    ends = ("c_proj.weight", "o_proj.weight", "down_proj.weight")
    for parameter_name, p in encoder.named_parameters():
        if p.ndim == 2:
            expected = 0.02 / 16**0.5 if parameter_name.endswith(ends) else 0.02
            assert abs(float(p.detach().std()) / expected - 1) < 0.1, parameter_name


def test_weights_from_a_folder(tmp_path: Path) -> None:
    encoder = build("hf:bert-2x32h2")
    encoder.save(tmp_path)
    config = EncoderConfig(name="hf:bert-2x32h2", init=str(tmp_path))
    again = language.build(config, TextConfig(), 50)
    torch.testing.assert_close(again.eval().tokens(packed()), encoder.tokens(packed()))
    with pytest.raises(ConfigError, match=r"ids up to 59.*id 50 has none"):
        language.build(config, TextConfig(), 60)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("hf:brt-mini", "Did you mean 'hf:bert-mini'"),
        ("hf:bert-huge", "Families: bert"),
        ("hf:gpt2-2x30h4", "cannot have 4 heads"),
    ],
)
def test_wrong_names_are_answered(name: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        sizes.parse(name)


def test_folders_that_are_no_text_models_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no config"):
        language.load(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(UsageError, match="type 'vit'"):
        language.load(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"no \.safetensors"):
        language.load(tmp_path)


def test_rows_beyond_learned_positions_are_refused() -> None:
    encoder = build("hf:gpt2-2x32h2", length=16)
    with pytest.raises(UsageError, match="16 positions"):
        encoder(packed())
