"""Device, precision and ranks: what the machine offers and how this process fits in."""

from __future__ import annotations

import ctypes
import os
import time
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from functools import cache

import torch
import torch.distributed as dist
from torch import Tensor

from unlabeled.types import Batch

GROUP_TIMEOUT = timedelta(seconds=int(os.environ.get("UNLABELED_GROUP_TIMEOUT", "120")))
"""How long a rank waits for the others; the libraries' 30 minutes hide a dead rank."""


def device() -> torch.device:
    """Return this process's device: its GPU where there is one, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


def cores() -> int:
    """Return how many cores of the CPU this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def fast_bf16() -> str | None:
    """Return the name of the hardware unit that makes bf16 products fast, or None.

    The flag of AVX512-BF16 does not say so: AMD's units double the speed of fp32, those of
    Intel's servers whose AMX is hidden by a virtual machine halve it. So it is measured.
    """
    if torch.cuda.is_available():
        return "CUDA" if torch.cuda.is_bf16_supported() else None
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            flags = next((line for line in file if line.startswith("flags")), "").split()
    except OSError:
        return None
    if "amx_bf16" in flags:
        return "AMX"
    gains = "avx512_bf16" in flags and _product_seconds(torch.float32) > 1.2 * _product_seconds(
        torch.bfloat16
    )
    return "AVX512-BF16" if gains else None


def _product_seconds(dtype: torch.dtype, repeats: int = 4) -> float:
    """Return the least processor time that one thread needs for a product of matrices."""
    a, b = torch.ones(1024, 512, dtype=dtype), torch.ones(512, 512, dtype=dtype)
    threads, seconds = torch.get_num_threads(), []
    torch.set_num_threads(1)  # time of a waiting thread would count too
    try:
        for _ in range(repeats):
            start = time.thread_time()
            a @ b
            seconds.append(time.thread_time() - start)
    finally:
        torch.set_num_threads(threads)
    return min(seconds)


@cache
def keep_memory() -> bool:
    """Keep freed memory in this process instead of giving it back; returns whether it worked.

    glibc maps large blocks anew at every allocation, so that each activation of a network is
    first written by the kernel, page by page: a quarter of a ResNet's step on a CPU.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # another operating system, another C library
        return False
    mmap_threshold, trim_threshold = -3, -1  # malloc.h
    return bool(mallopt(mmap_threshold, 1 << 30) and mallopt(trim_threshold, (1 << 31) - 1))


def autocast(precision: str, where: torch.device) -> AbstractContextManager[object]:
    """Return the context in which matrix products run in `precision`."""
    if precision == "bf16":
        return torch.autocast(where.type, dtype=torch.bfloat16)
    return nullcontext()


def start_ranks() -> None:
    """Join the process group when started by torchrun; nothing otherwise."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        backend = "nccl" if torch.cuda.is_available() else "gloo"
        if backend == "nccl":
            torch.cuda.set_device(device())
        dist.init_process_group(backend, timeout=GROUP_TIMEOUT)


def rank() -> int:
    """Return this process's rank, 0 when alone."""
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    """Return the number of ranks, 1 when alone."""
    return dist.get_world_size() if dist.is_initialized() else 1


def any_rank(flag: bool) -> bool:
    """Return whether `flag` is set on any rank; every rank must call it."""
    if world() == 1:
        return flag
    shared = torch.tensor([float(flag)], device=device())
    dist.all_reduce(shared, op=dist.ReduceOp.MAX)
    return bool(shared.item() > 0)


def barrier() -> None:
    """Wait for all ranks."""
    if world() > 1:
        dist.barrier()


def to_device(batch: Batch, where: torch.device) -> Batch:
    """Move a batch, without waiting where memory is pinned."""
    if where.type == "cpu":
        return batch

    def move(x: Tensor) -> Tensor:
        return x.to(where, non_blocking=True)

    return Batch({k: move(v) for k, v in batch.views.items()}, move(batch.keys), batch.names)
