"""What is chosen for images."""

from __future__ import annotations

from unlabeled import config as configs
from unlabeled import duration, presets
from unlabeled.choices import Chooser, Request, released, short
from unlabeled.look import Look
from unlabeled.methods import catalogue


def choose(chooser: Chooser, seen: Look, method: str, request: Request) -> None:
    """Fill in how images are read and which network learns from them."""
    card = catalogue.describe(method)
    configs.check_section("modality", chooser.tree.get("modality", {}), configs.ImageConfig)
    made = released.read(chooser)
    if made is not None:
        released.choose(chooser, made, seen)
    size = int(chooser.choose("modality", "size", seen.size, seen.size_reason))
    chooser.choose("modality", "channels", seen.channels, seen.channels_reason)
    for option, (value, why) in seen.settings.items():
        chooser.choose("modality", option, value, why)
    chooser.choose("modality", "flip", True, "set it to false where left and right mean something")
    chooser.choose("modality", "mean", seen.mean, "measured on a sample of the data")
    chooser.choose("modality", "std", seen.std, "measured on a sample of the data")
    chooser.choose(
        "modality", "blur", size > 64, "blurring helps large images and harms small ones"
    )
    tokens = card.needs == "tokens"
    default = "timm:vit_tiny_patch16_224" if tokens else "timm:resnet18"
    reason = "hides tokens, so it needs a transformer" if tokens else "strong on small data"
    name = str(chooser.choose("encoder", "name", default, reason))
    if "init" in chooser.tree["encoder"]:
        released.spare(chooser, method)
    if made is not None:
        pass  # patches and stem are those of the weights
    elif name.startswith(("timm:vit", "timm:deit", "timm:eva")):
        edge = patch(size)
        chooser.choose("encoder", "patch", edge, f"{(size // edge) ** 2} patches of an image")
        if tokens and not card.class_token:
            chooser.choose("encoder", "pool", "avg", "no loss shapes the class token")
    elif name in SEVEN_BY_SEVEN and size <= 64:
        fine_stem(chooser, request)
    if name == "timm:resnet18" and made is None:
        narrow(chooser, request)
    chooser.choose("loop", "channels_last", True, "the fast layout for convolutions")


SEVEN_BY_SEVEN = frozenset(f"timm:resnet{depth}" for depth in (18, 34, 50, 101, 152))
"""Networks whose stem shrinks an image four times before they look at it."""


def fine_stem(chooser: Chooser, request: Request) -> None:
    """Choose a stem that keeps the resolution of small images, unless time is short."""
    from unlabeled import device

    seconds = short(request) if request.steps is None else None
    if seconds is not None and presets.coarse(seconds, device.cores(), device.fast_bf16()):
        why = f"{duration.words(seconds)} of this CPU: coarse maps, and more passes"
        chooser.choose("encoder", "small_stem", False, why)
    else:
        chooser.choose("encoder", "small_stem", True, "keeps resolution on small images")


def narrow(chooser: Chooser, request: Request) -> None:
    """Choose a network that sees every image several times within the budget of a CPU."""
    seconds = short(request)
    options = presets.network(seconds) if seconds is not None else {}
    if options:
        why = f"{duration.words(seconds or 0)} of a CPU: a smaller network sees more images"
        chooser.choose("encoder", "options", options, why)


def patch(size: int) -> int:
    """Return the edge of a patch: the largest that tiles the image with at least 7 a side."""
    return max(edge for edge in range(1, size + 1) if size % edge == 0 and size // edge >= 7)
