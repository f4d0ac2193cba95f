"""Every export is loaded by the library that it is for and gives what our encoder gives."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest
import torch

from unlabeled.errors import DataError, MissingExtraError, UsageError
from unlabeled.export import LIMIT, export, real

IMAGES = [("vit", "hf"), ("vit", "timm"), ("resnet", "hf"), ("resnet", "timm")]


@pytest.mark.parametrize(("name", "to"), IMAGES)
def test_image_encoder(image_run, name, to):
    run = image_run(name)
    result = export(run, to)
    assert result.path == run.folder / "exported" / to
    assert result.max_difference < 1e-4
    assert result.samples == 8
    assert (result.path / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("name", "to"),
    [
        *((name, to) for name in ("bert", "gpt", "last") for to in ("hf", "sentence-transformers")),
        ("layer", "hf"),
    ],
)
def test_text_encoder(text_run, name, to):
    result = export(text_run(name), to)
    assert result.max_difference < 1e-4
    assert (result.path / "tokenizer.json").is_file()


def test_the_printed_code_gives_the_feature_and_tells_of_longer_texts(text_run):
    run = text_run("layer")
    usage = export(run, "hf").usage
    assert "cut at 32 tokens here; `unlabeled` averages up to 16" in usage
    found: dict = {}
    exec(compile(usage.replace("some text", "a river"), "usage", "exec"), found)
    ours = run.encoder()(run.modality().encode_documents(["a river"]))
    torch.testing.assert_close(found["feature"], ours, atol=1e-5, rtol=1e-4)
    with pytest.raises(UsageError, match=r"reads the last layer.*encoder\.layer=1"):
        export(run, "sentence-transformers")


@pytest.mark.parametrize("kind", ["vit", "bert"])
def test_onnx_has_a_dynamic_batch(image_run, text_run, kind):
    onnxruntime = pytest.importorskip("onnxruntime")
    run = image_run("vit") if kind == "vit" else text_run("bert")
    result = export(run, "onnx")
    assert result.max_difference < LIMIT
    session = onnxruntime.InferenceSession(result.path / "model.onnx")
    inputs = {x.name: x.shape for x in session.get_inputs()}
    assert all(isinstance(shape[0], str) for shape in inputs.values())
    assert set(inputs) == ({"image"} if kind == "vit" else {"input_ids", "attention_mask"})
    assert session.get_outputs()[0].name == "feature"
    facts = session.get_modelmeta().custom_metadata_map
    if kind == "vit":
        assert json.loads(facts["mean"]) == [0.4, 0.5, 0.6]


def test_onnx_without_the_extra_is_a_sentence(image_run, monkeypatch):
    there = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "onnxscript" else there(name)
    )
    with pytest.raises(
        MissingExtraError, match=r'^Export to ONNX needs onnxscript: pip install "unl'
    ):
        export(image_run("vit"), "onnx")


def test_a_difference_is_an_error_and_leaves_nothing(image_run, monkeypatch, tmp_path):
    run = image_run("vit")
    honest = real.reference

    def shifted(*args):
        given = honest(*args)
        return real.Reference(given.pixels, given.texts, given.output + 2e-3)

    monkeypatch.setattr(real, "reference", shifted)
    with pytest.raises(DataError, match=r"differs from the encoder by 0\.002 \(allowed: 0\.001\)"):
        export(run, "hf", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_formats_that_do_not_fit_are_refused(image_run, text_run, tmp_path):
    with pytest.raises(
        UsageError, match=r"timm cannot hold an encoder of text\. Possible: hf, onn"
    ):
        export(text_run("bert"), "timm")
    with pytest.raises(UsageError, match="sentence-transformers cannot hold an encoder of image"):
        export(image_run("vit"), "sentence-transformers")
    with pytest.raises(UsageError, match=r"There is no format 'onx'\. Did you mean 'onnx'\?"):
        export(image_run("vit"), "onx")
    (tmp_path / "taken").write_text("")
    with pytest.raises(UsageError, match="is not empty"):
        export(image_run("vit"), "hf", tmp_path)


def test_reference_takes_real_samples_in_the_order_of_the_data(image_run):
    run = image_run("vit")
    given = real.reference(run, run.encoder())
    assert given.pixels is not None
    assert given.pixels.shape == (8, 3, 16, 16)
    raw = run.modality().read(run.source().payload(0)).astype(np.float32) / 255
    mean, std = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.3, 0.4])
    expected = ((torch.from_numpy(raw) - mean) / std).permute(2, 0, 1)
    torch.testing.assert_close(given.pixels[0], expected, atol=1e-5, rtol=0)
