"""The library's own token head: from features of single tokens to logits over the vocabulary."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unlabeled.nn.cross_entropy import cross_entropy
from unlabeled.nn.guesses import Cost, Guess, summed
from unlabeled.nn.precision import full, no_autocast
from unlabeled.types import Loss


class Scores(NamedTuple):
    """What each scored target cost.

    Args:
        nats: (S,) cross-entropy.
        targets: (S,) ids.
        right: (S,) whether the likeliest token was the target.
    """

    nats: Tensor
    targets: Tensor
    right: Tensor


def token_loss(guess: Tensor | Guess, targets: Tensor) -> Loss:
    """Return the mean cross-entropy of the targets in nats, and how many there are.

    Args:
        guess: (S, K) logits, or what they come from, which bounds the memory they take.
        targets: (S,) ids; -1 where nothing is to be guessed.
    """
    count = (targets >= 0).sum()
    total = (
        summed(guess, targets) if isinstance(guess, Guess) else cross_entropy(guess, targets, "sum")
    )
    return Loss(total / count.clamp(min=1), {"targets": count})


def token_scores(guess: Tensor | Guess, targets: Tensor) -> Scores:
    """Return what each target costs, (S,); all of them are ids. See `token_loss`."""
    if isinstance(guess, Guess):
        found = [token_scores(logits, targets[part]) for part, logits in guess.logits()]
        return Scores(*(torch.cat(column) for column in zip(*found, strict=True)))
    nats = cross_entropy(guess, targets, "none")
    return Scores(nats, targets, guess.argmax(-1) == targets)


def teacher_nats(logits: Tensor, said: Tensor, temperature: float) -> Tensor:
    """Return the sum over rows of t^2 KL(teacher || student) at temperature t, in nats.

    Hinton et al. 2015 (arXiv:1503.02531), section 2: the factor keeps gradients as large as those
    of the cross-entropy.

    Args:
        logits: (S, K) of the student.
        said: (S, K) of the teacher, without gradient.
        temperature: > 0.
    """
    with no_autocast(logits):
        own = F.log_softmax(full(logits) / temperature, 1)
        target = F.log_softmax(full(said.detach()) / temperature, 1)
        nats = F.kl_div(own, target, reduction="sum", log_target=True)
    return nats * temperature**2


def taught(targets: Tensor, said: Guess, share: float, temperature: float) -> tuple[Cost, Tensor]:
    """Return what logits cost whose teacher is half believed, and where both sums are kept, (2,).

    Args:
        targets: (S,) ids.
        said: by the teacher, of the same tokens; its logits are made without gradient.
        share: of `teacher_nats` in the cost; the rest is that of the cross-entropy.
        temperature: > 0.
    """
    told = torch.zeros(2, device=targets.device)

    def cost(logits: Tensor, part: slice) -> Tensor:
        with torch.no_grad():
            other = said.head(said.tokens[part])
        own = cross_entropy(logits, targets[part], "sum")
        nats = teacher_nats(logits, other, temperature)
        told.add_(torch.stack([own.detach(), nats.detach()]))
        return (1 - share) * own + share * nats

    return cost, told


HEADS = {
    "bert": ("cls",),
    "modernbert": ("head", "decoder"),
    "roberta": ("lm_head",),
    "electra": ("generator_predictions", "generator_lm_head"),
    "gpt2": ("lm_head",),
    "llama": ("lm_head",),
    "qwen2": ("lm_head",),
    "qwen3": ("lm_head",),
    "deberta-v2": ("cls",),
    "xlnet": ("lm_loss",),
    "t5": ("lm_head",),
    "bart": ("lm_head",),
}
"""The modules, in order, that turn tokens into logits in the library's model with a head."""


class TokenHead(nn.Module):
    """Turns tokens into logits; the last matrix is the embedding of the tokens.

    Args:
        model: a transformers model with a language head, its weights tied.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.names = HEADS[str(model.config.model_type)]  # type: ignore[union-attr]
        self.parts = nn.ModuleDict({name: getattr(model, name) for name in self.names})
        config: Any = model.config
        scaled = getattr(config, "scale_decoder_outputs", False)  # T5, whose table is wide
        self.scale = float(config.d_model) ** -0.5 if scaled else 1.0

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits, (S, D) -> (S, K)."""
        tokens = tokens if self.scale == 1 else tokens * self.scale
        for name in self.names:
            tokens = self.parts[name](tokens)
        return tokens


class Detector(nn.Module):
    """Says of each token whether it was replaced; named as in `ElectraForPreTraining`.

    Args:
        dim: D, width of the tokens.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dense, self.dense_prediction = nn.Linear(dim, dim), nn.Linear(dim, 1)
        for layer in (self.dense, self.dense_prediction):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits of being replaced, (..., D) -> (...)."""
        logits: Tensor = self.dense_prediction(F.gelu(self.dense(tokens)))
        return logits.squeeze(-1)


def replaced_nats(logits: Tensor, wrong: Tensor) -> Tensor:
    """Return the binary cross-entropy of each token in fp32, (B, T).

    Args:
        logits: (B, T) of being replaced.
        wrong: (B, T) bool, whether it is so.
    """
    with no_autocast(logits):
        targets = full(wrong.float())
        return F.binary_cross_entropy_with_logits(full(logits), targets, reduction="none")
