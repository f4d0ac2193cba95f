"""From documents to token rows: hostile bytes, splits, tokenizers, reuse."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoTokenizer

from tests.loop.running import small_config
from tests.text.sources import Memory, prepared, stories
from unlabeled import config
from unlabeled.config import TextConfig
from unlabeled.data.find import find
from unlabeled.data.survey import survey
from unlabeled.data.text import divide, prepare_text
from unlabeled.data.tokens import TokenRows
from unlabeled.errors import ConfigError, DataError, UsageError
from unlabeled.modalities.decode import Damage, clean, decode, pieces
from unlabeled.prepare import prepare


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"plain", "plain"),
        ("\ufeffmark".encode(), "mark"),
        ("\ufeffcafé ü".encode("utf-16-le"), "café ü"),
        ("\ufeffcafé ü".encode("utf-16-be"), "café ü"),
        ("wide text".encode("utf-16-le"), "wide text"),
        (b"twenty good letters, one bad \xff", "twenty good letters, one bad \ufffd"),
        (b"a nul \0 in the middle of it", "a nul \ufffd in the middle of it"),
    ],
)
def test_any_bytes_become_text(data: bytes, text: str) -> None:
    assert decode(data) == text


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(DataError, match="not valid text"):
        decode(bytes(range(128, 256)) * 4)


def test_lone_surrogates_are_counted() -> None:
    damage = Damage()
    assert clean("ok \ud800 ok", damage) == "ok \ufffd ok"
    assert damage.replaced == 1


def test_pieces_put_together_are_the_text() -> None:
    text = " ".join(stories(30)) + "x" * 5000
    cut = list(pieces(text, 100))
    assert "".join(cut) == text
    assert max(map(len, cut)) <= 100


def test_bad_empty_and_repeated_documents_are_counted(tmp_path: Path) -> None:
    documents: list[Any] = [
        *stories(),
        "",
        "  \n ",
        stories()[0],
        b"\xff\xfe\xfd" * 99,
        "a \ud800 b c d e f g",
    ]
    _, _, _, found = prepared(tmp_path, "bpe", documents)
    counts = {name: found[name] for name in ("empty", "duplicates", "quarantined", "replaced")}
    assert counts == {"empty": 2, "duplicates": 1, "quarantined": 1, "replaced": 1}
    lines = [json.loads(x) for x in (tmp_path / "quarantine.jsonl").read_text().splitlines()]
    assert [(line["name"], line["index"]) for line in lines] == [("document 63", 63)]


def test_too_many_bad_documents_fail(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="bad_budget allows"):
        prepared(tmp_path, documents=[*stories(8), b"\xff" * 99], bad_budget=0.01)


def test_split_is_by_text_and_stays_when_documents_are_added() -> None:
    few, many = Memory(stories(60)), Memory(stories(100))
    held = [divide(s, survey(s), "document", 0.2)[0]["held_out"].documents for s in (few, many)]
    assert 0 < len(held[0]) < 60
    np.testing.assert_array_equal(held[1][held[1] < 60], held[0])


def test_tail_is_nanogpts_split() -> None:
    text = "".join(chr(97 + i % 26) for i in range(1115))
    source = Memory([text])
    parts, how = divide(source, survey(source), "document", 0.1)
    train, held = ("".join("".join(t) for t in parts[name]) for name in ("train", "held_out"))
    assert how == "tail"
    assert train == text[: int(1115 * 0.9)]
    assert held == text[int(1115 * 0.9) :]


def test_tail_of_several_documents_loses_nothing() -> None:
    documents = [f"{i}-" * 40 for i in range(9)]
    source = Memory(documents)
    parts, _ = divide(source, survey(source), "tail", 0.3)
    text = "".join("".join(t) for name in ("train", "held_out") for t in parts[name])
    assert text == "".join(documents)


@pytest.mark.parametrize("kind", ["bpe", "byte", "char", "wordpiece", "unigram"])
def test_tokenizer_opens_without_us_and_is_exact(tmp_path: Path, kind: str) -> None:
    documents = [f"{x} Ünïcode\n\ttabs  and 日本" for x in stories(40)]
    rows, _, text, found = prepared(tmp_path, kind, documents)
    opened = AutoTokenizer.from_pretrained(tmp_path / "tokenizer", local_files_only=True)
    assert opened.model_max_length == 32
    assert len(opened) == text.vocab_size == found["vocab_size"]
    ids = opened("sun moon").input_ids
    assert ids == [*text.opens, *text.encode(["sun moon"])[0], *text.closes]
    assert int(rows.ids.max()) < text.vocab_size
    if kind != "wordpiece":  # which lowers case and joins spaces, as BERT's
        documents_back = [
            text.decode(rows.ids[a:b])
            for a, b in zip(rows.starts, [*rows.starts[1:], rows.num_tokens], strict=True)
        ]
        assert set(documents_back) <= set(documents)
        assert rows.info["unknown"] == 0


@pytest.mark.parametrize("kind", ["bpe", "wordpiece", "unigram"])
def test_numbers_are_cut_into_groups_of_digits(tmp_path: Path, kind: str) -> None:
    documents = [f"in 20{n:02} it cost 123456 and 123456" for n in range(40)]
    for digits in (0, 2):
        _, _, text, _ = prepared(tmp_path / str(digits), kind, documents, digits=digits)
        ids = text.encode(["123456"])[0]
        pieces = [text.decode([number]).strip() for number in ids]
        assert "".join(pieces) == "123456"
        longest = max(map(len, pieces))
        if digits:
            assert longest <= 2
        elif kind != "unigram":  # whose likeliest cut may be short ones
            assert longest > 2


def test_names_of_special_tokens_in_text_are_text(bpe: Any, wordpiece: Any) -> None:
    for _, _, text, _ in (bpe, wordpiece):
        ids = text.encode(["a <|endoftext|> [SEP] [MASK] <|mask|> b"])[0]
        used = set(ids) - ({text.unknown_id} if text.unknown_id is not None else set())
        assert not used & set(text.special_ids)


def test_nothing_is_learned_from_held_out_documents(tmp_path: Path) -> None:
    documents = stories()
    source = Memory(documents)
    held = divide(source, survey(source), "document", 0.2)[0]["held_out"].documents
    for index in held:
        documents[index] += " zyzzyva" * 50
    moved = [i for i in divide(Memory(documents), survey(Memory(documents)), "document", 0.2)[0][
        "held_out"].documents if i in set(held.tolist())]  # fmt: skip
    only = [documents[i] for i in range(60) if i not in set(held.tolist()) or i in moved]
    _, _, text, _ = prepared(tmp_path, "bpe", only)
    assert not any("zyzz" in word for word in text.tokenizer.get_vocab())


def test_same_data_gives_same_tokens_and_is_reused(tmp_path: Path) -> None:
    first = prepared(tmp_path / "a", "bpe")
    again = prepared(tmp_path / "a", "bpe")
    other = prepared(tmp_path / "b", "bpe")
    assert first[3] == again[3] == other[3]
    assert (tmp_path / "a/tokens/train.bin").read_bytes() == (
        tmp_path / "b/tokens/train.bin"
    ).read_bytes()


def test_damaged_or_other_tokens_are_refused(tmp_path: Path) -> None:
    prepared(tmp_path, "bpe")
    with pytest.raises(DataError, match="other data or other text options"):
        prepared(tmp_path, "bpe", held_out=0.3)
    path = tmp_path / "tokens/train.bin"
    path.write_bytes(path.read_bytes()[:-2] + b"\x01\x01")
    with pytest.raises(DataError, match="damaged"):
        prepared(tmp_path, "bpe")


def test_sentences_for_small_or_wrong_choices(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="fewer than one row"):
        prepared(tmp_path / "a", "byte", ["too short"], length=512)
    with pytest.raises(DataError, match="There is no text"):
        prepared(tmp_path / "b", "byte", ["", " "])
    with pytest.raises(ConfigError, match="at least 259"):
        prepared(tmp_path / "c", "bpe", vocab_size=100)
    with pytest.raises(UsageError, match="Did you mean 'wordpiece'"):
        prepared(tmp_path / "d", "wordpeice")


def test_existing_tokenizer_is_copied(tmp_path: Path) -> None:
    first = prepared(tmp_path / "a", "wordpiece")
    second = prepared(tmp_path / "b", str(tmp_path / "a" / "tokenizer"))
    assert first[2].vocab_size == second[2].vocab_size
    np.testing.assert_array_equal(first[0].ids, second[0].ids)


def test_a_huge_line_and_many_empty_documents_need_little_memory(tmp_path: Path) -> None:
    script = """
