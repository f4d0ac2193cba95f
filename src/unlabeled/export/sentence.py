"""Write the files by which `SentenceTransformer(folder)` finds a transformer and its pooling."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

DENSE = "2_Dense"
POOLING_MODES = {
    "avg": "pooling_mode_mean_tokens",
    "token": "pooling_mode_cls_token",
    "last": "pooling_mode_lasttoken",
}


def write(folder: Path, dim: int, length: int, pooling: str = "avg") -> None:
    """Add the description of two modules to a folder with a transformer and its tokenizer.

    Args:
        folder: holds ``config.json``, weights and tokenizer.
        dim: D, width of the feature.
        length: tokens at which texts are cut.
        pooling: ``avg``, ``token`` or ``last``.
    """
    modes = {
        "word_embedding_dimension": dim,
        "pooling_mode_max_tokens": False,
        "pooling_mode_mean_sqrt_len_tokens": False,
        "pooling_mode_weightedmean_tokens": False,
        "include_prompt": True,
    }
    modes |= {mode: word == pooling for word, mode in POOLING_MODES.items()}
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {
            "idx": 1,
            "name": "1",
            "path": "1_Pooling",
            "type": "sentence_transformers.models.Pooling",
        },
    ]
    (folder / "1_Pooling").mkdir(exist_ok=True)
    _json(folder / "1_Pooling" / "config.json", modes)
    _json(folder / "modules.json", modules)
    _json(folder / "sentence_bert_config.json", {"max_seq_length": length, "do_lower_case": False})
    _json(
        folder / "config_sentence_transformers.json",
        {"prompts": {}, "default_prompt_name": None, "similarity_fn_name": "cosine"},
    )


def add_dense(folder: Path, matrix: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
    """Add a third module, a linear layer behind the pooling.

    Args:
        folder: as `write` left it.
        matrix: (D, K).
        bias: (K,).
    """
    from safetensors.numpy import save_file

    place = folder / DENSE
    place.mkdir(exist_ok=True)
    weight = np.ascontiguousarray(matrix.T)
    save_file({"linear.weight": weight, "linear.bias": bias}, place / "model.safetensors")
    sizes = {"in_features": matrix.shape[0], "out_features": matrix.shape[1], "bias": True}
    _json(
        place / "config.json", {**sizes, "activation_function": "torch.nn.modules.linear.Identity"}
    )
    modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    kind = "sentence_transformers.models.Dense"
    _json(folder / "modules.json", [*modules, {"idx": 2, "name": "2", "path": DENSE, "type": kind}])


def _json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
