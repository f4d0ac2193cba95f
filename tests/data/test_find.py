"""Finding samples: every kind of source, and the sentence for every mistake."""

from __future__ import annotations

import csv
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from unlabeled.data.find import find
from unlabeled.data.labels import read_labels
from unlabeled.errors import DataError, UsageError


def touch(folder: Path, *names: str, content: bytes = b"x") -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def names(source) -> list[str]:
    return [source.name(i) for i in range(len(source))]


def test_a_folder_is_searched_recursively_in_a_fixed_order(tmp_path):
    touch(tmp_path, "b/2.JPG", "a.png", "b/10.png", "b/c/x.webp", "notes.pdf")
    source = find(str(tmp_path))
    assert source.kind == "image"
    assert names(source) == ["a.png", "b/10.png", "b/2.JPG", "b/c/x.webp"]
    assert source.payload(0) == b"x"
    assert source.skipped == {"other files": 1}


def test_hidden_files_and_links_are_counted_not_used(tmp_path):
    touch(tmp_path, "a.png", "._a.png", ".cache/b.png")
    outside = tmp_path.parent / f"{tmp_path.name}-outside.png"
    outside.write_bytes(b"secret")
    (tmp_path / "out.png").symlink_to(outside)
    (tmp_path / "gone.png").symlink_to(tmp_path / "nothing")
    (tmp_path / "loop").symlink_to(tmp_path)
    source = find(str(tmp_path))
    assert names(source) == ["a.png"]
    assert source.skipped == {"hidden": 2, "links": 3}


def test_the_larger_kind_is_chosen_and_the_other_can_be_named(tmp_path):
    touch(tmp_path, "a.txt", "b.md", "c.png", content=b"words")
    assert (find(str(tmp_path)).kind, len(find(str(tmp_path)))) == ("text", 2)
    assert names(find(str(tmp_path), "image")) == ["c.png"]
    assert find(str(tmp_path)).payload(0) == "words"


@pytest.mark.parametrize(
    "name", [b"caf\xe9.png", b"new\nline.png", b"n" * 251 + b".png", "grün 🦋.png".encode()]
)
def test_any_name_works(tmp_path, name):
    place = os.path.join(os.fsencode(tmp_path), name)
    with open(place, "wb") as file:
        file.write(b"pixels")
    source = find(str(tmp_path))
    assert source.payload(0) == b"pixels"
    assert source.name(0).isprintable()
    json.dumps(source.name(0)).encode("utf-8")


def test_ordinary_names_are_printed_as_they_are(tmp_path):
    touch(tmp_path, "grün 🦋/a b.png")
    assert names(find(str(tmp_path))) == ["grün 🦋/a b.png"]


def test_the_fingerprint_tells_changed_data(tmp_path):
    touch(tmp_path, "a.png", "b.png")
    before = find(str(tmp_path)).fingerprint
    assert find(str(tmp_path)).fingerprint == before
    touch(tmp_path, "a.png", content=b"longer")
    edited = find(str(tmp_path)).fingerprint
    touch(tmp_path, "c.png")
    assert len({before, edited, find(str(tmp_path)).fingerprint}) == 3


def test_a_list_of_files(tmp_path):
    touch(tmp_path, "p/a.png", "p/b.jpg")
    (tmp_path / "list.txt").write_text(f"p/a.png\n\n{tmp_path}/p/b.jpg\np/gone.png\n")
    source = find(str(tmp_path / "list.txt"))
    assert (source.kind, len(source), source.payload(1)) == ("image", 3, b"x")
    with pytest.raises(DataError, match="cannot be opened"):
        source.payload(2)


def test_a_text_file_is_one_document(tmp_path):
    (tmp_path / "a.txt").write_text("To be, or not to be\nphoto.png\n")
    source = find(str(tmp_path / "a.txt"))
    assert (source.kind, len(source), names(source)) == ("text", 1, ["a.txt"])
    assert source.payload(0).startswith("To be")
    with source.stream(0) as stream:
        assert stream.read(5) == b"To be"


def rows() -> list[dict]:
    return [
        {"id": str(i), "text": f'line "{i}"\nmore, text {"é" * i}', "file": f"{i}.png"}
        for i in range(5)
    ]


