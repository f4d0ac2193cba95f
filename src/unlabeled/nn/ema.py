"""Teachers: slow copies of a student that no gradient moves."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn

Module = TypeVar("Module", bound=nn.Module)


def frozen_copy(student: Module) -> Module:
    """Return a copy that starts equal, asks for no gradient and drops no paths."""
    teacher = copy.deepcopy(student).requires_grad_(False)
    for module in teacher.modules():
        if hasattr(module, "drop_prob"):  # stochastic depth is the student's alone
            setattr(module, "drop_prob", 0.0)  # noqa: B010  (typed as a submodule)
    return teacher


@torch.no_grad()
def ema_update(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """Move the teacher's parameters: ``t <- m t + (1 - m) s``.

    Buffers (BatchNorm statistics) are left alone: as in DINO's and MoCo's code the teacher
    collects its own from what it sees.

    Args:
        teacher: what moves.
        student: of the same structure.
        momentum: m in [0, 1]; 1 leaves the teacher where it is.
    """
    slow = [p.detach() for p in teacher.parameters()]
    fast = [p.detach() for p in student.parameters()]
    torch._foreach_lerp_(slow, fast, 1 - momentum)
