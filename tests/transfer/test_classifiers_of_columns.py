"""`finetune --label-column a,b`: a classifier of each column, equal to one that is made alone."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.loop.running import small_config
from unlabeled import config as configs
from unlabeled import loop
from unlabeled.api import Classifier
from unlabeled.cli.start import main
from unlabeled.errors import UsageError
from unlabeled.runs import Run
from unlabeled.transfer.remembered import Remembered


@pytest.fixture(scope="module")
def made(image_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    """Return a run, and a table with columns of classes, of numbers, of one class and of two."""
    place = tmp_path_factory.mktemp("columns")
    tree = small_config("simclr", image_folder, steps=2).model_dump()
    run = Run.open(loop.pretrain(configs.build(tree), place / "run", quiet=True))
    table = place / "labels.csv"
    with table.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "kind", "how long", "same", "found"])
        for i, name in enumerate(run.source().name(i) for i in range(96)):
            kind = "" if i % 5 == 0 else name[0]
            rows.writerow([name, kind, f"{i % 24 + 0.5 * (name[0] < 'c')}", "x", "ny"[i % 2]])
    return run, table


def tell(*words: object, code: int = 0) -> None:
    assert main([str(word) for word in words]) == code


def read(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_each_is_what_it_is_alone_and_predict_writes_a_column_of_each(
    made, tmp_path, capsys, monkeypatch
):
    run, table = made
    memories = []
    encode = Remembered.of

    def watched(self, name, encoder, inputs):
        memories.append(self)
        return encode(self, name, encoder, inputs)

    monkeypatch.setattr(Remembered, "of", watched)
    learn = ("finetune", run.folder, "--labels", table, "--frozen")
    tell(*learn, "--label-column", "kind,how long,same,found")
    shown = capsys.readouterr().out
    assert shown.index("Column kind") < shown.index("Column how long") < shown.index("one class")
    assert {len(one.computed) for one in memories} == {1}
    assert memories[0].computed == {"encoder": 96}  # each sample once, whichever columns it has
    assert run.classifier == run.folder / "finetune"
    record = json.loads((run.classifier / "classes.json").read_text())
    assert record["columns"] == {"kind": "kind", "how long": "how_long", "found": "found"}

    tell("predict", run.folder, run.config.data.path, "--out", tmp_path / "all.csv")
    every = read(tmp_path / "all.csv")
    assert list(every[0]) == ["path", "kind", "kind_score", "how long", "found", "found_score"]
    assert len(every) == 96
    with pytest.raises(UsageError, match="a classifier for each of kind, how long, found"):
        Classifier.from_run(run.folder)
    tell("export", run.classifier, "--to", "hf", code=2)
    opened = Classifier.from_run(run.folder, "found")
    assert opened.predict(run.config.data.path) == [row["found"] for row in every]

    for column in ("kind", "how long"):
        tell(*learn, "--label-column", column)
        tell("predict", run.folder, run.config.data.path, "--out", tmp_path / "one.csv")
        alone = [(row["path"], row["label"]) for row in read(tmp_path / "one.csv")]
        assert alone == [(row["path"], row[column]) for row in every]


def test_columns_that_cannot_be_learned_are_told(made, capsys):
    run, table = made
    learn = ("finetune", run.folder, "--labels", table, "--frozen", "--label-column")
    tell(*learn, "same,kind", "--task", "regression", code=2)
    assert "No column could be learned" in capsys.readouterr().err
    tell(*learn, "kind,nothing", code=2)
    assert "nothing" in capsys.readouterr().err
