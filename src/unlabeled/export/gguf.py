"""Write a generator of text as one GGUF file, which llama.cpp and what is built on it read.

The names of tensors and fields are those of llama.cpp, taken from its own package `gguf`. Weights
are in fp32; ``llama-quantize`` makes smaller files of it. Two conversions are llama.cpp's: rows of
Llama's queries and keys are ordered for rotations of neighbours, and GPT-2's matrices are turned.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unlabeled.errors import DataError, MissingExtraError, UsageError
from unlabeled.export import real
from unlabeled.export.gguf_tokens import NEVER, SPLITS, Pieces, pieces_of

if TYPE_CHECKING:
    from unlabeled.runs import Run

NAME = "model.gguf"
FAMILIES = ("llama", "qwen2", "qwen3", "gpt2")
MOST_TOKENS = 128
"""Of a text whose logits are compared."""

Weights = Mapping[str, NDArray[np.float32]]


def require() -> None:
    """Check that llama.cpp's package is installed, and what transformers reads its files with.

    Raises:
        MissingExtraError: with the command that installs it.
    """
    missing = [name for name in ("gguf", "accelerate") if not importlib.util.find_spec(name)]
    if missing:
        raise MissingExtraError(
            f'Export to GGUF needs {", ".join(missing)}: pip install "unlabeled[gguf]"'
        )


def check(run: Run) -> None:
    """Refuse runs that llama.cpp has no form for.

    Raises:
        UsageError: with what would fit.
    """
    config = _config(run)
    family, kinds = str(config.get("model_type")), config.get("architectures") or [""]
    if family not in FAMILIES or not kinds[0].endswith(("ForCausalLM", "LMHeadModel")):
        raise UsageError(
            f"GGUF holds generators, and {run.folder} has {kinds[0] or family} of method "
            f"{run.config.method['name']}. Train one: --method gpt with encoder.name=hf:llama-mini "
            f"(families: {', '.join(FAMILIES)}). Possible here: hf, onnx, sentence-transformers."
        )
    pieces_of(run.modality())


def _config(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run.folder / "encoder" / "config.json").read_text("utf-8"))
    return found


def write(run: Run, folder: Path) -> None:
    """Write `NAME` into a folder, and check what was written to the bit."""
    import gguf
    from safetensors.numpy import load_file

    config = _config(run)
    saved: dict[str, NDArray[np.float32]] = {}
    for path in sorted((run.folder / "encoder").glob("*.safetensors")):
        saved |= load_file(path)
    text: Any = run.modality()
    pieces = pieces_of(text, int(config["vocab_size"]))
    writer = gguf.GGUFWriter(folder / NAME, config["model_type"])
    writer.add_name(run.folder.name)
    _describe(writer, config)
    _add_tokenizer(writer, pieces, text)
    tensors = _named(saved, config)
    for name, weight in tensors.items():
        writer.add_tensor(name, weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    compare(folder / NAME, tensors, pieces)
    shutil.copy2(run.folder / "encoder" / "config.json", folder)


def _describe(writer: Any, config: Mapping[str, Any]) -> None:
    """Write the sizes of the network."""
    gpt2 = config["model_type"] == "gpt2"
    width, heads = (
        config[n]
        for n in (("n_embd", "n_head") if gpt2 else ("hidden_size", "num_attention_heads"))
    )
    writer.add_context_length(config["n_positions" if gpt2 else "max_position_embeddings"])
    writer.add_embedding_length(width)
    writer.add_block_count(config["n_layer" if gpt2 else "num_hidden_layers"])
    writer.add_head_count(heads)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(0)  # all in fp32
    if gpt2:
        writer.add_feed_forward_length(config["n_inner"] or 4 * width)
        writer.add_layer_norm_eps(config["layer_norm_epsilon"])
        return
    head = config.get("head_dim") or width // heads
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(float(config["rope_parameters"]["rope_theta"]))
    writer.add_rope_dimension_count(head)
    writer.add_key_length(head)
    writer.add_value_length(head)


def _add_tokenizer(writer: Any, pieces: Pieces, text: Any) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pieces.split)
    writer.add_token_list(pieces.tokens)
    writer.add_token_types(pieces.types)
    writer.add_token_merges(pieces.merges)
    ids = {
        "bos": text.opens[0] if text.opens else text.eos_id,
        "eos": text.eos_id,
        "pad": text.pad_id,
    }
    for role, number in ids.items():
        if number is not None:
            getattr(writer, f"add_{role}_token_id")(number)
    writer.add_add_bos_token(bool(text.opens))
    writer.add_add_eos_token(False)  # a prompt is to be gone on with


def _named(saved: Weights, config: Mapping[str, Any]) -> dict[str, NDArray[np.float32]]:
    """Return weights by llama.cpp's names, as it wants them.

    Raises:
        DataError: a weight has no name there.
    """
    import gguf

    family = config["model_type"]
    kind = next(arch for arch, name in gguf.MODEL_ARCH_NAMES.items() if name == family)
    table = gguf.get_tensor_name_map(
        kind, config["n_layer" if family == "gpt2" else "num_hidden_layers"]
    )
    found: dict[str, NDArray[np.float32]] = {}
    for key, weight in saved.items():
        name = table.get_name(key, try_suffixes=(".weight", ".bias"))
        if name is None:
            raise DataError(f"llama.cpp has no place for the weight {key}. Please report this.")
        found[name] = np.ascontiguousarray(_arranged(key, weight.astype(np.float32), config))
    return found


def _arranged(
    key: str, weight: NDArray[np.float32], config: Mapping[str, Any]
) -> NDArray[np.float32]:
    """Return a weight in the order in which llama.cpp computes with it."""
    family = config["model_type"]
    if family == "gpt2" and weight.ndim == 2 and ".c_" in key:
        return weight.T
    heads = {"q_proj": "num_attention_heads", "k_proj": "num_key_value_heads"}
    part = key.split(".")[-2]
    if family != "llama" or part not in heads:
        return weight
    halves = weight.reshape(config[heads[part]], 2, -1, *weight.shape[1:])  # (heads, 2, d/2, ...)
    return halves.swapaxes(1, 2).reshape(weight.shape)


def compare(path: Path, tensors: Weights, pieces: Pieces) -> None:
    """Read a file with llama.cpp's package and compare every tensor and token with what was meant.

    Raises:
        DataError: one differs by a bit.
    """
    import gguf

    reader: Any = gguf.GGUFReader(path)
    read: dict[str, Any] = {tensor.name: tensor.data for tensor in reader.tensors}
    wrong = [
        name
        for name, weight in tensors.items()
        if name not in read or not np.array_equal(read[name], weight)
    ]
    for field, meant in (
        ("tokens", pieces.tokens),
        ("merges", pieces.merges),
        ("token_type", pieces.types),
    ):
        if reader.get_field(f"tokenizer.ggml.{field}").contents() != meant:
            wrong.append(field)
    if wrong or len(read) != len(tensors):
        raise DataError(
            f"{path} was not read back as written: {', '.join(wrong)}. Please report this."
        )


def reference(run: Run) -> real.Reference:
    """Return texts of the run's data, and the logits (B, T, K) of our own code, 0 at padding."""
    from unlabeled.encoders import language

    texts = tuple(str(payload) for payload in real.payloads(run, real.COUNT))
    encoder = language.load(run.folder / "encoder", head=True).eval()
    x, real_tokens = _rows(run, texts)
    with torch.inference_mode():
        logits = encoder.add_head().eval()(encoder.tokens(x)).float()
    return real.Reference(None, texts, (logits * real_tokens[:, :, None]).numpy(), x.shape[-1])


