"""Every fenced block of bash or Python in the documentation runs, or says why it does not.

A block runs in order with the others of its page, in a folder with `photos/` (small pictures of
two kinds), `labels.csv` and `notes/` (text). After the language, a fence may say `slow` (run by
`make slow` only) or `skip="reason"`. Commands of ours run in this process, with shorter times; the
names, options and files are those of the page. The default run parses every command and runs some
pages, without the verbs in `MINUTES`; `make slow` runs every page in full.
"""

from __future__ import annotations

import csv
import re
import shlex
import subprocess
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FAST = {"README.md", "data-path.md", "sample-data.md", "adding-a-method.md"}
FENCE = re.compile(r"^```(\w+)?([^\n]*)\n(.*?)^```$", re.M | re.S)
RUN = {"bash", "python"}
SHOWN = {"text", "toml", "console", "json", "csv"}
SHORT = ["loop.batch=16", "loop.log_steps=1", "loop.health_steps=2"]
STEPS = "3"
MINUTES = {"demo", "evaluate", "finetune", "predict"}


class Block(NamedTuple):
    page: Path
    line: int
    language: str
    marks: str
    source: str

    @property
    def skipped(self) -> bool:
        return 'skip="' in self.marks

    @property
    def slow(self) -> bool:
        return "slow" in self.marks.split()


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, text.count("\n", 0, found.start()) + 1, found[1] or "", found[2], found[3])
        for found in FENCE.finditer(text)
    ]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def runnable(page: Path) -> list[Block]:
    return [b for b in blocks(page) if b.language in RUN and not b.skipped]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_blocks_say_what_they_are(page):
    for block in blocks(page):
        where = f"{name(page)}:{block.line}"
        assert block.language in RUN | SHOWN, f"{where}: say the language of the block"
        if block.skipped:
            assert re.search(r'skip="\w.{8,}"', block.marks), f"{where}: say why it is skipped"
        rest = re.sub(r'skip="[^"]*"', "", block.marks).split()
        assert set(rest) <= {"slow"}, f"{where}: unknown mark {rest}"


def test_commands_of_the_table_are_those_there_are():
    from unlabeled.cli.start import VERBS

    page = (ROOT / "docs" / "start.md").read_text(encoding="utf-8")
    table = page.partition("## All commands")[2]
    rows = re.findall(r"^\| `unlabeled (\w+)", table, re.M)
    assert rows == [verb.__name__ for verb in VERBS]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder as the pages assume it."""
    monkeypatch.chdir(tmp_path)
    photos = tmp_path / "photos"
    photos.mkdir()
    rng = np.random.default_rng(0)
    rows = []
    for number in range(64):
        pixels = rng.integers(0, 120, (16, 16, 3), dtype=np.uint8)
        stripe = 2 * int(rng.integers(1, 7))
        pixels[stripe, :] += 120 * (number % 2 == 0)
        pixels[:, stripe] += 120 * (number % 2 == 1)
        Image.fromarray(pixels).save(photos / f"{number:03d}.png")
        rows.append([f"photos/{number:03d}.png", ["row", "column"][number % 2]])
    with (tmp_path / "labels.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["path", "label"], *rows])
    notes = tmp_path / "notes"
    notes.mkdir()
    from pydoc_data.topics import topics

    for number, text in enumerate(list(topics.values())[:24]):
        (notes / f"{number:02d}.txt").write_text(text[:4000], encoding="utf-8")
    return tmp_path


def shortened(words: list[str]) -> list[str]:
    """Give a command of ours little to do."""
    verb = words[0]
    if verb == "evaluate" and "--quick" not in words:
        return [*words, "--quick", "--counts", "2", "--draws", "1"]
    if verb == "demo":
        return [*words, "--time", "5s"]
    if verb != "pretrain":
        return words
    if "--time" in words:
        at = words.index("--time")
        words = [*words[:at], "--steps", STEPS, *words[at + 2 :]]
    return words if "--config" in words else [*words, *SHORT]


def commands(block: Block) -> list[list[str]]:
    lines = block.source.replace("\\\n", " ").splitlines()
    return [words for words in (shlex.split(line, comments=True) for line in lines) if words]


def run_bash(block: Block, full: bool) -> None:
    """Run the commands of a block: ours in this process, others in a shell."""
    from unlabeled.cli import main

    for words in commands(block):
        if words[0] != "unlabeled":
            code = subprocess.run(["bash", "-euc", shlex.join(words)], check=False).returncode
        elif full or words[1] not in MINUTES:
            code = main(shortened(words[1:]))
        else:
            continue
        assert code == 0, f"{name(block.page)}:{block.line}: {words} ended with {code}"


def run_python(block: Block, names: dict) -> None:
    source = re.sub(r'time="\d+m"', f"steps={STEPS}", block.source)
    source = re.sub(r"(evaluate\(encoder, )", r"\1quick=True, draws=1, counts=[2], ", source)
    source = re.sub(r"steps=\d+", f"steps={STEPS}", source)
    padded = "\n" * block.line + source
    exec(compile(padded, str(block.page), "exec"), names)


def run_page(page: Path, full: bool) -> None:
    names: dict = {"__name__": "__docs__"}
    for block in runnable(page):
        if block.slow and not full:
            continue
        if block.language == "bash":
            run_bash(block, full)
        else:
            run_python(block, names)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_parse(page):
    """Every command of ours that a page shows has these arguments and options."""
    import typer.main

    from unlabeled.cli.start import app

    verbs = typer.main.get_command(app).commands
    for block in blocks(page):
        for words in commands(block) if block.language == "bash" else []:
            if words[0] == "unlabeled":
                verbs[words[1]].make_context(words[1], list(words[2:]))


@pytest.mark.parametrize("page", [p for p in PAGES if p.name in FAST], ids=name)
def test_page_runs(page, place):
    run_page(page, full=False)


@pytest.mark.slow
@pytest.mark.parametrize("page", [p for p in PAGES if runnable(p)], ids=name)
def test_page_runs_in_full(page, place):
    run_page(page, full=True)
