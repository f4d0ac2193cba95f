"""What is chosen for clips."""

from __future__ import annotations

from unlabeled import config as configs
from unlabeled.choices import Chooser, Request, image, released
from unlabeled.look import Look
from unlabeled.methods import catalogue, load

_MOST, _SHORT, _A_SECOND, _FEW = 16, 4, 8.0, 40
"""Frames that are seen; how many times as many a clip has to which they are spread over all of it;
how many a second are seen of a longer one; places of a frame below which fewer are hidden."""


def choose(chooser: Chooser, seen: Look, method: str, request: Request) -> None:
    """Fill in how clips are read and which network learns from them."""
    configs.check_section("modality", chooser.tree.get("modality", {}), configs.VideoConfig)
    made = released.read(chooser)
    if made is not None:  # weights of an image network
        released.choose(chooser, made, seen)
    size = int(chooser.choose("modality", "size", seen.size, seen.size_reason))
    chooser.choose("modality", "channels", seen.channels, seen.channels_reason)
    length, rate = seen.details
    most = max(2, min(_MOST, length // 2 * 2))
    frames = int(chooser.choose("modality", "frames", most, f"half of the clips have {length:,}"))
    _stride(chooser, length, rate, frames)
    chooser.choose("modality", "mean", seen.mean, "measured on a sample of the data")
    chooser.choose("modality", "std", seen.std, "measured on a sample of the data")
    chooser.choose("modality", "flip", False, "set it to true where left and right mean the same")
    chooser.choose(
        "modality", "blur", size > 64, "blurring helps large frames and harms small ones"
    )
    if catalogue.describe(method).needs == "stills":
        chooser.choose("encoder", "name", "timm:resnet18", "looks at one frame at a time")
    name = chooser.choose("encoder", "name", "hf:videomae-4x192h3", "sees space and time at once")
    if str(name).startswith("timm:"):
        _still(chooser, str(name), size, method, request)
    elif "init" not in chooser.tree["encoder"]:
        edge = int(chooser.choose("encoder", "patch", patch(size), "pixels of a box"))
        _ratio(chooser, method, size // edge)
        length = 2 if frames % 2 == 0 else 1
        chooser.choose("encoder", "options", {"tubelet_size": length}, (
            f"frames of a box; {frames // length} x {(size // edge) ** 2} boxes of a clip"
        ))  # fmt: skip
    if load(method).recipe.get("name") == "sgd" and not str(name).startswith("timm:resnet"):
        chooser.choose("optim", "name", "adamw", "a transformer hardly learns by sgd")


def _still(chooser: Chooser, name: str, size: int, method: str, request: Request) -> None:
    """Choose what an image network is chosen for images of this size."""
    if "init" in chooser.tree["encoder"]:
        if catalogue.describe(method).needs == "stills":
            chooser.choose("optim", "hold", 0.0, f"{method} has no heads that must settle")
        released.spare(chooser, method)
        return
    if name.startswith(("timm:vit", "timm:deit", "timm:eva")):
        edge = image.patch(size)
        chooser.choose("encoder", "patch", edge, f"{(size // edge) ** 2} patches of a frame")
    elif name in image.SEVEN_BY_SEVEN and size <= 64:
        image.fine_stem(chooser, request)
    if name == "timm:resnet18":
        image.narrow(chooser, request)


def patch(size: int) -> int:
    """Return the edge of a box: the largest up to the paper's 16 with at least 4 a side.

    >>> patch(32), patch(64), patch(112)
    (8, 16, 16)
    """
    fitting = [edge for edge in range(1, 17) if size % edge == 0 and size // edge >= 4]
    return max(fitting or [1])


def _ratio(chooser: Chooser, method: str, side: int) -> None:
    """Hide less of few places: nine tenths of 16 would leave one."""
    if method == "videomae" and side**2 < _FEW:
        why = f"nine tenths of {side**2} places would leave too few"
        chooser.choose("method", "mask_ratio", 0.75, why)


def _stride(chooser: Chooser, length: int, rate: float, frames: int) -> None:
    if length <= _SHORT * frames:
        chooser.choose("modality", "stride", 0, "clips are short: frames are spread over each")
        return
    stride = max(1, round(rate / _A_SECOND)) if rate else 4
    chooser.choose("modality", "stride", stride, (
        f"about {_A_SECOND:.0f} frames a second" if rate else "no file says how fast it runs"
    ))  # fmt: skip
