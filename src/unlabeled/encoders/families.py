"""What differs between the families of text models in transformers."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import transformers
from torch import Tensor, nn

from unlabeled.nn.attention import Layout


class Family(NamedTuple):
    """Names of the library's classes."""

    config: str
    bare: str
    headed: str


FAMILIES = {
    "bert": Family("BertConfig", "BertModel", "BertForMaskedLM"),
    "modernbert": Family("ModernBertConfig", "ModernBertModel", "ModernBertForMaskedLM"),
    "gpt2": Family("GPT2Config", "GPT2Model", "GPT2LMHeadModel"),
    "llama": Family("LlamaConfig", "LlamaModel", "LlamaForCausalLM"),
}
CAUSAL = frozenset({"gpt2", "llama"})
_DROPOUTS = (
    "hidden_dropout_prob", "attention_probs_dropout_prob", "embd_pdrop", "resid_pdrop",
    "attn_pdrop", "attention_dropout", "embedding_dropout", "mlp_dropout",
)  # fmt: skip


def fresh(family: str, layers: int, width: int, heads: int, vocab_size: int, length: int) -> Any:
    """Return a bare model with fresh weights from torch's global generator.

    Dropout is 0: small runs see each token a few times, and a loss stays a function of its batch.
    Matrices that write into the residual stream of a causal model start at 0.02/sqrt(2 layers)
    (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", section 2.3).
    """
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
    if family == "bert":
        options |= {"intermediate_size": 4 * width}
    elif family == "gpt2":  # the same function as the default, in one kernel instead of eight
        options |= {"activation_function": "gelu_pytorch_tanh"}
    elif family in ("modernbert", "llama"):  # gated: two thirds of 4 x width, in whole 32s
        options |= {"intermediate_size": 32 * -(-8 * width // 96)}
    if family == "modernbert":
        options |= {"cls_token_id": None, "sep_token_id": None}
    config = getattr(transformers, names.config)(**options)
    for name in _DROPOUTS:
        if hasattr(config, name):
            setattr(config, name, 0.0)
    extra = {"add_pooling_layer": False} if family == "bert" else {}
    model = getattr(transformers, names.bare)(config, **extra)
    if family == "llama":
        _scale_residuals(model, layers)
    return model


def _scale_residuals(model: nn.Module, layers: int) -> None:
    for name, parameter in model.named_parameters():
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            nn.init.normal_(parameter, std=0.02 / (2 * layers) ** 0.5)


def without_dropout(model: nn.Module) -> None:
    """Set every dropout of a loaded model to 0."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(getattr(module, "attention_dropout", None), float):
            module.attention_dropout = 0.0  # type: ignore[assignment]


def embed(model: Any, ids: Tensor, positions: Tensor) -> Tensor:
    """Return embeddings with positions where the family adds them here, (B, T, D)."""
    kind = model.config.model_type
    if kind == "bert":
        found: Tensor = model.embeddings(input_ids=ids, position_ids=positions)
    elif kind == "gpt2":
        found = model.drop(model.wte(ids) + model.wpe(positions))
    elif kind == "modernbert":
        found = model.embeddings(input_ids=ids)
    else:
        found = model.embed_tokens(ids)
    return found


def blocks(model: Any, x: Tensor, layout: Layout, where: Tensor | None = None) -> Tensor:
    """Run the stack and its last norm, (B, T, D) -> (B, T, D).

    Args:
        model: the bare model.
        x: embeddings.
        layout: where documents lie.
        where: (S,) index into the B T tokens: what follows the last attention is computed there
            alone, and (S, D) returned.
    """
    kind = model.config.model_type
    layers = {"bert": lambda: model.encoder.layer, "gpt2": lambda: model.h}
    stack = layers.get(kind, lambda: model.layers)()
    options: dict[str, Any] = {"layout": layout}
    if kind == "bert" and torch.is_autocast_enabled(x.device.type):
        # One cast here instead of one before each product. Its stream is normalised after every
        # sum, so rounding does not add up as it would in the other families.
        x = x.to(torch.get_autocast_dtype(x.device.type))
    turns: dict[Any, Any] = {}
    if kind == "modernbert":
        names = set(model.config.layer_types)
        turns = {name: model.rotary_emb(x, layout.positions, name) for name in names}
    elif kind == "llama":
        options["position_embeddings"] = model.rotary_emb(x, layout.positions)
    for layer in stack[:-1] if where is not None else stack:
        if turns:
            options["position_embeddings"] = turns[layer.attention_type]
        x = layer(x, **options)
    if where is not None:
        if turns:
            options["position_embeddings"] = turns[stack[-1].attention_type]
        x = _LAST[kind](stack[-1], x, where, options)
    norm = {"gpt2": "ln_f", "modernbert": "final_norm", "llama": "norm"}.get(kind)
    return torch.as_tensor(getattr(model, norm)(x)) if norm else x


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
    "bert": _bert_last,
    "modernbert": _modernbert_last,
    "gpt2": _whole_last,
    "llama": _whole_last,
}
