"""Tagging without a network: a lookup by word and ending, and a linear model of words in context.

The lookup is what every tagger is compared with; the linear model has the features of
Ratnaparkhi (1996, "A Maximum Entropy Model for Part-of-Speech Tagging"), without the tags before:
each word is decided by itself.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from unlabeled import rng
from unlabeled.transfer.readings import Outcome
from unlabeled.transfer.tagging import TagMaterial
from unlabeled.transfer.words import WordInputs

_ENDING = 5
_EPOCHS, _RATES, _BATCH = (1, 2, 4, 8), (0.2, 0.5), 128
_NEAR = {-2: 1, -1: 6, 1: 6, 2: 1}
"""At which distance how many of a word's properties are looked at."""


class Lookup:
    """The tag that a word has most often among the labels; of unknown words, that of its ending."""

    def __init__(self, known: TagMaterial) -> None:
        self.known = known

    def __call__(self, rows: NDArray[np.int64], count: int, draw: int) -> Outcome:
        """Count tags in labelled sentences, then look up."""
        known = self.known
        counts: dict[str, Counter[int]] = defaultdict(Counter)
        words = [word for row in rows for word in known.train.source.words[row]]
        for word, tag in zip(words, known.tags_of(rows).tolist(), strict=True):
            for key in _keys(word):
                counts[key][tag] += 1
        best = {key: min(found.items(), key=lambda pair: (-pair[1], pair[0]))[0]
                for key, found in counts.items()}  # fmt: skip

        def guess(sentences: Sequence[Sequence[str]]) -> NDArray[np.int64]:
            every = (word for sentence in sentences for word in sentence)
            return np.array(
                [next(best[key] for key in _keys(word) if key in best) for word in every],
                dtype=np.int64,
            )

        checked = [known.train.source.words[row] for row in known.validation]
        return Outcome(guess(checked), guess(known.test.source.words), {})


def _keys(word: str) -> Iterator[str]:
    """Yield what a word is looked up by: itself, in lower case, its shape with shorter endings."""
    yield f"word {word}"
    yield f"lower {word.lower()}"
    shape = _shape(word)
    for length in range(min(_ENDING, len(word)), 0, -1):
        yield f"{shape} {word.lower()[-length:]}"
    yield shape
    yield ""


def _shape(word: str) -> str:
    """Tell digits, capitals and hyphens.

    >>> _shape("U.S."), _shape("over-all"), _shape("1961")
    ('X..', 'x-', '9')
    """
    first = "9" if word[:1].isdigit() else "X" if word[:1].isupper() else "x"
    inner = "X" if word[1:] and word.isupper() and len(word) > 2 and word.isalpha() else ""
    marks = "-" * ("-" in word) + "." * ("." in word and first != "9") * 2
    return (first if word[:1].isalnum() else "?") + inner + marks


class Contexts:
    """Multinomial logistic regression on words, their affixes and shapes, and their neighbours.

    Trained by AdaGrad (Duchi et al., 2011, JMLR 12), whose rate and length are chosen on the
    validation part; stopping early takes the place of a penalty.
    """

    def __init__(self, known: TagMaterial) -> None:
        self.known = known
        names: dict[str, int] = {"": 0}
        self.train = _features(cast("WordInputs", known.train), names)
        self.test = _features(cast("WordInputs", known.test), names)
        self.num_names = len(names)

    def __call__(self, rows: NDArray[np.int64], count: int, draw: int) -> Outcome:
        """Train on labelled sentences."""
        known = self.known
        # A feature is a name at a place; those that no label has are left out.
        offsets = np.arange(self.train.shape[1]) * self.num_names
        labelled = self.train[known.train.items_of(rows)] + offsets
        kept = np.unique(labelled)

        def numbered(found: NDArray[np.int64]) -> Tensor:
            near = np.minimum(np.searchsorted(kept, found), len(kept) - 1)
            return torch.from_numpy(np.where(kept[near] == found, near + 1, 0))

        x, y = numbered(labelled), torch.from_numpy(known.tags_of(rows))
        checked = numbered(self.train[known.train.items_of(known.validation)] + offsets)
        asked = numbered(self.test + offsets)
        best: tuple[float, Outcome] | None = None
        for rate in _RATES:
            for epochs, weight in _trained(x, y, len(kept) + 1, len(known.classes), rate, draw):
                guess = _guess(weight, checked)
                gained = float((guess == known.expected).mean())
                if best is None or gained > best[0]:
                    choices = {"rate": rate, "epochs": epochs}
                    best = gained, Outcome(guess, _guess(weight, asked), choices)
        assert best is not None
        return best[1]


def _features(inputs: WordInputs, names: dict[str, int]) -> NDArray[np.int64]:
    """Return numbers of names, (W, S): properties of each word, then of its neighbours."""
    types: dict[str, int] = {}
    flat = [types.setdefault(w, len(types)) for sentence in inputs.sentences for w in sentence]
    table = np.array([[names.setdefault(part, len(names)) for part in _parts(word)]
                      for word in types], dtype=np.int64)  # fmt: skip
    own = table[flat]  # (W, S)
    parts = [own]
    sentence = np.repeat(np.arange(len(inputs.starts) - 1), np.diff(inputs.starts))
    for away, width in _NEAR.items():
        near = np.arange(len(flat)) + away
        inside = (near >= 0) & (near < len(flat))
        near = np.where(inside, near, 0)
        inside &= sentence[near] == sentence
        parts.append(np.where(inside[:, None], own[near][:, :width], 0))
    return np.concatenate(parts, axis=1)


def _parts(word: str) -> list[str]:
    lower = word.lower()
    endings = [lower[-n:] for n in (3, 2, 1, 4)]
    return [lower, *endings, _shape(word), word, *(lower[:n] for n in (1, 2, 3, 4)), "bias"]


def _trained(
    x: Tensor, y: Tensor, width: int, num_classes: int, rate: float, seed: int
) -> Iterator[tuple[int, Tensor]]:
    """Yield the weights (F, K) after each number of passes; row 0 stays 0.

    Args:
        x: (W, S) rows of the weights that are added up.
        y: (W,) classes.
        width: F.
        num_classes: K.
        rate: of AdaGrad.
        seed: of the order.
    """
    weight, squares = torch.zeros(width, num_classes), torch.zeros(width, num_classes)
    target = functional.one_hot(y, num_classes).float()
    for epoch in range(max(_EPOCHS)):
        order = torch.from_numpy(rng.order(seed, epoch, len(x)).astype(np.int64))
        for chosen in torch.split(order, _BATCH):
            part = x[chosen]
            error = weight[part].sum(1).softmax(1) - target[chosen]  # (B, K)
            rows, where = torch.unique(part, return_inverse=True)
            gradient = torch.zeros(len(rows), num_classes)
            spread = error[:, None].expand(-1, part.shape[1], -1).flatten(0, 1)
            gradient.index_add_(0, where.flatten(), spread / len(chosen))
            squares[rows] += gradient.square()
            weight[rows] -= rate * gradient / (squares[rows].sqrt() + 1e-10)
            weight[0] = 0
        if epoch + 1 in _EPOCHS:
            yield epoch + 1, weight


def _guess(weight: Tensor, x: Tensor) -> NDArray[np.int64]:
    parts = [weight[block].sum(1).argmax(1) for block in torch.split(x, 2048)]
    found: NDArray[np.int64] = torch.cat(parts).numpy()
    return found
