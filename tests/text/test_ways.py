"""Ways of pre-training: beside general text, from weights, with more tokens, with a teacher."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from tests.text.sources import Memory, batch_of, method_of, prepared, stories
from unlabeled.choices import Request
from unlabeled.config import EncoderConfig, OptimConfig, TextConfig
from unlabeled.data.mix import MixedRows
from unlabeled.data.text import prepare_text
from unlabeled.encoders import language
from unlabeled.errors import ConfigError, DataError, UnlabeledError
from unlabeled.gradients import backward, clip
from unlabeled.loop import pretrain
from unlabeled.methods import inherit
from unlabeled.modalities import tokenizer as tokenizers
from unlabeled.modalities.extend import extend, pieces_of
from unlabeled.modalities.text import Text
from unlabeled.optim import Optim
from unlabeled.plan import plan
from unlabeled.prepare import prepare
from unlabeled.runs import Run
from unlabeled.state import build
from unlabeled.transfer.text_scores import score_run
from unlabeled.types import Batch

NEW = ["photosynthesis", "chlorophyll", "thylakoid", "stomata"]


LETTERS = " ".join(f"{letter} a{letter}" for letter in "abcdefghijklmnopqrstuvwxyz")


def domain(count: int = 60) -> list[str]:
    """Return documents full of words that `stories` does not have."""
    rng = np.random.default_rng(7)
    return [
        f"leaf {number} " + " ".join(rng.choice([*NEW, "sun", "leaf"], 40))
        for number in range(count)
    ]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the run folder of a small BERT on general text."""
    place = tmp_path_factory.mktemp("ways")
    for name, texts in (
        ("general", [*stories(120), *[f"{n} {LETTERS}" for n in range(5)]]),
        ("domain", domain()),
    ):
        (place / name).mkdir()
        for number, text in enumerate(texts):
            (place / name / f"{number:03}.txt").write_text(text)
    small = {"encoder": {"name": "hf:bert-1x32h2"}, "modality": {"vocab_size": 300, "length": 32}}
    return Path(_pretrain(place / "general", place / "base", "bert", 20, **small).folder)


def _pretrain(where: Path, out: Path, method: str, steps: int, **options: Any) -> Any:
    loop = {"batch": 8, "threads": 1, "workers": 0, "precision": "fp32", "health_steps": 10}
    data_options = {"held_out": 0.2, **options.pop("data", {})}
    init, teacher = options.pop("init", None), options.pop("teacher", "")
    overrides = {**options, "loop": loop, "data": data_options}
    if teacher:
        overrides["method"] = {"teacher": teacher}
    request = Request(str(where), method, steps=steps, init=init, overrides=overrides)
    planned = plan(request)
    pretrain(planned.config, out, quiet=True)
    score_run(Run.open(out))
    return Run.open(out)


