"""Forecasts and anomaly scores from features: closed forms, scikit-learn, planted answers."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch

from tests.conftest import draw_log
from tests.loop.running import small_config
from unlabeled import Encoder, loop
from unlabeled import config as configs
from unlabeled.cli.start import main
from unlabeled.errors import UsageError
from unlabeled.report.folder import read_all
from unlabeled.report.page import run_page
from unlabeled.runs import Run
from unlabeled.transfer import anomaly, anomaly_study, forecast, forecast_study
from unlabeled.transfer.detection import auroc, average_precision
from unlabeled.transfer.futures import Windows, collect, spans
from unlabeled.transfer.ridge import Ridge


@pytest.fixture(scope="module")
def run(log_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    tree = small_config("mtm", log_folder, steps=3).model_dump()
    tree["data"]["held_out"] = 0.2
    folder = tmp_path_factory.mktemp("signals") / "run"
    return Run.open(loop.pretrain(configs.build(tree), folder, quiet=True))


@pytest.mark.parametrize("shape", [(40, 6), (12, 30)])
def test_ridge_is_scikit_learns_on_standardised_inputs(shape: tuple[int, int]) -> None:
    from sklearn.linear_model import Ridge as Theirs

    rng = np.random.default_rng(0)
    x, y, asked = (
        rng.normal(2, 3, shape),
        rng.normal(size=(shape[0], 3)),
        rng.normal(size=(5, shape[1])),
    )
    x[:, 1] = 7.0  # says nothing, and must not divide by nothing
    ours = Ridge(x, y)
    spread = np.where(x.std(0) < 1e-9, 1, x.std(0))
    for penalty in (1e-3, 1.0):
        theirs = Theirs(alpha=penalty * len(x)).fit((x - x.mean(0)) / spread, y)
        expected = theirs.predict(
            (np.where(np.arange(shape[1]) == 1, 7.0, asked) - x.mean(0)) / spread
        )
        np.testing.assert_allclose(ours.guess(asked, penalty), expected, atol=1e-8)


def windows(values: np.ndarray, history: int, ahead: int) -> Windows:
    """Return all windows of normalised logs (E, T, C) without gaps or actions."""
    x, y, episode = [], [], []
    for number, log in enumerate(values):
        for start in range(log.shape[0] - history - ahead + 1):
            x.append(log[start : start + history])
            y.append(log[start + history : start + history + ahead])
            episode.append(number)
    seen = torch.from_numpy(np.stack(x).astype(np.float32))
    flags = torch.ones_like(seen)
    both = torch.cat([seen, flags], -1)
    return Windows(both, np.stack(y).astype(np.float32), np.asarray(episode), Counter())


def test_plain_forecasts_have_their_closed_forms() -> None:
    """Of noiseless sines regression is exact, a period repeats, and no change errs by 1."""
    time = np.arange(60)
    logs = np.stack(
        [
            np.stack([np.sin(2 * np.pi * time / 12 + e), np.cos(2 * np.pi * time / 6 + e)], 1)
            for e in range(8)
        ]
    )
    parts = forecast.Parts(*(windows(logs[a:b], 16, 12) for a, b in ((0, 4), (4, 6), (6, 8))))
    found = {
        name: forecast.choose(parts, tries, [1, 12])
        for name, tries in forecast.plain(parts).items()
    }
    rows = {
        (row["way"], row["horizon"]): row for row in forecast.rows(found, parts.test.episode, 0)
    }
    assert rows["linear", 12]["mse"] < 1e-6
    assert rows["window", 12]["mse"] < 1e-6
    assert rows["seasonal", 12]["mse"] < 1e-10
    assert rows["seasonal", 12]["period"] == 12
    assert rows["mean", 12]["mse"] == pytest.approx(np.square(parts.test.y).mean(), rel=1e-6)
    # Over whole periods the mean of (sin(t + k) - sin(t))^2 is 1 - cos(k), that over k is 1.
    assert rows["persistence", 12]["mse"] == pytest.approx(1.0, abs=0.1)
    still = np.abs(parts.test.y[:, :1] - parts.test.filled[:, -1:]).mean()
    assert rows["persistence", 1]["mae"] == pytest.approx(still, rel=1e-6)


def test_what_is_missing_is_neither_scored_nor_learned() -> None:
    rng = np.random.default_rng(0)
    part = windows(rng.normal(size=(3, 40, 2)), 8, 4)
    whole, _ = forecast.errors(np.zeros_like(part.y), part, 4)
    part.y[0, 1, 0] = np.nan
    squared, absolute = forecast.errors(np.zeros_like(part.y), part, 4)
    assert squared[0, 1] == whole[0, 1] - 1 == 7
    assert absolute[0] == pytest.approx(np.nansum(np.abs(part.y[0])))
    hole = Windows(part.x.clone(), part.y, part.episode, part.left_out)
    hole.x[0, 5:, 0], hole.x[0, 5:, 2] = 0.0, 0.0  # the sensor failed three steps ago
    assert (hole.filled[0, 5:, 0] == part.x[0, 4, 0].item()).all()


def test_windows_are_what_was_recorded_and_cross_no_end(run: Run) -> None:
    modality: Any = run.modality()
    source: Any = run.source()
    every = spans(source)
    assert [span.rows for span in every] == [
        40 + int(source.name(i)[2:5]) % 3 * 8 for i in range(64)
    ]
    part = collect(modality, every, 24, 8, 10_000, 0)
    assert len(part) == sum(span.rows - 31 for span in every)
    whole = every[5].stretch.read(modality.channels)
    normal = (whole - modality.mean.numpy()) / modality.std.numpy()
    mine = np.flatnonzero(part.episode == every[5].episode)
    np.testing.assert_allclose(part.x[mine[3], :, :3].numpy(), normal[3:27], atol=1e-5)
    np.testing.assert_allclose(part.y[mine[3]], normal[27:35, :2], atol=1e-5)
    few = collect(modality, every, 24, 8, 100, 0)
    assert 64 <= len(few) <= 164
    starts = np.array([(part.x - x).abs().amax((1, 2)).argmin().item() for x in few.x[:20]])
    assert len(np.unique(starts)) == 20


def test_features_of_a_window_are_those_that_embed_writes(run: Run) -> None:
    modality: Any = run.modality()
    part = collect(modality, spans(run.source())[:2], 24, 8, 4, 0)
    raw = part.x[:, :, :3].numpy() * modality.std.numpy() + modality.mean.numpy()
    network: Any = run.encoder()
    said = forecast.told(network, part)
    ours = Encoder.from_pretrained(run.folder).encode(list(raw))
    np.testing.assert_allclose(said[:, network.dim :], ours, atol=2e-4)


def test_a_run_foretells_episodes_that_it_never_saw(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    laid = forecast_study.lay(run, None, False, 0)
    parts = [{span.episode for span in part} for part in (laid.train, laid.validation, laid.test)]
    pool = {int(run.source().groups[i]) for i in run.pool_indices()}  # type: ignore[attr-defined]
    assert parts[0] | parts[1] == pool
    assert not parts[0] & parts[1]
    assert not parts[2] & pool
    assert main(["evaluate", str(run.folder), "--task", "forecast", "--horizons", "1,6"]) == 0
    printed = capsys.readouterr().out
    results = json.loads((run.folder / forecast_study.FILE).read_text())
    rows = {(row["way"], row["horizon"]): row for row in results["rows"]}
    assert {way for way, _ in rows} == set(forecast_study.NAMES)
    # A pushed oscillator's next step is linear in its state, but for what the push will be.
    assert rows["window", 1]["mse"] < 0.5 * rows["persistence", 1]["mse"]
    assert all(row["low"] <= row["mse"] <= row["high"] for row in rows.values())
    assert "6 steps ahead: " in printed
    assert "Forecast: mean squared error over the next 1, 6 steps" in run_page(
        read_all([run.folder])[0], False
    )


def test_given_logs_that_were_seen_are_left_out(run: Run, log_folder: Path, tmp_path: Path) -> None:
    for i in run.pool_indices()[:6]:
        name = run.source().name(int(i))
        (tmp_path / name.replace("/", "-")).write_bytes((log_folder / name).read_bytes())
    with pytest.raises(UsageError, match=r"All 6 episodes given with --test were pre-trained on"):
        forecast_study.lay(run, str(tmp_path), False, 0)
    assert len(forecast_study.lay(run, str(tmp_path), True, 0).test) == 6
    pandas.DataFrame(draw_log(900)).to_csv(tmp_path / "new.csv", index=False)
    laid = forecast_study.lay(run, str(tmp_path), False, 0)
    assert len(laid.test) == 1
    assert laid.notes == ["6 test episodes that were pre-trained on were left out."]
    with pytest.raises(UsageError, match=r"Episodes have about 48 steps"):
        forecast_study.sizes(run, laid, [47])


def test_areas_are_scikit_learns_with_ties_and_weights() -> None:
    from sklearn.metrics import average_precision_score, roc_auc_score

    rng = np.random.default_rng(0)
    scores, odd = rng.integers(0, 9, 60) / 4, rng.random(60) < 0.3
    weights = rng.integers(0, 3, (4, 60)).astype(np.float32)
    for row, area, precision in zip(
        weights, auroc(scores, odd, weights), average_precision(scores, odd, weights), strict=True
    ):
        assert area == pytest.approx(roc_auc_score(odd, scores, sample_weight=row))
        assert precision == pytest.approx(average_precision_score(odd, scores, sample_weight=row))
    assert np.isnan(auroc(scores, odd, (odd * 1.0)[None].astype(np.float32))).all()


def test_distances_are_scikit_learns() -> None:
    from sklearn.covariance import ledoit_wolf
    from sklearn.neighbors import NearestNeighbors

    rng = np.random.default_rng(0)
    x, asked = (rng.normal(size=(n, 5)).astype(np.float32) for n in (50, 700))
    near = NearestNeighbors(n_neighbors=5).fit(x).kneighbors(asked)[0].mean(1)
    np.testing.assert_allclose(anomaly.neighbours(x, asked), near, rtol=1e-5)
    far = asked - x.mean(0)
    inverse = np.linalg.inv(ledoit_wolf(x.astype(np.float64))[0])
    expected = np.einsum("nd,de,ne->n", far, inverse, far)
    np.testing.assert_allclose(anomaly.mahalanobis(x, asked), expected, rtol=1e-4)


def odd_logs(folder: Path, count: int) -> Path:
    """Write new logs of the usual machine, and of one whose sensors are shaken."""
    for number in range(count):
        for name, shake in (("ok", 0.0), ("shaken", 1.5)):
            columns = draw_log(500 + number)
            noise = np.random.default_rng(number).normal(0, shake, (2, 48))
            columns["place"] = columns["place"] + noise[0].astype(np.float32)
            columns["speed"] = columns["speed"] + noise[1].astype(np.float32)
            (folder / name).mkdir(parents=True, exist_ok=True)
            pandas.DataFrame(columns).to_csv(folder / name / f"{number}.csv", index=False)
    return folder


def test_planted_anomalies_are_found_and_labels_are_only_counted(
    run: Run,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(anomaly_study, "_SLOW", ("rocket",))
    folder = odd_logs(tmp_path / "new", 16)
    words = ["evaluate", str(run.folder), "--task", "anomaly", "--labels", str(folder)]
    assert main(words) == 0
    assert "'ok' is no anomaly" in capsys.readouterr().out
    results = json.loads((run.folder / anomaly_study.FILE).read_text())
    rows = {(row["features"], row["score"]): row for row in results["rows"]}
    assert {features for features, _ in rows} == {
        "features",
        "untrained",
        "pca",
        "statistics",
    }
    assert rows["statistics", "k-NN"]["auroc"] > 0.95
    assert rows["features", "k-NN"]["auroc"] > 0.8
    with (run.folder / anomaly_study.SAMPLES).open() as file:
        before = list(csv.DictReader(file))
    assert len(before) == 32
    (folder / "shaken").rename(folder / "between")
    (folder / "ok").rename(folder / "shaken")
    (folder / "between").rename(folder / "ok")
    assert main(words) == 0
    again = json.loads((run.folder / anomaly_study.FILE).read_text())
    area = {(r["features"], r["score"]): r["auroc"] for r in again["rows"]}
    for key, row in rows.items():  # the same scores, counted the other way round
        assert area[key] == pytest.approx(1 - row["auroc"])
    assert "AUROC" in run_page(read_all([run.folder])[0], False)


SENTENCES = {
    "--task forecast --labels x": "--task forecast has no use for --labels; leave it out.",
    "--horizons 3": "--horizons belongs to --task forecast; give both, or leave it out.",
    "--task anomaly --horizons 3": "--horizons belongs to --task forecast; give both, or leave",
    "--task forecast --horizons 0,a": "'0,a' are no horizons. Write steps: --horizons 1,8,32.",
    "--task anomaly": "Which class is no anomaly? Say --normal CLASS. Classes and their samples: a",
    "--task anomaly --normal e": "There is no class 'e'. Classes: a, b, c, d.",
}


@pytest.mark.parametrize("words", SENTENCES)
def test_mistakes_get_a_sentence(words: str, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(
            [
                "evaluate",
                str(run.folder),
                *words.split(),
                *(["--transductive"] if "anomaly" in words else []),
            ]
        )
        == 2
    )
    assert capsys.readouterr().err.startswith(SENTENCES[words])


def test_options_of_a_label_curve_are_refused() -> None:
    from unlabeled.cli.given import refuse

    refuse("--task forecast draws no labels", counts=None, arms=None)
    with pytest.raises(UsageError, match="no use for --counts and --arms; leave them out"):
        refuse("--task anomaly draws no labels", counts="1,5", arms="knn")
