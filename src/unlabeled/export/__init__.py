"""Hand an encoder over to another library, and prove that it arrived.

An export is written beside its place, loaded by the library that it is for, compared with our
own output on real samples, and moved into place only when the two agree.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlabeled import kinds
from unlabeled.config import AudioConfig
from unlabeled.errors import DataError, UsageError, WriteError, nearest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from unlabeled.export.real import Reference
    from unlabeled.runs import Run

FORMATS = ("hf", "timm", "onnx", "sentence-transformers", "gguf")
_HOLDS = {
    "hf": ("image", "text", "audio", "series", "video"),
    "timm": ("image", "audio"),
    "onnx": ("image", "text"),
    "sentence-transformers": ("text",),
    "gguf": ("text",),
}
"""Kinds of data whose encoders a format can hold."""

LIMIT = 1e-3
"""Largest difference that an export may have."""


@dataclass(frozen=True)
class ExportResult:
    """What was written, and how it compared.

    Args:
        path: the folder.
        max_difference: largest absolute difference of outputs, at most `LIMIT`.
        reader: the library that loaded it.
        samples: how many real samples were compared.
        usage: code that loads it.
    """

    path: Path
    max_difference: float
    reader: str
    samples: int
    usage: str


def export(
    run: Run, to: str, out: Path | None = None, part: str = "encoder", whiten: bool = False
) -> ExportResult:
    """Write a run's encoder for another library and compare.

    Args:
        run: the run.
        to: one of `FORMATS`.
        out: folder to write; ``RUN/exported/FORMAT`` if absent.
        part: ``encoder``, or ``finetune`` for its classifier.
        whiten: whether features are whitened (see `unlabeled.transfer.whitening`).

    Raises:
        UsageError: the format does not exist or does not fit, or `out` is taken.
        MissingExtraError: ONNX or gguf is not installed.
        DataError: the reloaded export differs from the original by more than `LIMIT`.
    """
    _fits(run, to, part)
    _refuse_other_features(run, to)
    if whiten and (to != "sentence-transformers" or part != "encoder"):
        raise UsageError("Only sentence-transformers holds whitened features; leave --whiten out.")
    if to == "onnx":
        from unlabeled.export import onnx

        onnx.require()
    if to == "gguf":
        from unlabeled.export import gguf

        gguf.require()
        gguf.check(run)
    name = to if part == "encoder" else f"{to}-classifier"
    target = out or run.folder / "exported" / name
    if out is not None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} exists and is not empty. Name another folder with --out.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=target.parent))
    except OSError as error:
        raise WriteError(f"{target} cannot be written: {error.strerror}.") from None
    try:
        result = _write_and_compare(run, to, part, draft, target, whiten)
        draft.chmod(0o755)
        if target.exists():
            shutil.rmtree(target)
        os.replace(draft, target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return result


def _fits(run: Run, to: str, part: str) -> None:
    if to not in FORMATS:
        raise UsageError(
            f"There is no format '{to}'.{nearest(to, FORMATS)} Possible: {', '.join(FORMATS)}."
        )
    kind = run.config.data.kind
    fits = [f for f in FORMATS if kind in _HOLDS[f]]
    if kind == "video" and run.config.encoder.name.startswith("timm:"):
        fits.append("timm")  # one frame at a time
    if part == "finetune":
        fits = [f for f in fits if f not in ("sentence-transformers", "gguf")]
    if to not in fits:
        what = "a classifier" if kind in _HOLDS[to] else f"an encoder of {kind}"
        raise UsageError(f"{to} cannot hold {what}. Possible: {', '.join(fits)}.")
    if (kinds.rows(kind) or kind == "video") and part == "finetune":
        raise UsageError(
            f"A classifier of {kinds.KINDS[kind].plural} stays in RUN/finetune, where `unlabeled "
            "predict` reads it; only the encoder can be exported."
        )
    if part == "finetune" and (run.folder / part / "head.safetensors").exists() and kind == "text":
        raise UsageError(
            "A linear head on frozen features of text stays in RUN/finetune, where `unlabeled "
            "predict` reads it: transformers' own heads read other tokens. Fine-tune without "
            "--frozen for one that can be exported, or export the encoder."
        )
    if isinstance(run.config.modality, AudioConfig):
        from unlabeled.export import sounds

        sounds.check(run.config.modality, to, part)


def _refuse_other_features(run: Run, to: str) -> None:
    """Refuse a reader that would give other features than ours."""
    if to == "sentence-transformers" and run.config.encoder.layer is not None:
        raise UsageError(
            f"sentence-transformers reads the last layer, and features of {run.folder} are of "
            f"encoder.layer={run.config.encoder.layer}. Possible: hf, onnx."
        )
    if to == "sentence-transformers" and run.config.encoder.name.startswith("hf:bart"):
        raise UsageError(
            "sentence-transformers reads the decoder of a BART, not the encoder that was trained "
            "for features. Possible: hf, onnx; or train method t5."
        )


def _write_and_compare(
    run: Run, to: str, part: str, draft: Path, target: Path, whiten: bool
) -> ExportResult:
    from unlabeled.export import card, code, gguf, onnx, real, reload, sentence

    readers: dict[str, Callable[[Path, Reference], NDArray[np.float32]]] = {
        "hf": reload.with_transformers,
        "timm": reload.with_timm,
        "onnx": reload.with_onnxruntime,
        "sentence-transformers": reload.with_sentence_transformers,
        "gguf": partial(gguf.read_back, run),
    }
    with reload.quiet():
        given = gguf.reference(run) if to == "gguf" else real.reference(run, _original(run, part))
        if to == "gguf":
            gguf.write(run, draft)
        elif to == "onnx":
            with tempfile.TemporaryDirectory() as folder:
                library = _library_folder(run, part, Path(folder) / "library")
                onnx.write(library, draft, given)
                _copy_tokenizer(library, draft)
        else:
            _library_folder(run, part, draft)
        if to == "sentence-transformers":
            pooling, _ = reload.noted(reload.config_of(draft))
            sentence.write(draft, given.output.shape[1], given.length, pooling)
        if whiten:
            given = _whitened(run, draft, given)
        found = readers[to](draft, given)
    difference = _difference(found, given, to)
    usage = code.usage(to, part, run.config, draft).replace(str(draft), str(target))
    text = card.card(run.folder, to, usage, run.info, part)
    (draft / "README.md").write_text(text, encoding="utf-8")
    for path in draft.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return ExportResult(target, difference, _reader_name(to), len(given), usage)


def _whitened(run: Run, draft: Path, given: Reference) -> Reference:
    """Add the layer that whitens, and return the reference with what it gives."""
    from unlabeled.export import sentence
    from unlabeled.transfer.whitening import of_run

    white = of_run(run)
    sentence.add_dense(draft, white.matrix, white.bias)
    return replace(given, output=white(given.output))


def _original(run: Run, part: str) -> Any:
    if part == "encoder":
        return run.encoder()
    from unlabeled.transfer.finetune import load

    return load(run)[0]


def _library_folder(run: Run, part: str, target: Path) -> Path:
    """Copy the encoder or classifier, with its tokenizer for text, into one folder."""
    shutil.copytree(run.folder / part, target, dirs_exist_ok=True)
    if run.config.data.kind == "audio" and not (target / "preprocessor_config.json").is_file():
        run.encoder().save(target)  # older versions left it out at other rates than 16 kHz
    tokenizer = run.folder / "tokenizer"
    if tokenizer.is_dir():
        shutil.copytree(tokenizer, target, dirs_exist_ok=True)
    return target


def _copy_tokenizer(source: Path, target: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        if (source / name).is_file():
            shutil.copy2(source / name, target / name)
    for name in ("preprocessor_config.json", "classes.json"):
        if (source / name).is_file():
            shutil.copy2(source / name, target / name)


def _difference(found: NDArray[np.float32], given: Reference, to: str) -> float:
    """Return the largest absolute difference.

    Raises:
        DataError: it is above `LIMIT`, or shapes differ.
    """
    if found.shape != given.output.shape:
        raise DataError(
            f"The export to {to} gives {found.shape} where the encoder gives {given.output.shape}; "
            "nothing was written. Please report this."
        )
    difference = float(abs(found - given.output).max())
    if not difference <= LIMIT:
        raise DataError(
            f"The export to {to} differs from the encoder by {difference:.2g} "
            f"(allowed: {LIMIT:g}); nothing was written. Please report this."
        )
    return difference


def _reader_name(to: str) -> str:
    if to == "sentence-transformers":
        import importlib.util

        there = importlib.util.find_spec("sentence_transformers") is not None
        return "sentence_transformers" if there else "transformers and its modules.json"
    names = {"hf": "transformers", "timm": "timm", "onnx": "onnxruntime", "gguf": "transformers"}
    return names[to]
