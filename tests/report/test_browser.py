"""The pages in a real browser: nothing refused, nothing asked for, nothing too wide, readable."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.report import browser as browsers
from tests.report.browser import Browser
from tests.report.runfolder import make_run
from tests.report.test_atlas import HOSTILE, charted
from tests.report.test_page import hostile_run
from unlabeled import report
from unlabeled.report import atlas, map_page, sample_page

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browsers.FOUND is None, reason="no chromium is installed"),
]
WIDE, PHONE = 1280, 360
FRAMES = """(async () => {
  const map = document.getElementById("map"), frame = () => new Promise(requestAnimationFrame);
  const times = [];
  for (let i = 0; i < 20; i++) {
    const key = i % 2 ? "ArrowLeft" : "ArrowRight", start = performance.now();
    map.dispatchEvent(new KeyboardEvent("keydown", {key}));
    await frame();  // our drawing was asked for before this one
    times.push(performance.now() - start);
  }
  return times.sort((a, b) => a - b)[5];
})()"""
CONTRAST = """(() => {
  const light = (rgb) => rgb.match(/[\\d.]+/g).slice(0, 3).map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const paper = light(getComputedStyle(document.body).backgroundColor);
  const words = [...document.querySelectorAll("p, h1, h2, h3, td, th, li, code, .note, .lead")];
  return Math.min(...words.filter((e) => e.checkVisibility() && e.textContent.trim()
    && getComputedStyle(e).backgroundColor === "rgba(0, 0, 0, 0)" && !/^s\\d/.test(e.className))
    .map((e) => light(getComputedStyle(e).color))
    .map((v) => (Math.max(v, paper) + 0.05) / (Math.min(v, paper) + 0.05)));
})()"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browsers.browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


def clean(page: Browser, path: Path) -> None:
    """Nothing was said on the console, asked of a network, left broken, or too wide."""
    assert page.console == []
    assert [url for url in page.requests if not url.startswith("data:")] == [path.as_uri()]
    root = "document.documentElement"
    assert page.ask(f"{root}.scrollWidth <= {root}.clientWidth")
    assert page.ask("[...document.images].every((i) => i.complete && i.naturalWidth > 0)")
    assert page.ask("window.alerted") is None


KINDS = [("simclr", "image"), ("gpt", "text"), ("bert", "text"), ("hubert", "audio"),
         ("dynamics", "series"), ("videomae", "video"), ("vjepa", "video")]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_run(page: Browser, tmp_path: Path, kind: tuple[str, str]) -> None:
    path = report.build([make_run(tmp_path / "run", *kind)], pictures=False)
    for width in (WIDE, PHONE):
        page.open(path, width)
        clean(page, path)
        assert "Not yet: run unlabeled report" not in page.ask("document.body.innerText")
        wide = "[...document.querySelectorAll('main svg, main figure, main p, main h3')]"
        inside = "(e) => e.getBoundingClientRect().right <= document.documentElement.clientWidth"
        assert page.ask(f"{wide}.every({inside})")  # overflow may be visible, so it is asked
        assert page.ask("document.querySelectorAll('audio').length > 0") == (kind[1] == "audio")
        chart = "document.querySelector('svg.chart')"
        page.ask(f"{chart}.dispatchEvent(new KeyboardEvent('keydown', {{key: 'ArrowLeft'}}))")
        read = page.ask(f"{chart}.querySelector('.cursor text').textContent")
        assert read.replace("\u00a0", " ") == "labels per class 100"
        narrow = page.ask("getComputedStyle(document.querySelector('.only-narrow')).display")
        assert narrow == ("block" if width == PHONE else "none")


@pytest.mark.parametrize("dark", [False, True])
def test_words_can_be_read_by_day_and_by_night(page: Browser, tmp_path: Path, dark: bool) -> None:
    path = report.build([make_run(tmp_path / "run")], pictures=False)
    page.open(path, WIDE, dark=dark)
    ground = page.ask("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, ground[4:-1].split(","))) < 384) == dark
    assert page.ask(CONTRAST) >= 4.5  # WCAG 2.2, AA


def test_a_run_by_keyboard(page: Browser, tmp_path: Path) -> None:
    path = report.build([make_run(tmp_path / "run")], pictures=False)
    page.open(path)
    page.press("Tab")
    assert page.ask("document.activeElement.className") == "skip"
    page.press("Enter")
    assert page.ask("location.hash") == "#verdict"
    reached = []
    for _ in range(40):
        page.press("Tab")
        reached.append(page.ask("document.activeElement.tagName.toLowerCase()"))
    assert {"svg", "summary", "div"} <= set(reached)  # charts, what folds out, what scrolls


def test_hostile_names_run_nothing(page: Browser, tmp_path: Path) -> None:
    path = report.build([hostile_run(tmp_path / "run")], pictures=False)
    page.open(path, PHONE)
    clean(page, path)
    assert page.ask("document.scripts.length") == 1


@pytest.fixture(scope="module")
def mapped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    features = np.random.default_rng(0).normal(size=(80, 8)).astype(np.float32)
    pictures = atlas.thumbnails(torch.zeros(80, 3, 8, 8, dtype=torch.uint8), 32)
    found = charted(features, pictures, names=[HOSTILE] * 80)
    out = tmp_path_factory.mktemp("map") / "map.html"
    return map_page.page(found, HOSTILE, out, [HOSTILE] * 80)


@pytest.mark.parametrize("width", [WIDE, PHONE])
def test_a_map(page: Browser, mapped: Path, width: int) -> None:
    page.open(mapped, width)
    page.ask("document.getElementById('map').focus()")
    page.press("+", "+", "Enter", "n")
    page.ask("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    clean(page, mapped)
    pixels = "pen.getImageData(0, 0, pen.canvas.width, pen.canvas.height).data.some((v) => v > 0)"
    assert page.ask(f"(() => {{const pen = map.getContext('2d'); return {pixels}}})()")
    assert page.ask("document.querySelectorAll('#panel button').length") == 3
    page.ask("""(() => {const box = document.getElementById("find"); box.value = "no such name";
        box.dispatchEvent(new Event("input"))})()""")
    assert page.ask("document.getElementById('found').textContent") == "0 found"


def test_a_map_of_twenty_thousand_is_smooth(page: Browser, tmp_path: Path) -> None:
    count, rng = 20_000, np.random.default_rng(0)
    places = rng.random((count, 2)).astype(np.float32)
    near, names = np.zeros((count, 3), np.int64), [f"{i}.png" for i in range(count)]
    pictures = atlas.thumbnails(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), 32) * count
    found = atlas.Atlas(np.arange(count), names, places, places, near,
                        near.astype(np.float32), pictures, [], [])  # fmt: skip
    path = map_page.page(found, "many", tmp_path / "map.html", [str(i % 9) for i in range(count)])
    page.open(path)
    assert page.ask(FRAMES) < 50  # milliseconds; 17 where the machine is idle


def test_an_album(page: Browser, tmp_path: Path) -> None:
    shown = [sample_page.Shown(HOSTILE, HOSTILE, text=HOSTILE)] * 3
    sections = [sample_page.Section(HOSTILE, "", shown)]
    path = sample_page.page(HOSTILE, HOSTILE, sections, tmp_path / "album.html")
    page.open(path, PHONE)
    clean(page, path)
    assert page.ask("document.scripts.length") == 0


def test_a_comparison(page: Browser, tmp_path: Path) -> None:
    folders = [make_run(tmp_path / f"run-{i}", seed=i) for i in range(3)]
    path = report.build(folders, pictures=False)
    for width in (WIDE, PHONE):
        page.open(path, width)
        clean(page, path)
