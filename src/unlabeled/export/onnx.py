"""Write an encoder or a classifier as ONNX with a dynamic batch."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unlabeled.errors import MissingExtraError
from unlabeled.export.real import Reference
from unlabeled.export.reload import (
    classifies,
    config_of,
    enlarged,
    feature,
    noted,
    reading,
    tokenize,
)


class ImageFeature(nn.Module):
    """Normalised pixels -> feature, or logits of a classifier."""

    def __init__(self, model: nn.Module, classifier: bool) -> None:
        super().__init__()
        self.model, self.classifier = model, classifier

    def forward(self, image: Tensor) -> Tensor:
        """Return (B, D) or (B, K) of (B, C, H, W)."""
        found = self.model(pixel_values=image)
        return found.logits if self.classifier else found.pooler_output  # type: ignore[no-any-return]


class TextFeature(nn.Module):
    """Token ids and their mask -> feature, or logits of a classifier."""

    def __init__(self, model: nn.Module, classifier: bool, how: tuple[str, int | None]) -> None:
        super().__init__()
        self.model, self.classifier, self.how = model, classifier, how

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return (B, D) or (B, K) of two (B, T)."""
        if self.classifier:
            found = self.model(input_ids=input_ids, attention_mask=attention_mask)
            return found.logits  # type: ignore[no-any-return]
        return feature(self.model, input_ids, attention_mask, self.how)


def require() -> None:
    """Check that what ONNX needs is installed.

    Raises:
        MissingExtraError: with the command that installs it.
    """
    missing = [n for n in ("onnx", "onnxscript", "onnxruntime") if not importlib.util.find_spec(n)]
    if missing:
        raise MissingExtraError(
            f'Export to ONNX needs {", ".join(missing)}: pip install "unlabeled[onnx]"'
        )


def write(source: Path, target: Path, given: Reference) -> None:
    """Write ``target/model.onnx`` from a folder that transformers can load.

    Args:
        source: the folder.
        target: where to write.
        given: real inputs, with which the network is traced.
    """
    import transformers

    content = config_of(source)
    classifier = classifies(content)
    kind = "Image" if given.pixels is not None else "Sequence"
    name = f"AutoModelFor{kind}Classification" if classifier else "AutoModel"
    extra: dict[str, Any] = {} if given.pixels is not None else {"attn_implementation": "eager"}
    model = getattr(transformers, name).from_pretrained(source, **extra).eval()
    model = reading(model, classifier)
    output = "logits" if classifier else "feature"
    if given.pixels is not None:
        program = _trace(
            ImageFeature(model, classifier), {"image": enlarged(given.pixels, content)}, output
        )
        _note(program, content.get("pretrained_cfg", {}))
    else:
        module = TextFeature(model, classifier, noted(content))
        program = _trace(module, tokenize(source, given), output)
        _note(program, {"max_length": given.length})
    program.save(target / "model.onnx")


def _trace(module: nn.Module, inputs: dict[str, Tensor], output: str) -> Any:
    batch = torch.export.Dim("batch", min=1)
    tokens = torch.export.Dim("tokens", min=1)
    shapes = {name: {0: batch} if name == "image" else {0: batch, 1: tokens} for name in inputs}
    return torch.onnx.export(
        module.eval(),
        (),
        kwargs=inputs,
        dynamo=True,
        verbose=False,
        input_names=list(inputs),
        output_names=[output],
        dynamic_shapes=shapes,
    )


def _note(program: Any, facts: dict[str, Any]) -> None:
    """Keep in the file how inputs are made."""
    for key in ("mean", "std", "input_size", "max_length"):
        if key in facts:
            program.model.metadata_props[key] = json.dumps(facts[key])
