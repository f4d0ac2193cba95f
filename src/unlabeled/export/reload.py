"""Load an export with the library that it is for, and compute what it gives for real samples.

Nothing of ours takes part: what works here works where this package is not installed.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unlabeled.export import sounds
from unlabeled.export.real import Reference
from unlabeled.export.sentence import POOLING_MODES


@contextmanager
def quiet() -> Iterator[None]:
    """Keep libraries from reporting what is of no concern to the user."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(before)
        logging.enable_progress_bar()


def mean_pool(tokens: Tensor, mask: Tensor) -> Tensor:
    """Average the tokens that are not padding, (B, T, D), (B, T) -> (B, D)."""
    weight = mask[:, :, None].to(tokens.dtype)
    return (tokens * weight).sum(1) / weight.sum(1).clamp(min=1e-9)


def noted(content: dict[str, Any]) -> tuple[str, int | None]:
    """Return how a ``config.json`` says that text is pooled, and from which layer."""
    note = dict(content.get("unlabeled") or {})
    return str(note.get("pool") or "avg"), note.get("layer")


def feature(model: nn.Module, ids: Tensor, mask: Tensor, how: tuple[str, int | None]) -> Tensor:
    """Return features of texts padded on the right, (B, T), (B, T) -> (B, D)."""
    pooling, layer = how
    found = model(input_ids=ids, attention_mask=mask, output_hidden_states=layer is not None)
    tokens = found.last_hidden_state if layer is None else found.hidden_states[layer]
    if pooling == "token":
        return tokens[:, 0]  # type: ignore[no-any-return]
    if pooling == "last":
        last = (mask.sum(1) - 1)[:, None, None].expand(-1, 1, tokens.shape[2])
        return tokens.gather(1, last)[:, 0]  # type: ignore[no-any-return]
    return mean_pool(tokens, mask)


def tokenize(folder: Path, given: Reference) -> dict[str, Tensor]:
    """Turn texts into padded token ids with the exported tokenizer."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = tokenizer(
        list(given.texts),
        padding=True,
        truncation=True,
        max_length=given.length,
        return_tensors="pt",
    )
    return {name: rows[name] for name in ("input_ids", "attention_mask")}


def enlarged(pixels: Tensor | None, content: dict[str, Any]) -> Tensor:
    """Repeat pixels to the size that the exported model wants, a multiple of ours.

    A stem for small images is written as one for images enlarged by box interpolation.
    """
    assert pixels is not None
    wanted = int(content.get("pretrained_cfg", {}).get("input_size", pixels.shape[1:])[-1])
    times = max(1, wanted // pixels.shape[-1])
    return pixels.repeat_interleave(times, 2).repeat_interleave(times, 3)


def by_frame(see: Callable[[Tensor], Tensor], pixels: Tensor | None) -> Tensor:
    """Return features of images (B, C, H, W), or of clips (B, T, C, H, W) the mean of frames'."""
    assert pixels is not None
    if pixels.ndim == 4:
        return see(pixels)
    found = see(pixels.flatten(0, 1))  # (B T, D)
    return found.reshape(*pixels.shape[:2], -1).mean(1)


def config_of(folder: Path) -> dict[str, Any]:
    """Read ``config.json``."""
    return dict(json.loads((folder / "config.json").read_text(encoding="utf-8")))


@torch.inference_mode()
def with_timm(folder: Path, given: Reference) -> NDArray[np.float32]:
    """Load with ``timm.create_model("local-dir:...")``."""
    import timm

    if given.sounds:
        return sounds.with_timm(folder, given.sounds)
    content = config_of(folder)
    keep = {} if classifies(content) else {"num_classes": 0}
    model = timm.create_model(f"local-dir:{folder}", pretrained=True, **keep).eval()
    return _array(by_frame(lambda x: model(enlarged(x, content)), given.pixels))


