"""Labels given word by word, in the forms that people have."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from unlabeled.data import tags
from unlabeled.data.shipped import base_tag
from unlabeled.errors import UsageError

WORDS = [["The", "dog", "ran", "."], ["It", "barked"]]
TAGS = [["AT", "NN", "VBD", "."], ["PPS", "VBD"]]
COLUMNS = "The AT\ndog NN\nran VBD\n. .\n\nIt PPS\nbarked VBD\n"
SLASHES = "The/AT dog/NN ran/VBD ./.\n\nIt/PPS barked/VBD\n"
UNIVERSAL = """# newdoc id = a
# text = The dog ran.
1\tThe\tthe\tDET\tAT
2-3\tdogran\t_\t_\t_
2\tdog\tdog\tNOUN\tNN
3\tran\trun\tVERB\tVBD
4\t.\t.\tPUNCT\t.

# newdoc id = b
1\tIt\tit\tPRON\tPPS
1.1\tnothing\t_\t_\t_
2\tbarked\tbark\tVERB\tVBD
"""


def written(folder, name, text):
    path = folder / name
    path.write_text(text)
    return path


def table(folder, name, words=("words", WORDS), labels=("tags", TAGS), **more):
    columns = {words[0]: words[1], labels[0]: labels[1], **more}
    path = folder / name
    if path.suffix == ".parquet":
        pq.write_table(pa.table(columns), path)
        return path
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return written(folder, name, "".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize(
    ("form", "make"),
    [
        ("table", lambda f: table(f, "a.jsonl")),
        ("table", lambda f: table(f, "a.parquet", ("tokens", WORDS), ("pos_tags", TAGS))),
        ("columns", lambda f: written(f, "a.conll", COLUMNS)),
        ("columns", lambda f: written(f, "a.txt", COLUMNS)),
        ("slashes", lambda f: written(f, "a.txt", SLASHES)),
    ],
)  # fmt: skip
def test_every_form_is_found_and_says_the_same(tmp_path, form, make):
    path = make(tmp_path)
    assert tags.form_of(path) == form
    found = tags.read_tagged(path)
    assert found.words == WORDS
    assert [found.classes[i] for i in found.tags] == [t for row in TAGS for t in row]
    assert found.classes == sorted({t for row in TAGS for t in row})
    assert found.starts.tolist() == [0, 4, 6]


def test_universal_dependencies_have_documents_and_two_columns_of_tags(tmp_path):
    path = written(tmp_path, "a.conllu", UNIVERSAL)
    found = tags.read_tagged(path)
    assert found.words == WORDS  # neither the range 2-3 nor the empty 1.1 is a word
    assert [found.classes[i] for i in found.tags[:2]] == ["DET", "NOUN"]
    assert len(set(found.group)) == 2
    assert "PPS" in tags.read_tagged(path, "xpos").classes


def test_files_of_a_folder_are_documents_and_others_are_left_alone(tmp_path):
    for name in ("ca01", "ca02"):
        written(tmp_path, name, "The/at dog/nn\n\n\tIt/pps 1/2/cd\n")
    written(tmp_path, "README", "not tagged")
    written(tmp_path, "cats.txt", "ca01 news")
    found = tags.read_tagged(tmp_path)
    assert len(found) == 4
    assert sorted(set(found.group)) == ["ca01", "ca02"]
    assert found.words[1] == ["It", "1/2"]  # the last slash parts word and tag


def test_documents_splits_and_empty_sentences_of_a_table(tmp_path):
    path = table(
        tmp_path, "a.jsonl", ("words", [*WORDS, []]), ("tags", [*TAGS, []]),
        document=["x", "y", "z"], split=["train", "test", "test"],
    )  # fmt: skip
    found = tags.read_tagged(path)
    assert (found.group.tolist(), found.split.tolist()) == (["x", "y"], ["train", "test"])
    assert found.skipped == 1
    part = found.take(np.array([1, 0]))
    assert part.words == WORDS[::-1]
    assert [part.classes[i] for i in part.tags[:2]] == ["PPS", "VBD"]
    assert part.group.tolist() == ["y", "x"]
    assert part.fingerprint != found.fingerprint


def test_running_text_and_tables_of_one_label_a_sample_are_no_tags(tmp_path):
    assert tags.form_of(written(tmp_path, "a.txt", "A story and/or tale.\n\nThe end.\n")) is None
    rows = table(tmp_path, "b.jsonl", ("text", ["a", "b"]), ("label", ["x", "y"]))
    assert tags.form_of(rows) is None
    assert tags.form_of(written(tmp_path, "c.csv", "path,label\na,b\n")) is None
    assert tags.form_of(tmp_path / "nothing") is None


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda f: table(f, "a.jsonl", labels=("tags", [["AT"], TAGS[1]])),
         "sentence 1 .* has 4 words and 1 tags"),
        (lambda f: table(f, "a.jsonl", labels=("tags", [["AT", None, "X", "Y"], TAGS[1]])),
         "a word without a tag"),
        (lambda f: table(f, "a.jsonl", labels=("tags", [["X"] * 4, ["X"] * 2])),
         "has 1 tags; at least two"),
        (lambda f: written(f, "a.txt", "only text\n"), "holds no tagged words. Forms: "),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told(tmp_path, make, sentence):
    with pytest.raises(UsageError, match=sentence):
        tags.read_tagged(make(tmp_path))


def test_a_column_that_is_not_there_is_told(tmp_path):
    with pytest.raises(UsageError, match="no column 'upos' with lists of tags"):
        tags.read_tagged(table(tmp_path, "a.jsonl"), "upos")
    with pytest.raises(UsageError, match="columns without names"):
        tags.read_tagged(written(tmp_path, "a.conll", COLUMNS), "upos")
    assert tags.read_tagged(tmp_path / "a.conll", "2").classes[0] == "."


def test_two_sets_are_numbered_alike(tmp_path):
    one = tags.read_tagged(written(tmp_path, "a.txt", "a/X b/Z\n"))
    two = tags.read_tagged(written(tmp_path, "b.txt", "a/Y b/Z\n"))
    one, two = tags.same_classes(one, two)
    assert one.classes == two.classes == ["X", "Y", "Z"]
    assert (one.tags.tolist(), two.tags.tolist()) == ([0, 2], [1, 2])


@pytest.mark.parametrize(
    ("tag", "base"),
    [("nn-tl-hl", "NN"), ("fw-in", "IN"), ("pp$", "PP"), ("do*", "DO"), ("*", "*"), ("--", "--"),
     ("np+bez", "NP"), (".-hl", "."), ("''", "''"), ("wp$-tl", "WP")],
)  # fmt: skip
def test_brown_tags_lose_what_is_not_the_part_of_speech(tag, base):
    assert base_tag(tag) == base
