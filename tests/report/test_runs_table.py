"""The list of runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.report.runfolder import make_run
from unlabeled.errors import UsageError
from unlabeled.report import list_runs
from unlabeled.report.runs_table import COLUMNS, as_json, plain_text, table


def test_runs_are_listed_newest_first(tmp_path: Path) -> None:
    for i, name in enumerate(("old", "new")):
        folder = make_run(tmp_path / name, evaluated=name == "new")
        info = json.loads((folder / "run.json").read_text())
        (folder / "run.json").write_text(json.dumps({**info, "started": f"2026-09-0{i + 1}"}))
    (tmp_path / "no-run").mkdir()
    new, old = list_runs(tmp_path)
    assert (new.id, old.id) == ("new", "old")
    assert new.score == "0.860 at 500 a class"
    assert new.saved == 4.16
    assert new.method == "simclr"
    assert old.score == "–"
    assert old.steps == 1200


def test_a_run_folder_lists_itself(tmp_path: Path) -> None:
    assert [line.id for line in list_runs(make_run(tmp_path / "one"))] == ["one"]


def test_a_damaged_run_is_listed_as_unreadable(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "run.json").write_text("{")
    assert list_runs(tmp_path)[0].status == "unreadable"


def test_forms(tmp_path: Path) -> None:
    make_run(tmp_path / "one")
    lines = list_runs(tmp_path)
    assert plain_text(lines).splitlines()[0].split("\t") == list(COLUMNS)
    assert json.loads(as_json(lines))[0]["id"] == "one"
    assert table(lines).row_count == 1


def test_no_folder_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unlabeled pretrain DATA"):
        list_runs(tmp_path / "none")
