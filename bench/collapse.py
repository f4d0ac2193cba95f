"""How collapse looks, and how a healthy run looks: the picture of docs/troubleshooting.md.

    python bench/collapse.py runs/samples/digits/pool docs/pictures/collapse.svg

Each method is run twice for 300 steps of 32 images, once as it is and once with one option that
breaks it; both are watched every 10 steps. Runs that fail are stopped by the package itself; what
it said is printed as a table. Two minutes a core, `unlabeled demo` makes the images.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import unlabeled
from unlabeled.errors import TrainingError

RESNET = {
    "name": "timm:resnet18",
    "small_stem": False,
    "options": {"channels": [16, 32, 64, 128], "layers": [1] * 4},
}
VIT = {"name": "timm:vit_tiny_patch16_224", "patch": 4, "options": {"embed_dim": 96, "depth": 3}}
WIDTH, HEIGHT, COLUMNS = 250, 170, 3
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#555}.head{font-weight:600;fill:#222}"
    ".well{stroke:#2a6fbb}.ill{stroke:#c0392b;stroke-dasharray:5 3}.axis{stroke:#bbb}"
    "polyline{fill:none;stroke-width:2}circle{fill:#c0392b}"
    "@media(prefers-color-scheme:dark){text{fill:#aaa}.head{fill:#eee}.axis{stroke:#555}"
    ".well{stroke:#6fb1f2}.ill{stroke:#f0776a}circle{fill:#f0776a}}"
)


@dataclass(frozen=True)
class Case:
    """A way to break a method.

    Args:
        method: name.
        broken: sections of options, as for `unlabeled.pretrain`.
        shown: what of the health is drawn.
        encoder: network of both runs.
        healthy: what both runs need to learn in so few steps.
    """

    method: str
    broken: Mapping[str, Mapping[str, Any]]
    shown: str = "effective_rank"
    encoder: Mapping[str, Any] = field(default_factory=lambda: RESNET)
    healthy: Mapping[str, Any] = field(default_factory=dict)


def _temperature(value: float) -> dict[str, float]:
    return {"first_temperature": value, "teacher_temperature": value}


CENTRED = {"balance": "centre", "centre_momentum": 1.0}
CASES = (
    Case("dino", {"method": _temperature(1.0)}, "target_entropy"),
    Case("dino", {"method": CENTRED}, "entropy"),
    Case("swav", {"method": {"epsilon": 10.0}}, "target_entropy"),
    Case("vicreg", {"method": {"variance": 0.0, "covariance": 0.0}, "optim": {"lr": 0.1}}),
    Case("byol", {"method": {"momentum": 0.0}, "optim": {"lr": 3.0}}),
    Case("ijepa", {"method": {"momentum": 0.0}, "optim": {"lr": 0.01}}, encoder=VIT),
    Case(
        "data2vec",
        {"method": {"first_momentum": 0.0, "momentum": 0.0}, "optim": {"lr": 0.01}},
        encoder=VIT,
    ),
    Case("mae", {"optim": {"lr": 1.0}}, encoder=VIT),
)

Curve = list[tuple[float, float]]


def watch(case: Case, data: str, out: Path, broken: bool) -> tuple[Curve, str]:
    """Run a case; return what was measured over steps and why it was stopped, if it was."""
    options: dict[str, dict[str, Any]] = {
        "encoder": dict(case.encoder),
        "method": dict(case.healthy),
        "loop": {"batch": 32, "health_steps": 10, "save_every": 1e6, "threads": 1},
    }
    if broken:
        for section, values in case.broken.items():
            options[section] = {**options.get(section, {}), **values}
    said = ""
    try:
        unlabeled.pretrain(
            data, case.method, steps=300, out=out, quiet=True, seed=0, options=options
        )
    except TrainingError as error:
        said = str(error)
    lines = [json.loads(line) for line in (out / "health.jsonl").read_text().splitlines()]
    return [(line["step"], _share(line, case.shown)) for line in lines], said


def _share(line: Mapping[str, Any], shown: str) -> float:
    """Return an entropy as a share of ln K, and anything else as it is."""
    value = float(line[shown])
    return value / math.log(line["prototypes"]) if "entropy" in shown else value


def changed(case: Case) -> str:
    """Return what breaks a case, as it is given to `pretrain`."""
    given = [f"{s}.{name}={v}" for s, values in case.broken.items() for name, v in values.items()]
    return " ".join(given)


def panel(case: Case, well: Curve, ill: Curve) -> str:
    """Draw both curves of a case."""
    share = "entropy" in case.shown
    top = 1.0 if share else max(y for _, y in well + ill)
    names = {"entropy": "entropy of the mean target", "target_entropy": "entropy of a target"}
    label = f"{names[case.shown]} / ln K" if share else "effective rank"
    left, base, wide, high = 30, HEIGHT - 24, WIDTH - 44, HEIGHT - 72

    def place(curve: Curve) -> str:
        return " ".join(
            f"{left + x / 300 * wide:.1f},{base - min(y / top, 1) * high:.1f}" for x, y in curve
        )

    end = place(ill[-1:]).split(",")
    return (
        f'<text class="head" x="0" y="14">{case.method}</text><text x="0" y="30">{label}</text>'
        f'<line class="axis" x1="{left}" x2="{left + wide}" y1="{base}" y2="{base}"/>'
        f'<text x="{left - 4}" y="{base - high + 4}" text-anchor="end">{top:.3g}</text>'
        f'<text x="{left - 4}" y="{base + 4}" text-anchor="end">0</text>'
        f'<text x="{left}" y="{base + 16}">step 0</text>'
        f'<text x="{left + wide}" y="{base + 16}" text-anchor="end">300</text>'
        f'<polyline class="well" points="{place(well)}"/>'
        f'<polyline class="ill" points="{place(ill)}"/>'
        f'<circle cx="{end[0]}" cy="{end[1]}" r="3"/>'
    )


def main() -> None:
    """Run all cases, draw them, print what was said."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="folder of images")
    parser.add_argument("out", help="the svg to write")
    parser.add_argument("--only", help="methods, by comma")
    given = parser.parse_args()
    cases = [case for case in CASES if not given.only or case.method in given.only.split(",")]
    drawn = []
    print("| method | broken by | stopped at | it said |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for number, case in enumerate(cases):
            well, complaint = watch(case, given.data, Path(folder, f"{number}-well"), False)
            ill, said = watch(case, given.data, Path(folder, f"{number}-ill"), True)
            x, y = number % COLUMNS * WIDTH, number // COLUMNS * HEIGHT
            drawn.append(f'<g transform="translate({x + 8} {y})">{panel(case, well, ill)}</g>')
            step = f"{ill[-1][0]:.0f}" if said else "not stopped"
            said = said.partition(". ")[2] or said
            print(f"| {case.method} | `{changed(case)}` | {step} | {said} |", flush=True)
            if complaint:
                print(f"  The healthy run of {case.method} was stopped: {complaint}", flush=True)
    size = f"0 0 {COLUMNS * WIDTH + 8} {math.ceil(len(cases) / COLUMNS) * HEIGHT}"
    Path(given.out).write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{size}" role="img" aria-label="Healthy '
        f'and collapsed runs"><style>{STYLE}</style>{"".join(drawn)}</svg>\n',
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
