"""The lines of code that load an export, as printed and as written on its card."""

from __future__ import annotations

from pathlib import Path

from unlabeled.config import (
    AudioConfig,
    ImageConfig,
    RunConfig,
    SeriesConfig,
    TextConfig,
    VideoConfig,
)
from unlabeled.export import sounds


def usage(to: str, part: str, config: RunConfig, path: Path) -> str:
    """Return code that loads an export.

    Args:
        to: the format.
        part: ``encoder`` or ``finetune``.
        config: of the run.
        path: folder of the export.
    """
    if isinstance(config.modality, SeriesConfig):
        return (
            f'import sys; sys.path.insert(0, "{path}")   # read_logs.py, a page of code\n'
            "from read_logs import features, load\n"
            f'model = load("{path}")\n'
            "feature = features(model, log)   # floats (steps, channels), NaN where missing"
        )
    if isinstance(config.modality, VideoConfig):
        frames = config.encoder.name.startswith("timm:")
        return (_frames if frames else _clips)(config.modality, path)
    if isinstance(config.modality, AudioConfig):
        return sounds.usage(config.modality.form, to, path)
    return _code(to, part, config, path) + ("" if to == "gguf" else _longer(config))


def _clips(video: VideoConfig, path: Path) -> str:
    chosen = "spread over the clip" if not video.stride else f"every {video.stride}. of the clip"
    return (
        "from transformers import AutoImageProcessor, AutoModel\n"
        f'reader = AutoImageProcessor.from_pretrained("{path}")\n'
        f'model = AutoModel.from_pretrained("{path}").eval()\n'
        f'clip = reader(frames, return_tensors="pt")   # {video.frames} frames, {chosen}\n'
        "feature = model(**clip).last_hidden_state.mean(1)"
    )


def _frames(video: VideoConfig, path: Path) -> str:
    return (
        "import torch, timm\n"
        f'model = timm.create_model("local-dir:{path}", pretrained=True, num_classes=0).eval()\n'
        "read = timm.data.create_transform(**timm.data.resolve_model_data_config(model))\n"
        "feature = model(torch.stack([read(frame) for frame in frames])).mean(0)   # of a clip"
    )


def _longer(config: RunConfig) -> str:
    """Say what becomes of documents that are longer than a window."""
    if not isinstance(config.modality, TextConfig):
        return ""
    return (
        f"\n# Longer texts are cut at {config.modality.length} tokens here; `unlabeled` averages "
        f"up to {config.modality.windows} such windows, weighted by their tokens."
    )


def _code(to: str, part: str, config: RunConfig, path: Path) -> str:
    if to == "timm":
        classes = "" if part == "finetune" else ", num_classes=0"
        return (
            "import timm\n"
            f'model = timm.create_model("local-dir:{path}", pretrained=True{classes}).eval()\n'
            "read = timm.data.create_transform(**timm.data.resolve_model_data_config(model))"
        )
    if to == "onnx":
        return _onnx(config, path)
    if to == "gguf":
        return (
            f'# llama.cpp: llama-completion -m {path}/model.gguf -p "some text"\n'
            "from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer\n"
            f'how = {{"gguf_file": "model.gguf", "config": AutoConfig.from_pretrained("{path}")}}\n'
            f'model = AutoModelForCausalLM.from_pretrained("{path}", **how).eval()\n'
            f'reader = AutoTokenizer.from_pretrained("{path}", gguf_file="model.gguf")'
        )
    if to == "sentence-transformers":
        return (
            "from sentence_transformers import SentenceTransformer\n"
            f'model = SentenceTransformer("{path}")\n'
            'features = model.encode(["some text"])'
        )
    decodes = part == "encoder" and config.encoder.name.startswith(("hf:t5", "hf:bart"))
    how = config.encoder.pool or "avg", config.encoder.layer
    return _transformers(part, config.data.kind, path, decodes, how)


def _pooled(pooling: str, layer: int | None) -> str:
    """Return the lines that turn tokens into the feature of texts padded on the right."""
    tokens = "found.last_hidden_state" if layer is None else f"found.hidden_states[{layer}]"
    if pooling == "token":
        return f"feature = {tokens}[:, 0]"
    if pooling == "last":
        return (
            f'last = rows["attention_mask"].sum(1) - 1\nfeature = {tokens}[range(len(last)), last]'
        )
    return (
        'mask = rows["attention_mask"][:, :, None]\n'
        f"feature = ({tokens} * mask).sum(1) / mask.sum(1)"
    )


def _transformers(
    part: str, kind: str, path: Path, decodes: bool, how: tuple[str, int | None]
) -> str:
    head = {"image": "ForImageClassification", "text": "ForSequenceClassification"}[kind]
    model = f"AutoModel{head if part == 'finetune' else ''}"
    reader = {"image": "AutoImageProcessor", "text": "AutoTokenizer"}[kind]
    given = {"image": "image", "text": '["some text"], padding=True, truncation=True'}[kind]
    feature = {
        "image": "feature = found.pooler_output",
        "text": _pooled(*how),
    }[kind]
    states = ", output_hidden_states=True" if part == "encoder" and how[1] is not None else ""
    return (
        f"from transformers import {reader}, {model}\n"
        f'reader = {reader}.from_pretrained("{path}")\n'
        f'model = {model}.from_pretrained("{path}").eval(){".get_encoder()" * decodes}\n'
        f'rows = reader({given}, return_tensors="pt")\n'
        f"found = model(**rows{states})\n"
        + ("logits = found.logits" if part == "finetune" else feature)
    )


def _onnx(config: RunConfig, path: Path) -> str:
    head = (
        "import onnxruntime\n"
        f'session = onnxruntime.InferenceSession("{path}/model.onnx")\n'
        "facts = session.get_modelmeta().custom_metadata_map   # how inputs are made\n"
    )
    if isinstance(config.modality, ImageConfig):
        return head + 'output = session.run(None, {"image": pixels})[0]   # normalised, float32'
    return head + (
        "from transformers import AutoTokenizer\n"
        f'reader = AutoTokenizer.from_pretrained("{path}")\n'
        'rows = reader(["some text"], padding=True, return_tensors="np")\n'
        'names = ("input_ids", "attention_mask")\n'
        "output = session.run(None, {name: rows[name] for name in names})[0]"
    )
