import json

import numpy as np
import pytest

from tests.transfer.planted import PlantedRun
from unlabeled.data.label_columns import columns_in
from unlabeled.errors import UsageError
from unlabeled.report.folder import _columns
from unlabeled.report.page import column_page
from unlabeled.transfer import readings
from unlabeled.transfer import roster as module
from unlabeled.transfer.column_line import said_of
from unlabeled.transfer.columns import evaluate_columns
from unlabeled.transfer.finetune import material_of
from unlabeled.types import PLAIN

ARMS = ["knn", "probe", "untrained"]


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "own_view", lambda run: PLAIN)
    search = readings.Search((PLAIN,), rates=(1e-2,), lengths=(1.0,), epochs=1, fewest=2, most=2)
    monkeypatch.setattr(module, "search_of", lambda run, quick, ways=False: search)
    run = PlantedRun(tmp_path / "r")
    rng = np.random.default_rng(0)
    rows = ["path,kind,quality,size,same"]
    for i, y in enumerate(run.source().y):
        kind = "abc"[y] if i % 3 or i > 200 else ""  # some are not known
        size = f"{y + 0.2 * rng.normal():.4f}" if i > 30 else ""
        rows.append(f"{run.source().name(i)},{kind},{['poor', 'fair', 'good'][y]},{size},x")
    file = tmp_path / "labels.csv"
    file.write_text("\n".join(rows))
    return run, file


def test_each_column_is_studied_in_its_own_form_on_features_computed_once(table, monkeypatch):
    run, file = table
    seen = []
    encode = module.Frozen.of_encoder.__globals__["Remembered"].of

    def counted(self, name, encoder, inputs):
        found = encode(self, name, encoder, inputs)
        seen.append((self, name, set(inputs.indices.tolist())))
        return found

    monkeypatch.setattr(readings.Remembered, "of", counted)
    columns = ["kind", "quality", "size", "same"]
    found = evaluate_columns(run, file, columns, counts=[2, 10], draws=2, arms=ARMS)
    forms = {name: part.get("task") for name, part in found.items()}
    assert forms == {"kind": "single", "quality": "ordinal", "size": "regression", "same": None}
    assert "one class only" in found["same"]["problem"]
    for name in ("kind", "quality", "size"):
        results = json.loads((run.folder / f"evaluate/columns/{name}/results.json").read_text())
        assert results["verdict"] == found[name]["verdict"]
        assert found[name]["score"] > 0.3
        assert found[name]["verdict"] in said_of(found[name])
    union = set().union(*(indices for _, name, indices in seen if name == "ours"))
    assert seen[0][0].computed == {"ours": len(union), "fresh": len(union)}
    assert len({id(memory) for memory, _, _ in seen}) == 1
    told = _columns(run.folder / "evaluate", [])
    assert told["size"]["results"]["task"] == "regression"
    assert told["same"]["results"] is None
    assert column_page("report", told["size"]) == "report-size.html"


def test_what_cannot_be_is_told_in_a_sentence(table):
    run, file = table
    assert columns_in("kind,quality", file) == ["kind", "quality"]
    with pytest.raises(UsageError, match="No column could be studied"):
        evaluate_columns(run, file, ["same", "nothing"], counts=[2], draws=2, arms=ARMS)
    with pytest.raises(UsageError, match="several columns, and a classifier learns one: kind"):
        material_of(run, file, "kind,quality", 0)
