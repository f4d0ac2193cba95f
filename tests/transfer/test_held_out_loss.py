"""Runs in the order of their held-out loss, and which are refused."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from unlabeled.errors import UsageError
from unlabeled.transfer import held_out_loss


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that makes a run folder with looks at held-out text."""
    trees: dict[Path, dict[str, Any]] = {}

    def make(name: str, losses: list[float], **changed: Any) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        tree = {"method": {"name": "gpt"}, "modality": {"length": 128}, "data": {"path": "x"},
                "loop": {"seed": 0, "steps": 10}, "encoder": {"name": name}} | changed  # fmt: skip
        trees[folder] = tree
        lines = [{"step": 5 * (i + 1), "held_out": loss} for i, loss in enumerate(losses)]
        text = "".join(json.dumps(line) + "\n" for line in [*lines, {"step": 99, "spread": 1.0}])
        (folder / "health.jsonl").write_text(text)
        return folder

    def opened(folder: Path) -> SimpleNamespace:
        tree = trees[folder]
        config = SimpleNamespace(model_dump=lambda: tree, method=tree["method"])
        return SimpleNamespace(folder=folder, config=config)

    monkeypatch.setattr(held_out_loss, "Run", SimpleNamespace(open=opened))
    return make


def test_the_last_look_counts_and_the_lowest_goes_first(made: Any) -> None:
    a, b = made("a", [3.0, 2.5]), made("b", [2.0, 2.4, 2.6])
    assert held_out_loss.ranked([b, a]) == [(a, 10, 2.5), (b, 15, 2.6)]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"method": {"name": "bert"}}, "differ in method"),
        ({"modality": {"length": 64}}, "what a row of text is"),
        ({"data": {"path": "y"}}, "differ in data"),
        ({"loop": {"seed": 1}}, "seed, which decides what is held out"),
    ],
)
def test_losses_of_different_things_are_not_compared(made: Any, changed: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        held_out_loss.ranked([made("a", [2.0]), made("b", [1.0], **changed)])


def test_a_run_without_such_a_loss_is_refused(made: Any) -> None:
    with pytest.raises(UsageError, match="keeps no loss on held-out samples"):
        held_out_loss.ranked([made("a", [2.0]), made("b", [])])
    with pytest.raises(UsageError, match="compares several runs"):
        held_out_loss.ranked([made("c", [2.0])])