def _rows(run: Run, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Return ids and numbers (B, 2, T) of the beginnings of texts, and what is no padding."""
    text: Any = run.modality()
    x = text.encode_documents(texts, min(int(text.config.length), MOST_TOKENS))
    return x, x[:, 1] >= 0


def read_back(run: Run, folder: Path, given: real.Reference) -> NDArray[np.float32]:
    """Return the logits (B, T, K) of a file as transformers reads it, 0 at padding.

    Raises:
        DataError: its tokenizer cuts a text otherwise than ours.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    _same_tokens(run, folder, given.texts)
    # Its readers put sizes of their own in the place of what a file says of GPT-2 and Qwen3.
    config = AutoConfig.from_pretrained(folder)
    with contextlib.redirect_stderr(io.StringIO()):  # it draws a bar whatever it is told
        model: Any = AutoModelForCausalLM.from_pretrained(
            folder, gguf_file=NAME, config=config, dtype=torch.float32
        )
    x, real_tokens = _rows(run, given.texts)
    with torch.inference_mode():
        logits = model.eval()(input_ids=x[:, 0], attention_mask=real_tokens.long()).logits
    return np.asarray((logits * real_tokens[:, :, None]).numpy(), np.float32)


def _same_tokens(run: Run, folder: Path, texts: Sequence[str]) -> None:
    """Compare tokens, where transformers has a form for the tokenizer: it splits no numbers."""
    from transformers import AutoTokenizer

    text: Any = run.modality()
    pieces = pieces_of(text)
    if pieces.split != SPLITS[0] or tuple(pieces.merges) == NEVER:
        return
    reader = AutoTokenizer.from_pretrained(folder, gguf_file=NAME)
    for one in texts:
        if reader(one, add_special_tokens=False)["input_ids"] != text.encode([one])[0]:
            raise DataError(f"{NAME} cuts {one[:40]!r} into other tokens. Please report this.")
