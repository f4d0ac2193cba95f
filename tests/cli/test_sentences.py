"""A mistake is answered with one sentence on stderr and exit code 2, before torch is imported."""

from __future__ import annotations

import json

import pytest

from unlabeled.cli.start import main
from unlabeled.methods import catalogue

PATIENCE = 10.0
EVERY = ", ".join(catalogue.names())
FOR_IMAGES = ", ".join(
    name for name in catalogue.names() if "image" in catalogue.describe(name).modalities
)


@pytest.fixture
def place(tmp_path, monkeypatch, image_folder, text_folder):
    """Work in a folder with `photos`, `notes`, an empty folder, and a run without content."""
    (tmp_path / "photos").symlink_to(image_folder)
    (tmp_path / "notes").symlink_to(text_folder)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.txt").write_text("a text")
    run = tmp_path / "runs" / "photos-mae-01"
    run.mkdir(parents=True)
    (run / "run.json").write_text(json.dumps({"status": "interrupted", "method": "mae"}))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(capsys, *words):
    """Run a command that fails; return its code and its one sentence."""
    code = main(words)
    caught = capsys.readouterr()
    assert "Traceback" not in caught.err + caught.out
    assert caught.err.count("\n") == 1
    return code, caught.err.strip()


SENTENCES = {
    "pretrain photo": "photo does not exist. Did you mean 'photos'?",
    "pretrain empty": "empty is empty. Put images, text files, sound files, logs or video files "
    "into it, or name another folder.",
    "pretrain": "Say which data: unlabeled pretrain DATA (a folder, a file, hf://...).",
    "pretrain photos notes": "photos is not a file, and 2 paths were given. "
    "Give one folder, or files only.",
    "pretrain photos --kind sound": "There is no kind 'sound'. Kinds: image, text, audio, series, "
    "video.",
    "pretrain photos --time 3parsecs": "'3parsecs' is not a time. "
    "Write for example 90s, 10m or 1h30m.",
    "pretrain photos --time 0s": "'0s' is no time at all. Write for example 90s, 10m or 1h30m.",
    "pretrain photos --tim 3m": "unlabeled pretrain has no option --tim. Did you mean '--time'? "
    "See: unlabeled pretrain --help",
    "pretrain photos --steps none": "unlabeled pretrain: Invalid value for '--steps': Input should "
    "be a valid integer, unable to parse string as an integer. See: unlabeled pretrain --help",
    "pretrain photos --method simclrr": "There is no method 'simclrr'. Did you mean 'simclr'? "
    f"Methods: {EVERY}.",
    "pretrain photos --method bert": "The method 'bert' is for text, but this is image. "
    f"Methods for image: {FOR_IMAGES}.",
    "pretrain photos optim.lrr=1": "There is no option optim.lrr. Did you mean 'lr'? Options of "
    "optim: name, lr, weight_decay, weight_decay_end, betas, eps, momentum, trust, muon_lr, "
    "warmup, final_lr, shape, clip, new_rows, layer_decay, hold.",
    "pretrain photos optim.lr=-1": "optim.lr=-1 is not possible: it must be greater than 0.",
    "pretrain photos lr=1": "'lr=1' is not an option. Write section.name=value, for example "
    "optim.lr=0.001 (sections: data, encoder, optim, loop, modality, method).",
    "pretrain photos methd.temprature=0.2": "There is no option methd.temprature. "
    "Did you mean 'method.temperature'? "
    "Sections: data, encoder, optim, loop, modality, method.",
    "pretrain photos --method mae method.mask_ratio=1.5": "method.mask_ratio=1.5 is not possible: "
    "it must be less than 1.",
    "pretrain photos modality.sise=8": "There is no option modality.sise. Did you mean 'size'?",
    "pretrain photos --config xyz.toml": "xyz.toml does not exist.",
    "pretrain photos --init xyz": "xyz does not exist.",
    "pretrain photos --out runs/photos-mae-01": "runs/photos-mae-01 holds a run that is "
    "interrupted. Continue it: unlabeled resume runs/photos-mae-01  "
    "New run: --out runs/photos-mae-01-2",
    "pretrain photos --out notes": "notes is not empty and holds no run. New run: --out notes-2",
    "pretrain photos --out file.txt": "file.txt is a file. Name a new folder for the run: "
    "--out RUN",
    "evaluate photos": "photos is not a run: it holds no run.json. Runs: runs/photos-mae-01.",
    "evaluate runs/photos-mae-02": "runs/photos-mae-02 does not exist. "
    "Did you mean 'photos-mae-01'?",
    "evaluate runs/photos-mae-01": "runs/photos-mae-01 has no encoder yet (the run is "
    "interrupted). First: unlabeled resume runs/photos-mae-01",
    "resume photos": "photos is not a run: it holds no run.json. Runs: runs/photos-mae-01.",
    "predict runs/photos-mae-01 photos": "runs/photos-mae-01 has no finetune yet (the run is "
    "interrupted). First: unlabeled finetune runs/photos-mae-01 --labels FILE",
    "finetune runs/photos-mae-01 --labels file.txt --task transcrpt": "--task transcrpt: there is "
    "no such task. Did you mean 'transcript'? Tasks: single, multi, regression, ordinal, tagging, "
    "transcript, action.",
    "finetune runs/photos-mae-01 --task regression --class-weights balanced": "--class-weights is "
    "for classes of whole samples; leave it out.",
    "finetune runs/photos-mae-01 --task ordinal --frozen --quick": "--frozen puts a linear head on "
    "the encoder and trains nothing; leave --quick, --reading and tasks of words, transcripts or "
    "actions out.",
    "export runs/photos-mae-01 --to onx": "There is no format 'onx'. Did you mean 'onnx'? "
    "Possible: hf, timm, onnx, sentence-transformers, gguf.",
    "export runs/photos-mae-01": "unlabeled export: Missing option '--to'. "
    "See: unlabeled export --help",
    "runs empty": "There is no run in empty. Start one: unlabeled pretrain DATA",
    "methods dinno": f"There is no method 'dinno'. Did you mean 'dino'? Methods: {EVERY}.",
    "pretrian photos": "There is no command 'pretrian'. Did you mean 'pretrain'? Commands: demo, "
    "inspect, pretrain, resume, evaluate, compare, finetune, predict, embed, generate, map, "
    "search, suggest, report, export, runs, methods, doctor.",
    "--verbose": "unlabeled has no option --verbose. Did you mean '--version'? "
    "See: unlabeled --help",
}


