import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from transformers import AutoModelForImageClassification, AutoModelForSequenceClassification

from unlabeled import encoders
from unlabeled.config import DataConfig, EncoderConfig, ImageConfig, RunConfig, TextConfig
from unlabeled.data.find import find
from unlabeled.data.text import prepare_text
from unlabeled.errors import UsageError
from unlabeled.modalities.image import Image
from unlabeled.transfer import readings
from unlabeled.transfer import roster as module
from unlabeled.transfer.features import Inputs
from unlabeled.transfer.finetune import finetune, load
from unlabeled.transfer.kept import TextClassifier, in_own_unit
from unlabeled.types import PLAIN, View


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    def search(run, quick, ways=False):
        view = PLAIN if run.config.data.kind == "text" else View(extent=(0.7, 1.0))
        steps = 30 if run.config.data.kind == "text" else 2
        return readings.Search((view,), (2e-3,), (1.0,), epochs=1, fewest=steps, most=steps)

    monkeypatch.setattr(module, "search_of", search)


@dataclass
class SmallRun:
    """A run whose encoder is fresh, but real."""

    folder: Path
    config: RunConfig
    vocab: object = None
    made: list = field(default_factory=list)
    memory: None = None

    @property
    def classifier(self):
        return self.folder / "finetune"

    def source(self):
        return find(self.config.data.path, self.config.data.kind, self.config.data.column)

    def modality(self):
        return self.vocab or Image(self.config.modality)

    def encoder(self):
        torch.manual_seed(0)
        size = getattr(self.vocab, "vocab_size", None)
        return encoders.build(self.config.encoder, self.config.modality, size).eval()


def images(folder: Path, path: Path, **encoder) -> SmallRun:
    return SmallRun(
        folder,
        RunConfig(
            data=DataConfig(path=str(path), kind="image"),
            modality=ImageConfig(size=16, channels=3),
            encoder=EncoderConfig(**encoder),
            method={"name": "simclr"},
        ),
    )


@pytest.mark.parametrize(
    "encoder",
    [
        {"name": "timm:vit_tiny_patch16_224", "patch": 8},
        {"name": "timm:resnet18", "small_stem": True},
    ],
)
def test_an_image_classifier_opens_in_timm_and_transformers(tmp_path, image_folder, encoder):
    run = images(tmp_path, image_folder, **encoder)
    found = finetune(run)
    assert found.classes == list("abcd")
    assert 0 <= found.accuracy <= 1
    assert found.validation == 20
    record = json.loads((tmp_path / "finetune" / "classes.json").read_text())
    assert record["classes"] == found.classes
    model, classes = load(run)
    inputs = Inputs(run.source(), range(5), run.modality())
    with torch.no_grad():
        ours = model(inputs.plain(slice(0, 5)))
        assert torch.allclose(ours, found.model(inputs.plain(slice(0, 5))), atol=1e-4)
        if not encoder.get("small_stem"):
            folder = str(tmp_path / "finetune")
            theirs = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
            assert torch.allclose(ours, theirs(inputs.plain(slice(0, 5))), atol=1e-4)
            other = AutoModelForImageClassification.from_pretrained(folder).eval()
            assert torch.allclose(ours, other(inputs.plain(slice(0, 5))).logits, atol=1e-4)
    assert list(classes.classes) == found.classes


