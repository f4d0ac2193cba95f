"""What the report shows of logs: hidden spans made up again, and rollouts."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.loop.running import small_config
from unlabeled import loop
from unlabeled.data.find import find
from unlabeled.prepare import Prepared, prepare
from unlabeled.report import dots, rollouts, traces
from unlabeled.report.samples import draw_samples
from unlabeled.runs import Run
from unlabeled.state import batches, build


@pytest.fixture(scope="module")
def data(log_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(small_config("mtm", log_folder), tmp_path_factory.mktemp("logs"))


@pytest.mark.parametrize("name", ["mtm", "patchtst"])
def test_what_is_shown_to_be_hidden_is_what_the_loss_is_of(
    name: str, data: Prepared, log_folder: Path
) -> None:
    state = build(small_config(name, log_folder), Path(), data)
    state.method.eval()
    batch = next(batches(state))
    made = state.method.reconstruct(batch)
    x = batch["plain"][0]
    _, flags = x.chunk(2, -1)
    size = x.shape[1]
    assert torch.equal(made.original[:, :size].isnan(), flags < 0.5)
    hidden = made.masked.isnan() & ~made.original.isnan()
    seen = ~made.masked.isnan()
    torch.testing.assert_close(made.masked[seen], made.original[seen])
    error = (made.reconstruction - made.original).square()
    loss = state.method.loss(batch, 0.0)
    assert loss.parts["targets"] == hidden.sum()
    if name == "mtm":  # the other normalises each channel of a sample before
        torch.testing.assert_close(error[hidden].mean(), loss.total.detach())


def machine(gain: float) -> Any:
    """Return a method that knows a machine: its place changes by gain times the push."""
    return SimpleNamespace(
        num_states=1,
        config=SimpleNamespace(ahead=1),
        encoder=lambda x: x.sum((1, 2))[:, None],
        code=lambda x: x,
        change=lambda given: gain * given[:, 1:2] / 0.5,
        scale=torch.tensor([0.5]),
    )


def logs() -> torch.Tensor:
    push = torch.randn(5, 40, 1, generator=torch.Generator().manual_seed(0))
    place = 0.3 * push.cumsum(1) - 0.3 * push  # at a step before it is pushed
    return torch.cat([place, push, torch.ones(5, 40, 2)], -1)


def test_who_knows_the_machine_foretells_it_to_the_end() -> None:
    found = rollouts.roll(machine(0.3), logs())
    assert found.hidden[0, :, 0].nonzero().flatten().tolist() == list(range(24, 40))
    torch.testing.assert_close(found.guess[found.hidden], found.truth[found.hidden])
    rows = rollouts.errors(found)
    assert [k for k, _, _ in rows] == list(range(1, 17))
    assert all(ours < 1e-9 < still for _, ours, still in rows)
    assert "1: 0.000 (" in rollouts.sentence(found)


def test_who_foretells_no_change_is_as_good_as_that() -> None:
    found = rollouts.roll(machine(0.0), logs())
    torch.testing.assert_close(found.guess[found.hidden], found.still[found.hidden])


def test_nothing_after_the_begin_is_seen_but_actions() -> None:
    x = logs()
    other = x.clone()
    other[:, 24:, 0] = 7.0
    first, second = (rollouts.roll(machine(0.2), each) for each in (x, other))
    torch.testing.assert_close(first.guess[first.hidden], second.guess[first.hidden])


def test_lines_lie_where_their_values_are() -> None:
    truth = torch.linspace(0, 1, 50)[:, None].repeat(1, 2)
    hidden = torch.zeros(50, 2, dtype=torch.bool)
    hidden[20:30, 0] = True
    guess = torch.where(hidden, 1 - truth, float("nan"))
    page = np.asarray(traces.page(["a", "a.very.long.name.of.a.channel"], truth, guess, hidden))
    blue = np.argwhere((page == (20, 90, 200)).all(-1))
    assert len(blue)
    assert blue[:, 0].max() < 52  # in the first row alone
    left, right = blue[blue[:, 1].argmin()], blue[blue[:, 1].argmax()]
    assert left[0] < right[0]  # falling: 1 - truth
    shaded = np.argwhere((page == (238, 232, 213)).all(-1))[:, 1]
    assert 150 + 640 * 19 / 49 < shaded.min() < shaded.max() < 150 + 640 * 30 / 49


def test_a_report_shows_spans_and_their_errors(log_folder: Path, tmp_path: Path) -> None:
    config = small_config("patchtst", log_folder, steps=2)
    run = Run.open(loop.pretrain(config, tmp_path / "run", quiet=True))
    assert not draw_samples(run, ["masks"])
    about = json.loads((run.folder / "samples" / "masks.json").read_text())
    assert "of a straight line between what was seen" in about["caption"]
    with Image.open(run.folder / "samples" / "masks.png") as page:
        assert page.height == 3 * 52


def test_logs_are_dots_of_the_colour_of_their_class(log_folder: Path, tmp_path: Path) -> None:
    source = find(str(log_folder))
    called = dots.known(source, str(log_folder))
    assert len(called) == len(source)
    assert all(label == Path(name).parts[0] for name, label in called.items())
    assert dots.known(find(str(next(log_folder.glob("*/*")).parent)), str(tmp_path)) == {}
    places = np.array([[0, 0], [0, 4], [4, 0], [4, 4]], np.float32)
    page = dots.page(places, ["b", "a", None, "a"], 100)
    seen = [page.getpixel((x, y)) for x, y in ((10, 10), (10, 90), (90, 10), (90, 90))]
    first, second = dots.COLOURS[:2]
    assert seen == [second, first, dots.OTHER, first]
    assert [page.getpixel((105, 15 + 20 * row)) for row in range(2)] == [first, second]
    assert dots.page(places, [None] * 4, 100).size == (100, 100)
