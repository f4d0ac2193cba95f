"""The page: complete, closed to the outside, safe against what it shows."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from tests.report.runfolder import make_run, write_lines
from unlabeled import report
from unlabeled.errors import UsageError, WriteError
from unlabeled.report.page import _RUN_SECTIONS

HOSTILE = (
    "<script>alert(1)</script>",
    "{{7*7}}{% raw %}",
    '"><img src=x onerror=alert(1)>',
    "'; alert(1); '",
    "</style><b>",
    "\u202egnp.exe",
    "&lt;already",
)
MEGABYTE = 1_000_000


class Page(HTMLParser):
    """Every tag and attribute of a page, and the text of its scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inside: dict[str, list[str]] = {"script": [], "style": []}
        self.words: list[str] = []
        self._open = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open = tag

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open in self.inside:
            self.inside[self._open].append(data)
        else:
            self.words.append(data)

    def attribute(self, name: str) -> list[str]:
        return [attrs[name] or "" for _, attrs in self.tags if name in attrs]

    @property
    def policy(self) -> str:
        return next(
            attrs["content"] or ""
            for tag, attrs in self.tags
            if tag == "meta" and attrs.get("http-equiv") == "Content-Security-Policy"
        )

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def read(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def page_of(folder: Path) -> Page:
    return read(report.build([folder], pictures=False))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "photos-simclr-01")


def test_all_sections_stand_in_order(run: Path) -> None:
    page = page_of(run)
    ids = [attrs["id"] for tag, attrs in page.tags if tag == "section"]
    assert ids == list(_RUN_SECTIONS)
    assert page.attribute("href")[1:11] == [f"#{name}" for name in _RUN_SECTIONS]


def test_verdict_names_labels_saved_with_interval_and_three_commands(run: Path) -> None:
    text = page_of(run).text
    assert "4.2×" in text
    assert "95 % interval 3.2 to 5.4" in text
    assert "> 10×" in text
    assert "instead of more than 500" in text
    for verb in ("finetune", "export", "embed"):
        assert f"unlabeled {verb} {run}" in text


def test_what_lies_level_is_not_drawn_and_the_spectrum_is(run: Path) -> None:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    write_lines(
        run / "metrics.jsonl", [{**line, "level": 7, "slope": i} for i, line in enumerate(lines)]
    )
    page = page_of(run)
    assert "Slope" in page.text
    assert "Level part of" not in page.text
    assert "half of it lies in 1 direction " in page.text


def test_missing_pieces_say_what_to_run(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "bare", evaluated=False, samples=False)
    for name in ("data.json", "health.jsonl", "metrics.jsonl", "quarantine.jsonl"):
        (folder / name).unlink()
    page = page_of(folder)
    assert [attrs["id"] for tag, attrs in page.tags if tag == "section"] == list(_RUN_SECTIONS)
    assert page.text.count(f"Not yet: run unlabeled evaluate {folder} --labels") >= 3
    assert f"unlabeled report {folder}" in page.text
    assert "no data.json" in page.text
    assert "no health check has been made yet" in page.text.lower()


