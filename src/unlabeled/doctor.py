"""Look at the machine: what is there, what is missing, and what to do about it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

DISTRIBUTION = "unlabeled"
EXTRAS = {
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "audio": ("soundfile", "soxr"),
    "robots": ("h5py",),
    "simulation": ("gymnasium", "mujoco"),
    "tiff": ("tifffile",),
    "video": ("av",),
    "inspect": ("cleanlab",),
}
_CORE = ("torch", "torchvision", "timm", "transformers", "datasets", "safetensors", "scikit-learn")
_FREE_GB = 5.0


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Args:
        name: what was looked at.
        state: ``good``, ``note`` (works, could be better) or ``problem``.
        found: what there is.
        advice: what to do, a sentence; empty when nothing.
    """

    name: str
    state: Literal["good", "note", "problem"]
    found: str
    advice: str = ""


def examine() -> list[Finding]:
    """Look at everything; a check that fails itself becomes a finding."""
    checks: tuple[Callable[[], Iterator[Finding]], ...] = (
        _python,
        _packages,
        _extras,
        _devices,
        _bf16,
        _memory,
        _writing,
        _network,
    )
    return [finding for check in checks for finding in _guarded(check)]


def _guarded(check: Callable[[], Iterator[Finding]]) -> list[Finding]:
    name = check.__name__.strip("_")
    try:
        return list(check())
    except Exception as error:
        return [Finding(name, "problem", f"could not be checked: {error}", "Please report this.")]


def _python() -> Iterator[Finding]:
    good = sys.version_info >= (3, 11)
    yield Finding(
        "python",
        "good" if good else "problem",
        f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "" if good else "Install Python 3.11 or newer.",
    )


def requirements() -> list[str]:
    """Return the requirement lines of the package without extras, or bare names if unknown."""
    try:
        lines = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        return list(_CORE)
    return [line for line in lines if "extra ==" not in line] or list(_CORE)


def _packages() -> Iterator[Finding]:
    from packaging.requirements import Requirement

    for line in requirements():
        wanted = Requirement(line)
        if wanted.marker is not None and not wanted.marker.evaluate():
            continue
        yield _package(wanted.name, str(wanted.specifier), wanted.specifier.contains)


def _package(name: str, range_: str, allows: Callable[..., bool]) -> Finding:
    install = f'Run: pip install "{name}{range_}"'
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, "problem", "not installed", install)
    if not allows(version, prereleases=True):
        return Finding(name, "problem", f"{version}, but {range_} is needed", install)
    return Finding(name, "good", version)


def _extras() -> Iterator[Finding]:
    for extra, modules in EXTRAS.items():
        missing = [m for m in modules if importlib.util.find_spec(m) is None]
        yield Finding(
            f"extra [{extra}]",
            "note" if missing else "good",
            f"without {', '.join(missing)}" if missing else "installed",
            f'Only if you want it: pip install "unlabeled[{extra}]"' if missing else "",
        )


def _devices() -> Iterator[Finding]:
    import torch

    from unlabeled import device

    yield Finding(
        "processor", "good", f"{device.cores()} cores, {torch.get_num_threads()} torch threads"
    )
    if torch.cuda.is_available():
        names = {torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())}
        yield Finding("gpu", "good", f"{torch.cuda.device_count()} x {', '.join(sorted(names))}")
    elif shutil.which("nvidia-smi") or Path("/proc/driver/nvidia/version").exists():
        build = torch.version.cuda
        advice = (
            f"The driver is too old for CUDA {build}: update it, or install an older torch."
            if build
            else "This torch is a CPU build: install a CUDA build, see pytorch.org/get-started."
        )
        yield Finding("gpu", "problem", "there is one, but torch cannot use it", advice)
    else:
        yield Finding("gpu", "note", "none", "Not needed: small encoders train on the processor.")


def _bf16() -> Iterator[Finding]:
    from unlabeled.device import fast_bf16

    unit = fast_bf16()
    yield Finding(
        "bf16",
        "good" if unit else "note",
        f"fast ({unit}); matrix products run in bf16" if unit else "not fast here",
        "" if unit else "Runs use fp32; a machine with AMX, AVX512-BF16 or a GPU is faster.",
    )


def _memory() -> Iterator[Finding]:
    if not hasattr(os, "sysconf"):
        return
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    good = total >= 4
    yield Finding(
        "memory",
        "good" if good else "note",
        f"{total:.0f} GB",
        "" if good else "Use a smaller batch: loop.batch=64",
    )


def _writing() -> Iterator[Finding]:
    folder = Path("runs") if Path("runs").is_dir() else Path()
    try:
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
    except OSError as error:
        yield Finding(
            "run folder",
            "problem",
            f"{folder.resolve()} cannot be written ({error.strerror})",
            "Change to a folder of yours, or name one: --out RUN",
        )
        return
    free = shutil.disk_usage(folder).free / 2**30
    yield Finding(
        "run folder",
        "good" if free > _FREE_GB else "note",
        f"{folder.resolve()} can be written, {free:.0f} GB free",
        "" if free > _FREE_GB else "A run keeps two checkpoints: free some space.",
    )


def _network() -> Iterator[Finding]:
    offline = os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0")
    yield Finding(
        "hub",
        "good",
        "offline (HF_HUB_OFFLINE is set)" if offline else "used only for hf://... data",
    )
