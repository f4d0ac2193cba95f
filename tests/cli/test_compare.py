import json

import pytest

from unlabeled.cli import main


def test_wrong_calls_are_answered_with_a_sentence(image_folder, capsys):
    assert main(["compare", str(image_folder), "--methods", "simclr"]) == 2
    assert "name at least two" in capsys.readouterr().err
    assert main(["compare", str(image_folder), "--methods", "simclr,gpt"]) == 2
    assert "gpt" in capsys.readouterr().err
    assert main(["compare", str(image_folder), str(image_folder), "--methods", "simclr,mae"]) == 2
    assert "takes one DATA" in capsys.readouterr().err


def test_options_of_a_comparison_are_refused_beside_runs(tmp_path, capsys):
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text("{}")
    runs = [str(tmp_path / name) for name in "ab"]
    assert main(["compare", *runs, "--labels", "l.csv", "--out", "x"]) == 2
    assert "no use for --out and --labels; leave them out" in capsys.readouterr().err


def test_methods_are_not_ranked_without_labels(image_folder, capsys):
    words = ["compare", str(image_folder), "--methods", "simclr,mae", "--no-labels"]
    assert main(words) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "--no-labels ranks no methods" in said
    assert "--labels FILE" in said
    assert main([*words, "--labels", "x.csv"]) == 2
    assert "exclude each other" in capsys.readouterr().err


@pytest.mark.slow
def test_methods_are_compared_on_real_files_and_the_call_goes_on(image_folder, tmp_path, capsys):
    words = ["compare", str(image_folder), "--methods", "simclr,mae", "--time", "6s"]
    words += ["--out", str(tmp_path / "cmp")]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "goes first, by validation labels" in said
    record = json.loads((tmp_path / "cmp" / "compare.json").read_text())
    assert record["complete"]
    assert set(record["rounds"][0]["runs"]) == {"simclr", "mae"}
    assert main(words) == 0
    assert main(["compare", *(str(tmp_path / "cmp" / f"{m}-1") for m in ("simclr", "mae"))]) == 0
    assert "test score" in capsys.readouterr().out
