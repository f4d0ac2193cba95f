"""The page in a real browser: nothing refused, nothing too wide, charts that can be read."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.report.runfolder import make_run
from tests.report.test_atlas import HOSTILE, charted
from tests.report.test_page import hostile_run
from unlabeled import report
from unlabeled.report import atlas, map_page

BROWSER = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome", "chrome")
     if (found := shutil.which(name))),
    None,
)  # fmt: skip
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no chromium is installed"),
]

PROBE = """<!doctype html><iframe id="f" src="{page}" width="{width}" height="900"></iframe><script>
document.getElementById("f").addEventListener("load", (event) => {{
  const page = event.target.contentDocument, view = event.target.contentWindow;
  const chart = page.querySelector("svg.chart");
  chart.dispatchEvent(new view.KeyboardEvent("keydown", {{key: "ArrowLeft"}}));
  const shown = [...page.images].map((image) => image.complete && image.naturalWidth > 0);
  const found = {{
    wide: page.documentElement.scrollWidth, room: page.documentElement.clientWidth,
    read: page.querySelector(".cursor text").textContent, images: shown.every(Boolean),
    colour: view.getComputedStyle(page.body).backgroundColor,
    narrow: view.getComputedStyle(page.querySelector(".only-narrow")).display,
    scripts: page.scripts.length, alerted: view.alerted === true,
  }};
  document.body.append(Object.assign(document.createElement("pre"),
    {{id: "found", textContent: Object.entries(found).map((pair) => pair.join("=")).join(" ; ")}}));
}});
</script>"""


def look(page: Path, width: int, tmp_path: Path, probe: str = PROBE) -> tuple[dict[str, str], str]:
    """Open a page in a frame of this width; return what was found there and the console."""
    outer = tmp_path / f"probe-{width}.html"
    outer.write_text(probe.format(page=page.as_uri(), width=width))
    assert BROWSER is not None
    done = subprocess.run(
        [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files",
         "--enable-logging=stderr", "--v=0", "--virtual-time-budget=5000", "--dump-dom",
         f"--user-data-dir={tmp_path / 'profile'}", outer.as_uri()],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    found = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found is not None, done.stdout[-2000:] + done.stderr[-2000:]
    pairs = (part.split("=", 1) for part in html.unescape(found[1]).split(" ; "))
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return dict(pairs), "\n".join(console)


@pytest.mark.parametrize("width", [1280, 360])
def test_a_run_in_a_browser(tmp_path: Path, width: int) -> None:
    page = report.build([make_run(tmp_path / "run")], pictures=False)
    found, console = look(page, width, tmp_path)
    assert console == ""
    assert int(found["wide"]) <= int(found["room"])
    assert found["images"] == "true"
    assert found["read"].replace("\u00a0", " ") == "labels per class 100"
    assert found["narrow"] == ("block" if width < 600 else "none")


def test_hostile_names_run_nothing(tmp_path: Path) -> None:
    page = report.build([hostile_run(tmp_path / "run")], pictures=False)
    found, console = look(page, 800, tmp_path)
    assert console == ""
    assert found["scripts"] == "1"


MAP_PROBE = """<!doctype html>
<iframe id="f" src="{page}" width="{width}" height="900"></iframe><script>
const frame = document.getElementById("f");
frame.addEventListener("load", () => setTimeout(() => {{
  const page = frame.contentDocument, view = frame.contentWindow;
  const map = page.getElementById("map"), root = page.documentElement;
  for (const key of ["+", "+", "Enter", "n"])
    map.dispatchEvent(new view.KeyboardEvent("keydown", {{key}}));
  const pixels = map.getContext("2d").getImageData(0, 0, map.width, map.height).data;
  const found = {{wide: root.scrollWidth, room: root.clientWidth, drawn: pixels.some((v) => v > 0),
    near: page.querySelectorAll("#panel button").length, alerted: view.alerted === true}};
  document.body.append(Object.assign(document.createElement("pre"),
    {{id: "found", textContent: Object.entries(found).map((pair) => pair.join("=")).join(" ; ")}}));
}}, 1000));
</script>"""


@pytest.mark.parametrize("width", [1280, 360])
def test_a_map_in_a_browser(tmp_path: Path, width: int) -> None:
    features = np.random.default_rng(0).normal(size=(80, 8)).astype(np.float32)
    pictures = atlas.thumbnails(torch.zeros(80, 3, 8, 8, dtype=torch.uint8), 32)
    found = charted(features, pictures, names=[HOSTILE] * 80)
    page = map_page.page(found, HOSTILE, tmp_path / "map.html", [HOSTILE] * 80)
    said, console = look(page, width, tmp_path, MAP_PROBE)
    assert console == ""
    assert int(said["wide"]) <= int(said["room"])
    assert said["drawn"] == "true"
    assert said["near"] == "3"
    assert said["alerted"] == "false"


def test_a_comparison_in_a_browser(tmp_path: Path) -> None:
    folders = [make_run(tmp_path / f"run-{i}", seed=i) for i in range(3)]
    found, console = look(report.build(folders), 360, tmp_path)
    assert console == ""
    assert int(found["wide"]) <= int(found["room"])
