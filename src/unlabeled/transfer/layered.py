"""A linear reading of frozen layers: logistic regression on a learnt sum of them.

The form of SUPERB (Yang et al., 2021, arXiv:2105.01051, section 3): the layers are added with
weights that sum to one (softmax, equal at first), and what is above is linear, so that a sum over
time may be taken before it. One layer is the ordinary linear probe. The L2 penalty is chosen on
samples apart from those that are learned from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from unlabeled.device import device
from unlabeled.transfer.metrics import score
from unlabeled.transfer.probe import DEFAULT_PENALTY, Scaler

PENALTIES = (100.0, 10.0, 1.0, 0.1, 0.01)
"""L2 penalties of the sum of cross-entropies, for features whose rows have length about 1."""
_STEPS = 60


@dataclass(frozen=True)
class Layered:
    """A fitted reading.

    Args:
        mix: (L,) weights of the layers, positive, of sum one.
        mean: (L, D) subtracted from features.
        scale: (L, D) what is left is multiplied by.
        weight: (D, K).
        bias: (K,).
        penalty: the L2 penalty chosen.
    """

    mix: NDArray[np.float32]
    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    penalty: float

    def scores(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return logits of features, (N, L, D) -> (N, K)."""
        mixed = np.einsum("nld,ld,l->nd", features - self.mean, self.scale, self.mix)
        found: NDArray[np.float32] = (mixed @ self.weight + self.bias).astype(np.float32)
        return found

    def predict(self, features: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return classes of features, (N, L, D) -> (N,)."""
        found: NDArray[np.int64] = self.scores(features).argmax(axis=1).astype(np.int64)
        return found


def fit(
    features: NDArray[np.float32],
    y: NDArray[np.int64],
    num_classes: int,
    checked: NDArray[np.float32],
    y_checked: NDArray[np.int64],
    penalties: tuple[float, ...] = PENALTIES,
    seen: NDArray[np.float32] | None = None,
    sizes: NDArray[np.float32] | None = None,
    metric: str = "accuracy",
) -> Layered:
    """Fit for each penalty, from the strongest, and keep what is best on the checked part.

    Args:
        features: (N, L, D).
        y: (N,) classes.
        num_classes: K.
        checked: (V, L, D) features on which the penalty is chosen.
        y_checked: (V,) their classes.
        penalties: descending; a search ends when two in a row were no better. Where nothing can
            be checked, several stand for `probe.DEFAULT_PENALTY`.
        seen: (M, L, D) features by which all are scaled; those that are learned from by default.
        sizes: (D,) by how much each shall weigh more after scaling.
        metric: by which the penalty is chosen, ``accuracy`` or ``macro_f1``.
    """
    scaler = Scaler.fit(features if seen is None else seen)  # (L, D)
    scaler = scaler if sizes is None else replace(scaler, scale=scaler.scale * sizes)
    x = torch.from_numpy(scaler(features)).to(device())
    target = torch.from_numpy(y).to(device())
    weights = [torch.zeros(n, device=device()) for n in (x.shape[1], x.shape[2] * num_classes,
                                                        num_classes)]  # fmt: skip
    best: Layered | None = None
    gained, since = -1.0, 0
    for penalty in tried(penalties, len(y_checked)):
        _descend(x, target, weights, penalty)
        mix, weight, bias = (part.detach().cpu().numpy().copy() for part in weights)
        shares = np.exp(mix - mix.max())
        found = Layered(
            shares / shares.sum(), scaler.mean, scaler.scale, weight.reshape(-1, num_classes),
            bias, penalty,
        )  # fmt: skip
        now = gain(found.scores(checked), y_checked, metric) if len(y_checked) else 0.0
        if best is None or now > gained:
            best, gained, since = found, now, 0
        else:
            since += 1
        if since == 2:
            break
    assert best is not None
    return best


def tried(penalties: tuple[float, ...], num_checked: int) -> tuple[float, ...]:
    """Return the penalties that are tried: one where there is nothing to choose by."""
    return penalties if num_checked or len(penalties) == 1 else (DEFAULT_PENALTY,)


def gain(logits: NDArray[np.float32], y: NDArray[np.int64], metric: str = "accuracy") -> float:
    """Return accuracy or macro F1, with the likelihood to break ties."""
    loss = functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(y))
    return score(logits.argmax(1), y, logits.shape[1], metric) + 1e-4 * float(torch.exp(-loss))


def _descend(x: Tensor, y: Tensor, weights: list[Tensor], penalty: float) -> None:
    def logits() -> Tensor:
        mix, weight, bias = weights
        mixed = torch.einsum("nld,l->nd", x, mix.softmax(0)) if x.shape[1] > 1 else x[:, 0]
        return mixed @ weight.view(x.shape[2], -1) + bias

    minimise(logits, y, weights, [weights[1]], penalty)


def minimise(
    logits: Callable[[], Tensor],
    y: Tensor,
    weights: list[Tensor],
    penalised: list[Tensor],
    penalty: float,
) -> None:
    """Minimise mean cross-entropy + penalty/(2 N) |.|^2 by L-BFGS, from where `weights` are.

    Args:
        logits: gives (N, K) with the weights of the moment.
        y: (N,) classes.
        weights: all that is moved.
        penalised: which of them are kept small.
        penalty: of the sum of cross-entropies.
    """
    for part in weights:
        part.requires_grad_(True)
    optimiser = torch.optim.LBFGS(
        weights, max_iter=_STEPS, tolerance_change=1e-7, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = functional.cross_entropy(logits(), y)
        for part in penalised:
            loss = loss + penalty / (2 * len(y)) * part.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]
