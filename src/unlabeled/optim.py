"""Optimisers: torch's own, LARS after its paper, and their state as named tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from unlabeled.config import OptimConfig
from unlabeled.errors import ConfigError
from unlabeled.method import Method
from unlabeled.muon import Muon
from unlabeled.nn.groups import encoder_groups
from unlabeled.schedule import cosine, warm_up


class LARS(Optimizer):
    """Layer-wise adaptive rate scaling with momentum.

    You et al., 2017 (arXiv:1708.03888), as SimCLR, BYOL and MoCo v3 use it: the rate of a matrix
    is multiplied by ``trust * |p| / |g + wd p|``; vectors and biases are neither adapted nor
    decayed. Some libraries divide by ``|g| + wd |p|`` instead, which is another optimiser.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = 0.001,
    ) -> None:
        """See the class; all values >= 0."""
        super().__init__(
            params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust": trust}
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move each parameter that has a gradient."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self._move(p, p.grad, group)

    def _move(self, p: Tensor, grad: Tensor, group: Mapping[str, Any]) -> None:
        if p.ndim > 1:
            grad = grad.add(p, alpha=group["weight_decay"])
            size, pull = p.norm(), grad.norm()
            both = (size > 0) & (pull > 0)
            grad = grad * torch.where(both, group["trust"] * size / pull, torch.ones_like(size))
        state = self.state[p]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(p)
        buffer = state["momentum_buffer"].mul_(group["momentum"]).add_(grad)
        p.add_(buffer, alpha=-group["lr"])


class Optim:
    """The optimiser of a run: groups, schedules, and state by parameter name.

    Args:
        method: gives `param_groups()`.
        config: names, rates and schedules.
    """

    def __init__(self, method: Method, config: OptimConfig) -> None:
        """Build the optimisers; nothing is allocated before the first step."""
        self.config = config
        self.names: dict[Tensor, str] = {p: name for name, p in method.named_parameters()}
        groups = [g for g in method.param_groups() if g["params"]]
        groups = encoder_groups(groups, self.names, config.layer_decay, config.hold)
        encoder: Any = getattr(method, "encoder", None)
        self.added: list[int] = list(getattr(encoder, "added", ()))
        self.only_added = False
        if config.new_rows and not self.added:
            raise ConfigError(
                f"optim.new_rows={config.new_rows} moves the rows of added tokens first, and none "
                "were added. Set modality.extend with --init RUN/encoder, or leave it out."
            )
        model: Any = getattr(encoder, "model", None)
        self.table = model.get_input_embeddings().weight if self.added else None
        self.parts: list[Optimizer] = []
        if config.name == "muon":
            groups, matrices = _take_matrices(method, groups)
            if matrices:
                self.parts.append(_muon(matrices, config))
        if groups:
            self.parts.append(_plain(groups, config))

    def set(self, progress: float) -> float:
        """Set rates and decays for `progress`; returns the peak-relative rate times `lr`."""
        config = self.config
        share = warm_up(progress, config.warmup, config.shape, config.final_lr)
        end = config.weight_decay if config.weight_decay_end is None else config.weight_decay_end
        decay = cosine(config.weight_decay, end, progress)
        for group in self._groups():
            steady = 1.0 if group.get("steady") else share
            group["lr"] = group["peak"] * steady * group.get("lr_scale", 1.0)
            group["weight_decay"] = decay if group.get("decay", True) else 0.0
        return config.lr * share

    def drop_frozen(self, progress: float) -> None:
        """Drop the gradients of groups that do not move yet (DINO's last layer)."""
        for group in self._groups():
            if progress < group.get("frozen_until", 0.0):
                for p in group["params"]:
                    p.grad = None
        self.only_added = progress < self.config.new_rows
        if self.only_added:
            self._keep_added()

    def _keep_added(self) -> None:
        """Drop all gradients but those of the rows of added tokens."""
        for p in self.params():
            if p is not self.table or p.grad is None:
                p.grad = None
                continue
            rows = p.grad[self.added]
            p.grad.zero_()[self.added] = rows

    def step(self) -> None:
        """Move the parameters; at first perhaps those of added tokens alone."""
        before = self.table.detach().clone() if self.only_added and self.table is not None else None
        for part in self.parts:
            part.step()
        if before is not None and self.table is not None:  # the others decayed
            with torch.no_grad():
                before[self.added] = self.table[self.added]
                self.table.copy_(before)

    def zero(self) -> None:
        """Forget the gradients."""
        for part in self.parts:
            part.zero_grad(set_to_none=True)

    def params(self) -> list[nn.Parameter]:
        """Return every parameter that is moved."""
        return [p for group in self._groups() for p in group["params"]]

    def state(self) -> dict[str, Tensor]:
        """Return the state as ``parameter|field`` -> tensor."""
        found = {}
        for part in self.parts:
            for p, fields in part.state.items():
                for field, value in fields.items():
                    if value is not None:
                        found[f"{self.names[p]}|{field}"] = torch.as_tensor(value)
        return found

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned."""
        by_name = {self.names[p]: (part, p) for part in self.parts for p in _params(part)}
        for key, value in state.items():
            name, _, field = key.rpartition("|")
            part, p = by_name[name]
            part.state[p][field] = _laid_out_as(p, value) if value.ndim else value.clone()

    def _groups(self) -> list[dict[str, Any]]:
        return [group for part in self.parts for group in part.param_groups]


def _laid_out_as(p: Tensor, value: Tensor) -> Tensor:
    """Return `value` on the device of `p`, and in its layout if it has its shape.

    The fused kernels walk through memory and do not look at strides: for a convolution in
    channels_last they would mix up the averages of a state that was loaded contiguous.
    """
    if value.shape != p.shape:
        return value.to(p.device)
    return torch.empty_like(p, dtype=value.dtype).copy_(value)


def _params(part: Optimizer) -> list[nn.Parameter]:
    return [p for group in part.param_groups for p in group["params"]]


def _plain(groups: list[dict[str, Any]], config: OptimConfig) -> Optimizer:
    """Build AdamW, SGD or LARS over groups."""
    groups = [{**g, "peak": config.lr} for g in groups]
    if config.name == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum)
    if config.name == "lars":
        return LARS(groups, lr=config.lr, momentum=config.momentum, trust=config.trust)
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, eps=config.eps, fused=True)


def _muon(matrices: list[dict[str, Any]], config: OptimConfig) -> Optimizer:
    groups = [{**g, "peak": config.muon_lr} for g in matrices]
    return Muon(groups, lr=config.muon_lr)


def _take_matrices(
    method: Method, groups: list[dict[str, Any]]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Split groups into (rest, hidden matrices); embeddings and what is tied to them stay."""
    embeddings = {id(m.weight) for m in method.modules() if isinstance(m, nn.Embedding)}

    def hidden(p: Tensor) -> bool:
        return p.ndim == 2 and id(p) not in embeddings

    rest, matrices = [], []
    for group in groups:
        mine = [p for p in group["params"] if hidden(p)]
        others = [p for p in group["params"] if not hidden(p)]
        if mine:
            matrices.append({**group, "params": mine})
        if others:
            rest.append({**group, "params": others})
    return rest, matrices
