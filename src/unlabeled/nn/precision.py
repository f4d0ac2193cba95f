"""Where numbers must not be rounded: losses run in fp32 though the network runs in bf16."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import Tensor


def full(x: Tensor) -> Tensor:
    """Return `x` in fp32 if it is narrower, else as it is (fp64 stays for exact tests)."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def no_autocast(x: Tensor) -> AbstractContextManager[None]:
    """Keep autocast from rounding products on the device of `x`."""
    return torch.autocast(x.device.type, enabled=False)
