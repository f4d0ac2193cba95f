"""Turn unlabelled data into a model that needs few labels, and prove it.

    import unlabeled

    encoder = unlabeled.pretrain("photos/", time="12m")
    features = encoder.encode("photos/")                        # numpy, (n, d)
    print(unlabeled.evaluate(encoder, labels="labels.csv"))

Importing this package imports neither torch nor transformers; using it does.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unlabeled.api import Classifier, Encoder, Evaluation, evaluate, pretrain
    from unlabeled.errors import UnlabeledError
    from unlabeled.transfer.planning import Planner
    from unlabeled.transfer.policy import Policy

__version__ = "0.1.0"

__all__ = [
    "Classifier",
    "Encoder",
    "Evaluation",
    "Planner",
    "Policy",
    "UnlabeledError",
    "__version__",
    "evaluate",
    "pretrain",
]

_HOME = {
    "Classifier": "unlabeled.api",
    "Encoder": "unlabeled.api",
    "Evaluation": "unlabeled.api",
    "Planner": "unlabeled.transfer.planning",
    "Policy": "unlabeled.transfer.policy",
    "UnlabeledError": "unlabeled.errors",
    "evaluate": "unlabeled.api",
    "pretrain": "unlabeled.api",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module 'unlabeled' has no attribute '{name}'")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
