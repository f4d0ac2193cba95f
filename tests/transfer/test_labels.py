import ast
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from unlabeled.data.find import find
from unlabeled.data.labels import read_labelled, read_labels
from unlabeled.errors import UsageError

SRC = Path(__file__).resolve().parents[2] / "src" / "unlabeled"


class Names:
    kind, fingerprint = "image", "names"

    def __init__(self, *names: str) -> None:
        self.names = names

    def __len__(self) -> int:
        return len(self.names)

    def name(self, index: int) -> str:
        return self.names[index]


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_csv_is_matched_by_name(tmp_path):
    source = Names("x/a.png", "x/b.png", "y/c.png")
    file = write(
        tmp_path / "l.csv", "path,label,split,group\ny/c.png,dog,test,g2\nx/a.png,cat,,g1\n"
    )
    found = read_labels(file, source)
    assert found.indices.tolist() == [0, 2]
    assert [found.classes[i] for i in found.y] == ["cat", "dog"]
    assert found.split.tolist() == ["", "test"]
    assert found.group.tolist() == ["g1", "g2"]


@pytest.mark.parametrize("word", ["b.png", "./b.png", "/elsewhere/b.png"])
def test_a_unique_file_name_is_enough(tmp_path, word):
    source = Names("x/a.png", "x/b.png", "z/a.png")
    file = write(tmp_path / "l.csv", f"file;class\n{word};1\nx/a.png;0\n")
    assert read_labels(file, source).indices.tolist() == [0, 1]


def test_paths_relative_to_the_table_and_absolute(image_folder):
    source = find(str(image_folder))
    rows = [{"path": str(image_folder / source.name(i)), "label": i % 2} for i in range(4)]
    file = image_folder.parent / "l.jsonl"
    write(file, "\n".join(map(json.dumps, rows)))
    found, labels = read_labelled(file, source, table=image_folder)
    assert found is source
    assert labels.indices.tolist() == [0, 1, 2, 3]


def test_numbers_are_ordered_by_value_and_unlabelled_rows_are_skipped(tmp_path):
    source = Names("a", "b", "c", "d", "e")
    file = write(tmp_path / "l.tsv", "path\tlabel\na\t10\nb\t9\nc\t-1\nd\t\ne\t2\n")
    found = read_labels(file, source)
    assert found.classes == ["2", "9", "10"]
    assert found.skipped == 2
    assert found.missing.startswith("Rows without a label in column 'label': 2 (empty")
    assert read_labels(write(tmp_path / "w.csv", "path,y\na,1\nb,2\n"), source).missing == ""


def test_missing_cells_of_a_parquet_column_are_told_by_their_column(tmp_path):
    file = tmp_path / "l.parquet"
    pq.write_table(pa.table({"path": list("abcd"), "grade": [1.0, None, float("nan"), 2.0]}), file)
    found = read_labels(file, Names(*"abcd"), label_column="grade")
    assert found.indices.tolist() == [0, 3]
    assert "column 'grade': 2 " in found.missing


def test_class_folders(image_folder):
    source = find(str(image_folder))
    found = read_labels(None, source, table=image_folder)
    assert found.classes == list("abcd")
    assert len(found) == len(source) == 96
    assert all(
        source.name(i)[0] == found.classes[c] for i, c in zip(found.indices, found.y, strict=True)
    )


def table(path: Path, image: bytes, labels: list[int]) -> Path:
    cells = [{"bytes": image, "path": None} for _ in labels]
    pq.write_table(
        pa.table({"image": cells, "label": labels, "kind": [str(v) for v in labels]}), path
    )
    return path


def test_tables_bring_their_own_samples(tmp_path, image_folder):
    image = (image_folder / "a" / "000.png").read_bytes()
    own, other = (
        table(tmp_path / "a.parquet", image, [0, 1, 1]),
        table(tmp_path / "b.parquet", image, [1, 0]),
    )
    source = find(str(own))
    assert read_labels(None, source, table=own).y.tolist() == [0, 1, 1]
    assert read_labels("column:kind", source, table=own).classes == ["0", "1"]
    assert read_labelled(own, source, table=own)[0] is source
    found, labels = read_labelled(other, source, table=own, classes=["0", "1"])
    assert found is not source
    assert len(found) == 2
    assert labels.y.tolist() == [1, 0]


def test_a_folder_of_class_folders_is_a_data_set(image_folder, tmp_path):
    source = Names("p.png")
    found, labels = read_labelled(image_folder, source, table=tmp_path)
    assert len(found) == len(labels) == 96


