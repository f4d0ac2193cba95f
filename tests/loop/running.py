"""Run training in a child process that can be killed, quickly: forked after the imports."""

from __future__ import annotations

import contextlib
import hashlib
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch

from unlabeled import checkpoint, config, loop
from unlabeled.config import RunConfig
from unlabeled.errors import UnlabeledError
from unlabeled.journal import read_lines
from unlabeled.methods import catalogue

NARROW = {
    "name": "timm:resnet18",
    "small_stem": True,
    "options": {"channels": [64, 16, 16, 32], "layers": [1, 1, 1, 1]},
}
PATCHES = {
    "name": "timm:vit_tiny_patch16_224",
    "patch": 4,
    "options": {"embed_dim": 48, "depth": 2},
}
CLIPS = {"name": "hf:videomae-2x48h2", "patch": 4}
SMALL: dict[str, dict[str, Any]] = {
    "simclr": {"encoder": NARROW, "method": {}},
    "mae": {
        "encoder": {
            "name": "timm:vit_tiny_patch16_224",
            "patch": 4,
            "options": {"embed_dim": 48, "depth": 2},
        },
        "method": {},
    },
    "dino": {
        "encoder": NARROW,
        "method": {"out_dim": 64, "num_local": 2},
    },
    "simsiam": {"encoder": NARROW, "method": {}},
    "dinov2": {
        "encoder": PATCHES,
        "method": {"out_dim": 64, "num_local": 2, "hidden_dim": 64, "gram": 1.0, "gram_from": 0.5},
    },
    "simmim": {"encoder": PATCHES, "method": {}},
    "ijepa": {"encoder": PATCHES, "method": {"predictor_heads": 1, "predictor_depth": 1}},
    "data2vec": {"encoder": PATCHES, "method": {"top_blocks": 2}},
    "ibot": {"encoder": PATCHES, "method": {"out_dim": 64, "num_local": 2, "hidden_dim": 64}},
    "lejepa": {"encoder": NARROW, "method": {"lines": 32, "hidden_dim": 64, "out_dim": 8}},
    "moco": {"encoder": NARROW, "method": {"queue": 24}},
    "mocov3": {"encoder": NARROW, "method": {"hidden_dim": 64, "out_dim": 16}},
    "byol": {"encoder": NARROW, "method": {"hidden_dim": 64, "out_dim": 16}},
    "swav": {
        "encoder": NARROW,
        "method": {"num_prototypes": 16, "num_local": 2, "hidden_dim": 64, "queue": 24},
    },
    "barlow": {"encoder": NARROW, "method": {"hidden_dim": 64, "out_dim": 32}},
    "vicreg": {"encoder": NARROW, "method": {"hidden_dim": 64, "out_dim": 32}},
    "nnclr": {"encoder": NARROW, "method": {"queue": 24}},
    "combine": {
        "encoder": NARROW,
        "method": {
            "tasks": ["byol", "simclr"],
            "weights": [1.0, 0.5],
            "options": {"byol": {"hidden_dim": 64, "out_dim": 16}},
        },
    },
    "gpt": {"encoder": {"name": "hf:gpt2-1x32h2"}, "method": {}},
    "bert": {"encoder": {"name": "hf:bert-1x32h2"}, "method": {}},
    "t5": {"encoder": {"name": "hf:t5-1x32h2"}, "method": {}},
    "ul2": {"encoder": {"name": "hf:t5-1x32h2"}, "method": {}},
    "xlnet": {"encoder": {"name": "hf:xlnet-1x32h2"}, "method": {}},
    "sop": {"encoder": {"name": "hf:bert-1x32h2"}, "method": {}},
    "nsp": {"encoder": {"name": "hf:bert-1x32h2"}, "method": {}},
    "inherit": {"encoder": {"name": "hf:bert-1x32h2"}, "method": {}},
    "ct": {"encoder": {"name": "hf:bert-1x32h2"}, "method": {}},
    "bart": {"encoder": {"name": "hf:bart-1x32h2"}, "method": {}},
    "gptbert": {"encoder": {"name": "hf:gpt2-1x32h2"}, "method": {}},
    "simcse": {"encoder": {"name": "hf:bert-1x32h2"}, "method": {}},
    "contriever": {"encoder": {"name": "hf:bert-1x32h2"}, "method": {}},
    "tsdae": {"encoder": {"name": "hf:bert-1x32h2"}, "method": {}},
    "electra": {"encoder": {"name": "hf:electra-1x32h2"}, "method": {}},
    "cola": {
        "encoder": {"name": "hf:modernbert-1x32h2", "patch": 2},
        "method": {"out_dim": 16},
    },
    "apc": {"encoder": {"name": "hf:llama-1x32h2", "patch": 2}, "method": {}},
    "hubert": {
        "encoder": {"name": "hf:modernbert-2x32h2", "patch": 2},
        "method": {"num_codes": 8, "mask_span": 3},
    },
    "data2vec_audio": {
        "encoder": {"name": "hf:modernbert-2x32h2", "patch": 2},
        "method": {"mask_span": 3},
    },
    "dynamics": {
        "encoder": {"name": "hf:modernbert-1x32h2", "patch": 2},
        "method": {"transitions": 8, "hidden_dim": 32, "code_dim": 8},
    },
    "patchtst": {"encoder": {"name": "hf:patchtst-1x32h2", "patch": 4}, "method": {}},
    "leworldmodel": {
        "encoder": {"name": "hf:modernbert-1x32h2", "patch": 1},
        "method": {"hidden_dim": 32, "out_dim": 8, "lines": 32},
    },
    "mtm": {"encoder": {"name": "hf:modernbert-1x32h2", "patch": 2}, "method": {}},
    "videomae": {"encoder": CLIPS, "method": {"mask_ratio": 0.75, "decoder_depth": 1}},
    "vjepa": {"encoder": CLIPS, "method": {"predictor_heads": 1, "predictor_depth": 1}},
    "tcn": {"encoder": NARROW, "method": {}},
    "vip": {"encoder": NARROW, "method": {}},
    "ts2vec": {
        "encoder": {"name": "hf:modernbert-1x32h2", "patch": 2},
        "method": {"out_dim": 16},
    },
    "cpc": {
        "encoder": {"name": "hf:llama-1x32h2", "patch": 2},
        "method": {"num_negatives": 15, "out_dim": 16},
    },
    "wav2vec2": {
        "encoder": {"name": "hf:wav2vec2-1x32"},
        "modality": {"form": "wave", "seconds": 0.3},
        "method": {
            "num_negatives": 10,
            "entries": 8,
            "code_dim": 16,
            "mask_span": 3,
            "diversity": 1,
        },
    },
}
IMAGE = {"size": 16, "channels": 3, "mean": [0.4, 0.4, 0.4], "std": [0.3, 0.3, 0.3], "blur": False}
TEXT = {"tokenizer": "char", "vocab_size": 200, "length": 32, "sentinels": 8, "infill": True}
AUDIO = {"form": "frames", "seconds": 0.3, "mels": 16, "mean": -8.0, "std": 4.0}