def write_table(path: Path, values: list[dict]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(values), path, row_group_size=2)
    elif path.suffix == ".jsonl":
        path.write_text("\n\n".join(json.dumps(v) for v in values), encoding="utf-8")
    else:
        with path.open("w", newline="", encoding="utf-8-sig") as file:
            delimiter = "\t" if path.suffix == ".tsv" else ";"
            writer = csv.DictWriter(file, list(values[0]), delimiter=delimiter)
            writer.writeheader()
            writer.writerows(values)
    return path


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".csv", ".tsv"])
def test_tables_of_text(tmp_path, suffix):
    table = write_table(tmp_path / f"t{suffix}", rows())
    source = pickle.loads(pickle.dumps(find(str(table), "text")))
    assert (source.kind, source.column, len(source)) == ("text", "text", 5)
    assert [source.payload(i) for i in (4, 0, 2)] == [rows()[i]["text"] for i in (4, 0, 2)]
    assert source.name(3) == f"t{suffix}#3"
    assert find(str(table), column="id").payload(2) == "2"


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".csv", ".tsv"])
def test_tables_of_paths(tmp_path, suffix):
    touch(tmp_path, *(f"{i}.png" for i in range(4)))
    table = write_table(tmp_path / f"t{suffix}", rows())
    source = find(str(table))
    assert (source.kind, source.column, source.payload(3)) == ("image", "file", b"x")
    with pytest.raises(DataError, match="cannot be opened"):
        source.payload(4)


@pytest.mark.parametrize("shape", ["bytes", "struct"])
def test_tables_of_image_bytes(tmp_path, shape):
    touch(tmp_path, "b.png", content=b"from a path")
    cells = [b"inline", None]
    if shape == "struct":
        cells = [*({"bytes": c, "path": "a.png"} for c in cells[:1]), {"bytes": None, "path": None}]
        cells.append({"bytes": None, "path": "b.png"})
    pq.write_table(
        pa.table({"label": list(range(len(cells))), "img": cells}), tmp_path / "t.parquet"
    )
    source = find(str(tmp_path / "t.parquet"))
    assert (source.kind, source.column, source.payload(0)) == ("image", "img", b"inline")
    with pytest.raises(DataError, match="cell is empty"):
        source.payload(1)
    if shape == "struct":
        assert source.payload(2) == b"from a path"


def test_a_folder_of_tables_is_one_source(tmp_path):
    write_table(tmp_path / "a.parquet", rows()[:2])
    write_table(tmp_path / "b.parquet", rows()[2:])
    touch(tmp_path, "README.md")
    source = find(str(tmp_path), column="text")
    assert len(source) == 5
    assert [source.name(i) for i in (1, 2)] == ["a.parquet#1", "b.parquet#0"]
    assert source.payload(4) == rows()[4]["text"]


def test_tables_of_one_name_in_several_folders_are_told_apart(tmp_path):
    for place, text in (("first", "a"), ("second", "b")):
        (tmp_path / place).mkdir()
        lines = [{"path": f"{i}.png", "label": f"{text}{i}"} for i in range(2)]
        write_table(tmp_path / place / "t.csv", lines)
        if place == "first":
            touch(tmp_path / place, "0.png", "1.png", content=b"first")
    source = find(str(tmp_path), "text", "label")
    assert names(source) == [f"{p}/t.csv#{i}" for p in ("first", "second") for i in range(2)]
    labels = read_labels(None, source, table=tmp_path)
    assert [labels.classes[y] for y in labels.y] == ["a0", "a1", "b0", "b1"]
    touch(tmp_path / "second", "0.png", "1.png", content=b"second")
    pictures = find(str(tmp_path), "image", "path")
    assert [pictures.payload(i) for i in (1, 2)] == [b"first", b"second"]


def test_row_groups_beyond_the_cache_are_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr("unlabeled.data.parquet._KEEP_WHOLE", 0)
    monkeypatch.setattr("unlabeled.data.parquet._KEEP_GROUPS", 1)
    source = find(str(write_table(tmp_path / "t.parquet", rows())), column="text")
    assert [source.payload(i) for i in (4, 0, 3)] == [rows()[i]["text"] for i in (4, 0, 3)]


def test_bad_rows_are_bad_items_not_bad_tables(tmp_path):
    (tmp_path / "t.jsonl").write_bytes(
        b'{"text": "good"}\n{"text": "bro\n[1]\n{"text": "a\\ud800b"}\n'
    )
    source = find(str(tmp_path / "t.jsonl"))
    assert (source.payload(0), len(source)) == ("good", 4)
    for index, reason in [(1, "not JSON"), (2, "not a JSON object"), (3, "not valid text")]:
        with pytest.raises(DataError, match=reason):
            source.payload(index)


def test_the_hub_is_asked_lazily(monkeypatch):
    import datasets

    data = datasets.Dataset.from_dict({"label": [0, 1], "text": ["one", "two"]})
    asked = []
    monkeypatch.setattr(datasets, "load_dataset", lambda *a, **k: asked.append((a, k)) or data)
    source = find("hf://me/reviews?split=test")
    assert asked == [(("me/reviews", None), {"split": "test"})]
    assert (source.kind, source.payload(1), source.name(1)) == ("text", "two", "me/reviews/test#1")


def test_no_network_is_a_sentence(monkeypatch):
    import datasets

    def fail(*_, **__):
        raise ConnectionError("Couldn't reach the Hub")

    monkeypatch.setattr(datasets, "load_dataset", fail)
    with pytest.raises(UsageError, match=r"hf://me/x cannot be loaded \(Couldn't reach the Hub\)"):
        find("hf://me/x")