@pytest.mark.parametrize("line", SENTENCES)
def test_sentence(place, capsys, line):
    assert said(capsys, *line.split()) == (2, SENTENCES[line])


@pytest.mark.parametrize(
    "line",
    [
        "pretrain nowhere",
        "pretrain data optim.lrr=1",
        "pretrain data --method simclrr",
        "pretrain data method.temprature=1",
        "evaluate data",
    ],
)
def test_answer_comes_before_torch(ask, tmp_path, line):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.txt").write_text("a text")
    answer = ask(*line.split())
    assert answer.code == 2
    assert answer.heavy == []
    assert answer.seconds < PATIENCE
    assert answer.err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("notes",), "notes has 0 images but 60 .txt files. run reads images only."),
        (("photos", "--kind", "text"), "run reads images; --kind text is not for it."),
    ],
)
def test_a_run_says_what_it_reads(place, capsys, words, sentence):
    (place / "run" / "encoder").mkdir(parents=True)
    (place / "run" / "run.json").write_text(json.dumps({"status": "finished", "kind": "image"}))
    code, found = said(capsys, "embed", "run", *words)
    assert code == 2
    assert found == sentence


def test_a_bug_keeps_its_traceback_in_a_file(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def broken() -> list[object]:
        raise ZeroDivisionError("one over nothing")

    monkeypatch.setattr("unlabeled.doctor.examine", broken)
    assert main(["doctor"]) == 1
    shown = capsys.readouterr().err
    (kept,) = tmp_path.glob("unlabeled-*.log")
    assert shown == (
        "Something went wrong inside unlabeled (ZeroDivisionError: one over nothing). "
        f"The traceback is in {kept}; please report it, or repeat with --debug.\n"
    )
    assert "ZeroDivisionError" in kept.read_text()


def test_debug_shows_the_traceback(place, capsys):
    assert main(["pretrain", "xyz", "--debug"]) == 2
    assert "UsageError: xyz does not exist." in capsys.readouterr().err


def test_an_interrupt_is_no_traceback(monkeypatch, capsys):
    def interrupted() -> list[object]:
        raise KeyboardInterrupt

    monkeypatch.setattr("unlabeled.doctor.examine", interrupted)
    assert main(["doctor"]) == 130
    assert capsys.readouterr().err == "Stopped. What was finished is kept.\n"
