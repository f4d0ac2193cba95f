"""Image encoders: any transformer and any convolutional network of timm."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from unlabeled.config import EncoderConfig, ImageConfig
from unlabeled.encoders import stem, timm_folder, weights
from unlabeled.encoders.base import Encoder
from unlabeled.encoders.blueprint import Blueprint
from unlabeled.errors import ConfigError, UsageError, nearest
from unlabeled.nn import low_rank
from unlabeled.nn.kernels import choose_kernels

_TRANSFORMERS = (VisionTransformer, Eva)


class ImageEncoder(Encoder):
    """A timm network behind the three seams.

    A plain vision transformer, with registers or rotary positions (timm's Eva, which DINOv3 is
    of) if it has any, gives tokens that can be hidden. Every other network runs whole in `embed`,
    which flattens its last map to tokens, and its `blocks` do nothing.

    Args:
        blueprint: what was built.
        model: timm's network without a classifier.
        pretrained: whether its weights came from a file, so that no method starts them anew.
    """

    modality = "image"

    def __init__(self, blueprint: Blueprint, model: nn.Module, pretrained: bool) -> None:
        super().__init__()
        self.blueprint, self.pretrained = blueprint, pretrained
        self.modality = blueprint.kind
        self.model: Any = model
        self.name = f"timm:{blueprint.architecture}"
        width: Any = getattr(model, "head_hidden_size", None) or model.num_features
        self.dim = int(width)
        self.hides_tokens = isinstance(model, _TRANSFORMERS)
        self._is_map = False  # whether timm's features are maps; known once it has run
        self.num_prefix = int(getattr(model, "num_prefix_tokens", 0))

    @property
    def patch(self) -> int:
        """Edge of a patch in pixels, for encoders that hide tokens."""
        return int(self.model.patch_embed.patch_size[0])

    def embed(self, x: Tensor, hidden: Tensor | None = None, token: Tensor | None = None) -> Tensor:
        """Turn images (B, C, H, W) into tokens with their positions, (B, N, D).

        Args:
            x: images.
            hidden: (B, N) bool, patches in whose place stands `token`, at their positions
                (encoders that hide tokens only).
            token: (D,), given with `hidden`.
        """
        model = self.model
        if self.hides_tokens:
            patches = model.patch_embed(x)  # (B, N, D), or (B, H, W, D)
            if hidden is not None and token is not None:
                where = hidden.reshape(*patches.shape[:-1], 1)
                patches = torch.where(where, token.to(patches.dtype), patches)
            placed = model._pos_embed(patches)  # Eva's rotary angles belong to `layers`
            tokens: Tensor = model.norm_pre(placed[0] if isinstance(placed, tuple) else placed)
            return tokens
        return self._flatten(model.forward_features(x))

    def blocks(
        self, tokens: Tensor, layout: Tensor | None = None, places: Tensor | None = None
    ) -> Tensor:
        """Let any subset of a transformer's tokens attend to each other, (B, N, D).

        Args:
            tokens: (B, N, D), the prefix first.
            layout: (B, N) bool, which tokens are real, where samples differ in their number.
            places: (B, M) which patches of the whole image are given; all where it is absent.
        """
        if not self.hides_tokens:
            return tokens
        for out in self.layers(tokens, layout, places):
            tokens = out
        normalised: Tensor = self.model.norm(tokens)
        return normalised

    def layers(
        self, tokens: Tensor, layout: Tensor | None = None, places: Tensor | None = None
    ) -> Iterator[Tensor]:
        """Yield what each block of a transformer puts out, not normalised, (B, N, D)."""
        given: dict[str, Any] = {}
        if layout is not None:
            given["attn_mask"] = layout[:, None, None]  # (B, 1, 1, N)
        angles = self._angles(tokens.shape[1] - self.num_prefix, places)
        for number, block in enumerate(self.model.blocks):
            if angles is not None:
                mixed = getattr(self.model, "rope_mixed", False)
                given["rope"] = angles[number] if mixed else angles
            tokens = block(tokens, **given)
            yield tokens

    def _angles(self, count: int, places: Tensor | None) -> Tensor | None:
        """Return rotary positions of the patches given, None for a network without them.

        (N, d) or (B, 1, M, d); with an axis for each block in front, and one for each head, where
        the network learned its angles.
        """
        rope = getattr(self.model, "rope", None)
        if rope is None:
            return None
        side = math.isqrt(count) if places is None else self.blueprint.size // self.patch
        angles: Tensor = rope.get_embed(shape=(side, side))
        if places is None:
            return angles
        picked = angles[..., places, :]  # ([L, heads,] B, M, d)
        return picked.unsqueeze(1) if picked.ndim == 4 - 1 else picked.transpose(1, 2)

    def feature_and_patches(
        self, x: Tensor, hidden: Tensor | None = None, token: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the feature (B, D) and what became of each patch (B, N, D); see `embed`."""
        tokens = self.blocks(self.embed(x, hidden, token))
        return self.pool(tokens), tokens[:, self.num_prefix :]

    def maps(self, x: Tensor) -> Tensor:
        """Return what became of each place of square images, (B, C, E, E) -> (B, H, W, D)."""
        patches = self.tokens(x)[:, self.num_prefix :]
        side = math.isqrt(patches.shape[1])
        return patches.reshape(len(patches), side, side, -1)

    def attention(self, x: Tensor) -> Tensor:
        """Return where the last block of a transformer looks, (B, C, E, E) -> (B, heads, H, W).

        From the class token, or where there is none from all patches on average; summed over
        patches it is what the other prefix tokens leave of 1.
        """
        seen: list[Tensor] = []
        last = self.model.blocks[-1].attn
        fused, last.fused_attn = last.fused_attn, False
        hook = last.attn_drop.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        try:
            self.tokens(x)
        finally:
            hook.remove()
            last.fused_attn = fused
        first = self.num_prefix
        own = getattr(self.model, "cls_token", None) is not None
        looks = seen[0][:, :, 0] if own else seen[0][:, :, first:].mean(2)  # (B, heads, N)
        side = math.isqrt(looks.shape[2] - first)
        return looks[:, :, first:].reshape(*looks.shape[:2], side, side)

    def pool(self, tokens: Tensor) -> Tensor:
        """Reduce tokens to timm's feature before a classifier, (B, N, D) -> (B, D)."""
        feature: Tensor = self.model.forward_head(self._unflatten(tokens), pre_logits=True)
        return feature

    def place(self, grid: Tensor, prefix: Tensor) -> None:
        """Fix a transformer's positions: they are added as given and not trained.

        Args:
            grid: (N, D), a position for each patch.
            prefix: (P, D), for the tokens before the patches.
        """
        table = self.model.pos_embed  # (1, P + N, D), or (1, N, D) without prefix
        if table is None:  # rotary positions are fixed as they are
            return
        rows = grid if table.shape[1] == len(grid) else torch.cat([prefix, grid])
        table.data.copy_(rows[None])
        table.requires_grad_(False)

    def save(self, folder: Path) -> None:
        """Write a folder that timm and transformers open."""
        timm_folder.write(folder, low_rank.merged(self.model), self.blueprint)

    def _flatten(self, maps: Tensor) -> Tensor:
        """Turn whatever timm calls features into (B, N, D)."""
        self._is_map = maps.ndim == 4
        if not self._is_map:
            return maps
        if self._channels_last_output:
            return maps.flatten(1, 2)
        return maps.flatten(2).transpose(1, 2)

    def _unflatten(self, tokens: Tensor) -> Tensor:
        if not self._is_map:
            return tokens
        side = math.isqrt(tokens.shape[1])
        grid = (side, side) if side * side == tokens.shape[1] else (tokens.shape[1], 1)
        if self._channels_last_output:
            return tokens.reshape(len(tokens), *grid, -1)
        return tokens.transpose(1, 2).reshape(len(tokens), -1, *grid)

    @property
    def _channels_last_output(self) -> bool:
        return str(getattr(self.model, "output_fmt", "NCHW")) == "NHWC"