def test_shares_are_exact_and_every_row_comes_in_turn(tmp_path: Path) -> None:
    config = TextConfig(tokenizer="char", vocab_size=60, length=16)
    other = Memory(domain(20), "domain")
    mixed, held_out, _, statistics = prepare_text(
        Memory(stories(40)), config, tmp_path, 0, 0.2, mix=[(other, 0.25)]
    )
    assert isinstance(mixed, MixedRows)
    main, beside = mixed.parts
    assert mixed.counts[0] == len(main)
    assert mixed.counts[1] / len(mixed) == pytest.approx(0.25, abs=0.002)
    turns = [mixed.locate(i, epoch) for epoch in range(30) for i in range(len(mixed))]
    seen = Counter((row, turn) for part, row, turn in turns if part == 1)
    assert max(seen.values()) == 1  # none twice in a pass, and passes are gone through in order
    assert len(seen) == 30 * mixed.counts[1]
    assert sorted(seen) == sorted((k % len(beside), k // len(beside)) for k in range(len(seen)))
    first = mixed.payload(len(mixed) - 1, 3)
    assert np.array_equal(first, mixed.payload(len(mixed) - 1, 3))
    assert first.shape == (3, 16)
    assert statistics["documents"]["mix0-train"] + statistics["documents"]["mix0-held_out"] == 20
    assert len(held_out) > 0
    again = prepare_text(Memory(stories(40)), config, tmp_path, 0, 0.2, mix=[(other, 0.25)])
    assert again[0].fingerprint == mixed.fingerprint
    with pytest.raises(DataError, match="other data"):
        prepare_text(Memory(stories(40)), config, tmp_path, 0, 0.2)


def test_what_is_held_out_comes_in_by_no_side_door(tmp_path: Path) -> None:
    config = TextConfig(tokenizer="char", vocab_size=60, length=16)
    documents = stories(40)
    other = Memory([*documents[:30], *domain(10)], "both")
    prepare_text(Memory(documents), config, tmp_path, 0, 0.5, mix=[(other, 0.5)])
    held_out = (tmp_path / "tokens" / "held_out.txt").read_text().splitlines()
    beside = (tmp_path / "tokens" / "mix0-train.txt").read_text()
    assert len(held_out) > 10
    assert not any(text in beside for text in held_out)
    with pytest.raises(DataError, match="30 are copies"):
        prepare_text(
            Memory(documents), config, tmp_path / "b", 0, 0.5,
            mix=[(Memory(documents[:30], "copies"), 0.5)],
        )  # fmt: skip


def test_shares_that_cannot_be_are_said(base: Path) -> None:
    data = base.parent / "domain"
    for mix in ({str(data): 1.0}, {str(data): 0.0}):
        with pytest.raises(UnlabeledError, match="stay below 1"):
            _pretrain(data, base.parent / "no", "bert", 2, data={"mix": mix})


def test_going_on_from_weights_beside_general_text(base: Path) -> None:
    """Continual pre-training: the vocabulary grows, general text is replayed, drift is told."""
    place = base.parent
    made = _pretrain(
        place / "domain", place / "on", "bert", 20, init=str(base / "encoder"),
        data={"mix": str(place / "general")}, modality={"extend": 12, "length": 32},
        optim={"new_rows": 0.5},
    )  # fmt: skip
    run = Run.open(made.folder)
    text = run.modality()
    assert isinstance(text, Text)
    assert run.config.data.mix == {str(place / "general"): 0.2}
    old = tokenizers.load(base / "tokenizer")
    assert len(text.pieces) == 12
    assert text.vocab_size == len(old) + 12
    joined = text.tokenizer.convert_ids_to_tokens(sorted(text.pieces))
    assert any(word in joined for word in NEW)
    shorter = len(text.encode([" ".join(NEW)])[0])
    assert shorter < len(old.encode(" ".join(NEW), add_special_tokens=False))
    info = run.info
    assert set(info["before"]) == set(info["drift"]) == {"", str(place / "general")}
    assert set(info["mix"]) == {str(place / "general")}
    assert 0 < info["drift"][""] < 2
    opened = transformers.AutoModelForMaskedLM.from_pretrained(made.folder / "encoder")
    assert opened.get_input_embeddings().weight.shape[0] == text.vocab_size


def test_added_rows_begin_as_means_and_move_alone_at_first(base: Path, tmp_path: Path) -> None:
    run = Run.open(base.parent / "on")
    config = run.config.model_copy(
        update={"optim": run.config.optim.model_copy(update={"weight_decay": 0.5})}
    )
    state = build(config, tmp_path, prepare(config, run.folder))
    before = language.load(base / "encoder", head=True)
    model: Any = state.method.encoder
    table, old = (
        model.model.get_input_embeddings().weight,
        before.model.get_input_embeddings().weight,
    )
    torch.testing.assert_close(table[: len(old)], old)
    for new, ids in state.data.samples.modality.pieces.items():  # type: ignore[attr-defined]
        torch.testing.assert_close(table[new], old[ids].mean(0))
    start = {n: p.detach().clone() for n, p in state.method.named_parameters()}

    def step(progress: float) -> dict[str, bool]:
        state.optim.set(0.5)
        rows = state.data.samples.raw(0)[0]  # type: ignore[attr-defined]
        x = torch.from_numpy(rows.astype(np.int64))[None, None].clone()
        x[0, 0, 0, 1:7] = torch.tensor(sorted(model.added)[:6])
        backward(state.method, Batch({"plain": x}, torch.tensor([5])), progress, state)
        clip(state.optim, progress, 1.0)
        state.optim.step()
        state.optim.zero()
        return {n: not torch.equal(p, start[n]) for n, p in state.method.named_parameters()}

    moved = [name for name, changed in step(0.1).items() if changed]
    assert moved == [n for n, p in state.method.named_parameters() if p is table]
    assert torch.equal(table[: len(old)], start[moved[0]][: len(old)])
    assert not torch.equal(table[sorted(model.added)], start[moved[0]][sorted(model.added)])
    assert sum(step(0.9).values()) > 10


@pytest.mark.parametrize("kind", ["bpe", "wordpiece"])
def test_new_tokens_taken_apart_are_the_old_ones(kind: str, tmp_path: Path) -> None:
    old = tokenizers.train(kind, [*stories(), LETTERS], 300, 32)
    old.model_max_length = 10_000
    texts = [*domain(), *stories(10)]
    extend(old, texts, 20, tmp_path)
    pieces = pieces_of(tmp_path)
    new = tokenizers.load(tmp_path)
    assert len(new) == len(old) + len(pieces)
    assert sorted(pieces) == list(range(len(old), len(new)))
    apart = [0, 0]
    for text in texts:
        before = old.encode(text, add_special_tokens=False)
        after = new.encode(text, add_special_tokens=False)
        back = [i for token in after for i in pieces.get(token, [token])]
        apart = [apart[0] + (back != before), apart[1] + len(before) - len(after)]
        assert new.decode(after) == old.decode(before)
    assert apart[1] > 1000
    assert kind == "wordpiece" or apart[0] == 0
    assert transformers.AutoTokenizer.from_pretrained(tmp_path).encode(text) == new.encode(text)


@pytest.mark.parametrize(
    "name", ["hf:bert-1x32h2", "hf:roberta-1x32h2", "hf:gpt2-1x32h2", "hf:modernbert-1x32h2",
             "hf:t5-1x32h2", "hf:bart-1x32h2", "hf:xlnet-1x32h2", "hf:deberta-v2-1x32h2"],
)  # fmt: skip
def test_every_family_takes_more_tokens(name: str, tmp_path: Path) -> None:
    encoder = language.build(EncoderConfig(name=name), TextConfig(length=32), 50)
    encoder.add_head()
    x = torch.stack([torch.arange(2, 22), torch.zeros(20, dtype=torch.long)])[None]
    before = encoder.eval().tokens(x)
    encoder.extend({50: [3, 4], 51: [7]})
    torch.testing.assert_close(encoder.eval().tokens(x), before)
    table = encoder.model.get_input_embeddings().weight
    assert len(table) == encoder.vocab_size == 52
    torch.testing.assert_close(table[50], table[[3, 4]].mean(0))
    logits = encoder.add_head()(before[0])
    torch.testing.assert_close(logits[:, 51], logits[:, 7])
    encoder.save(tmp_path)
    again = language.load(tmp_path, head=True).eval()
    torch.testing.assert_close(again.add_head()(again.tokens(x)[0]), logits)


def test_other_tokenizers_and_fresh_ones_are_not_extended(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="BPE or WordPiece"):
        extend(tokenizers.train("char", stories(), 60, 32), stories(), 5, tmp_path)
    config = TextConfig(tokenizer="bpe", vocab_size=300, length=16, extend=5)
    with pytest.raises(ConfigError, match="--init"):
        prepare_text(Memory(stories()), config, tmp_path, 0, 0.2)
    method = method_of("bert", "hf:bert-1x32h2", prepared(tmp_path / "w", "wordpiece")[2])
    with pytest.raises(ConfigError, match="none were added"):
        Optim(method, OptimConfig(new_rows=0.5))


def test_the_loss_is_the_mixture_of_the_paper(base: Path, tmp_path: Path) -> None:
    """(1 - a) CE + a t^2 KL, by the definitions, with a falling to 0."""
    run = Run.open(base)
    text: Any = run.modality()
    method = method_of(
        "inherit",
        "hf:bert-2x64h2",
        text,
        teacher=str(base / "encoder"),
        weight=0.6,
        temperature=3.0,
    )
    batch = batch_of(run.rows("train"))
    ids, where, targets = method._ask(batch)
    own = method.head(method.encoder.tokens_at(ids, where)).log_softmax(1)
    teacher = method.teachers[0]
    said = teacher.add_head()(teacher.tokens_at(ids, where))
    ce = -own.gather(1, targets[:, None]).mean()
    p = (said / 3).softmax(1)
    q = (method.head(method.encoder.tokens_at(ids, where)) / 3).softmax(1)
    kl = 9 * (p * (p / q).log()).sum(1).mean()
    for progress, share in ((0.0, 0.6), (0.5, 0.3), (1.0, 0.0)):
        found = method.loss(batch, progress).total
        torch.testing.assert_close(found, (1 - share) * ce + share * kl, atol=1e-4, rtol=1e-5)
    method.loss(batch, 0.0).total.backward()
    assert all(p.grad is None for p in teacher.parameters())
    assert not [n for n in method.state_dict() if "teacher" in n]
    assert inherit.Inherit.scored == "hidden"
    with pytest.raises(ConfigError, match="both sides"):
        method_of("inherit", "hf:gpt2-1x32h2", text, teacher=str(base / "encoder"))


def test_a_larger_student_inherits(base: Path) -> None:
    place = base.parent
    made = _pretrain(
        place / "domain", place / "heir", "inherit", 6, modality={"length": 32},
        teacher=str(base / "encoder"), encoder={"name": "hf:bert-2x64h2"},
    )  # fmt: skip
    run = Run.open(made.folder)
    assert run.config.modality.tokenizer == str(base / "tokenizer")  # type: ignore[union-attr]
    assert "taught" in run.metrics()[-1]
    assert json.loads((made.folder / "run.json").read_text())["held_out"]["accuracy"] >= 0


def test_keeping_what_the_weights_knew(base: Path) -> None:
    """Without a teacher the weights of the start are one; without either it is said."""
    run = Run.open(base)
    method = method_of("inherit", "hf:gpt2-1x32h2", run.modality())
    assert method.scored == "text"
    loss = method.loss(batch_of(run.rows("train")), 0.0)
    assert loss.parts["taught"].item() == pytest.approx(0, abs=1e-5)  # they are still equal
    with pytest.raises(ConfigError, match=r"method\.teacher=RUN/encoder"):
        _pretrain(base.parent / "domain", base.parent / "no", "inherit", 2)