SERIES = {
    "observations": ["place", "speed"],
    "actions": ["action.push"],
    "mean": [0.0, 0.0, 0.0],
    "std": [1.2, 0.9, 0.8],
    "change": [0.25, 0.4, 0.5],
    "length": 48,
}
VIDEO = {"size": 16, "frames": 4, "mean": [0.2, 0.2, 0.2], "std": [0.2, 0.2, 0.2]}


def small_config(method: str, data: Path, **loop: Any) -> RunConfig:
    """Return the configuration of a run of seconds."""
    small = SMALL[method]
    kind = catalogue.describe(method).modalities[0]
    read = {"image": IMAGE, "text": TEXT, "audio": AUDIO, "series": SERIES, "video": VIDEO}[kind]
    steps = {"steps": 24, "batch": 8, "save_steps": 5, "log_steps": 1, "health_steps": 6, "seed": 3}
    return config.build(
        {
            "data": {"path": str(data), "kind": kind, "held_out": 0.2},
            "modality": small.get("modality", read),
            "encoder": small["encoder"],
            "method": {"name": method, **small["method"]},
            "optim": {"lr": 1e-3},
            "loop": {**steps, "stop_on_collapse": False, **loop},
        }
    )


def state_hash(run: Path) -> str:
    """Return the SHA-256 over all tensors of the newest checkpoint, in order of name."""
    saved, _ = checkpoint.newest(run / "checkpoints")
    assert saved is not None
    digest = hashlib.sha256()
    for name in sorted(saved.tensors):
        tensor = saved.tensors[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def losses(run: Path) -> list[tuple[int, float]]:
    """Return (step, loss) of every journal line."""
    return [(line["step"], line["loss"]) for line in read_lines(run / "metrics.jsonl")]


def _child(work: Any, out: Path) -> None:
    os.setpgrp()
    with (out.parent / f"{out.name}.log").open("a") as log, contextlib.redirect_stderr(log):
        code = 0
        try:
            work()
        except UnlabeledError as error:
            print(error, file=log)
            code = error.exit_code
        except BaseException as error:
            import traceback

            traceback.print_exc(file=log)
            print(type(error), file=log)
            code = 1
    sys.stdout.flush()
    os._exit(code)


class Child:
    """A forked process that trains."""

    def __init__(self, out: Path, cfg: RunConfig | None, workers: int | None = None) -> None:
        self.out = out

        def work() -> None:
            torch.set_num_threads(1)
            if cfg is not None:
                loop.pretrain(cfg, out, quiet=True)
            else:
                loop.resume(out, workers=workers, quiet=True)

        context = multiprocessing.get_context("fork")
        self.process = context.Process(target=_child, args=(work, out))
        self.process.start()

    def log(self) -> str:
        """Return what the child printed."""
        return (self.out.parent / f"{self.out.name}.log").read_text()

    def wait(self, seconds: float = 60) -> int:
        """Wait for its end and return its exit code."""
        self.process.join(seconds)
        assert self.process.exitcode is not None, "the run hangs"
        return self.process.exitcode

    def wait_for_step(self, step: int, seconds: float = 60) -> None:
        """Wait until the journal has a line of `step`."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.process.is_alive():
            lines = read_lines(self.out / "metrics.jsonl")
            if lines and lines[-1]["step"] >= step:
                return
            time.sleep(0.002)

    def kill(self, number: int = signal.SIGKILL) -> int:
        """Send a signal to the main process and wait for its end."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid or 0, number)
        return self.wait()


def train(out: Path, cfg: RunConfig) -> Path:
    """Train to the end in a child and return the run folder."""
    child = Child(out, cfg)
    assert child.wait() == 0, child.log()
    return out
