import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from tests.transfer.planted import PlantedRun
from unlabeled.errors import DataError, UsageError
from unlabeled.transfer import readings, schema, splits, study
from unlabeled.transfer import roster as module
from unlabeled.transfer.evaluate import evaluate
from unlabeled.transfer.measures import WORDS
from unlabeled.types import View

FAST = ("knn", "probe", "untrained", "pca", "histogram")


@pytest.fixture(autouse=True)
def _light(monkeypatch):
    monkeypatch.setattr(module, "own_view", lambda run: View(extent=(0.7, 1.0)))
    monkeypatch.setattr(
        module,
        "search_of",
        lambda run, quick, ways=False: readings.Search(
            (View(extent=(0.7, 1.0)),), rates=(1e-3, 1e-2), epochs=1, fewest=6, most=6
        ),
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[Path, dict]:
    """Evaluate everything once."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "own_view", lambda run: View(extent=(0.7, 1.0)))
        patch.setattr(
            module,
            "search_of",
            lambda run, quick, ways=False: readings.Search(
                (View(extent=(0.7, 1.0)),), rates=(1e-3, 1e-2), epochs=1, fewest=6, most=6
            ),
        )
        return folder, evaluate(PlantedRun(folder), None, counts=[1, 5, 20], draws=3)


def test_results_have_their_form(whole):
    folder, results = whole
    saved = json.loads((folder / "evaluate" / "results.json").read_text())
    assert saved == json.loads(json.dumps(results))
    assert (
        results["clusters"]["probe"]["kmeans"]["nmi"]
        > results["clusters"]["untrained"]["kmeans"]["nmi"]
    )
    assert set(results["quality"]["probe"]) == set(WORDS)
    checked = schema.check(saved)
    assert checked.counts == [1, 5, 20]
    made = {(r.reading, r.labels_per_class, r.draw) for r in checked.rows}
    names = {*FAST, "untrained_knn", "joined", "untrained_joined", "finetune", "scratch"} | {
        "codes",
        "convolutions",
    }
    assert made == {(n, c, d) for n in names for c in (1, 5, 20) for d in range(3)}
    assert np.sum(results["confusion"]["matrix"]) == results["split"]["test"] == 90
    order = [(-one["share"], -one["sure"]) for one in results["mistakes"]]
    assert order == sorted(order)
    assert order
    sure = results["calibration"]
    hits = [r.accuracy for r in checked.rows
            if (r.reading, r.labels_per_class) == (checked.ours, 20)]  # fmt: skip
    assert sure["accuracy"] == pytest.approx(np.mean(hits), abs=1e-4)
    assert sum(part["count"] for part in sure["bins"]) == 3 * sure["samples"] == 270


def test_a_found_code_beats_chance_features(whole):
    _, results = whole
    means = {(r["reading"], r["labels_per_class"]): r["mean"] for r in results["summary"]}
    assert means["probe", 20] > means["untrained", 20] + 0.15
    assert results["differences"]["untrained"]["low"] > 0
    assert results["differences"]["scratch"]["low"] > 0


def test_test_samples_that_were_seen_are_told(whole):
    _, results = whole
    assert results["split"]["seen_in_pretraining"] == 90
    assert any("transductive" in note for note in results["notes"])


def test_random_features_do_not_help(tmp_path):
    found = evaluate(PlantedRun(tmp_path, found=False), None, counts=[1, 5, 20], arms=FAST)
    assert found["grade"] in ("no_clear_difference", "did_not_help")
    assert "helped:" not in found["verdict"]


def test_held_out_samples_are_the_test_part(tmp_path):
    run = PlantedRun(tmp_path, held_out=210)
    found = evaluate(run, None, counts=[1, 5], draws=2, arms=["knn"])
    assert found["split"]["how"] == "samples held out of pre-training"
    assert found["split"]["seen_in_pretraining"] == 0
    assert found["split"]["test"] == 210


def test_every_arm_gets_the_same_samples_and_none_of_the_test_part(tmp_path, monkeypatch):
    seen: dict[tuple[int, int], list[tuple[int, ...]]] = {}
    for name in ("knn", "probe"):
        real = getattr(readings.Frozen, name)

        def spy(self, rows, count, draw, real=real):
            seen.setdefault((count, draw), []).append(tuple(self.known.train.indices[rows]))
            tested = set(self.known.test.indices)
            checked = set(self.known.train.indices[self.known.validation])
            assert not tested & set(self.known.train.indices[rows])
            assert not checked & (tested | set(self.known.train.indices[rows]))
            return real(self, rows, count, draw)

        monkeypatch.setattr(readings.Frozen, name, spy)
    evaluate(PlantedRun(tmp_path), None, counts=[1, 5], draws=2, arms=FAST)
    assert len(seen) == 4
    assert all(len(rows) == len(FAST) and len(set(rows)) == 1 for rows in seen.values())


def test_poisoned_test_labels_change_no_choice(tmp_path, monkeypatch):
    """Permute the classes of the test part: every chosen value and every guess stays."""
    clean = evaluate(PlantedRun(tmp_path / "a"), None, counts=[1, 10], draws=2)
    real = splits.prepare

    def poisoned(*args, **options):
        material = real(*args, **options)
        material.y_test = np.random.default_rng(0).permutation(material.y_test)
        return material

    monkeypatch.setattr(splits, "prepare", poisoned)
    bad = evaluate(PlantedRun(tmp_path / "b"), None, counts=[1, 10], draws=2)

    def chosen(results):
        return [(r["reading"], r["draw"], r["choices"], r["validation"]) for r in results["rows"]]

    assert chosen(clean) == chosen(bad)
    assert clean["ours"] == bad["ours"]
    assert clean["rows"] != bad["rows"]
    for path in (tmp_path / "a" / "evaluate" / "guesses").iterdir():
        other = tmp_path / "b" / "evaluate" / "guesses" / path.name
        assert (np.load(path) == np.load(other)).all()


def test_an_interrupted_evaluation_goes_on(tmp_path, monkeypatch):
    arms, made = ("knn", "probe", "scratch"), []
    real = study.Study._row

    def counted(self, name, count, draw):
        if (name, count, draw) not in self.store.rows:
            made.append((name, count, draw))
            if len(made) == 10:
                raise KeyboardInterrupt
        real(self, name, count, draw)

    monkeypatch.setattr(study.Study, "_row", counted)
    with pytest.raises(KeyboardInterrupt):
        evaluate(PlantedRun(tmp_path / "a"), None, counts=[1, 5], draws=2, arms=arms)
    assert not (tmp_path / "a" / "evaluate" / "results.json").exists()
    evaluate(PlantedRun(tmp_path / "a"), None, counts=[1, 5], draws=2, arms=arms)
    assert len(made) == 13  # 12 rows, one of them begun twice
    whole = evaluate(PlantedRun(tmp_path / "b"), None, counts=[1, 5], draws=2, arms=arms)
    again = evaluate(PlantedRun(tmp_path / "a"), None, counts=[1, 5], draws=2, arms=arms)

    def scores(results):
        return sorted(
            (r["reading"], r["labels_per_class"], r["draw"], r["score"]) for r in results["rows"]
        )

    assert scores(again) == scores(whole)
    evaluate(PlantedRun(tmp_path / "a"), None, counts=[1, 5], draws=2, arms=["knn"], seed=1)
    assert len(made) == 13 + 12 + 4  # another seed starts over


def test_time_bounds_training_and_says_so(tmp_path):
    found = evaluate(
        PlantedRun(tmp_path), None, counts=[1, 5], draws=3, arms=["knn", "scratch"], minutes=0
    )
    assert not found["complete"]
    assert any("0 of 3 draws, for the time limit" in note for note in found["notes"])


def test_under_a_time_limit_rivals_are_trained_before_ours(tmp_path):
    def trained(where, arms):
        found = evaluate(
            PlantedRun(tmp_path / where), None, counts=[1, 5], draws=2, arms=arms, minutes=60
        )
        readings = [row["reading"] for row in found["rows"]]
        return [name for name in readings if name in ("finetune", "scratch")]

    first = ["finetune", "scratch"]  # what one costs is known before the rest
    assert trained("a", ["knn", "finetune", "scratch"])[-6:] == ["scratch"] * 3 + ["finetune"] * 3
    assert set(trained("b", first)[:2]) == set(first)


def test_groups_are_not_torn_apart(tmp_path):
    run = PlantedRun(tmp_path / "r")
    lines = ["path,label,group"]
    lines += [f"{run.source().name(i)},{'abc'[i % 3]},g{i // 9}" for i in range(360)]
    file = tmp_path / "labels.csv"
    file.write_text("\n".join(lines))
    material = splits.prepare(run, file, None, None, most=100, draws=5, most_test=90, seed=0)
    groups = [{index // 9 for index in part.indices} for part in (material.train, material.test)]
    assert not groups[0] & groups[1]
    assert material.record["how"].endswith("by group")


def test_table_and_sentence_are_printed(tmp_path):
    console = Console(record=True, width=160)
    evaluate(PlantedRun(tmp_path), None, counts=[1, 5], draws=2, arms=FAST, console=console)
    text = console.export_text()
    assert "pre-trained k-NN" in text
    assert "±" in text
    assert "Labels saved with 1 a class against PCA + LR" in text


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"arms": ["prob"]}, "no reading 'prob'. Did you mean 'probe'"),
        ({"arms": ["tfidf"]}, "fits this kind of data"),
        ({"labels": "nowhere.csv"}, "nowhere.csv does not exist"),
    ],
)
def test_wrong_calls_are_answered_with_a_sentence(tmp_path, options, sentence):
    with pytest.raises(UsageError, match=sentence):
        evaluate(PlantedRun(tmp_path), **options)


def test_too_few_labels_are_refused_with_a_sentence(tmp_path):
    run = PlantedRun(tmp_path / "r")
    file = tmp_path / "labels.csv"
    file.write_text(f"path,label\n{run.source().name(0)},a\n{run.source().name(1)},b\n")
    with pytest.raises(UsageError, match="too few to set a test part aside"):
        evaluate(run, file)


def test_a_damaged_results_file_is_refused(whole):
    _, results = whole
    schema.check(results)
    for change in ({"format": 2}, {"grade": "great"}, {"rows": []}, {"extra": 1}):
        with pytest.raises(DataError, match="do not have format 1"):
            schema.check(results | change)


def test_the_form_is_documented():
    root = Path(__file__).resolve().parents[2]
    page = (root / "docs" / "results-schema.md").read_text(encoding="utf-8")
    assert page == schema.document(), "python -m unlabeled.transfer.schema > docs/results-schema.md"


def test_more_draws_and_counts_go_on_with_the_rows_that_are_there(tmp_path, monkeypatch):
    monkeypatch.setattr(splits, "LEAST_BASE", 30)  # so that what is read depends on what is asked
    asked = {"counts": [1, 5], "draws": 2, "arms": ("probe", "scratch")}
    more = asked | {"counts": [1, 5, 20], "draws": 3}
    run, other = PlantedRun(tmp_path / "run"), PlantedRun(tmp_path / "other")
    first = evaluate(run, None, **asked)
    made, add = [], study.Store.add
    monkeypatch.setattr(study.Store, "add", lambda *given: (made.append(given), add(*given)))
    grown = evaluate(run, None, **more)
    assert len(made) == len(grown["rows"]) - len(first["rows"]) == 10
    whole = evaluate(other, None, **more)

    def scores(results):
        return {
            (r["reading"], r["labels_per_class"], r["draw"]): (r["score"], r["validation"])
            for r in results["rows"]
        }

    assert scores(grown) == scores(whole)
    assert scores(first).items() <= scores(grown).items()
