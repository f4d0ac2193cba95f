"""Words with tags: alignment, the linear reading, plain baselines, the study and the tagger."""

import json
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.text.sources import WORDS, Memory, prepared
from unlabeled import encoders
from unlabeled.config import DataConfig, EncoderConfig, RunConfig
from unlabeled.data.tags import Tagged
from unlabeled.errors import UsageError
from unlabeled.transfer import layered, tag_finetune, tag_roster, targets
from unlabeled.transfer.evaluate import evaluate
from unlabeled.transfer.readings import Search
from unlabeled.transfer.tag_baselines import Contexts, Lookup
from unlabeled.transfer.tag_form import asked
from unlabeled.transfer.tag_readings import packed_tokens
from unlabeled.transfer.tag_rows import IGNORED
from unlabeled.transfer.tagging import TagMaterial
from unlabeled.transfer.words import WordInputs
from unlabeled.types import PLAIN

RNG = np.random.default_rng(0)
THINGS, DEEDS = WORDS[:6], WORDS[6:]


def planted(count: int, seed: int = 0) -> Tagged:
    """Return sentences in which a word's tag says what the word before it is."""
    rng = np.random.default_rng(seed)
    words = [rng.choice(WORDS, int(rng.integers(4, 9))).tolist() for _ in range(count)]
    tags = [
        2 * (word in DEEDS) + (place > 0 and sentence[place - 1] in DEEDS)
        for sentence in words
        for place, word in enumerate(sentence)
    ]
    group = np.array([f"d{i // 5}" for i in range(count)])
    return Tagged(words, np.array(tags), ["thing", "thing2", "deed", "deed2"], group)


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """Return a WordPiece tokenizer whose words often have several pieces."""
    return prepared(tmp_path_factory.mktemp("pieces"), "wordpiece", vocab_size=80)[2]


@pytest.fixture(scope="module")
def byte_pairs(tmp_path_factory):
    return prepared(tmp_path_factory.mktemp("pairs"), "bpe", vocab_size=270)[2]


def test_words_lie_where_the_tokenizers_word_ids_say(text):
    part = planted(20)
    inputs = WordInputs(part, text, 32)
    encoded = text.tokenizer(part.words, is_split_into_words=True)
    for number, ids in enumerate(encoded["input_ids"]):
        assert inputs.rows[number, 0, : len(ids)].tolist() == ids
        where = encoded.word_ids(number)
        firsts = [where.index(word) for word in range(len(part.words[number]))]
        assert inputs.place[inputs.items_of(np.array([number]))].tolist() == firsts
    assert (np.bincount(inputs.row) == [len(w) for w in part.words]).all()
    assert any(len(ids) > len(words) + 2 for ids, words in zip(encoded["input_ids"], part.words,
                                                               strict=True))  # fmt: skip


def test_byte_pairs_are_those_of_running_text(byte_pairs):
    part = Tagged([["sun", "moon", "é", "sun."]], np.zeros(4, dtype=np.int64), ["a", "b"])
    inputs = WordInputs(part, byte_pairs, 32)
    row = [i for i, real in zip(*inputs.rows[0].tolist(), strict=True) if real >= 0]
    assert byte_pairs.decode(row) == "sun moon é sun."
    said = [byte_pairs.decode(row[place:]).strip() for place in inputs.place]
    assert said == ["sun moon é sun.", "moon é sun.", "é sun.", "sun."]


def test_long_sentences_become_rows_and_no_word_is_lost(text):
    part = Tagged([WORDS * 6, ["a" * 60, "sun"]], np.zeros(74, dtype=np.int64), ["a", "b"])
    inputs = WordInputs(part, text, 16)
    assert inputs.rows.shape[2] == 16
    assert len(inputs) > 7
    pieces = text.tokenizer.convert_ids_to_tokens(inputs.rows[inputs.row, 0, inputs.place].tolist())
    assert all(w.startswith(p) for w, p in zip([*WORDS * 6, "a" * 60, "sun"], pieces, strict=True)
               if p != "[UNK]")  # fmt: skip
    assert len(set(zip(inputs.row, inputs.place, strict=True))) == 74


class Ids(nn.Module):
    """Says of every token its id and its place."""

    def forward(self, x):
        places = torch.arange(x.shape[2]).expand_as(x[:, 0])
        return torch.stack([x[:, 0], places], dim=2).float()


def test_what_a_model_says_at_words_is_in_their_order(text):
    inputs = WordInputs(planted(30), text, 24)
    chosen = np.array([17, 3, 29, 4])
    said = inputs.at_items(Ids(), chosen, batch=3)
    words = inputs.items_of(chosen)
    ids = inputs.rows[inputs.row[words], 0, inputs.place[words]]
    assert said[:, 0].tolist() == ids.tolist()
    assert said[:, 1].tolist() == inputs.place[words].tolist()