def says(path: object, *parts: str, **options: str) -> None:
    with pytest.raises(UsageError) as caught:
        find(str(path), **options)
    for part in parts:
        assert part in str(caught.value)


def test_a_typo_is_told_what_is_near(tmp_path):
    touch(tmp_path, "photos/a.png")
    says(tmp_path / "photo", "photo does not exist. Did you mean 'photos'?")
    says(tmp_path / "photo" / "deeper", "does not exist. Did you mean 'photos'?")


def test_wrong_kind_and_empty_folders_are_told(tmp_path):
    touch(tmp_path, "notes/a.txt", "notes/b.txt", "papers/a.pdf", "dots/.a.png")
    (tmp_path / "empty").mkdir()
    says(tmp_path / "notes", "has 0 images but 2 .txt files. Reading it as text?", kind="image")
    says(
        tmp_path / "papers",
        "has 0 images, text files, sound files, logs and video files but 1 .pdf files.",
        ".png",
    )
    says(tmp_path / "empty", "empty is empty.")
    says(tmp_path / "dots", "is empty. Left out: 1 hidden.")
    says(tmp_path / "notes", "There is no kind 'imge'. Did you mean 'image'?", kind="imge")
    says(tmp_path / "papers" / "a.pdf", "cannot be used")


def test_columns_are_named_in_sentences(tmp_path):
    table = write_table(tmp_path / "t.csv", rows())
    says(
        table,
        "has no column 'txt'. Did you mean 'text'? Its columns: id, text, file.",
        column="txt",
    )
    pq.write_table(pa.table({"label": [1, 2]}), tmp_path / "n.parquet")
    says(
        tmp_path / "n.parquet",
        "no column of images or documents or recordings or clips. Its columns: label.",
    )
    says(tmp_path / "n.parquet", "holds neither text nor image", column="label")


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".csv"])
@pytest.mark.parametrize("content", [b"", b"\x00\xff" * 50])
def test_damaged_tables_are_a_sentence(tmp_path, suffix, content):
    touch(tmp_path, f"t{suffix}", content=content)
    says(tmp_path / f"t{suffix}", f"t{suffix}")


def test_special_files_are_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "x.jpg")
    says(tmp_path / "x.jpg", "neither a folder nor a regular file")
    says(tmp_path, "1 special files")


def test_a_list_of_nothing_that_exists_is_told(tmp_path):
    (tmp_path / "l.txt").write_text("a.png\nb.png\n")
    says(tmp_path / "l.txt", "lists 2 images, but none of them exists (first: a.png)")


def test_finding_imports_neither_torch_nor_datasets(tmp_path):
    touch(tmp_path, "a.png")
    code = (
        "import sys; from unlabeled.data.find import find; "
        f"print(len(find({str(tmp_path)!r})), 'torch' in sys.modules, 'datasets' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["1", "False", "False"]


def _index_in_child(folder: Path, count: int) -> tuple[float, float]:
    """Return seconds and growth of memory in MB of indexing empty files."""
    code = (
        "import re, time; from unlabeled.data.find import find\n"
        "def peak():  # of this process alone; getrusage's would include that of the parent\n"
        "    found = re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())\n"
        "    return int(found[1]) / 1024\n"
        f"before, start = peak(), time.perf_counter(); source = find({str(folder)!r})\n"
        f"seconds = time.perf_counter() - start; assert len(source) == {count}\n"
        "print(seconds, peak() - before)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, megabytes = map(float, out.stdout.split())
    return seconds, megabytes


def make_empty(folder: Path, count: int) -> None:
    for start in range(0, count, 10_000):
        place = folder / f"{start // 10_000:03d}"
        place.mkdir()
        for number in range(start, min(count, start + 10_000)):
            os.close(os.open(place / f"image-{number:07d}.jpg", os.O_CREAT | os.O_WRONLY))


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads /proc")
def test_names_of_many_files_are_small(tmp_path):
    make_empty(tmp_path, 20_000)
    seconds, megabytes = _index_in_child(tmp_path, 20_000)
    assert 0 < megabytes < 20
    assert seconds < 20


@pytest.mark.slow
def test_a_million_files(tmp_path):
    make_empty(tmp_path, 1_000_000)
    seconds, megabytes = _index_in_child(tmp_path, 1_000_000)
    assert megabytes < 1000
    assert seconds < 60


def test_real_tables(shared_data):
    source = find(str(shared_data / "cifar10-test.parquet"))
    assert (source.kind, source.column, len(source)) == ("image", "image", 10_000)
    reviews = find(str(shared_data / "imdb-test.parquet"))
    assert (reviews.kind, reviews.column, len(reviews)) == ("text", "text", 25_000)
    assert np.mean([len(reviews.payload(i)) for i in range(20)]) > 100
