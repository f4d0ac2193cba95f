"""The lines of code that load an export, as printed and as written on its card."""

from __future__ import annotations

from pathlib import Path

from unlabeled.config import AudioConfig, ImageConfig, RunConfig, SeriesConfig
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
    if isinstance(config.modality, AudioConfig):
        return sounds.usage(config.modality.form, to, path)
    if to == "timm":
        classes = "" if part == "finetune" else ", num_classes=0"
        return (
            "import timm\n"
            f'model = timm.create_model("local-dir:{path}", pretrained=True{classes}).eval()\n'
            "read = timm.data.create_transform(**timm.data.resolve_model_data_config(model))"
        )
    if to == "onnx":
        return _onnx(config, path)
    if to == "sentence-transformers":
        return (
            "from sentence_transformers import SentenceTransformer\n"
            f'model = SentenceTransformer("{path}")\n'
            'features = model.encode(["some text"])'
        )
    decodes = part == "encoder" and config.encoder.name.startswith(("hf:t5", "hf:bart"))
    return _transformers(part, config.data.kind, path, decodes)


def _transformers(part: str, kind: str, path: Path, decodes: bool) -> str:
    head = {"image": "ForImageClassification", "text": "ForSequenceClassification"}[kind]
    model = f"AutoModel{head if part == 'finetune' else ''}"
    reader = {"image": "AutoImageProcessor", "text": "AutoTokenizer"}[kind]
    given = {"image": "image", "text": '["some text"], padding=True, truncation=True'}[kind]
    feature = {
        "image": "feature = found.pooler_output",
        "text": 'mask = rows["attention_mask"][:, :, None]\n'
        "feature = (found.last_hidden_state * mask).sum(1) / mask.sum(1)",
    }[kind]
    return (
        f"from transformers import {reader}, {model}\n"
        f'reader = {reader}.from_pretrained("{path}")\n'
        f'model = {model}.from_pretrained("{path}").eval(){".get_encoder()" * decodes}\n'
        f'rows = reader({given}, return_tensors="pt")\n'
        "found = model(**rows)\n" + ("logits = found.logits" if part == "finetune" else feature)
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