def test_missing_labels_and_imbalance_are_told(tmp_path, image_folder):
    run = images(tmp_path, image_folder, name="timm:resnet18", small_stem=True)
    names = [run.source().name(i) for i in range(len(run.source()))]
    rare = [n for n in names if n[0] == "d"]
    words = dict.fromkeys(names, "x") | dict.fromkeys(rare, "") | dict.fromkeys(rare[:8], "y")
    rows = [f"{n},{word}" for n, word in words.items()]
    file = tmp_path / "labels.csv"
    file.write_text("path,label\n" + "\n".join(rows))
    found = finetune(run, file)
    assert found.notes[0].startswith("Rows without a label in column 'label': 16 (empty")
    assert found.balanced is not None
    record = json.loads((tmp_path / "finetune" / "classes.json").read_text())
    assert record["balanced_accuracy"] == found.balanced


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_a_text_classifier_opens_in_transformers(tmp_path, family):
    rng = np.random.default_rng(0)
    words = {"good": ["fine", "lovely", "great"], "bad": ["poor", "dull", "awful"]}
    rows = ["text,label"]
    for number in range(60):
        kind = ("good", "bad")[number % 2]
        rows.append(
            " ".join(rng.choice([*words[kind], "the", "film", str(number)], 9)) + f",{kind}"
        )
    table = tmp_path / "films.csv"
    table.write_text("\n".join(rows))
    config = TextConfig(
        tokenizer="wordpiece" if family == "bert" else "bpe", vocab_size=300, length=16, windows=1
    )
    *_, text, _ = prepare_text(find(str(table), "text", "text"), config, tmp_path, 0, 0.1)
    run = SmallRun(
        tmp_path,
        RunConfig(
            data=DataConfig(path=str(table), kind="text", column="text"),
            modality=config,
            encoder=EncoderConfig(name=f"hf:{family}-1x32h2"),
            method={"name": "bert"},
        ),
        text,
    )
    found = finetune(run)
    assert found.classes == ["bad", "good"]
    assert found.accuracy > 0.7
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "finetune").eval()
    assert model.config.id2label == {0: "bad", 1: "good"}
    x = Inputs(run.source(), range(5), text, 16).plain(slice(0, 5))
    with torch.no_grad():
        theirs = model(input_ids=x[:, 0], attention_mask=(x[:, 1] >= 0).long()).logits
        assert torch.allclose(theirs, load(run)[0](x), atol=1e-4)


def test_without_a_classifier_a_sentence_says_how(tmp_path, image_folder):
    with pytest.raises(UsageError, match="unlabeled finetune"):
        load(images(tmp_path, image_folder, name="timm:resnet10t"))


FORMS = {
    "multi": lambda i: ["red", "red|round", "round|big", ""][i % 4] or "big",
    "ordinal": lambda i: ["low", "medium", "high"][i % 3],
    "regression": lambda i: f"{100 + 7 * (i % 4) + i / 100:.2f}",
}


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("form", list(FORMS))
def test_other_forms_are_learned_kept_and_told(tmp_path, image_folder, form, frozen):
    run = images(tmp_path, image_folder, name="timm:resnet18", small_stem=True)
    names = [run.source().name(i) for i in range(len(run.source()))]
    rows = [f"{n},{FORMS[form](i)}" for i, n in enumerate(names)]
    file = tmp_path / "labels.csv"
    file.write_text("path,label\n" + "\n".join(rows))
    found = finetune(run, file, task=form, frozen=frozen)
    assert (found.task, found.macro_f1) == (form, None)
    assert (found.mae is None) == (form == "multi")
    model, meaning = load(run)
    inputs = Inputs(run.source(), range(20), run.modality())
    with torch.no_grad():
        logits = model(inputs.plain(slice(0, 20))).numpy()
    assert logits.shape[1] == {"multi": 3, "ordinal": 2, "regression": 1}[form]
    said = meaning.predict(logits)
    if form == "regression":  # the head gives numbers in their own unit
        assert said == pytest.approx(logits[:, 0].tolist())
        assert 80 < np.mean(said) < 140
    elif form == "multi":
        assert meaning.header() == ["label", "p_big", "p_red", "p_round"]
        assert meaning.header("what")[:2] == ["what", "what_p_big"]
        assert set().union(*said) <= {"red", "round", "big"}
    else:
        assert set(said) <= {"low", "medium", "high"}
        chances = meaning.chances(logits)
        assert chances.sum(1) == pytest.approx(1, abs=1e-5)
        assert (chances >= 0).all()
    assert {len(row) for row in meaning.cells(logits)} == {len(meaning.header())}
    if frozen:
        state = run.encoder().state_dict()
        kept = model.encoder.state_dict()
        assert all(torch.equal(value, kept[name]) for name, value in state.items())


@pytest.mark.parametrize(("family", "taken"), [("bert", True), ("gpt2", False)])
def test_a_head_of_text_gives_numbers_in_their_own_unit_where_it_can(family, taken):
    from transformers import AutoConfig
    from transformers import AutoModelForSequenceClassification as Head

    small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "vocab_size": 20,
             "intermediate_size": 8, "num_labels": 1, "n_embd": 8, "n_layer": 1, "n_head": 1,
             "pad_token_id": 0}  # fmt: skip
    model = TextClassifier(Head.from_config(AutoConfig.for_model(family, **small))).eval()
    x = torch.stack([torch.arange(1, 7).repeat(2, 1), torch.zeros(2, 6, dtype=torch.long)], 1)
    with torch.no_grad():
        before = model(x)
        assert in_own_unit(model, 3.0, 50.0) == taken
        torch.testing.assert_close(model(x), 3 * before + 50 if taken else before)
