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


def tokens(model: Any, log: Any) -> torch.Tensor:
    """Return what tokens contain, (N, values): channels and flags of `stack` steps each."""
    note = model.config.unlabeled
    reads, stack = note["modality"], note["stack"]
    log = torch.as_tensor(np.asarray(log, np.float32))
    start = max(0, (len(log) - reads["length"]) // 2)  # the middle, if it is too long
    log = log[start : start + reads["length"]]
    values = ((log - torch.tensor(reads["mean"])) / torch.tensor(reads["std"])).clamp(-1000, 1000)
    there = ~values.isnan()
    steps = torch.cat([torch.where(there, values, 0.0), there.float()], 1)  # (T, 2 C)
    steps = torch.nn.functional.pad(steps, (0, 0, 0, -len(steps) % stack))
    return steps.reshape(-1, stack * steps.shape[1])


@torch.inference_mode()
def features(model: Any, log: Any) -> torch.Tensor:
    """Return the feature of a log, (D,): the mean over tokens that hold a number."""
    given = tokens(model, log)
    stack = model.config.unlabeled["stack"]
    flags = given.reshape(len(given), stack, 2, -1)[:, :, 1].amax((1, 2)) > 0.5  # (N,)
    last = int(flags.nonzero().max()) + 1 if flags.any() else 1
    given, flags = given[:last], flags[:last]
    embedded = (given @ model.get_input_embeddings().weight)[None]
    found = model(inputs_embeds=embedded).last_hidden_state[0]  # (N, D)
    mean: torch.Tensor = (found * flags[:, None]).sum(0) / flags.sum().clamp(min=1)
    return mean
