"""What differs between the families of text models in transformers."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import transformers
from torch import Tensor, nn

from unlabeled.encoders import decoders, relative
from unlabeled.encoders.dropout import drop_nothing
from unlabeled.errors import ConfigError
from unlabeled.nn.attention import Layout


class Family(NamedTuple):
    """Names of the library's classes."""

    config: str
    bare: str
    headed: str


FAMILIES = {
    "bert": Family("BertConfig", "BertModel", "BertForMaskedLM"),
    "modernbert": Family("ModernBertConfig", "ModernBertModel", "ModernBertForMaskedLM"),
    "roberta": Family("RobertaConfig", "RobertaModel", "RobertaForMaskedLM"),
    "electra": Family("ElectraConfig", "ElectraModel", "ElectraForMaskedLM"),
    "gpt2": Family("GPT2Config", "GPT2Model", "GPT2LMHeadModel"),
    "llama": Family("LlamaConfig", "LlamaModel", "LlamaForCausalLM"),
    "qwen2": Family("Qwen2Config", "Qwen2Model", "Qwen2ForCausalLM"),
    "qwen3": Family("Qwen3Config", "Qwen3Model", "Qwen3ForCausalLM"),
    "deberta-v2": Family("DebertaV2Config", "DebertaV2Model", "DebertaV2ForMaskedLM"),
    "xlnet": Family("XLNetConfig", "XLNetModel", "XLNetLMHeadModel"),
    "t5": Family("T5Config", "T5Model", "T5ForConditionalGeneration"),
    "bart": Family("BartConfig", "BartModel", "BartForConditionalGeneration"),
}
DECODING = frozenset({"t5", "bart"})
"""Families of an encoder and a decoder; features are the encoder's."""
LAST_ONLY = frozenset({*DECODING, *relative.RELATIVE})
"""Families of which features can be read from the last layer alone."""
_OF_LLAMA = frozenset({"llama", "qwen2", "qwen3"})
_MADE_ELSEWHERE = {
    **dict.fromkeys(DECODING, decoders.fresh),
    **dict.fromkeys(relative.RELATIVE, relative.fresh),
}
CAUSAL = frozenset({"gpt2", *_OF_LLAMA})
LEARNED = frozenset({"bert", "roberta", "electra", "gpt2", "bart"})
"""Families with a table of positions."""
_OF_BERT = frozenset({"bert", "roberta", "electra"})
_NO_POOLER: dict[str, Any] = {"add_pooling_layer": False}
POOLERLESS = {"bert": _NO_POOLER, "roberta": _NO_POOLER}
"""What keeps a family from adding a layer that no pretext task here trains."""


