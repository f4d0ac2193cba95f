"""A look at the features of fixed held-out samples, now and then."""

from __future__ import annotations

from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from unlabeled import device
from unlabeled.errors import TrainingError
from unlabeled.health import FEW, Health, kept, read_features
from unlabeled.journal import Journal
from unlabeled.state import State
from unlabeled.tensors import load_tensors
from unlabeled.types import Batch

START = "data/start.safetensors"
"""Features of the watched samples before the first step, of a run that began with weights."""

TEXT_COSTS = ("text", "hidden", "permuted", "rebuilt", "replaced")
"""Methods whose scores are of single tokens; see `Method.scored`."""
FROZEN = 0x0DD5


class Watch:
    """Looks at the features of fixed held-out samples and judges them."""

    def __init__(self, state: State) -> None:
        """Read the watched samples once."""
        self.state = state
        self.inputs = state.data.watched.to(state.where)
        scored = state.data.scored
        self.scored = None if scored is None else scored.to(state.where)
        self.journal = Journal(state.folder / "health.jsonl")
        chance = state.method.chance(state.config.loop.batch)
        prototypes = state.method.num_prototypes()
        self.health = Health(state.config.method["name"], chance, state.data.unigram, prototypes)
        features = self._features()
        self.health.first = read_features(features)
        self.start = self._start(features) if self._from_weights() else None
        self._replay()

    def _from_weights(self) -> bool:
        encoder: Any = self.state.method.encoder
        return bool(getattr(encoder, "pretrained", False)) and len(self.inputs) >= FEW

    def _start(self, features: Tensor) -> Tensor:
        """Return the features that the run began with, which a resumed run reads again."""
        path = self.state.folder / START
        if self.state.step == 0 and device.rank() == 0:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_file({"features": features.cpu().contiguous()}, path)
        if self.state.step == 0 or not path.is_file():
            return features
        return load_tensors(path)["features"].to(features.device)

    def _replay(self) -> None:
        """Bring the streaks to where they were before a resume."""
        for line in self.journal.lines():
            self.health.streaks = dict(line.get("streaks", {}))

    @torch.no_grad()
    def _features(self) -> Tensor:
        encoder = self.state.method.exported()
        training = encoder.training
        encoder.eval()
        with device.autocast(self.state.config.loop.precision, self.state.where):
            features = torch.cat([encoder(x) for x in torch.split(self.inputs, 64)])
        encoder.train(training)
        return features.float()

    @torch.no_grad()
    def _held_out(self) -> dict[str, float]:
        """Return what held-out rows of text cost under masks that never change, in nats."""
        method: Any = self.state.method
        if self.scored is None or method.scored not in TEXT_COSTS or not hasattr(method, "scores"):
            return {}
        keys = torch.arange(len(self.scored), device=self.scored.device) * 7919 + FROZEN
        training = method.training
        method.eval()
        sums = torch.zeros(2, dtype=torch.float64)
        for rows, some in zip(torch.split(self.scored, 64), torch.split(keys, 64), strict=True):
            with device.autocast(self.state.config.loop.precision, self.state.where):
                nats = method.scores(Batch({"plain": rows[None]}, some)).nats
            sums += torch.tensor([float(nats.double().sum()), len(nats)], dtype=torch.float64)
        method.train(training)
        return {"held_out": float(sums[0] / sums[1].clamp(min=1))}

    def look(self, parts: dict[str, float], loss: float) -> dict[str, Any]:
        """Measure, judge, write a line.

        Raises:
            TrainingError: the features collapsed.
        """
        features = self._features()
        reading = read_features(features)
        same = None if self.start is None else kept(self.start, features)
        progress = self.state.step / self.state.config.loop.steps
        alarms = self.health.check(reading, parts, loss, progress, same)
        named = ("entropy", "target_entropy")
        entropies: dict[str, Any] = {k: parts[k] for k in named if k in parts}
        line: dict[str, Any] = {
            "step": self.state.step,
            "spread": reading.spread,
            "effective_rank": reading.effective_rank,
            "mean_cosine": reading.mean_cosine,
            "prototypes": self.health.prototypes,
            **({} if same is None else {"kept": same}),
            **entropies,
            **self._held_out(),
            "alarms": alarms,
            "streaks": self.health.streaks,
        }
        if device.rank() == 0:
            self.journal.write(line)
        if self.health.collapsed() and self.state.config.loop.stop_on_collapse:
            raise TrainingError(f"Stopped at step {self.state.step}. {' '.join(alarms)}")
        return line
