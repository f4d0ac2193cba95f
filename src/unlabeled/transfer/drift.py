"""What a run that began from weights has won on its text, and what it has forgotten of others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from unlabeled.data.tokens import TokenRows
from unlabeled.method import Method
from unlabeled.runs import Run, build_method
from unlabeled.transfer.text_scores import evaluate_tokens

FORGOT = 1.02
"""How many times the bits of before are called forgetting."""
_FIGURES = ("bits_per_byte", "pseudo_bits_per_byte", "rebuilt_bits_per_byte", "nats_per_token")
_ROWS = 64


def figure(found: Mapping[str, Any]) -> float:
    """Return the figure that speaks for a text: bits per byte, or nats where there are none."""
    return float(next(found[name] for name in _FIGURES if name in found))


def beside(run: Run, method: Method, held_out: Mapping[str, Any], limit: int) -> dict[str, Any]:
    """Score the held-out rows of data.mix, and all of them with the weights of the start.

    Args:
        run: a finished run of text.
        method: as trained.
        held_out: what the main text's held-out rows were found to cost.
        limit: most rows of each text.

    Returns:
        ``mix`` (path -> figures), and where the run began from weights ``before`` (the same of the
        main text, `""`, and of each path) and ``drift`` (one minus the mean cosine of features
        before and after, likewise).
    """
    texts = {"": run.rows("held_out")}
    for number, path in enumerate(run.config.data.mix):
        texts[path] = run.rows("held_out", f"mix{number}-")
    texts = {path: rows for path, rows in texts.items() if len(rows)}
    precision = run.config.loop.precision
    after = {
        path: dict(held_out) if not path else evaluate_tokens(method, rows, 64, precision, limit)
        for path, rows in texts.items()
    }
    found: dict[str, Any] = {"mix": {path: after[path] for path in texts if path}}
    if run.config.encoder.init is None:
        return found
    began = build_method(run.config, run.modality()).to(next(method.parameters()).device)
    found["before"] = {
        path: evaluate_tokens(began, rows, 64, precision, limit) for path, rows in texts.items()
    }
    found["drift"] = {path: feature_drift(began, method, rows) for path, rows in texts.items()}
    return found


@torch.inference_mode()
def feature_drift(before: Method, after: Method, rows: TokenRows) -> float:
    """Return one minus the mean cosine of the features of the same rows, in [0, 2]."""
    where = next(after.parameters()).device
    x = torch.from_numpy(rows.batch(range(min(len(rows), _ROWS))).astype(np.int64)).to(where)
    features = []
    for method in (before, after):
        encoder, training = method.exported(), method.training
        method.eval()
        features.append(encoder(x).float())
        method.train(training)
    return 1 - float(F.cosine_similarity(features[0], features[1], dim=1).mean())


def words(run: Run, held_out: Mapping[str, Any], found: Mapping[str, Any]) -> Sequence[str]:
    """Say what was won and what was forgotten."""
    before, unit = found.get("before", {}), _unit(held_out)
    said = []
    if "" in before:
        began, now = figure(before[""]), figure(held_out)
        if before[""]["nats_per_token"] > 0.9 * math.log(max(_vocabulary(run), 2)):
            return ["The weights came without a head that fits, so nothing says what they knew."]
        said.append(
            f"Before, with the weights of {run.config.encoder.init}, it was {began:.3f} {unit} "
            f"(now {now:.3f}); features turned by {found['drift']['']:.2f} of 1."
        )
    for path, figures in found["mix"].items():
        now = figure(figures)
        sentence = f"Beside it, {path}: {now:.3f} {unit} of held-out text"
        if path in before:
            began = figure(before[path])
            much = now > FORGOT * began
            verdict = "forgotten: raise its share in data.mix" if much else "nothing forgotten"
            sentence += f", {began:.3f} before ({verdict})"
        said.append(sentence + ".")
    return said


def _unit(found: Mapping[str, Any]) -> str:
    name = next(name for name in _FIGURES if name in found)
    return "nats a token" if name == "nats_per_token" else name.replace("_", " ")


def _vocabulary(run: Run) -> int:
    modality: Any = run.modality()
    return int(modality.vocab_size)