@pytest.mark.parametrize("stack", ["bert", "gpt2", "modernbert"])
def test_sentences_in_one_row_are_read_as_if_apart(text, stack):
    torch.manual_seed(0)
    encoder = encoders.build(EncoderConfig(name=f"hf:{stack}-2x32h2"), text.config, text.vocab_size)
    inputs = WordInputs(planted(12), text, 32)
    real = inputs.rows[:, 1] >= 0
    apart = [encoder.tokens(row[None, :, keep])[0] for row, keep in zip(inputs.rows, real,
                                                                        strict=True)]  # fmt: skip
    found = packed_tokens(encoder.eval(), inputs.rows)
    assert torch.allclose(found[real], torch.cat(apart), atol=1e-5)
    assert not found[~real].any()


def test_the_loss_of_tags_is_the_mean_over_words(text):
    inputs = WordInputs(planted(6), text, 32)
    tags = inputs.tags()
    assert (tags != IGNORED).sum() == len(inputs.source.tags)
    width = inputs.rows.shape[2] - 2  # as if the longest rows were not in the batch
    logits = torch.randn(len(inputs), width, 4)
    tags[:, width:] = IGNORED
    real = tags[:, :width] != IGNORED
    expected = functional.cross_entropy(logits[torch.from_numpy(real)],
                                        torch.from_numpy(tags[:, :width][real]))  # fmt: skip
    assert targets.loss(logits, torch.from_numpy(tags)) == pytest.approx(float(expected), rel=1e-6)


def test_one_layer_is_logistic_regression():
    from sklearn.linear_model import LogisticRegression

    x = RNG.normal(size=(200, 1, 6)).astype(np.float32)
    y = (x[:, 0, :3] + RNG.normal(size=(200, 3))).argmax(1)
    found = layered.fit(x, y, 3, x[:0], y[:0], penalties=(0.5,))
    scaled = (x[:, 0] - found.mean[0]) * found.scale[0]
    oracle = LogisticRegression(C=1 / 0.5, tol=1e-8, max_iter=1000).fit(scaled, y)
    expected = oracle.predict_proba(scaled)
    logits = torch.from_numpy(found.scores(x))
    assert logits.softmax(1).numpy() == pytest.approx(expected, abs=2e-3)


def test_the_sum_of_layers_finds_the_one_that_knows():
    y = RNG.integers(0, 3, 300)
    x = RNG.normal(size=(300, 4, 8)).astype(np.float32)
    x[:, 2, :3] += 2 * np.eye(3)[y]
    found = layered.fit(x[:200], y[:200], 3, x[200:], y[200:])
    assert found.mix.argmax() == 2
    assert found.mix.sum() == pytest.approx(1, abs=1e-5)
    last = layered.fit(x[:200, 3:], y[:200], 3, x[200:, 3:], y[200:])
    right = [(f.predict(z) == y[200:]).mean() for f, z in ((found, x[200:]), (last, x[200:, 3:]))]
    assert right[0] > right[1] + 0.3


def known_of(train: Tagged, test: Tagged, text, checked: int = 20) -> TagMaterial:
    """Return material whose last `checked` sentences validate."""
    n = len(train)
    return TagMaterial(
        WordInputs(train, text, 32), np.zeros(n, dtype=np.int64), np.arange(n - checked),
        np.arange(n - checked, n), WordInputs(test, text, 32), test.tags, None, train.classes,
        task="tagging",
    )  # fmt: skip


def test_the_lookup_counts_words_then_endings(text):
    train = Tagged([["walked", "walked", "talked", "The", "ran"]], np.array([0, 1, 1, 2, 3]),
                   ["a", "b", "c", "d"])  # fmt: skip
    test = Tagged([["walked", "WALKED", "baked", "the", "span", "Xyz"]], np.zeros(6, np.int64),
                  train.classes)  # fmt: skip
    said = Lookup(known_of(train, test, text, 0))(np.array([0]), 1, 0).test
    # a tie goes to the first; then -alked, -ked, lower case, -an; a capital as the one seen
    assert said.tolist() == [0, 0, 1, 2, 3, 2]


def test_neighbours_tell_what_a_lookup_cannot(text):
    known = known_of(planted(120), planted(40, seed=1), text)
    rows = known.pool
    right = {
        kind.__name__: float((kind(known)(rows, len(rows), 0).test == known.y_test).mean())
        for kind in (Lookup, Contexts)
    }
    assert right["Lookup"] < 0.75
    assert right["Contexts"] > 0.97


