"""Whole runs on logs: what is damaged is set aside, choices are made from the pool alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas
import pytest

from tests.conftest import draw_log
from tests.loop.running import small_config
from tests.series.test_reading import bad_files
from unlabeled import config as configs
from unlabeled import loop
from unlabeled.choices import Request
from unlabeled.errors import ConfigError, DataError, UsageError
from unlabeled.export import export
from unlabeled.plan import plan
from unlabeled.report.samples import draw_samples
from unlabeled.runs import Run, build_method
from unlabeled.transfer.evaluate import evaluate


def test_damaged_logs_are_set_aside_and_counted(log_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    shutil.copytree(log_folder, folder)
    (folder / "bad").mkdir()
    bad = bad_files(folder / "bad")
    tree = small_config("dynamics", folder, steps=16, batch=16).model_dump()
    tree["data"] |= {"bad_budget": 0.4, "held_out": 0.0}
    run = loop.pretrain(configs.build(tree), tmp_path / "run", quiet=True)
    lines = [json.loads(line) for line in (run / "quarantine.jsonl").read_text().splitlines()]
    said = {line["name"]: line["reason"] for line in lines}
    # `good.csv` has other columns than the rest; what is too short to tell says so first.
    assert set(said) == {f"bad/{name}" for name in [*bad, "good.csv"]}
    assert said["bad/good.csv"].startswith("it has no column 'place'")
    tree["data"]["bad_budget"] = 0.0
    with pytest.raises(DataError, match=r"data\.bad_budget=0 forgives 0"):
        loop.pretrain(configs.build(tree), tmp_path / "strict", quiet=True)


def test_a_run_is_evaluated_and_drawn(log_folder: Path, tmp_path: Path) -> None:
    run = Run.open(
        loop.pretrain(small_config("dynamics", log_folder, steps=3), tmp_path / "r", quiet=True)
    )
    arms = ["probe", "joined", "statistics", "rocket", "pca", "untrained"]
    found = evaluate(run, counts=[2, 4], draws=2, arms=arms)
    assert found["classes"] == ["a", "b", "c", "d"]
    assert {row["reading"] for row in found["rows"]} == set(arms)
    exported = export(run, "hf")
    assert exported.max_difference < 1e-4
    assert "read_logs" in exported.usage
    with pytest.raises(UsageError, match=r"timm cannot hold an encoder of series\. Possible: hf"):
        export(run, "timm")
    assert not draw_samples(run)
    assert {p.name for p in (run.folder / "samples").glob("*.png")} == {
        "views.png", "neighbours.png", "map.png", "rollout.png"
    }  # fmt: skip


def write(folder: Path, count: int = 40) -> None:
    folder.mkdir()
    for number in range(count):
        columns = {**draw_log(number), "label": np.full(48, number % 4)}
        pandas.DataFrame(columns).to_csv(folder / f"{number:02d}.csv", index=False)


def test_channels_are_normalised_over_the_pool_alone(tmp_path: Path) -> None:
    """Means and deviations equal numpy's over exactly those logs that are pre-trained on."""
    write(tmp_path / "logs")
    overrides = {"data": {"held_out": 0.3}, "loop": {"seed": 5, "batch": 8}}
    planned = plan(Request(str(tmp_path / "logs"), steps=1, overrides=overrides))
    modality = planned.config.modality
    assert modality.observations == ("place", "speed", "battery")
    assert modality.actions == ("action.push",)
    run = Run.open(loop.pretrain(planned.config, tmp_path / "run", quiet=True))
    assert 0 < len(run.held_out_indices()) < 40
    names = [*modality.observations, *modality.actions]
    frames = [
        pandas.read_csv(tmp_path / "logs" / run.source().name(int(i)))[names].to_numpy()
        for i in run.pool_indices()
    ]
    every, steps = np.concatenate(frames), np.concatenate([np.diff(f, axis=0) for f in frames])
    np.testing.assert_allclose(modality.mean, every.mean(0), rtol=1e-3, atol=1e-4)
    expected = np.where(every.std(0) < 1e-9, 1, every.std(0))  # the battery never changes
    np.testing.assert_allclose(modality.std, expected, rtol=1e-3)
    moving = every.std(0) > 1e-9
    np.testing.assert_allclose(np.array(modality.change)[moving], steps.std(0)[moving], rtol=1e-3)


def test_methods_of_patches_say_what_takes_logs(log_folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"mae works on image and audio, .* holds series"):
        plan(Request(str(log_folder), method="mae", steps=1))


def test_encoders_of_images_are_refused_with_what_would_do(log_folder: Path) -> None:
    tree = small_config("dynamics", log_folder).model_dump()
    tree["encoder"] = {"name": "timm:resnet18"}
    config = configs.build(tree)
    from unlabeled.modalities.series import Series

    with pytest.raises(ConfigError, match="For logs take hf:modernbert"):
        build_method(config, Series(config.modality))