def test_a_run_json_alone_is_enough(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    assert "nothing is proven" in page_of(tmp_path).text


def test_damaged_files_are_told_and_survived(run: Path) -> None:
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 12')
    (run / "evaluate" / "results.json").write_text("[1, 2]")
    (run / "data.json").write_bytes(b"\xff\xfe{")
    (run / "samples" / "views.png").write_bytes(b"\x89PNG not really")
    text = page_of(run).text
    assert "metrics.jsonl: 1 damaged line left out" in text
    assert "results.json does not hold a table" in text
    assert "data.json is damaged" in text


def test_values_that_are_not_numbers_leave_gaps(run: Path) -> None:
    lines = [{"step": i, "loss": "nan" if i == 5 else 1.0 / (i + 1)} for i in range(10)]
    write_lines(run / "metrics.jsonl", lines)
    page = page_of(run)
    drawn = [a["points"] for t, a in page.tags if t == "polyline" and a["data-name"] == "Loss"]
    assert [len(points.split()) for points in drawn] == [5, 4]


def test_policy_forbids_everything_but_what_the_page_holds(run: Path) -> None:
    page = page_of(run)
    rules = dict(rule.strip().split(" ", 1) for rule in page.policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    for tag in ("script", "style"):
        digest = hashlib.sha256("".join(page.inside[tag]).encode()).digest()
        assert rules[f"{tag}-src"] == f"'sha256-{base64.b64encode(digest).decode()}'"
    assert "unsafe" not in page.policy


def test_nothing_is_asked_of_a_network(run: Path) -> None:
    text = report.build([run], pictures=False).read_text()
    page = Page(text)
    for name in ("src", "href", "action", "srcset", "data", "poster"):
        for value in page.attribute(name):
            assert value.startswith(("#", "data:image/")), value
    assert "@import" not in text
    assert "url(" not in text
    assert not {"link", "iframe", "object", "embed", "base"} & {tag for tag, _ in page.tags}
    assert set(re.findall(r"https?://[^\s\"'<]+", text)) <= {"http://www.w3.org/2000/svg"}


def test_no_inline_style_or_handler_that_the_policy_would_block(run: Path) -> None:
    page = page_of(run)
    assert not page.attribute("style")
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]


def test_the_runs_of_these_tests_have_the_form_of_real_ones(run: Path) -> None:
    from unlabeled.transfer import schema

    results = json.loads((run / "evaluate" / "results.json").read_text())
    assert schema.check(results).grade == "helped"


def test_mistakes_are_shown_where_the_results_hold_them(run: Path) -> None:
    path = run / "evaluate" / "results.json"
    mistake = {"name": "a/7.png", "truth": "cat", "guess": "dog", "share": 0.8, "sure": 0.97}
    path.write_text(json.dumps({**json.loads(path.read_text()), "mistakes": [mistake]}))
    assert "a/7.png cat dog 80 % 97 %" in page_of(run).text


def test_calibration_is_drawn_beside_what_holds_exactly(run: Path) -> None:
    page = page_of(run)
    assert (
        "expected calibration error 0.0412 in 15 bins, mean of 5 draws; probabilities that hold "
        "exactly would show 0.0098 on as many test samples. It is surer than right on average: "
        "probability 90.0 %, accuracy 86.0 %."
    ) in page.text
    drawn = {a["data-name"] for tag, a in page.tags if tag == "polyline"}
    assert {"accuracy", "as sure as right"} <= drawn
    assert "50.0 % 42.0 % 9,000 98.0 % 95.0 % 41,000" in page.text


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"task": "multi"}, "Calibration is measured where every sample has one class"),
        ({"ours": "parts_spread"}, "gives no probabilities."),
        ({}, "kept by a version that did not keep probabilities"),
    ],
)
def test_calibration_that_is_not_there_says_why(
    run: Path, changes: dict[str, object], reason: str
) -> None:
    judged(run, {**changes, "calibration": None})
    assert reason in page_of(run).text


def test_neighbours_over_time_are_drawn_where_checkpoints_were_kept(run: Path) -> None:
    assert "k-NN over time is shown where a run kept three checkpoints" in page_of(run).text
    moments = [{"step": 100 * i, "knn": 0.1 * i, "labels_per_class": 50, "rankme": 9.0,
                "uniformity": -0.5 * i} for i in range(4)]  # fmt: skip
    judged(run, {"moments": moments})
    page = page_of(run)
    drawn = {a["data-name"]: a["points"] for tag, a in page.tags if tag == "polyline"}
    heights = [float(point.split(",")[1]) for point in drawn["k-NN at kept checkpoints"].split()]
    assert np.diff(heights) == pytest.approx([heights[1] - heights[0]] * 3, abs=0.11)
    assert heights[0] > heights[-1]  # up is better
    assert "accuracy on test, 50 labels a class" in page.text
    assert "k-NN over time is shown where" not in page.text


def test_measures_without_labels_say_which_way_is_better(run: Path) -> None:
    text = page_of(run).text
    assert "features RankMe alpha-ReQ alignment uniformity pre-trained 61.2 1.1 0.31 -3.62" in text
    assert "features that are all alike have 0" in text
    assert "LiDAR" not in text


def test_test_samples_seen_in_pretraining_are_told(run: Path) -> None:
    path = run / "evaluate" / "results.json"
    results = json.loads(path.read_text())
    results["split"]["seen_in_pretraining"] = 37
    path.write_text(json.dumps(results))
    assert "37 test samples were also pre-trained on" in page_of(run).text


def hostile_run(folder: Path, kind: str = "image") -> Path:
    """Put hostile strings into every place of a run folder that holds any."""
    make_run(folder, "simclr" if kind == "image" else "bert", kind, path=HOSTILE[0])
    for name in ("run.json", "data.json", "evaluate/results.json", "samples/neighbours.json",
                 "samples/fills.json", "samples/views.json", "samples/map.json"):  # fmt: skip
        path = folder / name
        if path.exists():
            path.write_text(json.dumps(poison(json.loads(path.read_text()))))
    lines = [{"name": word, "index": i, "reason": word} for i, word in enumerate(HOSTILE)]
    write_lines(folder / "quarantine.jsonl", lines)
    write_lines(folder / "metrics.jsonl", [{"step": i, HOSTILE[2]: i, "loss": i} for i in range(9)])
    write_lines(folder / "health.jsonl", [{"step": 1, "spread": 0.5, "alarms": list(HOSTILE)}])
    return folder


