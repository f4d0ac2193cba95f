"""LeWorldModel: say the next embedding, given the action; all embeddings together are a Gaussian.

Maes, Le Lidec, Scieur, LeCun and Balestriero, "LeWorldModel: Stable End-to-End Joint-Embedding
Predictive Architecture from Pixels", 2026, arXiv:2603.19312.

Every frame is embedded by itself, without what was done: z(t). A predictor is told z(t) and the
actions up to the next frame, and says z(t + 1); targets have gradient, and SIGReg, at every time
apart, keeps them from being all the same. There is no teacher and nothing is reconstructed. What is
learned is a model to plan with: `unlabeled.Planner` looks for actions after which the embedding is
that of a goal.

Departures: a frame is a step of a log, or a few, in place of a picture; the predictor is a small
network on one frame, which says a change, in place of a causal transformer on three. The encoder
sees frames alone, so its feature of a whole log is none that it was trained for: for labels of
episodes take `dynamics`. PatchTST takes the level out of what it sees, which is all that a frame of
one step has. In the journal `persistence` is the error of saying that nothing changes,
`gain` what is lost when actions are swapped between samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from unlabeled.encoders.base import Encoder
from unlabeled.health import projected
from unlabeled.method import Method, MethodConfig
from unlabeled.modalities.base import Modality
from unlabeled.nn.precision import full
from unlabeled.nn.sigreg import draw_lines, sigreg
from unlabeled.rng import moment, uniform
from unlabeled.types import Batch, Loss


class LeWorldModel(Method):
    """Prediction of the next embedding under a Gaussian prior."""

    modalities = ("series",)
    couples_samples = True
    recipe: ClassVar[Mapping[str, Any]] = {
        "name": "adamw",
        "lr": 2e-3,
        "batch": 128,
        "weight_decay": 1e-3,
        "warmup": 0.05,
        "clip": 1.0,
    }

    class Config(MethodConfig):
        """Options of LeWorldModel."""

        gauss: float = Field(0.1, gt=0, description="weight of SIGReg; that of the prediction is 1")
        lines: int = Field(64, ge=1, description="random lines a step; 1024 for long runs")
        knots: int = Field(17, ge=2, description="frequencies that are compared")
        frame: int = Field(1, ge=1, le=4096, description="steps that an embedding is of")
        skip: int = Field(4, ge=1, le=4096, description="steps from a frame to the next")
        frames: int = Field(8, ge=2, le=4096, description="frames in a row of a sample, at most")
        ahead: int = Field(1, ge=1, le=64, description="frames that it says from what it said")
        out_dim: int = Field(32, gt=1, description="width of an embedding")
        hidden_dim: int = Field(256, gt=0, description="width inside the predictor")

    def __init__(self, config: Config, encoder: Encoder, modality: Modality) -> None:
        super().__init__()
        self.config, self.encoder = config, encoder
        reads: Any = modality
        self.num_states = len(reads.config.observations)
        self.num_actions = len(reads.config.actions)
        self.projector = nn.Sequential(
            nn.Linear(encoder.dim, config.out_dim, bias=False), nn.BatchNorm1d(config.out_dim)
        )
        told = config.out_dim + config.skip * self.num_actions
        self.change = nn.Sequential(
            nn.Linear(told, config.hidden_dim),
            nn.SiLU(),
            nn.Linear(config.hidden_dim, config.hidden_dim),
            nn.SiLU(),
            nn.Linear(config.hidden_dim, config.out_dim),
        )

    def embed(self, frames: Tensor) -> Tensor:
        """Return embeddings of frames, what was done in them unseen, (B, F, 2 C) -> (B, K)."""
        seen, C = frames.clone(), self.num_states + self.num_actions  # noqa: N806
        seen[..., self.num_states : C] = 0.0
        seen[..., C + self.num_states :] = 0.0
        return full(self.projector(self.encoder(seen)))

    def predict(self, z: Tensor, actions: Tensor) -> Tensor:
        """Return the next embeddings, (..., K).

        Args:
            z: (..., K) embeddings of frames.
            actions: (..., skip A) normalised, from the last step of each up to that of the next.
        """
        return full(z + self.change(torch.cat([z, actions], -1)))

    def sequences(self, x: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Cut a row of frames from each sample, (B, T, 2 C), where the key says.

        Returns:
            (B, n, F, 2 C) frames, and (B, n - 1, skip A) what was done from each to the next.
        """
        c, S = self.config, self.num_states  # noqa: N806
        count = min(c.frames, 1 + max(0, x.shape[1] - c.frame) // c.skip)
        span = c.frame + (count - 1) * c.skip
        length = (x.chunk(2, -1)[1].amax(-1) > 0.5).long().sum(1)  # (B,) steps with a number
        room = (length - span).clamp(min=0)
        start = (uniform(keys, 1, salt=1)[:, 0] * (room + 1)).long()  # (B,)
        steps = start[:, None] + torch.arange(span, device=x.device)
        rows = torch.arange(len(x), device=x.device)[:, None]
        cut = x[rows, steps]  # (B, span, 2 C)
        frames = cut.unfold(1, c.frame, c.skip).transpose(2, 3)  # (B, n, F, 2 C)
        done = cut[:, c.frame - 1 : span - 1, S : S + self.num_actions]
        return frames, done.reshape(len(x), count - 1, -1)

    def loss(self, batch: Batch, progress: float) -> Loss:
        """Return the error of the next embeddings, and how far from a Gaussian all are."""
        c = self.config
        frames, actions = self.sequences(batch["plain"][0], batch.keys)
        B, n = frames.shape[:2]  # noqa: N806
        z = self.embed(frames.flatten(0, 1)).view(B, n, -1)
        error = self.missed(z, actions)
        lines = draw_lines(moment(progress), c.out_dim, c.lines).to(z.device)
        odd = sigreg(z.transpose(0, 1), lines, c.knots)
        with torch.no_grad():
            still = (z[:, 1:] - z[:, :-1]).square().mean()
            gain = self.missed(z, actions.roll(1, 0)) - error
        parts = {"prediction": error.detach(), "gaussianity": odd.detach(), "persistence": still}
        size = {"projection_spread": z.detach().flatten(0, 1).std(0, correction=0).mean()}
        total = error + c.gauss * odd
        return Loss(total, {**parts, "gain": gain, **projected(z[:, 0]), **size})

    def missed(self, z: Tensor, actions: Tensor) -> Tensor:
        """Return the mean squared error of embeddings, said up to `ahead` frames on."""
        said, errors = z[:, :-1], []
        for step in range(min(self.config.ahead, z.shape[1] - 1)):
            said = self.predict(said, actions[:, step:])  # (B, n - 1 - step, K)
            errors.append((said - z[:, step + 1 :]).square().flatten())
            said = said[:, :-1]
        return torch.cat(errors).mean()