def test_hidden_test_tags_change_nothing(text):
    known = known_of(planted(60), planted(20, seed=1), text)
    before = Contexts(known)(known.pool, 40, 0)
    known.test.source.tags[:] = known.test.source.tags[::-1].copy()
    known.y_test = known.test.source.tags
    after = Contexts(known)(known.pool, 40, 0)
    assert (before.test == after.test).all()
    assert before.choices == after.choices


@pytest.fixture
def run(tmp_path, text, monkeypatch):
    """Return a run on text, and write tagged sentences beside it."""
    part = planted(80)
    rows = {
        "words": part.words,
        "tags": [[part.classes[t] for t in part.tags[a:b]]
                 for a, b in zip(part.starts, part.starts[1:], strict=False)],
        "document": part.group.tolist(),
    }  # fmt: skip
    pq.write_table(pa.table(rows), tmp_path / "tags.parquet")
    config = RunConfig(
        data=DataConfig(path=str(tmp_path / "pool"), kind="text"), modality=text.config,
        encoder=EncoderConfig(name="hf:bert-2x32h2"), method={"name": "bert"},
    )  # fmt: skip

    def fresh(seed):
        torch.manual_seed(seed)
        return encoders.build(config.encoder, config.modality, text.vocab_size).eval()

    (tmp_path / "encoder").mkdir()
    search = Search((PLAIN,), rates=(3e-3,), lengths=(1.0,), epochs=1, fewest=40, most=40)
    monkeypatch.setattr(tag_roster, "search_of", lambda quick: search)
    return SimpleNamespace(
        folder=tmp_path, studies=tmp_path / "evaluate", config=config, modality=lambda: text,
        untrained=fresh, fresh=fresh,
        encoder=lambda: fresh(1), pool_indices=lambda: np.arange(3),
        source=lambda: Memory([" ".join(s) for s in part.words[:3]]),
    )  # fmt: skip


def test_a_study_of_tags_counts_sentences_and_keeps_documents_whole(run):
    labels = run.folder / "tags.parquet"
    found = evaluate(run, labels, counts=[5, 20], draws=2,
                     arms=["lookup", "contexts", "probe", "layers", "untrained", "finetune",
                           "scratch"])  # fmt: skip
    assert (found["task"], found["metric"], found["counts"]) == ("tagging", "accuracy", [5, 20])
    assert len(found["rows"]) == 7 * 2 * 2
    assert found["split"]["how"] == "a random quarter of the documents, whole ones"
    assert found["split"]["test"] == 20
    assert "labels a class" not in json.dumps(found["labels_saved"]) + found["verdict"]
    by = {(row["reading"], row["labels_per_class"]): row["score"] for row in found["rows"]}
    assert by["contexts", 20] > by["lookup", 20]
    # three sentences lie in the pool; those of them with six words or more and in the test count
    assert found["split"]["seen_in_pretraining"] <= 3
    again = evaluate(run, labels, counts=[5, 20], draws=2, arms=["probe"])
    assert [r for r in again["rows"]] == [r for r in found["rows"] if r["reading"] == "probe"]


def test_a_tagger_opens_in_transformers_and_tags_alike(run):
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    found = tag_finetune.finetune(run, run.folder / "tags.parquet")
    assert found.classes == sorted(["thing", "thing2", "deed", "deed2"])
    assert found.accuracy > 0.5
    model = AutoModelForTokenClassification.from_pretrained(found.folder)
    tokenizer = AutoTokenizer.from_pretrained(found.folder)
    words = planted(3, seed=5).words
    said = list(tag_finetune.Tagger(run)([*words, []]))
    assert said[3] == ([], [])
    for sentence, (tags, scores) in zip(words, said, strict=False):
        encoded = tokenizer([sentence], is_split_into_words=True, return_tensors="pt")
        chances = model(**encoded).logits[0].softmax(1)
        firsts = [encoded.word_ids(0).index(word) for word in range(len(sentence))]
        expected = [model.config.id2label[int(k)] for k in chances[firsts].argmax(1)]
        assert tags == expected
        assert scores == pytest.approx(chances[firsts].max(1).values.tolist(), abs=1e-4)


def test_tagging_that_cannot_be_is_told(run, tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("path,label\na,b\n")
    with pytest.raises(UsageError, match=r"needs tagged words, and .*labels.csv holds none"):
        asked(path, "data", "text", "tagging")
    with pytest.raises(UsageError, match="these data are image"):
        asked(tmp_path / "tags.parquet", "data", "image", "tagging")
    assert not asked(tmp_path / "tags.parquet", "data", "text", "single")
    with pytest.raises(UsageError, match="--against compares features of whole samples"):
        tag_roster.refuse_public(["sentence-transformers/some"])
