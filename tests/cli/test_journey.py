"""From a folder to an export with the commands that a person types, on toy data."""

from __future__ import annotations

import csv
import json
import re
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from unlabeled.cli.start import main

TINY = ["encoder.name=timm:test_vit", "encoder.patch=8", "modality.size=16", "loop.batch=16"]


@pytest.fixture(scope="module")
def place(tmp_path_factory, image_folder):
    folder = tmp_path_factory.mktemp("journey")
    shutil.copytree(image_folder, folder / "photos")
    return folder


@pytest.fixture
def tell(place, monkeypatch, capsys):
    """Type a command in the folder of the journey and return what it printed."""
    monkeypatch.chdir(place)

    def run(*words, code=0):
        monkeypatch.setattr("sys.argv", ["unlabeled", *words])  # the run notes its command
        assert main(list(words)) == code, capsys.readouterr().err
        return capsys.readouterr().out

    return run


@pytest.fixture
def run(place, tell):
    """Pre-train for three steps, once."""
    if not (place / "runs").exists():
        shown = tell("pretrain", "photos", "--method", "simclr", "--steps", "3", *TINY)
        assert "method.name" in shown
        assert "asked for" in shown
        assert "Next  unlabeled evaluate runs/photos-simclr-01 --labels FILE" in shown
        info = json.loads((place / "runs" / "photos-simclr-01" / "run.json").read_text())
        assert info["status"] == "finished"
        assert info["command"].startswith("unlabeled ")
        assert {"name", "value", "reason"} <= set(info["choices"][0])
    return "runs/photos-simclr-01"


def test_dry_run_measures_and_leaves_nothing(place, tell):
    before = sorted(place.rglob("*"))
    shown = tell("pretrain", "photos", "--method", "simclr", "--steps", "3", "--dry-run", *TINY)
    assert "parameters" in shown
    assert "a step; 3 steps in " in shown
    assert sorted(place.rglob("*")) == before


def test_printed_configuration_repeats_the_run(place, tell, run):
    shown = tell("pretrain", "--config", f"{run}/config.toml", "--print-config")
    assert shown.strip() == (place / run / "config.toml").read_text().strip()
    other = tell("pretrain", "--config", f"{run}/config.toml", "--print-config", "--seed", "7")
    assert "seed = 7" in other


def test_runs_lists_it(tell, run):
    shown = tell("runs")
    assert f"{run}  finished  simclr" in shown


def test_a_finished_run_is_not_resumed(place, run, monkeypatch, capsys):
    monkeypatch.chdir(place)
    assert main(["resume", run]) == 2
    assert "is finished. Start another from its weights" in capsys.readouterr().err


def test_embed_writes_one_row_a_sample(place, tell, run):
    shown = tell("embed", run, "photos")
    assert shown.startswith("96 embeddings in embeddings.parquet\n")
    table = pq.read_table(place / "embeddings.parquet")
    assert table.column_names == ["name", "embedding"]
    assert table["name"][0].as_py() == "a/000.png"
    assert np.isfinite(np.stack(table["embedding"].to_pylist())).all()


def test_embed_leaves_out_what_cannot_be_read(place, tell, run):
    (place / "mixed").mkdir()
    (place / "mixed" / "bad.png").write_bytes(b"no image")
    good = next((place / "photos").rglob("*.png"))
    (place / "mixed" / "good.png").write_bytes(good.read_bytes())
    shown = tell("embed", run, "mixed", "--out", "mixed.parquet")
    assert shown.startswith("1 embeddings in mixed.parquet; 1 left out as unreadable (first: bad")
    (place / "mixed" / "good.png").unlink()
    tell("embed", run, "mixed", "--out", "none.parquet", code=65)
    assert not list(place.glob("*none.parquet*"))


def test_a_map_and_a_search(place, tell, run):
    shown = tell("map", run, "--label-column", "label", code=2)
    shown = tell("map", run, "photos", "--labels", "photos", "--most", "40")
    assert f"40 samples in {run}/map.html; 56 not drawn (--most)" in shown
    assert pq.read_table(place / run / "map.parquet").num_rows == 40
    shown = tell("search", run, "photos/a/000.png", "-n", "3")
    assert shown.splitlines()[1].split() == ["1.000", "a/000.png"]
    assert len(shown.splitlines()) == 4
    tell("search", run, "photos", code=2)


