"""Retrieval and pairs of samples from the command line: planted answers, leaks, mistakes."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from tests.loop.running import small_config
from unlabeled import config as configs
from unlabeled import loop
from unlabeled.cli.start import main
from unlabeled.data.labels import Labels
from unlabeled.errors import UsageError
from unlabeled.report.folder import read_all
from unlabeled.report.page import run_page
from unlabeled.runs import Run
from unlabeled.transfer import item_pairs, pair_study, retrieval_study
from unlabeled.transfer.part import Part
from unlabeled.transfer.schema import PairsModel, RetrievalModel


@pytest.fixture(scope="module")
def run(image_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    tree = small_config("mae", image_folder, steps=2).model_dump()
    tree["data"]["held_out"] = 0.5
    folder = tmp_path_factory.mktemp("alike") / "run"
    return Run.open(loop.pretrain(configs.build(tree), folder, quiet=True))


def ask(run: Run, *words: str, code: int = 0) -> None:
    assert main(["evaluate", str(run.folder), *words]) == code


def test_retrieval_is_of_samples_that_were_held_out(run, capsys):
    ask(run, "--task", "retrieval", "--quick")
    shown = capsys.readouterr().out
    found = json.loads((run.folder / retrieval_study.FILE).read_text())
    RetrievalModel.model_validate(found)
    assert found["gallery"] <= len(run.held_out_indices())
    assert "labelled samples that are not tested" in found["chosen"]
    rows = {(row["features"], row["way"]): row for row in found["rows"]}
    assert {"features", "untrained", "pca", "histogram"} <= {name for name, _ in rows}
    assert rows["histogram", "cosine"]["map"] > found["chance"]["map"] + 0.1
    assert all(row["map_low"] <= row["map"] <= row["map_high"] for row in found["rows"])
    assert "mAP" in shown
    assert "Retrieval: " in run_page(read_all([run.folder])[0], False)


def test_labels_of_tested_samples_choose_nothing(run, image_folder, tmp_path, capsys):
    held = set(run.held_out_indices().tolist())
    rows = [(run.source().name(i), run.source().name(i)[0], i in held) for i in range(96)]
    rng = np.random.default_rng(0)
    for turn in range(2):
        mixed = iter(rng.permutation([label for _, label, tested in rows if tested]))
        with (tmp_path / f"{turn}.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["path", "label", "split"])
            for name, label, tested in rows:
                now = next(mixed) if tested and turn else label
                table.writerow([name, now, "test" if tested else "train"])
    chosen = []
    for turn in range(2):
        ask(run, "--task", "retrieval", "--quick", "--labels", str(tmp_path / f"{turn}.csv"))
        found = json.loads((run.folder / retrieval_study.FILE).read_text())
        chosen.append([(row["checked"], row["chosen"]) for row in found["rows"]])
        area = {row["features"]: row["map"] for row in found["rows"] if row["chosen"]}
        gain = area["histogram"] - found["chance"]["map"]
        assert (gain > 0.1) == (turn == 0)
    assert chosen[0] == chosen[1]


def write(path: Path, rows: list[tuple], columns: str = "a,b,same") -> Path:
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(columns.split(","))
        table.writerows(rows)
    return path


def of_kinds(run: Run, count: int, indices: np.ndarray) -> list[tuple]:
    """Return pairs of images of one kind and of two."""
    rng, names = np.random.default_rng(0), [run.source().name(int(i)) for i in indices]
    kinds, found = np.array([name[0] for name in names]), []
    for number in range(count):
        a = int(rng.integers(len(names)))
        near = np.flatnonzero((kinds == kinds[a]) == (number % 2 == 0))
        b = int(rng.choice(near[near != a]))
        found.append((names[a], names[b], number % 2 == 0))
    return found


def test_pairs_of_seen_samples_choose_and_those_of_others_score(run, tmp_path, capsys):
    seen, new = of_kinds(run, 80, run.pool_indices()), of_kinds(run, 80, run.held_out_indices())
    table = write(tmp_path / "pairs.csv", [*seen, *new])
    ask(run, "--pairs", str(table), "--quick")
    found = json.loads((run.folder / pair_study.FILE).read_text())
    PairsModel.model_validate(found)
    with (run.folder / pair_study.ROWS).open() as file:
        rows = list(csv.DictReader(file))
    assert {row["used"] for row in rows[:80]} <= {"choose", ""}
    assert {row["used"] for row in rows[80:]} <= {"score", ""}
    area = {row["features"]: row["auroc"] for row in found["rows"] if row["chosen"]}
    assert area["histogram"] > 0.6
    ours = next(r for r in found["rows"] if r["features"] == "features" and r["chosen"])
    told = [row for row in rows if row["used"] == "score"]
    right = [
        np.mean(
            [(float(r["cosine"]) > ours["threshold"]) == (s == "1") for r in told if r["same"] == s]
        )
        for s in "01"
    ]
    assert ours["accuracy"] == pytest.approx(np.mean(right), abs=1e-3)
    assert "Pairs of pairs.csv" in run_page(read_all([run.folder])[0], False)


def test_what_is_the_same_a_copy_or_of_one_owner_stands_on_one_side():
    pairs = item_pairs.ItemPairs(
        list("abcdef"), list("bcdefa"), np.array([1, 0, 0, 0, 0, 0], bool),
        owners=(["", "", "x", "", "", ""], ["", "", "", "x", "", ""]),
    )  # fmt: skip
    a, b = np.arange(6), (np.arange(6) + 1) % 6
    units = pair_study._units(pairs, a, b, np.array([[3, 5]]), 6)
    assert units[0] == units[1]  # the same
    assert units[2] == units[4]  # of one owner
    assert units[3] == units[5]  # copies
    assert len(set(units.tolist())) == 3


def test_pairs_of_texts_may_be_the_texts(tmp_path):
    source = item_pairs.Texts(["a story", "a song"])
    words = ["one text", "another"]
    found, places = item_pairs.located(words, source, "notes", tmp_path / "pairs.csv")
    assert [found.payload(i) for (i,) in places] == words


@pytest.mark.parametrize(
    ("columns", "rows", "said"),
    [
        ("a,b", [("x", "y")], "has the columns a, b. Pairs of samples need three: a,b,same."),
        ("a,b,same", [("x", "y", "maybe")], "Row 1 of {} says 'maybe' in the column same."),
        ("a,b,same", [("x", "y", 1)], "Of 1 pairs in {} 1 are the same; some of both kinds"),
        ("a,b,same", [("x", "", 1)], "Row 1 of {} lacks a sample. Name two in every row."),
        ("a,b,same", [("x", "y", 1), ("x", "z", 0)], "3 of 3 samples are neither in"),
    ],
)
def test_mistakes_in_tables_get_a_sentence(run, tmp_path, capsys, columns, rows, said):
    table = write(tmp_path / "pairs.csv", rows, columns)
    ask(run, "--pairs", str(table), code=2)
    assert said.format(table) in capsys.readouterr().err


def test_pairs_that_cannot_be_divided_are_refused(run, tmp_path, capsys):
    names = [run.source().name(int(i)) for i in run.held_out_indices()[:3]]
    table = write(tmp_path / "p.csv", [(names[0], names[1], 1), (names[0], names[2], 0)])
    ask(run, "--pairs", str(table), code=2)
    assert "cannot be divided into two parts that share no sample" in capsys.readouterr().err
    ask(run, "--pairs", str(table), "--counts", "3", code=2)
    assert "it has no use for --counts; leave it out" in capsys.readouterr().err


@pytest.fixture(scope="module")
def run_of_text(text_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    tree = small_config("bert", text_folder, steps=2).model_dump()
    folder = tmp_path_factory.mktemp("alike") / "text"
    return Run.open(loop.pretrain(configs.build(tree), folder, quiet=True))


def test_texts_that_stand_in_the_table_and_documents(run_of_text, text_folder, tmp_path, capsys):
    """The same sentence with its words in another order is the same to TF-IDF."""
    rng = np.random.default_rng(0)
    words = [f"{a}{b}" for a in ("ba", "du", "ki", "lo", "mu", "ne") for b in ("ra", "so", "ti")]
    said = [rng.permutation(words)[:6].tolist() for _ in range(60)]
    rows = [(" ".join(x), " ".join(rng.permutation(x)), 1) for x in said[:40]]
    rows += [(" ".join(x), " ".join(y), 0) for x, y in zip(said[40:50], said[50:], strict=True)]
    ask(run_of_text, "--pairs", str(write(tmp_path / "p.csv", rows)), "--quick")
    found = json.loads((run_of_text.folder / pair_study.FILE).read_text())
    assert {row["way"] for row in found["rows"] if row["features"] == "tfidf"} == {"cosine"}
    assert "AUROC" in capsys.readouterr().out
    labels = [(path.name, number % 3) for number, path in enumerate(sorted(text_folder.iterdir()))]
    table = write(tmp_path / "labels.csv", labels, "path,label")
    words_ = ["--task", "retrieval", "--labels", str(table), "--transductive"]
    ask(run_of_text, *words_, "--quick")
    kept = json.loads((run_of_text.folder / retrieval_study.FILE).read_text())
    assert {"tfidf", "lsa"} <= {row["features"] for row in kept["rows"]}
    assert "no labelled samples are left to choose by" in kept["chosen"]


def test_what_shares_a_label_belongs_together_and_numbers_are_refused():
    def labels(words: list[str]) -> Labels:
        names = sorted(set(words))
        y = np.array([names.index(word) for word in words], np.int64)
        return Labels(np.arange(len(words)), y, names, column="tags")

    found = retrieval_study._classes(labels(["cat|dog", "dog", "bird", "bird|cat"]))
    part = Part(item_pairs.Texts(list("abcd")), found)
    (_, right, out), *_ = retrieval_study._asked(part, []).blocks()
    expected = np.zeros((4, 4), bool)
    for a, b in ((0, 1), (0, 3), (2, 3)):
        expected[a, b] = expected[b, a] = True
    np.testing.assert_array_equal(right, expected)
    np.testing.assert_array_equal(out, np.eye(4, dtype=bool))
    grades = retrieval_study._classes(labels(["low", "high", "medium", "low"]))
    assert grades.targets is None
    with pytest.raises(UsageError, match="these labels are numbers"):
        retrieval_study._classes(labels([f"{n / 7:.3f}" for n in range(40)]))
