"""What a run writes of itself: run.json, config.toml, log.txt, and the encoder at the end."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import sys
import uuid
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from unlabeled import config as configs
from unlabeled import device
from unlabeled.config import RunConfig
from unlabeled.errors import UsageError
from unlabeled.journal import read_json, read_lines, write_atomic, write_json
from unlabeled.method import Method
from unlabeled.prepare import Prepared
from unlabeled.runs import CONFIG, INFO

_MEMORY_UNIT = 1 if sys.platform == "darwin" else 1024

PACKAGES = ("unlabeled", "torch", "timm", "transformers", "numpy", "pillow")


def refuse_existing(folder: Path) -> None:
    """Refuse to start over in a folder that holds a run.

    Raises:
        UsageError: with what to do instead.
    """
    if not (folder / CONFIG).exists():
        return
    info = read_json(folder / INFO)
    raise UsageError(
        f"{folder} already holds a run ({info.get('status', 'unfinished')}). "
        f"Continue it with `unlabeled resume {folder}`, or choose another --out."
    )


def start(
    config: RunConfig, folder: Path, data: Prepared, method: Method, about: dict[str, Any]
) -> None:
    """Write config.toml and run.json of a run that begins."""
    write_atomic(folder / CONFIG, configs.dump(config))
    info = {
        "format": config.format,
        "id": uuid.uuid4().hex[:12],
        "status": "running",
        "kind": config.data.kind,
        "method": config.method["name"],
        "encoder": config.encoder.name,
        "steps": config.loop.steps,
        "seed": config.loop.seed,
        "chance": method.chance(config.loop.batch),
        "parameters": sum(p.numel() for p in method.exported().parameters()),
        "data": {k: v for k, v in data.record.items() if k in ("samples", "pool", "held_out")},
        "started": _now(),
        "versions": _versions(),
        "hardware": hardware(),
        "command": " ".join(sys.argv),
        **about,
    }
    write_json(folder / INFO, info)


def resumed(folder: Path, step: int, said: list[str], quiet: bool) -> None:
    """Note that a run goes on."""
    for sentence in said:
        log(folder, sentence)
        if not quiet:
            print(sentence)
    log(folder, f"Resumed at step {step}.")
    _update(folder, status="running")


def finish(folder: Path, method: Method, samples_seen: int) -> None:
    """Save the encoder and close the record with a verdict on its health."""
    draft = folder / ".encoder"
    shutil.rmtree(draft, ignore_errors=True)
    encoder: Any = method.exported()
    encoder.save(draft)
    shutil.rmtree(folder / "encoder", ignore_errors=True)
    for path in draft.rglob("*"):
        if path.is_file():  # safetensors writes files that only their owner may read
            path.chmod(0o666 & ~_mask())
    draft.rename(folder / "encoder")
    stopped(folder, "finished", samples_seen, health_verdict(folder))


def _mask() -> int:
    """Return this process's mask for new files."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def stopped(folder: Path, status: str, samples_seen: int, verdict: str | None = None) -> None:
    """Close the record of a run that ends, for whatever reason."""
    if device.rank() != 0:
        return
    lines = read_lines(folder / "metrics.jsonl")
    spent = float(lines[-1]["seconds"]) if lines else 0.0
    before = read_json(folder / INFO)
    seconds = float(before.get("seconds", 0.0)) + spent
    _update(
        folder, status=status, ended=_now(), samples_seen=samples_seen, seconds=seconds,
        peak_memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MEMORY_UNIT,
        cpu_seconds=float(before.get("cpu_seconds", 0.0)) + sum(os.times()[:4]),
        **({"verdict": verdict} if verdict else {}),
    )  # fmt: skip
    log(folder, f"{status}: {samples_seen} samples seen. {verdict or ''}".strip())


def health_verdict(folder: Path) -> str:
    """Say in a sentence how the features ended."""
    lines = read_lines(folder / "health.jsonl")
    if not lines:
        return "No health check was due."
    last = lines[-1]
    if last.get("alarms"):
        return " ".join(last["alarms"])
    start = ""
    if "kept" in last:
        start = f", {last['kept']:.0%} of nearest neighbours as with the weights it began with"
    return (
        f"Healthy: no collapse (spread {last['spread']:.2f} of 1, "
        f"effective rank {last['effective_rank']:.0f}{start})."
    )


def log(folder: Path, sentence: str) -> None:
    """Append a line to log.txt; a full disk does not stop a run here."""
    try:
        with (folder / "log.txt").open("a", encoding="utf-8") as file:
            file.write(f"{_now()} {sentence}\n")
    except OSError:
        print(sentence, file=sys.stderr)


def hardware() -> dict[str, Any]:
    """Return what the run computes on."""
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else _processor()
    return {
        "device": name,
        "cores": device.cores(),
        "ranks": device.world(),
        "bf16": device.fast_bf16(),
        "system": platform.platform(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return platform.processor()
    return next((x.split(":", 1)[1].strip() for x in lines if x.startswith("model name")), "CPU")


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _update(folder: Path, **values: Any) -> None:
    write_json(folder / INFO, {**read_json(folder / INFO), **values})


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