@torch.inference_mode()
def with_transformers(folder: Path, given: Reference) -> NDArray[np.float32]:
    """Load with `AutoModel`, or the model for classification where the folder holds one."""
    import transformers

    if given.sounds:
        return sounds.with_library(folder, given.sounds)
    if given.logs:  # by the page that lies beside the weights; it knows torch and transformers
        from unlabeled.encoders import read_logs

        model = read_logs.load(str(folder))
        return np.stack([_array(read_logs.features(model, log)) for log in given.logs])
    content = config_of(folder)
    classifier = classifies(content)
    stills = "architecture" in content
    if given.pixels is not None and given.pixels.ndim == 5 and not stills:  # clips
        model = transformers.AutoModel.from_pretrained(folder).eval()
        return _array(model(pixel_values=given.pixels).last_hidden_state.mean(1))
    if given.pixels is not None:
        name = "AutoModelForImageClassification" if classifier else "AutoModel"
        model = getattr(transformers, name).from_pretrained(folder).eval()
        if classifier:
            return _array(model(pixel_values=enlarged(given.pixels, content)).logits)
        see = lambda x: model(pixel_values=enlarged(x, content)).pooler_output  # noqa: E731
        return _array(by_frame(see, given.pixels))
    name = "AutoModelForSequenceClassification" if classifier else "AutoModel"
    model = reading(getattr(transformers, name).from_pretrained(folder).eval(), classifier)
    rows = tokenize(folder, given)
    if classifier:
        return _array(model(**rows).logits)
    return _array(feature(model, rows["input_ids"], rows["attention_mask"], noted(content)))


def reading(model: Any, classifier: bool) -> Any:
    """Return the part that gives features: of an encoder and a decoder, the encoder."""
    decodes = getattr(model.config, "is_encoder_decoder", False) and not classifier
    return model.get_encoder() if decodes else model


def classifies(content: dict[str, Any]) -> bool:
    """Say whether a ``config.json`` is of a classifier."""
    names = content.get("architectures") or []
    if any(str(name).endswith("Classification") for name in names):
        return True
    return int(content.get("num_classes") or 0) > 0


def with_onnxruntime(folder: Path, given: Reference) -> NDArray[np.float32]:
    """Load ``model.onnx``; a second call with one sample checks that the batch is dynamic."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        folder / "model.onnx", options, providers=["CPUExecutionProvider"]
    )
    if given.pixels is not None:
        shape = session.get_inputs()[0].shape
        content = {"pretrained_cfg": {"input_size": shape[1:]}}
        rows = {"image": enlarged(given.pixels, content)}
    else:
        rows = tokenize(folder, given)
    feeds = {name: np.asarray(x) for name, x in rows.items()}
    found = session.run(None, feeds)[0]
    alone = session.run(None, {name: x[:1] for name, x in feeds.items()})[0]
    return np.concatenate([alone, found[1:]]).astype(np.float32)


def with_sentence_transformers(folder: Path, given: Reference) -> NDArray[np.float32]:
    """Load as a `SentenceTransformer`; by its files with transformers where it is absent."""
    if importlib.util.find_spec("sentence_transformers") is None:
        return _by_modules(folder, given)
    library = importlib.import_module("sentence_transformers")
    model = library.SentenceTransformer(str(folder), device="cpu")
    return np.asarray(model.encode(list(given.texts)), dtype=np.float32)


@torch.inference_mode()
def _by_modules(folder: Path, given: Reference) -> NDArray[np.float32]:
    """Do what ``modules.json`` says: a transformer, a pooling, perhaps a linear layer."""
    from transformers import AutoModel

    modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    transformer, pooling, *dense = (folder / module["path"] for module in modules)
    pool = json.loads((pooling / "config.json").read_text(encoding="utf-8"))
    how = next(word for word, mode in POOLING_MODES.items() if pool[mode])
    model = reading(AutoModel.from_pretrained(transformer).eval(), False)
    rows = tokenize(transformer, given)
    found = feature(model, rows["input_ids"], rows["attention_mask"], (how, None))
    for layer in dense:
        from safetensors.torch import load_file

        parts = load_file(layer / "model.safetensors")
        found = found @ parts["linear.weight"].T + parts["linear.bias"]
    return _array(found)


def _array(x: Tensor) -> NDArray[np.float32]:
    return x.float().numpy()
