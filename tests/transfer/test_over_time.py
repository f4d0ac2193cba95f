"""k-NN over time, of a real run that kept its checkpoints."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from unlabeled import config
from unlabeled.loop import pretrain
from unlabeled.runs import Run
from unlabeled.transfer import over_time
from unlabeled.transfer.evaluate import evaluate


@pytest.fixture(scope="module")
def run(image_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    tree = {
        "data": {"path": str(image_folder), "kind": "image", "held_out": 0.4},
        "modality": {"size": 16, "channels": 3, "blur": False},
        "encoder": {"name": "timm:resnet18", "options": {"channels": [8, 8, 16, 16]}},
        "method": {"name": "simclr"},
        "loop": {"steps": 4, "batch": 16, "save_steps": 1, "keep": 9, "seed": 3},
    }
    return Run.open(pretrain(config.build(tree), tmp_path_factory.mktemp("kept") / "r", quiet=True))


def test_the_last_moment_is_the_encoder_that_was_saved(run: Run) -> None:
    results = evaluate(run, quick=True, counts=[5], draws=1, arms=["knn", "probe"])
    moments = results["moments"]
    assert [one["step"] for one in moments] == [1, 2, 3, 4]
    score = next(row["score"] for row in results["rows"] if row["reading"] == "knn")
    assert moments[-1]["knn"] == pytest.approx(score, abs=1e-4)  # fewer than 1,000 test samples
    assert moments[-1]["labels_per_class"] == 5
    for name in ("rankme", "uniformity"):
        assert moments[-1][name] == pytest.approx(results["quality"]["probe"][name], rel=1e-3)
    assert len({one["uniformity"] for one in moments}) == 4


def test_a_damaged_checkpoint_is_told_and_passed_over(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.folder, tmp_path / "r")
    broken = Run.open(tmp_path / "r")
    place = sorted((broken.folder / "checkpoints").glob("step-*"))[1]
    manifest = json.loads((place / "manifest.json").read_text())
    manifest["files"] = {name: {"bytes": 1, "sha256": ""} for name in manifest["files"]}
    (place / "manifest.json").write_text(json.dumps(manifest))
    results = evaluate(broken, quick=True, counts=[5], draws=1, arms=["knn"])
    assert [one["step"] for one in results["moments"]] == [1, 3, 4]
    assert any("Left out of what k-NN says over time" in note for note in results["notes"])


def test_moments_are_spread_over_the_run(tmp_path: Path) -> None:
    for step in range(2):
        (tmp_path / f"step-{step:08d}").mkdir()
    assert over_time.chosen(tmp_path) == []  # what a run keeps unless told otherwise
    assert over_time.chosen(tmp_path / "none") == []
    for step in range(2, 29):
        (tmp_path / f"step-{step:08d}").mkdir()
    steps = [int(path.name[5:]) for path in over_time.chosen(tmp_path)]
    assert np.diff(steps).tolist() == [4] * 7
    assert (steps[0], steps[-1]) == (0, 28)