def test_a_table_beside_its_own_files_means_them_whatever_they_are_called(tmp_path):
    """Test files that are called like files of the pool are not taken for those."""
    for number, folder in enumerate(("pool", "test")):
        (tmp_path / folder / "a").mkdir(parents=True)
        for name in range(4):
            pixels = np.full((8, 8, 3), 100 * number + 10 * name, np.uint8)
            Image.fromarray(pixels).save(tmp_path / folder / "a" / f"{name}.png")
        rows = "".join(f"a/{name}.png,{name % 2}\n" for name in range(4))
        (tmp_path / folder / "labels.csv").write_text(f"path,label\n{rows}")
    pool = tmp_path / "pool"
    source = find(str(pool))
    assert read_labelled(pool / "labels.csv", source, table=pool)[0] is source
    found, labels = read_labelled(tmp_path / "test" / "labels.csv", source, table=pool)
    assert found is not source
    first = found.payload(int(labels.indices[0]))
    assert first == (tmp_path / "test" / "a" / "0.png").read_bytes()
    away = tmp_path / "away.csv"
    away.write_text((pool / "labels.csv").read_text())
    assert read_labelled(away, source, table=pool)[0] is source


def test_real_tables(shared_data):
    source = find(str(shared_data / "imdb-unlabelled.parquet"))
    found, labels = read_labelled(
        shared_data / "imdb-test.parquet", source, table=shared_data / "imdb-unlabelled.parquet"
    )
    assert labels.classes == ["0", "1"]
    assert np.bincount(labels.y).tolist() == [12500, 12500]
    assert len(found) == 25000
    with pytest.raises(UsageError, match="no row has a label"):
        read_labels(None, source, table=shared_data / "imdb-unlabelled.parquet")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "path,label\na,0\nq,1\nr,1\n",
            r"2 of 3 paths not found .*first: q.*Columns seen: path, label",
        ),
        ("path,lab\na,0\n", r"no column named label.*Columns seen: path, lab.*--label-column"),
        ("label\n0\n", r"no column with the paths.*Columns seen: label"),
        ("path,label\na,0\nb,0\n", "one class only"),
        ("path,label\nb,\na,0\na,1\n", "1 samples have two different labels .first: a, '0' and"),
        ("path,label\na,\nb,-1\n", "no row has a label"),
        ("", "no column named label"),
    ],
)
def test_bad_files_are_answered_with_a_sentence(tmp_path, text, sentence):
    with pytest.raises(UsageError, match=sentence):
        read_labels(write(tmp_path / "l.csv", text), Names("a", "b"))


def test_more_sentences(tmp_path):
    source = Names("a", "b")
    write(tmp_path / "labels.csv", "path,label\na,0\nb,1\n")
    with pytest.raises(UsageError, match=r"does not exist. Did you mean 'labels.csv'"):
        read_labelled(tmp_path / "label.csv", source)
    with pytest.raises(UsageError, match="not a table of labels"):
        read_labels(write(tmp_path / "l.xml", "<a/>"), source)
    with pytest.raises(UsageError, match=r"no column 'lable'. Did you mean 'label'"):
        read_labels(tmp_path / "labels.csv", source, label_column="lable")
    with pytest.raises(UsageError, match="class '1', which the training labels lack"):
        read_labels(tmp_path / "labels.csv", source, classes=["0", "2"])
    with pytest.raises(UsageError, match=r"no column 'x'|which has no column"):
        read_labels("column:x", source)
    with pytest.raises(UsageError, match="No labels were found"):
        read_labels(None, source)
    with pytest.raises(UsageError, match="cannot be read as a table"):
        read_labels(write(tmp_path / "l.jsonl", "{oops"), source)


def test_labels_are_read_without_torch():
    code = "import sys, unlabeled.data.labels; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(SRC.parent)})
    assert done.returncode == 0


def test_nothing_that_pretrains_imports_labels():
    """Follow imports from the loop, the methods and the loader; labels are not reached."""
    starts = [SRC / "pretrain.py", *(SRC / "methods").glob("*.py"), SRC / "data" / "loader.py"]
    seen: set[Path] = {SRC / "__init__.py"}  # only names the public functions, lazily
    waiting = [path for path in starts if path.is_file()]
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            for name in names:
                place = SRC.parent.joinpath(*name.split("."))
                waiting += [
                    p for p in (place.with_suffix(".py"), place / "__init__.py") if p.is_file()
                ]
    assert len(seen) > 10
    assert SRC / "data" / "labels.py" not in seen
    assert not [path for path in seen if path.is_relative_to(SRC / "transfer")]
