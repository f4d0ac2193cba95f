"""Encoders of text from transformers, by family and size, through embed, blocks and pool.

``hf:bert-mini``, ``hf:gpt2-4x128h4`` (layers x width, heads): families bert, roberta, electra,
deberta-v2 (as version 3), modernbert, xlnet, gpt2, llama, qwen2, qwen3, t5 and bart (layers on each
side). Weights are fresh or from a
local folder; nothing is downloaded. Folders are the library's own: `AutoModel` and, with the head
of a method, `AutoModelForMaskedLM`, `AutoModelForCausalLM` or `AutoModelForSeq2SeqLM` open them.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

from unlabeled.config import EncoderConfig, TextConfig
from unlabeled.encoders import decoders, dropout, families, hub_folder, relative
from unlabeled.encoders.base import Encoder, config_of, reads_only
from unlabeled.encoders.families import CAUSAL, FAMILIES
from unlabeled.encoders.sizes import parse
from unlabeled.errors import ConfigError, UsageError
from unlabeled.modalities.text import Text
from unlabeled.nn import attention, packing
from unlabeled.nn.attention import Layout
from unlabeled.nn.precision import full
from unlabeled.nn.token_head import Detector, TokenHead

NOTE = "unlabeled"
"""Entry of config.json for what only this package needs."""


class Language(Encoder):
    """A transformers model that reads packed rows.

    Views are int64 (B, 2 or more, T): token ids, document numbers (-1 at padding).

    Args:
        model: the bare model, without a head.

    Attributes:
        vocab_size: rows of its embedding.
        max_length: longest document that it can read, if positions are learned.
        decodes: whether it has a decoder beside the encoder that gives the features.
        added: ids of tokens that were added to the vocabulary of the weights.
        pooling: what a feature is of the tokens: ``avg``, ``token`` (the first) or ``last``.
        layer: whose tokens, counted as `hidden_states` of transformers; None is the last.
    """

    modality = "text"

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        config = model.config
        self.family = str(config.model_type)
        if self.family in relative.RELATIVE:
            relative.rest(model)
        else:
            attention.register()
            model.set_attn_implementation(attention.NAME)
        self.dim = int(config.hidden_size)
        self.name = f"hf:{self.family}-{config.num_hidden_layers}x{self.dim}"
        noted = dict(getattr(config, NOTE, None) or {})
        self.pooling: str = noted.get("pool") or "avg"
        self.layer: int | None = noted.get("layer")
        self.causal = self.family in CAUSAL
        self.decodes = self.family in families.DECODING
        self.vocab_size = int(config.vocab_size)
        learned = self.family in families.LEARNED
        self.max_length = int(config.max_position_embeddings) if learned else None
        if self.family == "roberta":
            self.max_length = config.max_position_embeddings - model.embeddings.padding_idx - 1
        self.added: tuple[int, ...] = ()
        self._head: list[TokenHead] = []
        self._detector: list[Detector] = []

    def layout(self, x: Tensor) -> Layout:
        """Return where documents lie in (B, 2 or more, T)."""
        return Layout.of(x[:, 1])

    def embed(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        """Turn rows of ids into tokens with their positions, (B, T, D)."""
        layout = layout or self.layout(x)
        longest, positions = x.shape[-1], layout.positions
        if self.max_length is not None and longest > self.max_length:
            positions = positions.masked_fill(~layout.real, 0)  # padding may be longer than all
            longest = int(positions.max()) + 1
        if self.max_length is not None and longest > self.max_length:
            raise UsageError(
                f"A document of {longest} tokens is too long for {self.name}, which has "
                f"{self.max_length} positions. Cut documents to modality.length={self.max_length}."
            )
        return families.embed(self.model, x[:, 0], positions)

    def lookup(self, x: Tensor, layout: Layout) -> Tensor:
        """Return the embeddings of tokens before they get the stack's width, (B, T, E)."""
        return families.lookup(self.model, x[:, 0], layout.positions)

    def blocks(self, tokens: Tensor, layout: Any = None) -> Tensor:
        """Let tokens attend inside their documents; without a layout a row is one document."""
        if layout is None:
            layout = Layout.of(tokens.new_zeros(tokens.shape[:2], dtype=torch.long))
        return families.blocks(self.model, tokens, layout)

    def decode(self, source: Tensor, inputs: Tensor) -> Tensor:
        """Return the decoder's tokens, (B, M, D).

        Args:
            source: (B, 2, N) ids and document numbers of what is read.
            inputs: (B, 2, M) the same of what is written; documents of one number belong together.
        """
        read, written = self.layout(source), self.layout(inputs)
        memory = self.blocks(self.embed(source, read), read)
        return decoders.decode(self.model, inputs[:, 0], written, memory, read)

    def tokens(self, x: Tensor, prefix: Tensor | None = None) -> Tensor:
        """Return all contextual tokens, (B, T, D).

        Args:
            x: (B, 2 or more, T).
            prefix: (B, T) bool, tokens that a causal model sees from both sides.
        """
        layout = replace(self.layout(x), prefix=prefix, _made={})
        return self.blocks(self.embed(x, layout), layout)

    def permuted(self, x: Tensor, unseen: Tensor, places: Tensor) -> Tensor:
        """Return what stands at places that do not see themselves, (B, S, D); XLNet alone.

        Args:
            x: (B, 2 or more, T).
            unseen: (B, T, T) bool, which tokens (last) a place must not see.
            places: (B, S) where tokens are guessed, -1 for none.
        """
        layout = self.layout(x)
        return relative.two_streams(self.model, self.embed(x, layout), layout, unseen, places)

    def tokens_at(self, x: Tensor, where: Tensor) -> Tensor:
        """Return contextual tokens at some places only, (S, D), which costs less.

        Args:
            x: (B, 2 or more, T).
            where: (S,) index into the B T tokens of all rows.
        """
        layout = self.layout(x)
        return families.blocks(self.model, self.embed(x, layout), layout, where)

    def pool(self, tokens: Tensor, layout: Layout | None = None) -> Tensor:
        """Reduce rows of one document each, (B, T, D) -> (B, D).

        The mean of the tokens that are no padding; their first, or their last, as `pooling` says.
        """
        tokens = full(tokens)
        if layout is None:
            layout = Layout.of(tokens.new_zeros(tokens.shape[:2], dtype=torch.long))
        real = layout.real[..., None].to(tokens.dtype)
        if self.pooling == "token":
            return tokens[:, 0]
        if self.pooling == "last":
            last = (real.sum(1)[:, 0].long() - 1).clamp(min=0)
            return tokens[torch.arange(len(tokens), device=tokens.device), last]
        return (tokens * real).sum(1) / real.sum(1).clamp(min=1)

    def by_document(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the feature of each document in rows, and how many tokens it has.

        Returns:
            (B, M, D) means over tokens, zero where there is no such document; (B, M) counts.
        """
        layout = self.layout(x)
        tokens = full(self.blocks(self.embed(x, layout), layout))  # (B, T, D)
        numbers = torch.arange(int(x[:, 1].max()) + 1, device=x.device)
        inside = (x[:, 1, None] == numbers[:, None]).to(tokens.dtype)  # (B, M, T)
        count = inside.sum(-1)
        return (inside @ tokens) / count.clamp(min=1)[..., None], count

    def longest(self, x: Tensor) -> Tensor:
        """Return the feature of the longest document in each row, (B, D)."""
        features, sizes = self.by_document(x)
        return features[torch.arange(len(x), device=x.device), sizes.argmax(1)]

    def forward(self, x: Tensor) -> Tensor:
        """Return the feature of rows, (B, D): the mean over their documents, by tokens."""
        rows, owner, sizes = packing.unfold(x)
        layout = self.layout(rows)
        tokens = families.blocks(self.model, self.embed(rows, layout), layout, depth=self.layer)
        return packing.refold(self.pool(tokens, layout), owner, sizes, len(x))

    def read_from(self, pooling: str, layer: int | None) -> None:
        """Choose what features are; `save` notes it.

        Raises:
            ConfigError: there is no such layer, or it cannot be had.
        """
        count = int(self.model.config.num_hidden_layers)
        if layer is not None and self.family in families.LAST_ONLY:
            raise ConfigError(f"encoder.layer: of {self.family} only the last can be read.")
        if layer is not None and layer > count:
            raise ConfigError(
                f"encoder.layer={layer} is not possible: {self.name} has {count} layers. Give 0 "
                f"(embeddings) to {count}."
            )
        self.pooling, self.layer = pooling, None if layer == count else layer
        note = {"pool": pooling, "layer": self.layer}
        usual = pooling == "avg" and self.layer is None
        setattr(self.model.config, NOTE, None if usual else note)

    def add_head(self) -> TokenHead:
        """Return the library's head for this model, fresh, or as loaded with its weights.

        From now on `save` writes the head too.
        """
        self._head = self._head or [TokenHead(self._headed())]
        return self._head[0]

    def add_detector(self) -> Detector:
        """Return a fresh head that judges tokens; `save` writes it where the family has one."""
        self._detector = self._detector or [Detector(self.dim)]
        return self._detector[0]

    def _full_model(self, kind: str | None = None) -> Any:
        """Return the library's model with a head, around this model."""
        kind = kind or FAMILIES[self.family].headed
        full = getattr(transformers, kind)(copy.deepcopy(self.model.config))
        if self.decodes:
            decoders.adopt(full, self.model)
        else:
            setattr(full, full.base_model_prefix, self.model)
        return full

    def extend(self, added: Mapping[int, Sequence[int]]) -> None:
        """Give added tokens embeddings that begin as the mean of what stood in their place.

        Args:
            added: id of an added token -> ids of the tokens that it was before.
        """
        size = max(self.vocab_size, 1 + max(added))
        full = self._headed()
        full.resize_token_embeddings(size, mean_resizing=False)
        outward = full.get_output_embeddings()
        tables = {id(t): t for t in (full.get_input_embeddings().weight, outward.weight)}
        with torch.no_grad():
            for new, old in added.items():
                for table in [*tables.values(), *([] if outward.bias is None else [outward.bias])]:
                    table[new] = table[list(old)].mean(0)
        self.model = decoders.bare_of(full) if self.decodes else full.base_model
        self.model.config.vocab_size = self.vocab_size = size
        self._head = [TokenHead(full)] if self._head else []
        self.added = tuple(added)

    def _headed(self) -> Any:
        """Return the library's model around this one, with the head that was loaded or added."""
        full = self._full_model()
        if self._head:
            for name, part in self._head[0].parts.items():
                setattr(full, name, part)
        full.tie_weights()
        return full

    def set_special_ids(self, text: Text) -> None:
        """Write the tokenizer's special ids into the config, where `generate` looks for them."""
        if text.pad_id is not None:
            families.set_padding(self.model, text.pad_id)
        ids = {"pad": text.pad_id, "eos": text.eos_id, "bos": text.opens[0] if text.opens else None}
        for role, number in ids.items():
            setattr(self.model.config, f"{role}_token_id", number)
        if self.decodes:  # the decoder reads first what each of the papers' does
            start = text.pad_id if self.family == "t5" else text.eos_id
            self.model.config.decoder_start_token_id = start

    def save(self, folder: Path) -> None:
        """Write config.json and model.safetensors, with the head if a method added one."""
        model: Any = self.model
        if self._head:
            with torch.device("meta"):
                model = self._headed()
            if self.family == "bart":  # a buffer of zeros, which must not stay on no device
                model.final_logits_bias = torch.zeros(1, self.vocab_size)
        elif self._detector and self.family == "electra":
            with torch.device("meta"):
                model = self._full_model("ElectraForPreTraining")
            model.discriminator_predictions = self._detector[0]
        hub_folder.write(folder, model, _attn_implementation=None)


def build(
    config: EncoderConfig, modality_config: TextConfig, vocab_size: int | None = None
) -> Language:
    """Build a text encoder, fresh or from ``config.init``.

    Raises:
        UsageError: there is no such encoder or folder.
        ConfigError: the folder's vocabulary is smaller than the tokenizer's, or an option is of
            other networks.
    """
    reads_only(config, "networks of text", "pool", "layer")
    vocab_size = vocab_size or modality_config.vocab_size
    if config.init is not None:
        encoder = _checked(load(Path(config.init), head=True), config.init, vocab_size)
    else:
        family, layers, width, heads = parse(config.name)
        made = families.fresh(family, layers, width, heads, vocab_size, modality_config.length)
        encoder = Language(made)
    encoder.read_from(config.pool or encoder.pooling, config.layer)
    return encoder


def _checked(encoder: Language, folder: str, vocab_size: int) -> Language:
    if encoder.vocab_size < vocab_size:
        raise ConfigError(
            f"The tokenizer knows ids up to {vocab_size - 1}, but the model in {folder} has "
            f"{encoder.vocab_size} embeddings, so id {encoder.vocab_size} has none. Use the "
            f"tokenizer that belongs to the model: modality.tokenizer={folder}."
        )
    return encoder


def load(folder: Path, head: bool = False) -> Language:
    """Open a folder in transformers' format, offline and without pickle.

    Args:
        folder: config.json and safetensors.
        head: whether to keep the language head that it may hold.

    Raises:
        UsageError: the folder does not hold such a model.
    """
    folder = Path(folder)
    info = config_of(folder)
    family = str(info.get("model_type"))
    if family not in FAMILIES:
        raise UsageError(
            f"{folder} holds a model of type '{family}'; text encoders are {', '.join(FAMILIES)}."
        )
    headed = head and FAMILIES[family].headed in info.get("architectures", [])
    kind = FAMILIES[family].headed if headed else FAMILIES[family].bare
    options = {} if headed else families.POOLERLESS.get(family, {})
    model = hub_folder.read(folder, getattr(transformers, kind), **options)
    dropout.without_dropout(model)
    bare = model.base_model if headed else model
    if headed and family in families.DECODING:
        bare = decoders.bare_of(model)
    encoder = Language(bare)
    if headed:
        encoder._head = [TokenHead(model)]
    return encoder
