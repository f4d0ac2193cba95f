"""What the codes of a method tell of labels that it never saw: PNMI, as HuBERT measures it.

Hsu et al., 2021, arXiv:2106.07447, section IV-A: the share of the uncertainty of a label that
knowing the code removes, I(label; code) / H(label). There the label is the phone of a frame; here
it is that of the whole recording, so a code of silence tells nothing and 1 is out of reach. What
counts is how far it lies above that of labels dealt out at random to recordings, and above that of
the codes of the spectrum itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unlabeled import rng
from unlabeled.errors import UnlabeledError
from unlabeled.transfer.features import Inputs

if TYPE_CHECKING:
    from unlabeled.runs import Run
    from unlabeled.transfer.material import Material

_BLOCK, _SHUFFLES = 128, 5


def entropy(shares: NDArray[np.float64]) -> float:
    """Return the entropy of shares that sum to 1, in nats."""
    there = shares[shares > 0]
    return float(-(there * np.log(there)).sum())


def tells(codes: NDArray[np.int64], labels: NDArray[np.int64]) -> dict[str, float]:
    """Return how codes and labels go together.

    ``pnmi`` is I(label; code) / H(label); ``label_purity`` the share of frames that are right if
    each code is named after its commonest label; ``code_purity`` the share if each label is named
    after its commonest code (fairseq's ``measure_teacher_quality.py`` has the same three).

    Args:
        codes: (S,) codes of frames.
        labels: (S,) labels of frames.

    >>> tells(np.array([0, 0, 1, 1]), np.array([3, 3, 5, 5]))
    {'pnmi': 1.0, 'label_purity': 1.0, 'code_purity': 1.0}
    """
    _, code = np.unique(codes, return_inverse=True)
    _, label = np.unique(labels, return_inverse=True)
    joint = np.zeros((code.max() + 1, label.max() + 1))
    np.add.at(joint, (code, label), 1 / len(codes))
    whole = entropy(joint.sum(0))
    shared = entropy(joint.sum(1)) + whole - entropy(joint.ravel())
    return {
        "pnmi": round(shared / max(whole, 1e-12), 4),
        "label_purity": round(float(joint.max(1).sum()), 4),
        "code_purity": round(float(joint.max(0).sum()), 4),
    }


def of_run(run: Run, material: Material) -> dict[str, dict[str, float]]:
    """Return what the codes of a run tell of classes and of groups; nothing where it has none.

    Read on the test part and, for groups, on all labelled samples.

    Returns:
        ``own`` and, where the method began with others, ``first``: how many codes are in use
        (perplexity), ``pnmi`` and both purities of classes, ``chance``, the PNMI of classes dealt
        out at random, and ``group``, the PNMI of groups.
    """
    if material.task != "single":
        return {}
    try:
        method: Any = run.method()
    except (UnlabeledError, OSError):  # its checkpoints were thrown away
        return {}
    made: dict[str, Callable[[Tensor], Tensor]] = {}
    if hasattr(method, "codes_of"):
        made["own"] = method.codes_of
    if hasattr(method, "first_codes") and bool(getattr(method, "settled", False)):
        made["first"] = method.first_codes
    return {name: _read(method.encoder, codes, material) for name, codes in made.items()}


def _read(encoder: Any, codes: Callable[[Tensor], Tensor], material: Material) -> dict[str, float]:
    found, row = _codes(encoder, codes, material.test)
    y = material.y_test
    said = tells(found, y[row])
    deals = [
        tells(found, rng.generator(rng.mix(number, 0xC0DE)).permutation(y)[row])["pnmi"]
        for number in range(_SHUFFLES)
    ]
    shares = np.bincount(found) / len(found)
    said |= {"perplexity": round(float(np.exp(entropy(shares))), 1)}
    said |= {"chance": round(float(np.mean(deals)), 4)}
    group = material.group_train
    if group is not None and len(np.unique(group)) > 1:
        found, row = _codes(encoder, codes, material.train)
        names = np.unique(group, return_inverse=True)[1]
        said["group"] = tells(found, names[row])["pnmi"]
    return said


def _codes(
    encoder: Any, codes: Callable[[Tensor], Tensor], inputs: Inputs
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the codes of all frames that hold sound, (S,), and the sample of each."""
    found, rows = [], []
    with torch.inference_mode():
        for start in range(0, len(inputs), _BLOCK):
            x = inputs.plain(slice(start, start + _BLOCK))
            heard = encoder.heard(x)  # (B, N)
            found.append(codes(x)[heard].numpy())
            rows.append(start + heard.nonzero()[:, 0].numpy())
    return np.concatenate(found), np.concatenate(rows)