def fresh(family: str, layers: int, width: int, heads: int, vocab_size: int, length: int) -> Any:
    """Return a bare model with fresh weights from torch's global generator.

    Dropout is 0. Matrices that write into the residual stream of a causal model start at
    0.02/sqrt(2 layers) (Radford et al. 2019, "Language Models are Unsupervised Multitask
    Learners", section 2.3).
    """
    if family in _MADE_ELSEWHERE:
        return _MADE_ELSEWHERE[family](family, layers, width, heads, vocab_size, length)
    names = FAMILIES[family]
    options: dict[str, Any] = {
        "vocab_size": vocab_size,
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "max_position_embeddings": length,
        "tie_word_embeddings": True,
        "pad_token_id": None,
        "bos_token_id": None,
        "eos_token_id": None,
    }
    if family in _OF_BERT:
        options |= {"intermediate_size": 4 * width}
    elif family == "gpt2":  # the same function as the default, in one kernel instead of eight
        options |= {"activation_function": "gelu_pytorch_tanh"}
    elif family == "modernbert" or family in _OF_LLAMA:  # gated: 2/3 of 4 x width, in whole 32s
        options |= {"intermediate_size": 32 * -(-8 * width // 96)}
    if family == "electra":  # as its small model: tokens are looked up in a narrower table
        options |= {"embedding_size": min(width, 128)}
    elif family == "roberta":  # positions are counted from the padding's id
        options |= {"pad_token_id": 1, "max_position_embeddings": length + 2, "type_vocab_size": 1}
    elif family in ("qwen2", "qwen3"):
        options |= {"num_key_value_heads": heads, "head_dim": width // heads}
    elif family == "modernbert":
        options |= {"cls_token_id": None, "sep_token_id": None}
    config = getattr(transformers, names.config)(**options)
    drop_nothing(config)
    model = getattr(transformers, names.bare)(config, **POOLERLESS.get(family, {}))
    if family in _OF_LLAMA:
        _scale_residuals(model, layers)
    return model


def _scale_residuals(model: nn.Module, layers: int) -> None:
    for name, parameter in model.named_parameters():
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            nn.init.normal_(parameter, std=0.02 / (2 * layers) ** 0.5)


def lookup(model: Any, ids: Tensor, positions: Tensor) -> Tensor:
    """Return embeddings with positions where the family adds them here, (B, T, E)."""
    kind = model.config.model_type
    if kind == "roberta":
        positions = positions + model.embeddings.padding_idx + 1
    if kind in _OF_BERT:
        found: Tensor = model.embeddings(input_ids=ids, position_ids=positions)
    elif kind == "gpt2":
        found = model.drop(model.wte(ids) + model.wpe(positions))
    elif kind == "modernbert":
        found = model.embeddings(input_ids=ids)
    elif kind in DECODING:
        found = decoders.embed(model.encoder, ids, positions)
    elif kind in relative.RELATIVE:
        found = relative.lookup(model, ids)
    else:
        found = model.embed_tokens(ids)
    return found


def embed(model: Any, ids: Tensor, positions: Tensor) -> Tensor:
    """Return what the stack begins with, (B, T, D): `lookup` in the stack's width."""
    found = lookup(model, ids, positions)
    project = getattr(model, "embeddings_project", None)
    return found if project is None else torch.as_tensor(project(found))


def set_padding(model: Any, number: int) -> None:
    """Write the id of padding where positions are counted from it (RoBERTa).

    Raises:
        ConfigError: the table of positions is too short for it.
    """
    model.config.pad_token_id = number
    if model.config.model_type != "roberta":
        return
    room = model.config.max_position_embeddings - number - 1
    if room < 1:
        raise ConfigError(
            f"roberta counts positions from the id of padding, which is {number} in this "
            "tokenizer, and has no position left. Use hf:bert or a tokenizer trained here."
        )
    model.embeddings.padding_idx = number


def blocks(
    model: Any,
    x: Tensor,
    layout: Layout,
    where: Tensor | None = None,
    depth: int | None = None,
) -> Tensor:
    """Run the stack and its last norm, (B, T, D) -> (B, T, D).

    Args:
        model: the bare model.
        x: embeddings.
        layout: where documents lie.
        where: (S,) index into the B T tokens: what follows the last attention is computed there
            alone, and (S, D) returned.
        depth: after how many layers to stop, without the norm; None is all of them.
    """
    kind = model.config.model_type
    if kind in DECODING:
        x = decoders.encode(model, x, layout)
        return x if where is None else _at(x, where)
    if kind in relative.RELATIVE:
        x = relative.blocks(model, x, layout)
        return x if where is None else _at(x, where)
    options: dict[str, Any] = {"layout": layout}
    stack = _stack(model)[:depth]
    if kind in _OF_BERT and torch.is_autocast_enabled(x.device.type):
        # One cast here instead of one before each product. Its stream is normalised after every
        # sum, so rounding does not add up as it would in the other families.
        x = x.to(torch.get_autocast_dtype(x.device.type))
    turns: dict[Any, Any] = {}
    if kind == "modernbert":
        names = set(model.config.layer_types)
        turns = {name: model.rotary_emb(x, layout.positions, name) for name in names}
    elif kind in _OF_LLAMA:
        options["position_embeddings"] = model.rotary_emb(x, layout.positions)
    for layer in stack[:-1] if where is not None else stack:
        if turns:
            options["position_embeddings"] = turns[layer.attention_type]
        x = layer(x, **options)
    if where is not None:
        if turns:
            options["position_embeddings"] = turns[stack[-1].attention_type]
        x = _LAST[kind](stack[-1], x, where, options)
    norm = _NORMS.get(kind) if depth is None else None
    return torch.as_tensor(getattr(model, norm)(x)) if norm else x


_NORMS = {"gpt2": "ln_f", "modernbert": "final_norm", **dict.fromkeys(_OF_LLAMA, "norm")}


def _stack(model: Any) -> Any:
    kind = model.config.model_type
    if kind in _OF_BERT:
        return model.encoder.layer
    return model.h if kind == "gpt2" else model.layers


def _at(x: Tensor, where: Tensor) -> Tensor:
    return x.flatten(0, 1)[where]


def _bert_last(layer: Any, x: Tensor, where: Tensor, options: dict[str, Any]) -> Tensor:
    seen, _ = layer.attention.self(x, **options)
    attended = layer.attention.output(_at(seen, where), _at(x, where))
    return torch.as_tensor(layer.feed_forward_chunk(attended))


def _modernbert_last(layer: Any, x: Tensor, where: Tensor, options: dict[str, Any]) -> Tensor:
    seen, _ = layer.attn(layer.attn_norm(x), **options)
    x = _at(x, where) + _at(seen, where)
    return torch.as_tensor(x + layer.mlp(layer.mlp_norm(x)))


def _whole_last(layer: Any, x: Tensor, where: Tensor, options: dict[str, Any]) -> Tensor:
    return _at(layer(x, **options), where)


_LAST = {
    **dict.fromkeys(_OF_BERT, _bert_last),
    "modernbert": _modernbert_last,
    **dict.fromkeys(CAUSAL, _whole_last),
}
