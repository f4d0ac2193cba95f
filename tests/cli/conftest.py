"""Running the command line in a fresh process, as a person does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src"
HEAVY = ("torch", "transformers", "datasets", "sklearn", "timm", "torchvision", "tokenizers")
_PROBE = """
import json, sys
from unlabeled.cli import main
code = main(sys.argv[1:])
print("\\x00" + json.dumps(sorted(set(sys.modules) & {heavy!r})))
sys.exit(code)
"""


@dataclass(frozen=True)
class Answer:
    """What a command line gave back."""

    code: int
    out: str
    err: str
    heavy: list[str]
    seconds: float


@pytest.fixture
def ask(tmp_path: Path) -> Callable[..., Answer]:
    """Run `unlabeled ...` in `tmp_path` and say which heavy packages it imported."""

    def run(*words: str) -> Answer:
        probe = _PROBE.format(heavy=set(HEAVY))
        begun = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", probe, *words],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.perf_counter() - begun
        out, _, names = done.stdout.partition("\x00")
        heavy = json.loads(names) if names else []
        return Answer(done.returncode, out, done.stderr, heavy, seconds)

    return run