import re, sys
# getrusage would begin with the peak of the process that started this one
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
from pathlib import Path
from unlabeled import config
from unlabeled.config import TextConfig
from unlabeled.data.text import prepare_text
class Huge:
    fingerprint, kind = "huge", "text"
    def __len__(self): return 20_001
    def name(self, index): return str(index)
    def payload(self, index, epoch=0): return ""
    def pieces(self, index):
        if index == 7:
            for _ in range(80): yield "ab cd " * 10_000
config = TextConfig(tokenizer="byte", vocab_size=300, length=32)
before = peak()
import transformers, tokenizers
loaded = peak()
rows, _, _, found = prepare_text(Huge(), config, Path(sys.argv[1]), 0, 0.1)
assert found["empty"] == 20_000, found
assert rows.num_bytes == int(4_800_000 * 0.9)
print((peak() - loaded) // 1024)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", script, str(tmp_path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 200
    assert resource.getpagesize() > 0


def test_config_and_signature_are_those_of_the_loop(tmp_path: Path) -> None:
    rows, held, text, found = prepare_text(
        Memory(stories()), TextConfig(tokenizer="byte", length=16), tmp_path, 3, 0.1
    )
    assert rows.seed == 3
    assert held.fixed
    assert text.describe()["kind"] == "text"
    assert json.dumps(found)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_streamed_file_gives_the_pieces_of_the_whole_text(
    encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T2: a file of any size is read a little at a time, cut at the same places."""
    monkeypatch.setattr(
        "unlabeled.modalities.decode._CHUNK", 1001
    )  # cuts letters of several bytes in two
    text = "".join(f"word {i} é漢 " for i in range(20_000)) + "x" * 200_000
    (tmp_path / "long.txt").write_bytes(text.encode(encoding))
    source = find(str(tmp_path / "long.txt"))
    assert list(source.pieces(0)) == list(pieces(text))


@pytest.mark.slow
def test_a_line_of_a_gigabyte_needs_little_memory(tmp_path: Path) -> None:
    """T2: the tokens of one enormous line are made within 500 MB beside the libraries."""
    part = b"the quick brown fox jumps over the lazy dog 12345 and so on " * 2**14
    with open(tmp_path / "line.txt", "wb") as file:
        for _ in range(10**9 // len(part)):
            file.write(part)
    program = (
        "import re, sys; from pathlib import Path\n"
        "from unlabeled.config import TextConfig\n"
        "from unlabeled.data.find import find\n"
        "from unlabeled.data.text import prepare_text\n"
        "import tokenizers, transformers\n"
        "status = lambda: open('/proc/self/status').read()\n"
        "most = lambda: int(re.search(r'VmHWM:\\s+(\\d+)', status())[1])\n"
        "before = most()\n"
        "config = TextConfig(tokenizer='byte', length=128)\n"
        "rows = prepare_text(find(sys.argv[1]), config, Path(sys.argv[2]), 0, 0.1)[0]\n"
        "print(len(rows), (most() - before) // 1024)\n"
    )
    args = [sys.executable, "-c", program, str(tmp_path / "line.txt"), str(tmp_path / "out")]
    done = subprocess.run(args, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows, megabytes = map(int, done.stdout.split())
    assert rows * 128 > 0.8e9
    assert megabytes < 500


@pytest.mark.parametrize("letters", [30_000, 2_000])
def test_few_held_out_rows_are_scored_themselves(letters: int, tmp_path: Path) -> None:
    """Features may be watched on the pool where little is held out; its cost would be learnt."""
    story = " ".join(stories(200, seed=3))
    (tmp_path / "one.txt").write_text(story[:letters])
    written = small_config("gpt", tmp_path / "one.txt").model_dump()
    written["modality"] |= {"split": "tail", "length": 32}
    made = prepare(config.build(written), tmp_path)
    rows = TokenRows(tmp_path / "tokens" / "held_out.bin", 32, fixed=True)
    assert (len(rows) < 16) == (letters == 2_000)
    assert made.scored is not None
    assert len(made.scored) == min(len(rows), 64)
    np.testing.assert_array_equal(made.scored, rows.batch(range(len(made.scored))))
