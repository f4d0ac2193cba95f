"""Released weights, out of packages that ship them: read, changed, and continued without ruin."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import PIL.Image
import pyarrow.parquet as pq
import pytest
import torch

from tests.transfer.weights import FOCUS_PACKAGE, dinov2, efficientnet, folder_of
from unlabeled import loop
from unlabeled.choices import Request
from unlabeled.config import EncoderConfig, ImageConfig
from unlabeled.encoders.vision import build
from unlabeled.journal import read_lines
from unlabeled.plan import plan
from unlabeled.runs import Run
from unlabeled.transfer.features import features

pytestmark = pytest.mark.slow
SCALE = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


@pytest.fixture(scope="module")
def vit(tmp_path_factory) -> Path:
    return dinov2(tmp_path_factory.mktemp("dinov2"))


@pytest.fixture
def photos(shared_data, tmp_path) -> tuple[Path, list[bytes], np.ndarray]:
    """Return a folder of 600 CIFAR-10 images, their bytes and their classes."""
    every = pq.read_table(shared_data / "cifar10-test.parquet")
    order = np.random.default_rng(0).permutation(len(every))[:600]
    table = every.take(order).to_pydict()
    name = next(key for key, value in table.items() if isinstance(value[0], dict))
    label = next(key for key in table if key != name)
    found = [row["bytes"] for row in table[name]]
    (tmp_path / "photos").mkdir()
    for number, data in enumerate(found):
        (tmp_path / "photos" / f"{number}.png").write_bytes(data)
    return tmp_path / "photos", found, np.asarray(table[label])


def nearest(encoder, images, payloads, y) -> float:
    """Return the accuracy of the five nearest of 400 by cosine, on 200."""
    x = features(encoder, images, payloads)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    near = y[:400][np.argsort(-x[400:] @ x[:400].T, axis=1)[:, :5]]
    votes = np.array([np.bincount(row, minlength=10).argmax() for row in near])
    return float((votes == y[400:]).mean())


def test_features_are_those_of_the_graph_that_ships_them(vit):
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    model = onnx.load(str(folder_of(FOCUS_PACKAGE) / "models" / "vit_s_focus.onnx"))
    last = next(n for n in model.graph.node if "backbone.layernorm.weight" in n.input)
    del model.graph.output[:]
    model.graph.output.append(onnx.helper.make_tensor_value_info(last.output[0], 1, None))
    session = runtime.InferenceSession(model.SerializeToString())
    given = session.get_inputs()[0]
    x = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    theirs = session.run(None, {given.name: x.numpy()})[0]
    encoder = build(
        EncoderConfig(name="timm:vit_small_patch14_dinov2", init=str(vit)), ImageConfig(size=224)
    ).eval()
    with torch.no_grad():
        ours = encoder.tokens(x)[0]
    # Positions of 37 x 37 become 16 x 16: the graph interpolates a little unlike timm.
    likeness = torch.cosine_similarity(ours, torch.from_numpy(theirs)[0], dim=1)
    assert likeness[0] > 0.97  # class token
    assert likeness.mean() > 0.95


def test_other_sizes_channels_and_patches_keep_what_the_weights_know(vit, photos):
    from unlabeled.modalities.image import Image

    _, payloads, y = photos
    name, score = "timm:vit_small_patch14_dinov2", {}
    for case, options, settings in [
        ("as released", {}, ImageConfig(size=98, **SCALE)),
        ("grey", {}, ImageConfig(size=98, channels=1, mean=(0.45,), std=(0.22,))),
        ("patches of 8", {"patch": 8}, ImageConfig(size=56, **SCALE)),
    ]:
        config = EncoderConfig(name=name, init=str(vit), pool="token", **options)
        score[case] = nearest(build(config, settings).eval(), Image(settings), payloads, y)
    # What this package ships has .375, .325 and .39 here (chance .1): less than DINOv2 itself.
    assert score["as released"] > 0.3
    assert score["grey"] > 0.25
    assert score["patches of 8"] > score["as released"] - 0.08


def test_continuing_is_told_of_when_it_ruins_and_spares_by_what_is_chosen(vit, photos, tmp_path):
    folder, payloads, y = photos
    words = {
        "modality": {"size": 56}, "data": {"held_out": 0.1},
        "loop": {"batch": 8, "health_steps": 3, "stop_on_collapse": False},
        "method": {"out_dim": 256, "num_local": 2},
    }  # fmt: skip
    bare = {"optim": {"lr": 4e-3, "hold": 0.0, "layer_decay": 1.0, "warmup": 0.0}}
    found = {}
    for case, more in (("bare", bare), ("chosen", {})):
        asked = {**words, **more}
        asked["method"] = {**words["method"], **({"momentum": 0.8} if more else {})}
        request = Request(str(folder), method="dinov2", steps=9, init=str(vit), overrides=asked)
        config = plan(request).config
        out = loop.pretrain(config, tmp_path / case, quiet=True)
        run, lines = Run.open(out), read_lines(out / "health.jsonl")
        score = nearest(run.encoder().eval(), run.modality(), payloads, y)
        found[case] = (score, lines[-1]["kept"], any("drifted" in a for a in lines[-1]["alarms"]))
    assert found["bare"][2]
    assert found["bare"][0] < found["chosen"][0] - 0.1
    assert not found["chosen"][2]
    assert found["chosen"][1] > 0.8


def test_a_convolutional_network_is_read_and_named_by_its_folder(tmp_path, image_folder):
    folder = efficientnet(tmp_path / "weights")
    planned = plan(Request(str(image_folder), steps=1, init=str(folder)))
    assert planned.config.encoder.name == "timm:efficientnet_lite0"
    settings = planned.config.modality
    assert isinstance(settings, ImageConfig)
    encoder = build(planned.config.encoder, settings).eval()
    known = json.loads((folder / "config.json").read_text())["pretrained_cfg"]["mean"]
    assert list(settings.mean) == known
    picture = PIL.Image.new("RGB", (64, 64), (200, 30, 30))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    with torch.no_grad():
        assert encoder(torch.randn(1, 3, settings.size, settings.size)).shape == (1, 1280)
