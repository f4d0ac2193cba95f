"""Which documents are read and which are left out: packed files, near copies, filters."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.loop.running import small_config, train
from tests.text.sources import Memory, prepared, stories
from unlabeled import loop
from unlabeled.data import compressed
from unlabeled.data.find import find
from unlabeled.data.near import Signatures, near_copies
from unlabeled.data.quality import fault, language
from unlabeled.data.survey import FILTERED, NEAR, Wanted, survey
from unlabeled.errors import DataError, UsageError
from unlabeled.journal import read_json, write_json
from unlabeled.look import look

zstandard = pytest.importorskip("zstandard")


def pack(data: bytes, ending: str) -> bytes:
    return gzip.compress(data) if ending == ".gz" else zstandard.compress(data)


def table(name: str, texts: list[str]) -> bytes:
    if name.startswith("csv"):
        text = io.StringIO()
        csv.writer(text).writerows([["id", "text"], *[[i, t] for i, t in enumerate(texts)]])
        return text.getvalue().encode()
    return "\n".join(json.dumps({"text": t}) for t in texts).encode()


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_packed_files_hold_the_documents_of_plain_ones(ending: str, tmp_path: Path) -> None:
    texts = [f"{x}\nnaïve" for x in stories(12)]
    for number, text in enumerate(texts):
        name = f"{number:02}.{'md' if number % 2 else 'txt'}"
        (tmp_path / f"{name}{ending}").write_bytes(pack(text.encode(), ending))
    (tmp_path / "archive.tar.gz").write_bytes(gzip.compress(b"no text"))
    source: Any = find(str(tmp_path))
    assert [source.payload(i) for i in range(len(source))] == texts
    assert ["".join(source.pieces(i)) for i in range(len(source))] == texts
    assert source.skipped["other files"] == 1
    assert look(source).size > 0
    whole = tmp_path / f"one.txt{ending}"
    whole.write_bytes(pack(texts[0].encode(), ending) + pack(texts[1].encode(), ending))
    assert find(str(whole)).payload(0) == texts[0] + texts[1]  # members one after the other


@pytest.mark.parametrize("ending", [".gz", ".zst"])
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_packed_tables_are_read_row_by_row(kind: str, ending: str, tmp_path: Path) -> None:
    texts = [f'{x}\nsecond line, with "quotes"' for x in stories(30)]
    path = tmp_path / f"rows.{kind}{ending}"
    path.write_bytes(pack(table(kind, texts), ending))
    source = find(str(path))
    assert [source.payload(i) for i in range(30)] == texts
    backwards = [source.payload(i) for i in (29, 3, 17, 0)]
    assert backwards == [texts[i] for i in (29, 3, 17, 0)]
    with pytest.raises(UsageError, match="no column 'words'"):
        find(str(path), column="words")


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_damaged_and_exploding_files_are_refused(ending: str, tmp_path: Path) -> None:
    good = pack(" ".join(stories(200)).encode(), ending)
    (tmp_path / f"cut.txt{ending}").write_bytes(good[: len(good) // 2])
    (tmp_path / f"noise.txt{ending}").write_bytes(b"no such thing" * 9)
    bomb = pack(b"\n" * (1 << 20), ending) * 400  # 400 MB of line ends
    (tmp_path / f"zbomb.txt{ending}").write_bytes(bomb)
    source: Any = find(str(tmp_path))
    if ending == ".gz":  # half a zst file is all that there is of it
        with pytest.raises(DataError, match="cannot be unpacked"):
            list(source.pieces(0))
    with pytest.raises(DataError, match="cannot be unpacked"):
        list(source.pieces(1))
    tracemalloc.start()
    with pytest.raises(DataError, match="more than 200 times"):
        for _ in source.pieces(2):
            pass
    assert tracemalloc.get_traced_memory()[1] < 30e6
    tracemalloc.stop()


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    path = tmp_path / "a.txt.zst"
    path.write_bytes(zstandard.compress(b"text"))
    for name in ("zstandard", "datasketch", "py3langid"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UsageError, match="pip install 'unlabeled"):
        find(str(path)).payload(0)
    with pytest.raises(UsageError, match="datasketch"):
        Signatures()
    assert compressed.is_packed("a.txt.ZST")


def shared_phrases(one: str, two: str) -> float:
    """Return the Jaccard index of sets of five words, by the definition."""
    sets = []
    for text in (one, two):
        words = text.lower().replace(".", "").split()
        sets.append({tuple(words[i : i + 5]) for i in range(len(words) - 4)})
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def test_near_copies_are_those_of_the_definition() -> None:
    rng = np.random.default_rng(0)
    texts: list[str] = []
    for _ in range(40):
        words = [f"w{i}" for i in rng.integers(0, 5000, 200)]
        texts.append(" ".join(words))
        for changed in (1, 3, 40):
            other = list(words)
            for place in rng.choice(200, changed, replace=False):
                other[place] = f"x{rng.integers(9999)}"
            texts.append(" ".join(other))
    signatures = Signatures()
    for text in texts:
        signatures.add([text])
    rows = np.stack(signatures.rows)
    estimates = (rows[0::4] == rows[1::4]).mean(1)
    exact = [shared_phrases(a, b) for a, b in zip(texts[0::4], texts[1::4], strict=True)]
    assert np.abs(estimates - exact).max() < 0.16  # four deviations of 128 draws
    found = near_copies(rows, 0.7).reshape(40, 4)
    assert not found[:, 0].any()  # the first stays
    assert found[:, 1].all()  # shares 0.95 of its phrases
    assert found[:, 2].mean() > 0.9  # shares 0.86
    assert not found[:, 3].any()  # shares 0.2


def test_near_copies_are_left_out_and_counted(tmp_path: Path) -> None:
    first = "the quick brown fox jumps over the lazy dog and runs on through the fields " * 4
    documents = [*stories(30), first, first.replace("lazy", "sleepy", 1)]
    assert survey(Memory(documents)).count(NEAR) == 0
    found = survey(Memory(documents), Wanted(near=0.7))
    assert found.state.tolist()[-2:] == [0, NEAR]
    statistics = prepared(tmp_path, "char", documents, wanted=Wanted(near=0.7))[3]
    assert statistics["near_duplicates"] == found.count(NEAR) >= 1
    with pytest.raises(DataError, match="other text options"):
        prepared(tmp_path, "char", documents)


def test_filters_say_why(tmp_path: Path) -> None:
    prose = (
        "It was late in the evening when the two of them came to the village, and nobody was to "
        "be seen in the streets that led down to the river. They had walked all day with little "
        "to eat, and they were glad of the light that stood in one of the windows of the inn."
    )
    german = (
        "Es war spät am Abend, als die beiden in das Dorf kamen, und niemand war auf der Straße "
        "zu sehen, die zum Fluss hinunterführte. Sie waren den ganzen Tag gegangen."
    )
    assert fault(prose) is None
    assert fault(german) == "fewer than 50 words"
    assert fault("* item with the words and to be\n" * 30) == "mostly bullets"
    assert fault(f"{prose} " + "#tag " * 60) == "many symbols"
    assert fault("\n".join(["the same line and nothing else to be read here"] * 20)) in (
        "repeated lines",
        "repeated phrases",
    )
    assert fault("0 1 2 3 4 5 6 7 8 9 " * 20) == "words too short or too long"
    assert (language(prose), language(german)) == ("en", "de")
    documents = [prose, german, f"{prose} Again.", "Buy now! " * 5]
    found = survey(Memory(documents), Wanted(languages=("en",)))
    assert found.state.tolist()[:2] == [0, FILTERED]
    assert found.filtered["language de"] == 1
    both = survey(Memory(documents), Wanted(languages=("en",), quality=True))
    assert both.count(FILTERED) == 2
    assert dict(both.filtered)["fewer than 50 words"] == 2
    with pytest.raises(DataError, match=r"4 were left out by filters \(most: language en\)"):
        prepared(tmp_path, "char", documents[:1] * 4, wanted=Wanted(False, languages=("fr",)))


def test_a_damaged_token_file_stops_a_resume(tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    for number, text in enumerate(stories(60)):
        (folder / f"{number}.txt").write_text(text)
    run = train(tmp_path / "run", small_config("gpt", folder, steps=4))
    write_json(run / "run.json", {**read_json(run / "run.json"), "status": "interrupted"})
    path = run / "tokens" / "train.bin"
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(DataError, match=r"train\.bin is damaged"):
        loop.resume(run, quiet=True)
