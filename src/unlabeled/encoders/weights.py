"""Reading weights into a timm network: safetensors only, sizes and channels adapted."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from unlabeled.encoders import stem
from unlabeled.encoders.blueprint import Blueprint
from unlabeled.errors import ConfigError, UsageError
from unlabeled.tensors import load_tensors


def load_exactly(model: Any, folder: Path, blueprint: Blueprint) -> None:
    """Load what `ImageEncoder.save` wrote, every weight of it.

    Raises:
        UsageError: the file is missing, damaged, or of another network.
    """
    state = _plain(_read(folder))
    try:
        state = stem.fold(state) if blueprint.small_stem else state
        model.load_state_dict({k: v for k, v in state.items() if not _of_head(model, k)})
    except (RuntimeError, ValueError, KeyError) as error:
        raise UsageError(f"{folder} does not hold the network it describes: {error}") from None


def start_from(model: Any, path: Path, blueprint: Blueprint) -> None:
    """Load pre-trained weights, fitted to the model's input size, patches and channels.

    Args:
        model: timm's network, changed in place.
        path: folder with ``model.safetensors``, or such a file.
        blueprint: of `model`.

    Raises:
        UsageError: there is no safetensors file.
        ConfigError: the weights are of another network.
    """
    state = _plain(_read(path))
    if blueprint.small_stem:
        state = _small_stem(state, path)
    refit = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if refit is not None:  # timm's: old names, positions and patches of another size
        state = refit(state, model)
    own = model.state_dict()
    for name in _first_convolutions(model):
        if name in state and name in own:
            state[name] = _fit_channels(state[name], own[name].shape[1])
    wrong = [
        name for name, x in own.items() if name not in state or state[name].shape != x.shape
    ] + [name for name in state if name not in own and not _of_head(model, name)]
    if wrong:
        raise ConfigError(
            f"The weights in {path} are not of 'timm:{blueprint.architecture}': {wrong[0]} "
            f"and {len(wrong) - 1} others do not fit. Give --init a folder of the same network, "
            f"or choose the network that the folder holds."
        )
    model.load_state_dict({name: state[name] for name in own})


def _read(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file, alone or in a folder."""
    file = path / "model.safetensors" if path.is_dir() else path
    if not file.is_file() or file.suffix != ".safetensors":
        raise UsageError(
            f"{path} holds no safetensors file. Weights are read from a local folder with "
            f"model.safetensors or from a .safetensors file; pickled files (.bin, .pt, .pth) "
            f"can run code and are never opened."
        )
    return load_tensors(file)


def _plain(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Drop the prefix under which transformers keeps timm's networks."""
    return {name.removeprefix("timm_model."): x for name, x in state.items()}


def _small_stem(state: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Return weights with a 3x3 stem, or refuse."""
    try:
        return stem.fold(state)
    except (KeyError, ValueError, IndexError):
        raise ConfigError(
            f"The weights in {path} have a 7x7 stem, which does not fit encoder.small_stem. "
            f"Set encoder.small_stem=false to start from them."
        ) from None


def _first_convolutions(model: Any) -> list[str]:
    names = model.pretrained_cfg.get("first_conv") or ()
    return [f"{name}.weight" for name in ([names] if isinstance(names, str) else names)]


def _fit_channels(weight: Tensor, channels: int) -> Tensor:
    """Repeat or sum the input channels of a convolution, keeping the size of its output.

    Args:
        weight: (D, I, h, w).
        channels: wanted in place of I.
    """
    given = weight.shape[1]
    if given == channels:
        return weight
    if channels == 1:
        return weight.sum(1, keepdim=True)
    repeats = -(-channels // given)
    return weight.repeat(1, repeats, 1, 1)[:, :channels] * (given / channels)


def _of_head(model: Any, name: str) -> bool:
    """Tell whether a weight belongs to a classifier or to a decoder that is not kept."""
    heads = model.pretrained_cfg.get("classifier") or ()
    heads = [heads] if isinstance(heads, str) else list(heads)
    return any(name.startswith(f"{head}.") for head in heads)
