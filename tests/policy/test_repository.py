"""Versions agree, generated pages are fresh, and nothing of one machine is in the files."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path

import pytest

import unlabeled

LARGEST = 300_000
TEXT = {".py", ".md", ".toml", ".txt", ".cff", ".cfg", ".yml", ".yaml", ".html", ".json", ""}
MACHINE = re.compile(
    r"/(?:work|root|home/\w+|Users/\w+)/" + r"|[A-Z]:\\\\Users" + r"|/tmp/(?!\.)\w+/"
)


def load_script(root: Path):
    spec = importlib.util.spec_from_file_location("write_docs", root / "scripts" / "write_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_version_is_one(root):
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    citation = re.search(r"^version: (\S+)", (root / "CITATION.cff").read_text(), re.M)
    newest = re.search(r"^## \[(\d\S+)\]", (root / "CHANGELOG.md").read_text(), re.M)
    assert citation is not None
    assert newest is not None
    assert {project["version"], citation[1], newest[1]} == {unlabeled.__version__}


def test_what_says_that_it_is_typed_is_marked_so(root):
    """Without the marker (PEP 561) type checkers of users see no types at all."""
    assert "Typing :: Typed" in (root / "pyproject.toml").read_text()
    assert (root / "src" / "unlabeled" / "py.typed").is_file()


def test_licence_is_apache(root):
    text = (root / "LICENSE").read_text()
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_generated_pages_are_fresh(root):
    pages = load_script(root).pages()
    stale = [name for name, text in pages.items() if (root / name).read_text() != text]
    assert not stale, "run `make docs`"


def test_public_names_are_documented(root):
    page = (root / "docs" / "python.md").read_text()
    table = page.partition("## Public names")[2].partition("\n## ")[0]
    documented = set(re.findall(r"^\| `(\w+)", table, re.M))
    assert documented == set(unlabeled.__all__)
    assert sorted(unlabeled.__all__) == list(unlabeled.__all__)
    assert all(hasattr(unlabeled, name) for name in unlabeled.__all__)


def test_every_page_is_reached(root):
    """Each page of docs/ is linked from another page or from the README."""
    pages = {path.relative_to(root / "docs") for path in (root / "docs").rglob("*.md")}
    texts = [root / "README.md", root / "CONTRIBUTING.md", *(root / "docs").rglob("*.md")]
    links = " ".join(path.read_text() for path in texts)
    assert not [str(page) for page in pages if f"{page.name})" not in links]


def test_links_between_pages_hold(root):
    broken = []
    for page in [*root.glob("*.md"), *(root / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
            if "://" not in target and not (page.parent / target).exists():
                broken.append(f"{page.name} -> {target}")
    assert not broken


def test_no_path_of_one_machine(tracked):
    found = []
    for path in tracked:
        if path.suffix in TEXT and path.name != Path(__file__).name:
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                if MACHINE.search(line):
                    found.append(f"{path.name}:{number}: {line.strip()[:80]}")
    assert not found


def test_no_large_file(tracked):
    assert not [str(path) for path in tracked if path.stat().st_size > LARGEST]


@pytest.mark.parametrize("suffix", [".pkl", ".pt", ".pth", ".bin", ".npy", ".parquet", ".onnx"])
def test_no_data_or_weights_are_tracked(tracked, suffix):
    assert not [path.name for path in tracked if path.suffix == suffix]


def test_measures_without_labels_are_used_where_they_were_shown_to_work(root):
    from unlabeled.transfer import quality

    assert load_script(root).beside("label_free").shown() == quality.SHOWN
