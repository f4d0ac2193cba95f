"""Combine: several pretext tasks on one encoder, their losses added with weights.

After Doersch and Zisserman, "Multi-task Self-Supervised Visual Learning", ICCV 2017,
arXiv:1708.07860; DINOv2 (arXiv:2304.07193) is a sum of this kind.

The tasks are the same objects as when they run alone. Views that two tasks describe alike are cut
once and shared. The encoder starts as the first task starts it, and its encoder is the one that
is kept: its teacher, where it exports one. The optimiser's recipe is that of the first task that
asks for tokens, or of the first.

Departure: tasks see the same batch at every step, instead of taking turns on machines of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from unlabeled.encoders.base import Encoder
from unlabeled.method import Method, MethodConfig
from unlabeled.methods import load
from unlabeled.methods.tasks import check
from unlabeled.modalities.base import Modality
from unlabeled.types import Batch, Loss, View

_LEAST = ("projection_spread", "projection_rank")
"""What health reads of every task; the worst is what counts."""

_ENTROPIES = ("entropy", "target_entropy")


class Combine(Method):
    """A weighted sum of pretext tasks."""

    modalities = ("image", "audio", "text")
    couples_samples = True  # as soon as one of its tasks does

    class Config(MethodConfig):
        """Options of combine."""

        tasks: tuple[str, ...] = Field(
            ("simclr", "vicreg"), description="pretext tasks; the first one's encoder is kept"
        )
        weights: tuple[float, ...] = Field((), description="of the tasks' losses; all 1 if absent")
        options: dict[str, Any] = Field(
            {}, description="of the tasks, such as {simclr={temperature=0.2}}"
        )

    def __init__(self, config: Config, encoder: Encoder, modality: Modality) -> None:
        super().__init__()
        check("combine", config.model_dump())
        self.config, self.encoder = config, encoder
        self.weights = config.weights or (1.0,) * len(config.tasks)
        image: Any = encoder
        loaded = getattr(image, "pretrained", True)
        tasks: dict[str, Method] = {}
        for name in config.tasks:
            kind: Any = load(name)
            options = kind.Config(**config.options.get(name, {}))
            tasks[name] = kind(options, encoder, modality)
            image.pretrained = True  # the others take the encoder as the first one started it
        image.pretrained = loaded
        self.tasks = tasks
        self.held = nn.ModuleDict(tasks)
        self.couples_samples = any(  # type: ignore[misc]
            task.couples_samples for task in tasks.values()
        )
        self.synchronised = all(  # type: ignore[misc]
            task.synchronised for task in tasks.values()
        )
        self.shown, self.named = _views(tasks)
        first = tasks[config.tasks[0]]
        self.scored = first.scored  # type: ignore[misc]
        self.special_ids: tuple[int, ...] = getattr(first, "special_ids", ())

    def views(self) -> dict[str, View]:
        """Return the views of all tasks, each once."""
        return self.shown

    def loss(self, batch: Batch, progress: float) -> Loss:
        """Add up the tasks' losses."""
        parts: dict[str, Tensor] = {}
        totals = []
        for weight, (name, task) in zip(self.weights, self.tasks.items(), strict=True):
            views = {kind: batch[there] for kind, there in self.named[name].items()}
            total, found = task.loss(Batch(views, batch.keys, batch.names), progress)
            totals.append(weight * total)
            parts[f"{name}_loss"] = total.detach()
            if self.scored and name == self.config.tasks[0]:  # what health compares with chance
                parts["nats"] = found.get("nats", total.detach())
            for part, value in found.items():
                parts[f"{name}_{part}"] = value
                if part in _LEAST:
                    parts[part] = torch.minimum(parts.get(part, value), value)
                elif part in _ENTROPIES and name == self._with_prototypes():
                    parts[part] = value  # health compares it with this task's K
        return Loss(torch.stack(totals).sum(), parts)

    def _with_prototypes(self) -> str | None:
        found = [name for name, task in self.tasks.items() if task.num_prototypes() is not None]
        return found[0] if found else None

    def scores(self, batch: Batch) -> Any:
        """Return what held-out targets cost the first task, if it scores any."""
        name = self.config.tasks[0]
        task: Any = self.tasks[name]
        views = {kind: batch[there] for kind, there in self.named[name].items()}
        return task.scores(Batch(views, batch.keys, batch.names))

    def after_step(self, progress: float) -> None:
        """Let each task move what it moves."""
        for task in self.tasks.values():
            task.after_step(progress)

    def exported(self) -> nn.Module:
        """Return what the first task keeps."""
        return self.tasks[self.config.tasks[0]].exported()

    def param_groups(self) -> list[dict[str, Any]]:
        """Return the tasks' groups; what tasks share is moved as the first of them says."""
        groups: list[dict[str, Any]] = []
        taken: set[int] = set()
        for task in self.tasks.values():
            for group in task.param_groups():
                mine = [p for p in group["params"] if p.requires_grad and id(p) not in taken]
                taken.update(id(p) for p in mine)
                groups.append({**group, "params": mine})
        return groups

    def num_prototypes(self) -> int | None:
        """Return K of the first task that compares distributions over prototypes."""
        name = self._with_prototypes()
        return None if name is None else self.tasks[name].num_prototypes()


def _views(tasks: Mapping[str, Method]) -> tuple[dict[str, View], dict[str, dict[str, str]]]:
    """Return all views by a name of their own, and for each task kind -> name."""
    shown: dict[str, View] = {}
    named: dict[str, dict[str, str]] = {}
    for name, task in tasks.items():
        named[name] = {}
        for kind, view in task.views().items():
            there = kind if shown.get(kind, view) == view else f"{name}-{kind}"
            shown[there] = view
            named[name][kind] = there
    return shown, named