def build(config: EncoderConfig, image: ImageConfig, vocab_size: int | None = None) -> ImageEncoder:
    """Build a timm network for images of `image.size` and `image.channels`.

    Raises:
        UsageError: timm has no such network.
        ConfigError: an option does not fit it.
    """
    name = _known(config.name)
    wanted = _options(config, image)
    blueprint = Blueprint(
        architecture=name,
        model_args=_accepted(name, wanted, config),
        small_stem=config.small_stem,
        size=image.size,
        mean=_per_channel(image.mean, image.channels),
        std=_per_channel(image.std, image.channels),
    )
    model = realise(blueprint, drop_path=config.drop_path)
    _check_size(model, blueprint)
    if config.init is not None:
        weights.start_from(model, Path(config.init), blueprint)
    if config.lora:
        low_rank.attach(model, 0, config.lora)
    return ImageEncoder(blueprint, model, pretrained=config.init is not None)


def load(folder: Path) -> ImageEncoder:
    """Open a folder that `ImageEncoder.save` or timm wrote.

    Raises:
        UsageError: it does not hold a timm network in safetensors.
    """
    blueprint = timm_folder.read(folder)
    _known(blueprint.architecture)
    model = realise(blueprint)
    weights.load_exactly(model, folder, blueprint)
    return ImageEncoder(blueprint, model, pretrained=True)


