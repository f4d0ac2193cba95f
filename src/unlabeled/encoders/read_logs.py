"""Features of logs from this folder, with torch and transformers alone.

    from read_logs import features, load
    model = load(".")
    features(model, log)          # log: a float array (steps, channels), NaN where missing

Channels, their order, means and deviations stand in config.json under "unlabeled".
"""

from typing import Any

import numpy as np
import torch
from transformers import AutoModel


def load(folder: str = ".") -> Any:
    """Return the model, in eval mode."""
    return AutoModel.from_pretrained(folder).eval()


def steps(model: Any, log: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Return normalised channels and flags of what was measured, (T, C) each."""
    reads = model.config.unlabeled["modality"]
    log = torch.as_tensor(np.asarray(log, np.float32))
    start = max(0, (len(log) - reads["length"]) // 2)  # the middle, if it is too long
    log = log[start : start + reads["length"]]
    values = ((log - torch.tensor(reads["mean"])) / torch.tensor(reads["std"])).clamp(-1000, 1000)
    there = ~values.isnan()
    return torch.where(there, values, 0.0), there.float()


def tokens(model: Any, log: Any) -> torch.Tensor:
    """Return what tokens contain, (N, values): channels and flags of `stack` steps each."""
    stack = model.config.unlabeled["stack"]
    both = torch.cat(steps(model, log), 1)  # (T, 2 C)
    both = torch.nn.functional.pad(both, (0, 0, 0, -len(both) % stack))
    return both.reshape(-1, stack * both.shape[1])


@torch.inference_mode()
def features(model: Any, log: Any) -> torch.Tensor:
    """Return the feature of a log, (D,): the mean over tokens that hold a number."""
    if model.config.model_type == "patchtst":
        return _of_patches(model, log)
    given = tokens(model, log)
    stack = model.config.unlabeled["stack"]
    flags = given.reshape(len(given), stack, 2, -1)[:, :, 1].amax((1, 2)) > 0.5  # (N,)
    last = int(flags.nonzero().max()) + 1 if flags.any() else 1
    given, flags = given[:last], flags[:last]
    embedded = (given @ model.get_input_embeddings().weight)[None]
    found = model(inputs_embeds=embedded).last_hidden_state[0]  # (N, D)
    mean: torch.Tensor = (found * flags[:, None]).sum(0) / flags.sum().clamp(min=1)
    return mean


def _of_patches(model: Any, log: Any) -> torch.Tensor:
    """Return the feature of a log that is read in patches of channels apart, (C D,)."""
    settings = model.config
    values, flags = (
        torch.nn.functional.pad(x, (0, 0, 0, settings.context_length - len(x)))
        for x in steps(model, log)
    )
    means = (values * flags).sum(0) / flags.sum(0).clamp(min=1)
    values = torch.where(flags > 0.5, values, means)  # what is missing is the channel's mean
    found = model(past_values=values[None], past_observed_mask=flags[None]).last_hidden_state[0]
    held = flags.reshape(-1, settings.patch_length, flags.shape[1]).amax(1)  # (N, C)
    held = held.T[..., None]  # (C, N, 1)
    mean: torch.Tensor = (found * held).sum(1) / held.sum(1).clamp(min=1)
    return mean.flatten()
