"""What patch features say of places: a linear probe, a light decoder and label propagation.

A few images have masks. Each patch of them is a labelled row: a linear probe is fitted to patches
(as DINOv2 evaluates, arXiv:2304.07193, section 7.4), or a patch takes the classes of its nearest
patches in the annotated images (as DINO evaluates, arXiv:2104.14294, section 4.2.2, on still
images). A light decoder sees neighbours too (see `dense_decoder`). Scores of patches are enlarged
bilinearly and compared with the mask pixel by pixel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from unlabeled import rng
from unlabeled.data.folder import read_regular
from unlabeled.errors import DataError, UsageError
from unlabeled.journal import write_json
from unlabeled.modalities.base import Modality
from unlabeled.transfer.dense_decoder import decode
from unlabeled.transfer.features import Inputs, Payloads, said_bad
from unlabeled.transfer.segments import IGNORED, linear, mean_iou, shares
from unlabeled.transfer.stats import interval

if TYPE_CHECKING:
    from unlabeled.runs import Run

NEIGHBOURS, TEMPERATURE = 20, 0.07
DRAWS = 3
_MAX_CLASSES = 64


@dataclass(frozen=True)
class Scenes:
    """Annotated images.

    Args:
        inputs: (N, C, E, E) as the encoder sees them.
        masks: (N, E, E) int64 classes, `IGNORED` where nothing is said.
        classes: K values of the masks, ascending; classes are positions in it.
        notes: what was left out.
    """

    inputs: Tensor
    masks: Tensor
    classes: list[int]
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Row:
    """A score on the images that are not annotated.

    Args:
        features: pre-trained, untrained or colours.
        reading: probe, decoder or propagation.
        images: annotated images.
        mean: of the mean intersection over union, over draws of the annotated images.
        low: end of its 95 % interval, None for one draw.
        high: the other.
        steps: of the decoder in each draw, chosen on annotated images; 0 is the probe.
    """

    features: str
    reading: str
    images: int
    mean: float
    low: float | None
    high: float | None
    steps: list[int] = field(default_factory=list)


def read_masks(run: Run, folder: Path) -> Scenes:
    """Read the images of a run that have a mask of the same name in `folder`.

    A mask is a PNG whose values are classes (palettes are read as numbers); it is cut and made
    smaller as its image is: the largest centred square.

    Raises:
        UsageError: fewer than four images have one.
    """
    source, modality = run.source(), run.modality()
    found = {p.relative_to(folder).with_suffix("").as_posix(): p for p in folder.rglob("*.png")}
    names = [Path(source.name(index)).with_suffix("").as_posix() for index in range(len(source))]
    places = [index for index, name in enumerate(names) if name in found]
    if len(places) < 4:
        raise UsageError(
            f"{len(places)} of {len(names)} images have a mask in {folder}; at least 4 are needed. "
            "A mask is a PNG with the path of its image."
        )
    inputs = Inputs(source, places, modality)
    edge = inputs.cuts.shape[-1]
    values = np.stack([_mask(found[names[int(index)]], edge) for index in inputs.indices])
    classes = sorted(set(np.unique(values).tolist()) - {IGNORED})
    if not 2 <= len(classes) <= _MAX_CLASSES:
        raise UsageError(
            f"The masks hold {len(classes)} classes; 2 to {_MAX_CLASSES} are expected."
        )
    table = np.full(256, IGNORED)
    table[classes] = range(len(classes))
    notes, alone = said_bad(inputs.bad, "images with a mask"), sorted(found.keys() - set(names))
    if alone:
        notes.append(f"{len(alone)} masks are of no image of the run (first: {found[alone[0]]}).")
    return Scenes(inputs.plain(slice(None)), torch.from_numpy(table[values]), classes, notes)


def _mask(path: Path, edge: int) -> NDArray[np.uint8]:
    import io

    try:
        with Image.open(io.BytesIO(read_regular(str(path))), formats=("PNG",)) as image:
            if image.mode not in ("L", "P", "1"):
                raise DataError(f"it is {image.mode}, not one class a pixel")
            still = Image.fromarray(np.asarray(image).astype(np.uint8))
    except (DataError, OSError, ValueError, SyntaxError) as error:
        raise UsageError(f"The mask {path} cannot be used: {error}.") from None
    side = min(still.size)
    left, top = (still.width - side) // 2, (still.height - side) // 2
    square = still.crop((left, top, left + side, top + side))
    return np.asarray(square.resize((edge, edge), Image.Resampling.NEAREST))


def probe(maps: Tensor, masks: Tensor, others: Tensor, num_classes: int) -> Tensor:
    """Fit a linear classifier to annotated patches and score others.

    Args:
        maps: (A, H, W, D) patch features of annotated images.
        masks: (A, E, E).
        others: (M, H, W, D).
        num_classes: K.

    Returns:
        (M, H, W, K) logits.
    """
    scaler, weight, bias = linear(maps, masks, num_classes)
    scores = scaler(others.flatten(0, 2).numpy()) @ weight + bias
    return torch.from_numpy(np.asarray(scores, np.float32)).view(*others.shape[:3], -1)


def propagate(maps: Tensor, masks: Tensor, others: Tensor, num_classes: int) -> Tensor:
    """Let each patch take the classes of its nearest annotated patches; arguments as `probe`.

    Returns:
        (M, H, W, K) shares: weights exp(cosine / 0.07) over the 20 nearest.
    """
    part = shares(masks, maps.shape[1], num_classes).flatten(0, 2)
    known = part.sum(1) > 0.5
    bank, part = F.normalize(maps.flatten(0, 2)[known], dim=1), part[known]
    found = []
    for image in others:
        likeness = F.normalize(image.flatten(0, 1), dim=1) @ bank.T  # (H W, P)
        near, index = likeness.topk(min(NEIGHBOURS, len(bank)), dim=1)
        weight = (near / TEMPERATURE).softmax(1)
        found.append((weight[..., None] * part[index]).sum(1).view(*image.shape[:2], -1))
    return torch.stack(found)


@torch.inference_mode()
def patch_maps(encoder: Any, inputs: Tensor, batch_size: int = 64) -> Tensor:
    """Return the patch features of images, (N, C, E, E) -> (N, H, W, D)."""
    encoder.eval()
    return torch.cat([encoder.maps(x).float() for x in torch.split(inputs, batch_size)])


def maps_of(
    encoder: Any,
    modality: Modality,
    payloads: Sequence[Any],
    batch_size: int = 64,
    names: Sequence[str] | None = None,
) -> NDArray[np.float32]:
    """Return the patch features of encoded images, (N, H, W, D); `names` are the images'.

    Raises:
        UsageError: the encoder is not one of images.
        DataError: a sample cannot be read.
    """
    require_maps(encoder)
    inputs = Inputs(Payloads(payloads, names), range(len(payloads)), modality)
    if inputs.bad:
        raise DataError(f"{inputs.bad[0][0]} cannot be read: {inputs.bad[0][1]}")
    return patch_maps(encoder, inputs.plain(slice(None)), batch_size).numpy()


def require_maps(encoder: Any) -> None:
    """Refuse an encoder without places.

    Raises:
        UsageError: with the sentence to print.
    """
    if encoder.modality != "image":
        raise UsageError(
            f"Dense features are of images; this is an encoder of {encoder.modality}. "
            "Leave out --dense or --masks."
        )


def measure(
    scenes: Scenes, maps: Mapping[str, Tensor], counts: Sequence[int], seed: int = 0
) -> list[Row]:
    """Score every kind of features; a half of the images, the same for all, is scored on.

    Args:
        scenes: N annotated images.
        maps: (N, H, W, D) by the name of the features.
        counts: how many images of the other half are annotated; more than there are means all.
        seed: of the halves and the draws.
    """
    order = rng.generator(rng.mix(seed, 0xDE)).permutation(len(scenes.masks))
    pool, rest = np.array_split(order, 2)
    found = []
    for count in sorted({min(count, len(pool)) for count in counts}):
        draws = DRAWS if count < len(pool) else 1
        chosen = [
            rng.generator(rng.mix(seed, count, d)).permutation(pool)[:count] for d in range(draws)
        ]
        for name, every in maps.items():
            for reading in ("probe", "decoder", "propagation"):
                made = [
                    _read(
                        reading, every[rows], scenes.masks[rows], every[rest], len(scenes.classes)
                    )
                    for rows in chosen
                ]
                scores = [mean_iou(said, scenes.masks[rest]) for said, _ in made]
                steps = [step for _, step in made if step is not None]
                found.append(_row(name, reading, count, scores, steps))
    return found


def _read(
    reading: str, maps: Tensor, masks: Tensor, others: Tensor, num_classes: int
) -> tuple[Tensor, int | None]:
    """Return the scores of patches, and the steps of a decoder."""
    if reading == "decoder":
        return decode(maps, masks, others, num_classes)
    read = {"probe": probe, "propagation": propagate}[reading]
    return read(maps, masks, others, num_classes), None


def _row(name: str, reading: str, count: int, scores: list[float], steps: list[int]) -> Row:
    seen = interval(np.asarray(scores)[:, None])
    return Row(name, reading, count, seen.mean, seen.low, seen.high, steps)


def evaluate_masks(
    run: Run, folder: Path, counts: Sequence[int], seed: int = 0
) -> tuple[list[Row], list[str]]:
    """Compare patch features of a run with those before training and with colours.

    Args:
        run: of images.
        folder: of the masks.
        counts: annotated images that are learned from.
        seed: of halves and draws.

    Returns:
        The scores, and what a person should know.

    Raises:
        UsageError: there are too few masks, or the encoder has no maps.
    """
    encoder, fresh = run.encoder(), run.untrained(run.config.loop.seed)
    require_maps(encoder)
    scenes = read_masks(run, folder)
    ours = patch_maps(encoder, scenes.inputs)
    colours = F.adaptive_avg_pool2d(scenes.inputs, ours.shape[1]).permute(0, 2, 3, 1)
    maps = {"pre-trained": ours, "untrained": patch_maps(fresh, scenes.inputs), "colours": colours}
    rows = measure(scenes, maps, counts, seed)
    (run.folder / "evaluate").mkdir(exist_ok=True)
    record = {
        "classes": scenes.classes,
        "images": len(scenes.masks),
        "side": ours.shape[1],
        "rows": [vars(row) for row in rows],
        "notes": scenes.notes,
    }
    write_json(run.folder / "evaluate" / "dense.json", record)
    return rows, scenes.notes