def _fill(path):
    """Write the label of each row: the folder that the image lies in."""
    with path.open(newline="") as file:
        table = csv.DictReader(file)
        fields, rows = table.fieldnames, list(table)
    for row in rows:
        row["label"] = row["path"].split("/")[0]
    with path.open("w", newline="") as file:
        out = csv.DictWriter(file, fields)
        out.writeheader()
        out.writerows(rows)
    return rows


def test_suggested_samples_are_labelled_in_rounds(place, tell, run, capsys):
    shown = tell("suggest", run, "-n", "6", "--test", "3")
    held = np.load(place / run / "data" / "held_out.npy")
    drawn = min(3, len(held))
    assert shown.startswith("6 of ")
    first = _fill(place / "suggested.csv")
    assert [row["split"] for row in first] == ["train"] * 6 + ["test"] * drawn
    names = sorted(p.relative_to(place / "photos").as_posix() for p in place.glob("photos/*/*"))
    assert not {row["path"] for row in first[:6]} & {names[i] for i in held}
    assert "<img" in (place / "suggested.html").read_text()
    main(["suggest", run])  # would lose them
    assert (
        f"suggested.csv holds {len(first)} labels, which would be lost." in capsys.readouterr().err
    )
    shown = tell("suggest", run, "-n", "60", "--labels", "suggested.csv", "--out", "suggested.csv")
    assert f"after {len(first)} labels that were there" in shown
    second = _fill(place / "suggested.csv")
    assert second[: len(first)] == first
    assert len({row["path"] for row in second}) == len(second) == len(first) + 60
    shown = tell("suggest", run, "-n", "2", "--labels", "suggested.csv", "--out", "more.csv")
    assert "those between two classes for a probe" in shown
    tell("suggest", run, "--by", "doubtful", "--out", "other.csv", code=2)
    tell("suggest", run, "--by", "cleverly", "--out", "other.csv", code=2)


