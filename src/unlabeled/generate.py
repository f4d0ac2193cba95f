"""Let a model write, or fill what is hidden: text from GPT, tokens from BERT, pixels from MAE."""

from __future__ import annotations

import inspect
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unlabeled import rng
from unlabeled.encoders import language
from unlabeled.errors import UsageError
from unlabeled.methods import catalogue
from unlabeled.modalities.text import Text
from unlabeled.runs import Run
from unlabeled.types import Batch


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn from its probabilities.

    Args:
        temperature: >= 0; below 1 sharpens, 0 takes the likeliest token.
        top_k: draw from so many likeliest tokens.
        top_p: draw from the fewest tokens that hold this share of the probability
            (Holtzman et al. 2020, arXiv:1904.09751).
        min_p: drop tokens less likely than this share of the likeliest.
    """

    temperature: float = 0.8
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None

    def shares(self, logits: Tensor) -> Tensor:
        """Return the probabilities that are drawn from, (B, K) -> (B, K) fp32."""
        if self.temperature == 0:
            return torch.nn.functional.one_hot(logits.argmax(-1), logits.shape[-1]).float()
        shares = (logits.float() / self.temperature).softmax(-1)
        if self.top_k is not None:
            least = shares.topk(min(self.top_k, shares.shape[-1])).values[:, -1:]
            shares = shares.masked_fill(shares < least, 0.0)
        if self.min_p is not None:
            shares = shares.masked_fill(shares < self.min_p * shares.amax(-1, True), 0.0)
        if self.top_p is not None:
            shares = _nucleus(shares / shares.sum(-1, keepdim=True), self.top_p)
        return shares / shares.sum(-1, keepdim=True)


def _nucleus(shares: Tensor, top_p: float) -> Tensor:
    ranked, order = shares.sort(dim=-1, descending=True, stable=True)
    before = ranked.cumsum(-1) - ranked
    keep = (before < top_p) | (torch.arange(shares.shape[-1], device=shares.device) == 0)
    return torch.zeros_like(shares).scatter_(-1, order, ranked * keep)


@dataclass(frozen=True)
class Written:
    """What a generator wrote.

    Args:
        texts: each prompt with what follows it.
        tokens: how many were added in all.
        seconds: that writing took, reading the prompts included and opening the model not.
    """

    texts: list[str]
    tokens: int
    seconds: float


def generate(run: Run, prompt: str | Sequence[str] = "", **options: Any) -> list[str]:
    """Continue prompts with a run's generator, and return each with what follows it.

    Args:
        run: a run of gpt or gptbert.
        prompt: one or several texts.
        **options: of `write`, which also says how long it took.
    """
    return write(run, prompt, **options).texts


def write(
    run: Run,
    prompt: str | Sequence[str] = "",
    max_tokens: int = 100,
    temperature: float = 0.8,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    seed: int = 0,
    stop: str | Sequence[str] | None = None,
) -> Written:
    """Continue prompts with a run's generator.

    Args:
        run: a run of gpt.
        prompt: one or several texts; an empty one starts a document.
        max_tokens: most tokens that are added to each.
        temperature: see `Sampling`, as for the next three.
        top_k: see `Sampling`.
        top_p: see `Sampling`.
        min_p: see `Sampling`.
        seed: of the draws; the text of a prompt does not depend on the others.
        stop: texts at which a continuation ends; they are not kept. A document's end is one too.

    Raises:
        UsageError: the run is no generator, or a prompt holds unknown characters.
    """
    prompts = [prompt] if isinstance(prompt, str) else list(prompt)
    stops = [one for one in ([stop] if isinstance(stop, str) else stop or []) if one]
    text, encoder = _model(run, "text", "generate")
    sampling = Sampling(temperature, top_k, top_p, min_p)
    rows = [_start(text, one) for one in prompts]
    writer = Writer(encoder, text, limit=text.config.length)
    begun = time.monotonic()
    added = writer.write(rows, max_tokens, sampling, seed, stops)
    seconds = time.monotonic() - begun
    texts = [
        one + _until(_added_text(text, row, ids), stops)
        for one, row, ids in zip(prompts, rows, added, strict=True)
    ]
    return Written(texts, sum(map(len, added)), seconds)


def _added_text(text: Text, row: list[int], ids: list[int]) -> str:
    """Return what the tokens add to a text: some tokenizers put spaces between tokens."""
    before = text.decode(row)
    whole = text.decode([*row, *ids])
    return whole[len(before) :] if whole.startswith(before) else text.decode(ids)


def _until(added: str, stops: Sequence[str]) -> str:
    """Return a text up to where the first of the stops begins."""
    ends = [place for stop in stops if (place := added.find(stop)) >= 0]
    return added[: min(ends)] if ends else added


def _start(text: Text, prompt: str) -> list[int]:
    """Return the tokens of a prompt, as a document begins."""
    body = text.encode([prompt])[0]
    if text.unknown_id is not None and text.unknown_id in body:
        known = [c for c in dict.fromkeys(prompt) if text.unknown_id in text.encode([c])[0]]
        raise UsageError(
            f"The prompt holds {' '.join(map(repr, known[:5]))}, which the text that the model "
            "was trained on never did. Write it without."
        )
    if text.starts_documents:
        return [*text.opens, *body]
    return body or text.encode(["\n"])[0] or text.opens


def _model(run: Run, scored: str, verb: str) -> tuple[Text, language.Language]:
    """Return the tokenizer and the encoder with its head.

    Raises:
        UsageError: the run trained something else.
    """
    trained = run.config.method["name"]
    if catalogue.describe(trained).scored != scored:
        method = {"text": "gpt", "hidden": "bert"}[scored]
        raise UsageError(
            f"{run.folder} was trained with {trained}, which does not {verb}. "
            f"Train one that does: unlabeled pretrain DATA --method {method}"
        )
    modality: Any = run.modality()
    if (run.folder / "encoder").is_dir():
        encoder = language.load(run.folder / "encoder", head=True)
    else:
        encoder = run.method().encoder  # type: ignore[assignment]
    encoder.add_head()
    return modality, encoder.eval()


class Writer:
    """Writes token by token, keeping keys and values of what was read.

    Args:
        encoder: a causal encoder with its head.
        text: the tokenizer.
        limit: most tokens that the model sees; when they are full, the older half is forgotten.
        cache: whether keys and values are kept; without, the same text is written more slowly.
    """

    def __init__(
        self, encoder: language.Language, text: Text, limit: int, cache: bool = True
    ) -> None:
        self.encoder, self.text, self.cache = encoder, text, cache
        self.limit = min(limit, encoder.max_length or limit)
        # Transformers calls it "cache" since 5.24 and warns of the old name.
        known = inspect.signature(encoder.model.forward).parameters
        self.cache_name = "cache" if "cache" in known else "past_key_values"
        self.head = encoder.add_head().eval()
        self.eos = text.eos_id
        banned = torch.zeros(encoder.vocab_size, dtype=torch.bool)
        banned[text.vocab_size :] = True
        banned[[i for i in text.special_ids if i != self.eos]] = True
        self.banned = banned

    @torch.inference_mode()
    def write(
        self,
        rows: list[list[int]],
        max_tokens: int,
        sampling: Sampling,
        seed: int = 0,
        stops: Sequence[str] = (),
    ) -> list[list[int]]:
        """Return the tokens that are added to each row."""
        width = max(map(len, rows), default=0)
        ids = torch.zeros(len(rows), width, dtype=torch.long)
        real = torch.zeros_like(ids)
        for number, row in enumerate(rows):  # on the right, where the next token follows
            ids[number, width - len(row) :] = torch.tensor(row)
            real[number, width - len(row) :] = 1
        keys = torch.tensor([rng.sample_key(seed, 0, i) for i in range(len(rows))])
        added: list[list[int]] = [[] for _ in rows]
        open_rows = set(range(len(rows)))
        past, begin = None, max(0, width - self.limit)
        for step in range(max_tokens):
            if ids.shape[1] - begin > self.limit:
                past, begin = None, ids.shape[1] - max(1, self.limit // 2)
            logits, past = self._next(ids[:, begin:], real[:, begin:], past)
            chosen = _draw(sampling.shares(logits), rng.uniform(keys, 1, salt=step)[:, 0])
            for number in sorted(open_rows):
                token = int(chosen[number])
                if token == self.eos:
                    open_rows.discard(number)
                    continue
                added[number].append(token)
                if self._ended(added[number], stops):
                    open_rows.discard(number)
            if not open_rows:
                break
            ids = torch.cat([ids, chosen[:, None]], 1)
            real = torch.cat([real, torch.ones_like(chosen[:, None])], 1)
        return added

    def _ended(self, added: list[int], stops: Sequence[str]) -> bool:
        """Return whether a stop stands in what was added; a letter may be up to four tokens."""
        if not stops:
            return False
        tail = self.text.decode(added[-4 * max(map(len, stops)) - 8 :])
        return any(stop in tail for stop in stops)

    def _next(self, ids: Tensor, real: Tensor, past: Any) -> tuple[Tensor, Any]:
        """Return logits of the next token, (B, K), and what was kept."""
        positions = (real.cumsum(1) - 1).clamp(min=0)
        fresh = slice(None) if past is None else slice(-1, None)
        out = self.encoder.model(
            input_ids=ids[:, fresh],
            attention_mask=real,
            position_ids=positions[:, fresh],
            use_cache=self.cache,
            **{self.cache_name: past},
        )
        logits = self.head(out.last_hidden_state[:, -1]).float()
        return logits.masked_fill(self.banned, float("-inf")), out.get(self.cache_name)


def _draw(shares: Tensor, uniform: Tensor) -> Tensor:
    """Return the tokens at which the cumulated shares pass `uniform`, (B, K), (B,) -> (B,)."""
    passed = shares.double().cumsum(-1) > uniform[:, None].double()
    last = shares.shape[-1] - 1 - (shares.flip(-1) > 0).int().argmax(-1)
    return torch.where(passed.any(-1), passed.int().argmax(-1), last)


def fill(run: Run, text: str, count: int = 5) -> list[list[tuple[str, float]]]:
    """Guess what stands at every mask of a text.

    Args:
        run: a run of bert.
        text: holds the tokenizer's mask token, or ``___``, where something is to be guessed.
        count: guesses for each.

    Returns:
        For each mask, the likeliest tokens with their probabilities.

    Raises:
        UsageError: the run is no masked model, or the text has no mask.
    """
    modality, encoder = _model(run, "hidden", "fill")
    mask = str(modality.tokenizer.mask_token)
    parts = text.replace("___", mask).split(mask)
    if len(parts) < 2:
        raise UsageError(f"The text has nothing to guess: write {mask} or ___ where a word is.")
    body: list[int] = []
    for number, ids in enumerate(modality.encode(parts)):
        body += [modality.mask_id, *ids] if number else ids  # type: ignore[list-item]
    if modality.starts_documents:
        body = [*modality.opens, *body, *modality.closes]
    return _guesses(modality, encoder, torch.tensor(body), count)


@torch.inference_mode()
def _guesses(
    modality: Text, encoder: language.Language, ids: Tensor, count: int
) -> list[list[tuple[str, float]]]:
    where = torch.eq(ids, modality.mask_id or 0).nonzero().flatten()
    row = torch.stack([ids, torch.zeros_like(ids)])[None]  # (1, 2, T)
    logits = encoder.add_head().eval()(encoder.tokens_at(row, where)).float()
    logits[:, modality.vocab_size :] = float("-inf")
    logits[:, list(modality.special_ids)] = float("-inf")
    shares, best = logits.softmax(-1).topk(min(count, logits.shape[-1]))
    return [
        [(modality.tokenizer.decode([token]), share) for token, share in zip(b, s, strict=True)]
        for b, s in zip(best.tolist(), shares.tolist(), strict=True)
    ]


@torch.inference_mode()
def reconstruct(run: Run, raws: Sequence[Any], seed: int = 0) -> Any:
    """Hide parts of raw images and let the run draw them.

    Args:
        run: a run of mae or simmim.
        raws: images as `Image.read` returns them.
        seed: of crops and of what is hidden.

    Returns:
        A `Reconstruction`: original, masked and reconstructed images (B, C, H, W).
    """
    from unlabeled.data.loader import distort, stack

    method: Any = run.method()
    modality, views = run.modality(), method.views()
    items = []
    for number, raw in enumerate(raws):
        key = rng.sample_key(seed, 0, number)
        draws = rng.generator(key)
        cuts = {kind: modality.cut(raw, view, draws) for kind, view in views.items()}
        items.append((cuts, key, str(number)))
    batch: Batch = distort(stack(items), modality, views)
    return method.reconstruct(batch)
