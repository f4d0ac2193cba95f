"""Knowledge inheritance: learn from text and from a teacher's guesses at once, ever less from it.

Qin et al., "Knowledge Inheritance for Pre-trained Language Models", NAACL 2022, arXiv:2105.13880.

Equation 3: L = (1 - a) L_self + a L_teacher, where L_self is the cross-entropy of the tokens and
L_teacher is t^2 KL(teacher || student) of their distributions at temperature t, at the same places
under the same masks; a falls linearly to 0 over the run. The student may be larger than its
teacher. With an encoder that sees both sides hidden tokens are guessed (BERT), with a causal one
the next token (GPT).

Without `method.teacher` the teacher is what the run began from (`--init`), frozen: the student
keeps what it knew while it reads new text (Li and Hoiem, "Learning without Forgetting", 2016,
arXiv:1606.09282).

Departures: all of the teacher's distribution is used, where the paper keeps its ten likeliest
tokens to save space. The teacher is a local folder with a language head and the same vocabulary;
it is opened anew at a resume and no part of a checkpoint.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from unlabeled.encoders import language
from unlabeled.encoders.base import Encoder
from unlabeled.errors import ConfigError
from unlabeled.method import Method, MethodConfig, Scored
from unlabeled.methods.fit import require_mask, require_words
from unlabeled.modalities.base import Modality
from unlabeled.nn.guesses import Guess, cost_of, summed
from unlabeled.nn.hiding import Hiding
from unlabeled.nn.token_head import Scores, taught, token_scores
from unlabeled.types import Batch, Loss


class Inherit(Method):
    """Language modelling with a teacher."""

    modalities = ("text",)
    needs = "text"
    scored: ClassVar[Scored] = "hidden"
    recipe: ClassVar[Mapping[str, Any]] = {
        "name": "muon",
        "lr": 2e-3,
        "muon_lr": 0.02,
        "batch": 64,
        "betas": (0.9, 0.98),
        "weight_decay": 0.01,
        "warmup": 0.05,
        "clip": 1.0,
    }

    class Config(MethodConfig):
        """Options of knowledge inheritance."""

        teacher: str = Field("", description="RUN/encoder; if absent, the weights of --init")
        weight: float = Field(
            0.5, ge=0, le=1, description="of the teacher at the start; falls to 0"
        )
        temperature: float = Field(2.0, gt=0, description="divides both networks' logits")
        mask_ratio: float = Field(0.15, gt=0, lt=1, description="share hidden (encoders)")

    def __init__(self, config: Config, encoder: Encoder, modality: Modality) -> None:
        super().__init__()
        require_words("inherit", encoder)
        text: Any = modality
        library: Any = encoder
        self.config = config
        self.encoder: Encoder = encoder
        self.scored = "text" if encoder.causal else "hidden"  # type: ignore[misc]
        library.set_special_ids(text)
        self.vocab_size, self.special_ids = int(text.vocab_size), text.special_ids
        self.hiding: Hiding | None = None
        if not encoder.causal:
            require_mask("inherit", modality)
            self.hiding = Hiding(text, "token", 0.8, 0.1)
        self.head = library.add_head()
        # In a list, so that it is no part of this module: it is neither trained nor saved.
        self.teachers = [_teacher(config, encoder, self.vocab_size)]

    def loss(self, batch: Batch, progress: float) -> Loss:
        """Return the weighted sum of both losses, in nats a token."""
        ids, where, targets = self._ask(batch)
        guess = self._answer(self.encoder, self.head, ids, where)
        count = torch.tensor(max(len(targets), 1))
        if (share := self.config.weight * (1 - progress)) <= 0:
            own = summed(guess, targets) / count
            return Loss(own, {"targets": count, "nats": own.detach()})
        teacher = self.teachers[0].to(ids.device)
        with torch.no_grad():
            said = self._answer(teacher, teacher.add_head(), ids, where)
        cost, told = taught(targets, said, share, self.config.temperature)
        total = cost_of(guess, cost) / count
        nats, learnt = told / count
        return Loss(total, {"targets": count, "nats": nats, "taught": learnt})

    def _ask(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Return rows to read, (B, 2, T), places (S,), and the tokens to guess there, (S,)."""
        x = batch["plain"][0]  # (B, 3, T)
        if self.hiding is None:
            where = (x[:, 2] >= 0).flatten().nonzero().flatten()
            return x[:, :2], where, x[:, 2].flatten()[where]
        hidden, chosen = self.hiding(x, batch.keys, self.config.mask_ratio)
        where = chosen.flatten().nonzero().flatten()
        return torch.stack([hidden, x[:, 1]], 1), where, x[:, 0].flatten()[where]

    @staticmethod
    def _answer(encoder: Any, head: Any, ids: Tensor, where: Tensor) -> Guess:
        """Return guesses at places, of (S, K) logits."""
        return Guess(head, encoder.tokens_at(ids, where))

    @torch.no_grad()
    def scores(self, batch: Batch) -> Scores:
        """Return what each target costs the student."""
        ids, where, targets = self._ask(batch)
        return token_scores(self._answer(self.encoder, self.head, ids, where), targets)

    def chance(self, batch_size: int) -> float:
        """Return ln K."""
        return math.log(self.vocab_size)


def _teacher(config: Inherit.Config, encoder: Encoder, vocab_size: int) -> language.Language:
    """Open the teacher, or copy the student as it begins.

    Raises:
        ConfigError: it has another vocabulary or sees another way.
    """
    library: Any = encoder
    if not config.teacher:
        same: language.Language = copy.deepcopy(library).requires_grad_(False).eval()
        return same
    teacher = language.load(Path(config.teacher), head=True)
    teacher.requires_grad_(False).eval()
    if teacher.vocab_size != vocab_size or teacher.causal != encoder.causal:
        raise ConfigError(
            f"The teacher in {config.teacher} has {teacher.vocab_size} tokens and "
            f"{'one side' if teacher.causal else 'both sides'} in view; '{encoder.name}' has "
            f"{vocab_size} and {'one' if encoder.causal else 'both'}. Use the teacher's tokenizer "
            "(modality.tokenizer) and a stack of its kind (encoder.name)."
        )
    return teacher