def poison(tree: object, count: int = 0) -> object:
    if isinstance(tree, dict):
        made = {key: poison(value, i) for i, (key, value) in enumerate(tree.items())}
        return {**made, HOSTILE[count % 3]: HOSTILE[(count + 2) % 7]}
    if isinstance(tree, list):
        return [poison(value, i) for i, value in enumerate(tree)]
    return HOSTILE[count % len(HOSTILE)] if isinstance(tree, str) else tree


@pytest.mark.parametrize("kind", ["image", "text"])
def test_hostile_names_and_labels_are_only_text(tmp_path: Path, kind: str) -> None:
    clean = page_of(make_run(tmp_path / "clean", "simclr" if kind == "image" else "bert", kind))
    page = page_of(hostile_run(tmp_path / "hostile", kind))
    assert {tag for tag, _ in page.tags} <= {tag for tag, _ in clean.tags} | {"p"}
    assert sum(tag == "script" for tag, _ in page.tags) == 1
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]
    assert "<script>alert(1)</script>" in page.text
    assert "{{7*7}}" in page.text
    assert "49" not in re.findall(r"\b49\b", " ".join(page.attribute("aria-label")))


def test_hostile_folder_name(tmp_path: Path) -> None:
    folder = make_run(tmp_path / '"><img src=x onerror=alert(1)>')
    page = page_of(folder)
    assert "onerror" not in {name for _, attrs in page.tags for name in attrs}
    assert f"unlabeled finetune '{folder}'" in page.text


def test_samples_that_link_outside_are_shown_only_if_they_are_pictures(
    run: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("the secret")
    (run / "samples" / "views.png").unlink()
    (run / "samples" / "views.png").symlink_to(secret)
    html = report.build([run], pictures=False).read_text()
    assert "the secret" not in html
    assert base64.b64encode(b"the secret").decode()[:10] not in html


@pytest.mark.parametrize(("method", "kind"), [("simclr", "image"), ("bert", "text")])
def test_a_page_is_small(tmp_path: Path, method: str, kind: str) -> None:
    folder = make_run(tmp_path / "large", method, kind, steps=200_000)
    assert report.build([folder], pictures=False).stat().st_size < MEGABYTE


def test_text_runs_show_fills_and_generations(tmp_path: Path) -> None:
    bert = page_of(make_run(tmp_path / "bert", "bert", "text"))
    assert "masterpiece : classic 30 %" in bert.text
    gpt = page_of(make_run(tmp_path / "gpt", "gpt", "text"))
    assert "We are resolved." in gpt.text
    assert "temperature 0.8" in gpt.text
    assert "bigram" in gpt.text


def test_texts_have_a_map_that_needs_no_pointer(tmp_path: Path) -> None:
    page = page_of(make_run(tmp_path / "gpt", "gpt", "text"))
    dots = [
        attrs for tag, attrs in page.tags if tag == "circle" and "dot" in (attrs.get("class") or "")
    ]
    assert [dot["class"] for dot in dots] == ["dot run-0", "dot run-1"] * 10
    assert len({dot["cx"] for dot in dots if dot["class"] == "dot run-0"}) == 1
    assert "1: Film 0 is slow." in page.text
    assert "1 A slow film. Slower. 2 A fast one." in page.text


def test_status_changes_the_next_commands(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "cut", evaluated=False)
    info = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**info, "status": "interrupted", "verdict": ""}))
    page = page_of(folder)
    assert "Interrupted" in page.text
    assert f"unlabeled resume {folder}" in page.text


@pytest.mark.parametrize(
    ("grade", "word"),
    [("helped", "Helped"), ("no_clear_difference", "No clear"), ("did_not_help", "Did not help")],
)
def test_the_light_follows_the_grade(run: Path, grade: str, word: str) -> None:
    path = run / "evaluate" / "results.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "grade": grade}))
    assert word in page_of(run).text


def test_the_same_folder_gives_the_same_page(run: Path) -> None:
    first = report.build([run], pictures=False).read_bytes()
    assert report.build([run], pictures=False).read_bytes() == first


