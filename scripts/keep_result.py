"""Keep the result of an evaluated run in the repository.

    python scripts/keep_result.py RUN NAME
    python scripts/keep_result.py --remark NAME "what was found out about it later"

Writes docs/results/NAME.json (what was run, on what, and every score) and configs/NAME.toml;
`make docs` then writes docs/results.md from all that are kept. Nothing is typed by hand.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from unlabeled.transfer import schema

ROOT = Path(__file__).resolve().parent.parent
PLACE = r"(?<![\w.-])(?:/[\w.-]+)+/([\w.-]+)"
"""A path of the machine that measured, of which the file name is kept."""

RUN_FACTS = (
    "method", "encoder", "parameters", "steps", "samples_seen", "seconds", "cpu_seconds", "seed",
    "started", "versions", "hardware", "data",
)  # fmt: skip


def main(run: Path, name: str) -> None:
    """Copy what matters of a run folder."""
    results = json.loads((run / "evaluate" / "results.json").read_text(encoding="utf-8"))
    schema.check(results)
    info = json.loads((run / "run.json").read_text(encoding="utf-8"))
    kept = {"run": {key: info[key] for key in RUN_FACTS if key in info}, "results": results}
    target = ROOT / "docs" / "results" / f"{name}.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(re.sub(PLACE, r"\1", json.dumps(kept, indent=1)) + "\n", encoding="utf-8")
    # Where the data lay on the machine that measured is nobody's business.
    lines = (run / "config.toml").read_text(encoding="utf-8").splitlines(keepends=True)
    config = "".join(line for line in lines if not line.startswith("path = "))
    head = "".join(
        f"# {line}\n"
        for line in (
            f"unlabeled pretrain DATA --config configs/{name}.toml --out runs/{name}",
            f"minutes: {info['seconds'] / 60:.0f} on {info['hardware']['device']}, "
            f"{info['hardware']['cores']} cores    measured: {info['started'][:10]}",
            f"expected: {results['verdict']}",
        )
    )
    (ROOT / "configs" / f"{name}.toml").write_text(head + config, encoding="utf-8")


def remark(name: str, text: str) -> None:
    """Say on a kept result what was found out about it later; its numbers stay as measured."""
    target = ROOT / "docs" / "results" / f"{name}.json"
    kept = json.loads(target.read_text(encoding="utf-8"))
    kept["remarks"] = [*kept.get("remarks", []), text]
    target.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1] == "--remark":
        remark(*sys.argv[2:4])
    else:
        main(Path(sys.argv[1]), sys.argv[2])
