"""What a pretext task owns: its views, its modules, its loss, and what moves after a step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from unlabeled.types import Batch, Loss, View

Need = Literal[
    "feature",
    "tokens",
    "text",
    "causal",
    "bidirectional",
    "two streams",
    "decoder",
    "waves",
    "channels",
    "stills",
]
Scored = Literal["", "text", "hidden", "permuted", "replaced", "rebuilt", "paired"]


class MethodConfig(BaseModel):
    """Base of every method's options: frozen, typed, unknown names are errors.

    Write each option as ``name: type = Field(literal, ge=..., description="...")``: the command
    line reads options and their ranges from the source, without importing torch.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


class Method(nn.Module):
    """A pretext task on one encoder.

    A method is a pure function of (parameters, buffers, batch): `loss` changes no state;
    whatever moves between steps (teacher, queue, centre) moves in `after_step`.
    Randomness per sample comes from `batch.keys`.

    Attributes:
        Config: the method's options.
        modalities: the kinds of data that it fits, the one it was made for first; what fits
            images also fits spectrograms of recordings.
        needs: what it asks of an encoder: ``feature`` (any encoder), ``tokens`` (blocks run on
            any subset of tokens: a transformer), ``text`` (a stack of text), ``causal`` or
            ``bidirectional`` attention, ``two streams`` of it (XLNet), a ``decoder``, ``waves``
            (reads samples), ``channels`` (reads those of a log apart), ``stills`` (looks at
            frames apart).
        class_token: whether its loss shapes a transformer's class token, so that features are
            read from it; otherwise they are the mean of the patches.
        couples_samples: whether the loss of a sample depends on the others in the batch, so
            that accumulating gradients over micro-batches would change the method.
        synchronised: whether BatchNorm uses the samples of all ranks, as it would on one.
        scored: what the figures of `scores`, if there is one, are of: ``text`` (every token given
            those before it), ``hidden`` (tokens given both sides), ``permuted`` (tokens given some
            of both sides), ``replaced`` (whether tokens are the originals), ``rebuilt`` (what a
            decoder writes given a spoiled text), ``paired`` (how two segments belong together).
        recipe: what the method's paper says of the optimiser, as `OptimConfig` values.
    """

    Config: ClassVar[type[MethodConfig]] = MethodConfig
    modalities: ClassVar[tuple[str, ...]] = ("image", "audio", "series", "video")
    needs: ClassVar[Need] = "feature"
    class_token: ClassVar[bool] = False
    couples_samples: ClassVar[bool] = False
    synchronised: ClassVar[bool] = True
    scored: ClassVar[Scored] = ""
    recipe: ClassVar[Mapping[str, Any]] = {}

    encoder: nn.Module

    def views(self) -> dict[str, View]:
        """Return the kinds of views that a batch must hold."""
        return {"plain": View()}

    def loss(self, batch: Batch, progress: float) -> Loss:
        """Return the loss of `batch` at `progress` in [0, 1]; changes no state."""
        raise NotImplementedError

    def after_step(self, progress: float) -> None:
        """Move what is not trained by gradient; called once after each optimiser step."""

    def exported(self) -> nn.Module:
        """Return the encoder that is kept (a teacher, where the method says so)."""
        return self.encoder

    def param_groups(self) -> list[dict[str, Any]]:
        """Return groups for the optimiser: vectors and biases are not decayed.

        A group may hold, beside ``params``: ``decay`` (bool), ``lr_scale`` (float),
        ``steady`` (bool: its rate keeps its peak throughout), and ``frozen_until`` (progress in
        [0, 1] before which its gradients are dropped).
        """
        trained = [p for p in self.parameters() if p.requires_grad]
        return [
            {"params": [p for p in trained if p.ndim > 1], "decay": True},
            {"params": [p for p in trained if p.ndim <= 1], "decay": False},
        ]

    def num_prototypes(self) -> int | None:
        """Return K of methods that compare distributions over prototypes; health reads it."""
        return None

    def chance(self, batch_size: int) -> float | None:
        """Return the loss (nats) of knowing nothing, if it has a closed form."""
        return None

    def forward(self, batch: Batch, progress: float) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Call `loss`; exists so that DistributedDataParallel sees the call."""
        return self.loss(batch, progress)
