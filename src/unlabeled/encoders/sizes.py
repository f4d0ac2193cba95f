"""Names of networks for text and steps: a family, and a size by name or by numbers."""

from __future__ import annotations

import re
from collections.abc import Collection

from unlabeled.encoders.families import FAMILIES
from unlabeled.errors import UsageError, nearest

SIZES = {
    "tiny": (2, 128),
    "mini": (4, 256),
    "small": (4, 512),
    "medium": (8, 512),
    "base": (12, 768),
}


def parse(name: str, families: Collection[str] = tuple(FAMILIES)) -> tuple[str, int, int, int]:
    """Return family, layers, width and heads of a name.

    Raises:
        UsageError: there is no such family or size.

    >>> parse("hf:bert-mini"), parse("hf:gpt2-4x128h4")
    (('bert', 4, 256, 4), ('gpt2', 4, 128, 4))
    """
    family, _, size = name.removeprefix("hf:").rpartition("-")
    shape = re.fullmatch(r"(\d+)x(\d+)(?:h(\d+))?", size)
    if family not in families or (size not in SIZES and shape is None):
        known = [f"hf:{f}-{s}" for f in families for s in SIZES]
        raise UsageError(
            f"encoder.name='{name}' is no such encoder.{nearest(name, known)} "
            f"Families: {', '.join(families)}; sizes: {', '.join(SIZES)}, or layers x width and "
            f"heads, such as hf:{next(iter(families))}-4x128h4."
        )
    layers, width = SIZES[size] if shape is None else (int(shape[1]), int(shape[2]))
    heads = int(shape[3]) if shape is not None and shape[3] else max(1, width // 64)
    if min(layers, width, heads) < 1 or width % (2 * heads):
        raise UsageError(
            f"encoder.name='{name}': {layers} layers of width {width} cannot have {heads} heads; "
            "the width of a head must be even."
        )
    return family, layers, width, heads