def test_finetune_predict_and_export_the_classifier(place, tell, run):
    shown = tell("finetune", run, "--quick")
    assert "4 classes: a, b, c, d" in shown
    tell("predict", run, "photos")
    with (place / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 96
    assert {row["label"] for row in rows} <= set("abcd")
    assert all(0.25 <= float(row["score"]) <= 1 for row in rows)
    shown = tell("export", f"{run}/finetune", "--to", "hf")
    assert "reloaded with transformers: max |difference| " in shown
    assert (place / run / "exported" / "hf-classifier" / "classes.json").exists()


def test_export_prints_the_difference(place, tell, run):
    shown = tell("export", run, "--to", "hf,timm")
    assert shown.count("max |difference|") == 2
    assert "timm.create_model(" in shown


def test_wrong_labels_are_a_sentence(place, run, monkeypatch, capsys):
    monkeypatch.chdir(place)
    (place / "labels.csv").write_text("file,lab\nnowhere.png,x\n")
    assert main(["evaluate", run, "--labels", "label.csv"]) == 2
    assert capsys.readouterr().err.startswith("label.csv does not exist. Did you mean 'labels.csv'")
    assert main(["evaluate", run, "--labels", "labels.csv"]) == 2
    assert "labels.csv" in capsys.readouterr().err
    assert main(["evaluate", run, "--counts", "few"]) == 2
    assert capsys.readouterr().err.startswith("'few' are no label counts.")


def test_inspect_and_methods_propose_what_comes_next(tell):
    assert "Next  unlabeled pretrain photos --dry-run" in tell("inspect", "photos")
    shown = tell("methods")
    assert "arXiv:" in shown
    assert "method.temperature" in tell("methods", "simclr")


def test_inspect_looks_through_an_encoder(place, run, tell, monkeypatch, capsys):
    pytest.importorskip("cleanlab")
    shown = tell("inspect", "photos", "--encoder", run, "--labels", "photos", "--out", "seen.csv")
    assert "96 images through runs/photos-simclr-01" in shown
    assert re.search(r"Labels: (\d+ of 96 are likely wrong|no wrong ones are named)", shown)
    rows = list(csv.DictReader((place / "seen.csv").read_text().splitlines()))
    assert {row["finding"] for row in rows} <= {
        "wrong_label", "conflict", "copy", "near_copy", "alike", "outlier"
    }  # fmt: skip
    assert all((place / "photos" / row["path"]).is_file() for row in rows)
    page = (place / "seen.html").read_text()
    assert page.count("<li>") >= len(rows)
    monkeypatch.chdir(place)
    assert main(["inspect", "photos", "--encoder", run, "--out", "seen.txt"]) == 2
    assert "ends in .csv" in capsys.readouterr().err
    assert main(["inspect", "photos", "--encoder", "nowhere"]) == 2
    assert capsys.readouterr().err.startswith("--encoder nowhere: there is no such folder.")
    shown = tell("inspect", "photos", "--encoder", f"{run}/encoder", "--out", "public.csv")
    assert f"96 images through {run}/encoder" in shown


def test_a_generator_writes(place, tell, text_folder):
    files = sorted(str(path) for path in text_folder.glob("*.txt"))[:40]
    shown = tell(
        "pretrain", *files, "--method", "gpt", "--steps", "3", "--out", "writer",
        "encoder.name=hf:gpt2-1x32h2", "modality.length=16", "loop.batch=8",
    )  # fmt: skip
    assert "40 documents" in shown
    assert 'unlabeled generate writer --prompt "..."' in shown
    words = ("generate", "writer", "--prompt", "the cat", "--max-tokens", "5")
    shown = tell(*words)
    assert shown.startswith("the cat")
    assert not shown.startswith("the catthe cat")
    text = shown.partition("\n5 tokens in ")[0]
    assert re.search(r"5 tokens in [\d.]+ s: [\d,]+ tokens/s \(1 at once\)", shown)
    assert tell(*words).startswith(text)
    assert not tell(*words, "--seed", "1").startswith(text)
    _a_generator_is_judged_without_labels(place, tell)


def _a_generator_is_judged_without_labels(place, tell):
    shown = tell("evaluate", "writer")
    for words in ("bits per byte", "Strided (context 16, stride 8)", "Memorisation", "n-grams"):
        assert words in shown
    (place / "pairs.csv").write_text("good,bad\nthe cat sat,the cat sit\na b,a b\n")
    assert "1 ties count half" in tell("evaluate", "writer", "--pairs", "pairs.csv")
    (place / "other.txt").write_text("the cat sat on the mat. " * 20)
    shown = tell("evaluate", "writer", "--text", "other.txt", "--stride", "4")
    assert "stride 4" in shown
    assert "16-grams of tokens" in shown
    tell("evaluate", "writer", "--stride", "40", code=2)
    tell("evaluate", "writer", "--text", "other.txt", "--labels", "labels.csv", code=2)
    tell("evaluate", "writer", "--text", "other.txt", "--counts", "1", "--quick", code=2)
    tell("report", "writer")
    page = (place / "writer" / "report.html").read_text()
    for words in ("Text: held-out", "Text: other.txt", "Does it recite", "Minimal pairs"):
        assert words in page


def test_a_run_that_is_no_generator_does_not_generate(place, run, monkeypatch, capsys):
    monkeypatch.chdir(place)
    assert main(["generate", run]) == 2
    assert capsys.readouterr().err == (
        f"{run} was trained with simclr, which does not generate. "
        "Train a generator: unlabeled pretrain DATA --method gpt\n"
    )


def test_a_run_that_cannot_begin_leaves_no_folder(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    words = ["pretrain", "photos", "--method", "mae", "--steps", "3", "--out", "failed"]
    assert main([*words, "encoder.name=timm:resnet18", *TINY[2:]]) == 64
    assert "mae" in capsys.readouterr().err
    assert not (place / "failed").exists()


def test_several_processes_need_a_name(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["pretrain", "photos"]) == 2
    assert capsys.readouterr().err == (
        "Several processes write one run: name its folder with --out RUN.\n"
    )


def test_doctor_says_what_to_do(tell, monkeypatch):
    from unlabeled import doctor

    shown = tell("doctor")
    assert "python" in shown
    assert "bf16" in shown
    monkeypatch.setattr(doctor, "requirements", lambda: ["torch>=99", "nosuchpackage>=1"])
    shown = tell("doctor", code=1)
    assert "but >=99 is needed\n" in shown
    assert 'Run: pip install "nosuchpackage>=1"' in shown
    assert "2 to mend." in shown