def test_what_cannot_be_drawn_is_a_sentence(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", samples=False, path=str(tmp_path / "gone"))
    text = read(report.build([folder])).text
    assert "Not drawn" in text
    assert "Traceback" not in text


def test_several_runs_make_a_comparison(tmp_path: Path) -> None:
    folders = [make_run(tmp_path / "runs" / f"run-{i}", method, seed=i, shift=-0.04 * i)
               for i, method in enumerate(("simclr", "dino", "mae"))]  # fmt: skip
    report.build(folders[:1], pictures=False)
    out = report.build(folders)
    page = read(out)
    assert out == tmp_path / "runs" / "comparison.html"
    assert "3 runs compared" in page.text
    assert "different data" not in page.text
    other = make_run(tmp_path / "runs" / "other", path="sounds")
    assert "These runs are of different data" in read(report.build([*folders, other])).text
    assert "method.temperature" in page.text
    assert "loop.steps" not in page.text
    looks = " ".join(page.attribute("class"))
    assert all(f"run-{i}" in looks for i in range(3))
    assert "run-0/report.html" in page.attribute("href")
    assert "run-1/report.html" not in page.attribute("href")


def judged(folder: Path, changes: dict[str, object]) -> None:
    path = folder / "evaluate" / "results.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


ALONE = {
    "differences": {},
    "labels_saved": {},
    "grade": "no_clear_difference",
    "verdict": "Nothing was compared, so whether pre-training helped is not known.",
}


@pytest.mark.parametrize("beside", [{}, {"public-dino-0a1b2c": {"mean": 0.2, "n": 3}}])
def test_a_run_that_stood_beside_nothing_has_no_grade(run: Path, beside: dict[str, object]) -> None:
    judged(run, {**ALONE, "differences": beside})
    page = page_of(run)
    assert "Not compared" in page.text
    assert "No clear difference" not in page.text
    assert "lamp none" in page.attribute("class")


def test_a_comparison_tells_who_was_left_behind_and_when(tmp_path: Path) -> None:
    folders = [make_run(tmp_path / name) for name in ("mae-1", "simclr-2", "other")]
    judged(folders[0], ALONE)
    rounds = [{"runs": {"mae": {"folder": "mae-1"}, "simclr": {"folder": "simclr-1"}}},
              {"runs": {"simclr": {"folder": "simclr-2"}}}]  # fmt: skip
    record = {"rounds": rounds, "complete": True}
    (tmp_path / "compare.json").write_text(json.dumps(record))
    text = read(report.build(folders)).text
    assert text.count("Left after round") == 1
    assert "mae-1 Left after round 1. Others were better on the validation labels" in text
    assert "No clear difference" not in text
    (tmp_path / "compare.json").write_text(json.dumps({**record, "complete": False}))
    assert "mae-1 Not compared." in read(report.build(folders)).text


def test_runs_are_compared_by_a_reading_that_all_have(tmp_path: Path) -> None:
    """The first is judged by fine-tuning, the second had a probe alone."""
    folders = [make_run(tmp_path / name) for name in ("tuned", "read")]
    results = json.loads((folders[1] / "evaluate" / "results.json").read_text())
    alone = [row for row in results["summary"] if row["reading"] in ("probe", "pca")]
    judged(folders[1], {"summary": alone, "ours": "probe"})
    page = read(report.build(folders))
    assert "The same reading of each run, the linear probe" in page.text
    names = {a["data-name"] for tag, a in page.tags if tag == "polyline"}
    assert {"tuned, linear probe", "read, linear probe"} <= names
    assert not any("fine-tuned" in str(name) for name in names)
    assert page.text.count("0.750 at 500 a class") == 2
    only = [row for row in results["summary"] if row["reading"] == "knn"]
    judged(folders[1], {"summary": only, "ours": "knn"})
    first = json.loads((folders[0] / "evaluate" / "results.json").read_text())["summary"]
    judged(folders[0], {"summary": [row for row in first if row["reading"] != "knn"]})
    assert "they differ, so do not compare runs by them" in read(report.build(folders)).text


def test_comparison_survives_runs_that_hold_nothing(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text("{}")
    page = read(report.build([tmp_path / "a", tmp_path / "b"]))
    assert "None of these runs has been evaluated." in page.text


def test_an_empty_folder_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"has no run\.json\. Give a folder"):
        report.build([tmp_path])
    with pytest.raises(UsageError, match="is not a folder"):
        report.build([tmp_path / "none"])
    with pytest.raises(UsageError, match="No run was given"):
        report.build([])


def test_a_page_that_cannot_be_written_is_a_sentence(run: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match="cannot be written"):
        report.build([run], tmp_path / "file" / "report.html", pictures=False)