def realise(blueprint: Blueprint, drop_path: float = 0.0) -> nn.Module:
    """Make the network of a blueprint with fresh weights."""
    args = dict(blueprint.model_args)
    if drop_path:
        args["drop_path_rate"] = drop_path
    model: nn.Module = timm.create_model(
        blueprint.architecture, num_classes=0, in_chans=blueprint.channels, **args
    )
    if blueprint.small_stem:
        if not stem.fits(model):
            raise ConfigError(
                f"encoder.small_stem replaces the 7x7 stem of a ResNet, but "
                f"'timm:{blueprint.architecture}' has another one. Set encoder.small_stem=false "
                f"(for a ConvNeXt, encoder.patch=2 does the same), or take timm:resnet18."
            )
        stem.shrink(model)
    choose_kernels(model)
    return model


def _check_size(model: nn.Module, blueprint: Blueprint) -> None:
    """Run the network on an image without memory.

    Raises:
        ConfigError: the images are too small for it.
    """
    shape = (1, blueprint.channels, blueprint.size, blueprint.size)
    try:
        with torch.device("meta"), torch.no_grad():
            copy.deepcopy(model).to("meta").eval()(torch.empty(shape))
    except RuntimeError as error:
        raise ConfigError(
            f"'timm:{blueprint.architecture}' cannot work on images of {blueprint.size} pixels: "
            f"{str(error).splitlines()[0]} Raise modality.size, or choose a network for small "
            "images, such as timm:resnet18 with encoder.small_stem=true."
        ) from None


def _known(name: str) -> str:
    """Return timm's name.

    Raises:
        UsageError: there is none.
    """
    bare = name.removeprefix("timm:")
    if ":" in bare or not timm.is_model(bare):
        guess = nearest(bare, timm.list_models()).replace("'", "'timm:", 1)
        raise UsageError(
            f"There is no image encoder '{name}'.{guess} Any network that timm lists works, "
            f"written timm:NAME, such as timm:resnet18 or timm:vit_tiny_patch16_224."
        )
    return str(bare)


def _options(config: EncoderConfig, image: ImageConfig) -> dict[str, Any]:
    """Return what timm is asked for, whether or not the network knows it."""
    wanted: dict[str, Any] = {"img_size": image.size, "dynamic_img_size": True}
    if config.patch is not None:
        wanted["patch_size"] = config.patch
    if config.pool == "last" or config.layer is not None:
        raise ConfigError(
            "encoder.pool=last and encoder.layer are for text. An image encoder pools by avg "
            "or token, from its last layer."
        )
    if config.pool is not None:
        wanted["global_pool"] = config.pool
        if config.pool == "avg":
            # Normalise tokens, then average, so that tokens stay usable; each has its own word.
            wanted["fc_norm"] = wanted["use_fc_norm"] = False
    if config.drop_path:
        wanted["drop_path_rate"] = config.drop_path
    return {**wanted, **config.options}


def _accepted(name: str, wanted: dict[str, Any], config: EncoderConfig) -> dict[str, Any]:
    """Return the options that the network knows, without those that only training needs.

    Raises:
        ConfigError: it does not know one that was asked for, or a size does not fit.
    """
    args = dict(wanted)
    while True:
        try:
            with torch.device("meta"):  # no memory, no random numbers
                model = timm.create_model(name, num_classes=0, **args)
            break
        except TypeError as error:
            unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
            if unknown is None or args.pop(unknown[1], None) is None:
                raise
            _refuse_if_asked(name, unknown[1], config)
        except (AssertionError, ValueError) as error:
            raise ConfigError(f"timm cannot build '{name}' with {args}: {error}.") from None
    if isinstance(model, _TRANSFORMERS):
        _check_grid(name, wanted["img_size"], int(model.patch_embed.patch_size[0]))
    args.pop("drop_path_rate", None)
    return args


def _refuse_if_asked(name: str, option: str, config: EncoderConfig) -> None:
    """Raise for an option of ours that the network does not know."""
    ours = {"patch_size": "patch", "global_pool": "pool", "drop_path_rate": "drop_path"}
    if option in config.options:
        raise ConfigError(
            f"encoder.options.{option} is no argument of 'timm:{name}'. Leave it out, or choose "
            f"another encoder."
        )
    if option in ours:
        given = getattr(config, ours[option])
        raise ConfigError(
            f"encoder.{ours[option]}={given} does not apply to 'timm:{name}', which has no such "
            f"option. Leave it out, or choose another encoder."
        )


def _check_grid(name: str, size: int, patch: int) -> None:
    """Raise if patches do not tile the image."""
    if size % patch:
        fitting = [edge for edge in range(1, size) if size % edge == 0 and size // edge >= 2]
        raise ConfigError(
            f"'timm:{name}' cuts patches of {patch} pixels, which do not tile images of {size}. "
            f"Set encoder.patch to one of {', '.join(map(str, fitting))}, or change modality.size."
        )


def _per_channel(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """Repeat a single value for every channel."""
    if len(values) not in (1, channels):
        raise ConfigError(
            f"modality.mean and modality.std hold {len(values)} values for {channels} channels. "
            f"Give one value, or one a channel."
        )
    return values * channels if len(values) == 1 else values
