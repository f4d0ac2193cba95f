"""Fine-tuning with transcripts: letters of frames by CTC, decoded greedily."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unlabeled.data.labels import read_labelled
from unlabeled.device import autocast, device
from unlabeled.errors import DataError, UsageError
from unlabeled.journal import read_json, write_json
from unlabeled.transfer import headed, transcripts
from unlabeled.transfer.features import Inputs, best_precision
from unlabeled.transfer.hidden import real_tokens
from unlabeled.transfer.label_curve import hold_out
from unlabeled.transfer.part import Part
from unlabeled.transfer.readings import Search
from unlabeled.transfer.roster import FIRST_LAYER
from unlabeled.transfer.splits import VALIDATION_SHARE
from unlabeled.transfer.training import Classifier, Recipe, train
from unlabeled.transfer.transcripts import Alphabet
from unlabeled.types import PLAIN

if TYPE_CHECKING:
    from unlabeled.runs import Run

TASK, FACTS = "transcript", "classes.json"
SEARCH = Search((PLAIN,), rates=(1e-3, 3e-3), epochs=60, fewest=400, most=2000)
QUICK = Search((PLAIN,), rates=(2e-3,), lengths=(1.0,), epochs=20, fewest=200, most=600)


class Transcriber(Classifier):
    """An encoder and a linear head on every frame; recordings -> (B, N, K)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return scores of letters, blank where there is no sound."""
        tokens = self.encoder.tokens(x)  # type: ignore[operator]
        real = real_tokens(self.encoder, x, tokens)  # type: ignore[arg-type]
        return transcripts.silent(self.head(tokens), real)


@dataclass(frozen=True)
class Transcribed:
    """A transcriber and how good it is on recordings that it was not trained on.

    Args:
        alphabet: what it writes with.
        error: character error rate of the validation part, which also chose the training.
        low: lower end of its 95 % interval, over speakers where they are known.
        high: upper end.
        validation: recordings in the validation part.
        train: recordings that were learned from.
        left_out: recordings too short for their transcript.
        choices: rate and length of training.
        folder: where it lies.
        constant: the one transcript that would be least wrong if it were always said.
        constant_error: character error rate of always saying it.
    """

    alphabet: Alphabet
    error: float
    low: float
    high: float
    validation: int
    train: int
    left_out: int
    choices: dict[str, Any]
    folder: Path
    constant: str
    constant_error: float


@dataclass(frozen=True)
class _Material:
    inputs: Inputs
    texts: list[str]
    pool: NDArray[np.int64]
    checked: NDArray[np.int64]
    group: NDArray[np.str_] | None


def finetune(
    run: Run,
    labels: str | Path | None,
    *,
    label_column: str | None = None,
    quick: bool = False,
    seed: int = 0,
) -> Transcribed:
    """Train on all transcripts but a validation part, and save the transcriber in RUN/finetune.

    Args:
        run: whose encoder training starts from; of recordings.
        labels: as for `evaluate`; the label of a recording is what is said in it.
        label_column: name of the column of transcripts, where it cannot be guessed.
        quick: a short training without a search.
        seed: of the split and of training.

    Raises:
        UsageError: with the sentence to print.
    """
    if run.config.data.kind != "audio":
        raise UsageError(
            f"--task {TASK} is for recordings, and these data are {run.config.data.kind}."
        )
    material = _material(run, labels, label_column, seed)
    alphabet = Alphabet.of([material.texts[row] for row in material.pool])
    target = alphabet.encode(material.texts)
    fitting = _fitting(run, material, target)
    search = QUICK if quick else SEARCH
    best: tuple[float, Transcriber, dict[str, Any]] | None = None

    def trained(recipe: Recipe, stops: list[int]) -> Iterator[tuple[int, nn.Module, float]]:
        """Yield the network at each stop, with its error on the validation part."""
        model, wanted = _fresh(run, alphabet, seed), target[fitting]
        for stop, averaged in train(
            model, material.inputs, fitting, wanted, recipe, seed, stops, transcripts.loss
        ):
            yield stop, averaged, _error(averaged, material, alphabet)[0]

    recipe, stops = _recipe(search, len(fitting), trained)
    for stop, averaged, error in trained(recipe, stops):
        if best is None or error < best[0]:
            choices = {"rate": recipe.rate, "steps": stop, "longest": recipe.steps}
            best = error, _copy(averaged), choices
    assert best is not None
    found = Transcribed(
        alphabet, *_error(best[1], material, alphabet), len(material.checked), len(fitting),
        len(material.pool) - len(fitting), best[2], run.folder / "finetune", *_constant(material),
    )  # fmt: skip
    _save(found, best[1].cpu().eval(), material)
    return found


def _material(
    run: Run, labels: str | Path | None, label_column: str | None, seed: int
) -> _Material:
    data = run.config.data
    part = Part(
        *read_labelled(
            labels, run.source(), table=data.path, column=data.column, label_column=label_column
        )
    )
    inputs = Inputs(part.source, part.labels.indices, run.modality(), 0)
    found = part.take(np.isin(part.labels.indices, inputs.indices)).labels
    texts = [" ".join(found.classes[int(y)].split()) for y in found.y]
    mask = hold_out(
        np.zeros(len(texts), dtype=np.int64), VALIDATION_SHARE, 1000, seed + 3, found.group
    )
    if mask.sum() < 2 or (~mask).sum() < 2:
        raise UsageError(
            f"{len(texts)} transcripts are too few: some must check the others. "
            "Give more, or of more speakers."
        )
    checked = np.flatnonzero(mask)
    group = None if found.group is None else found.group[checked]
    return _Material(inputs, texts, np.flatnonzero(~mask), checked, group)


def _fitting(run: Run, material: _Material, target: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return which recordings have frames enough for their transcript.

    Raises:
        DataError: none has.
    """
    encoder, frames = run.encoder(), []
    for block in np.array_split(material.pool, max(1, len(material.pool) // 64)):
        x = material.inputs.plain(block)
        with torch.inference_mode():
            tokens = encoder.tokens(x[:1])
            empty = tokens.new_zeros(len(x), *tokens.shape[1:])
            frames.append(real_tokens(encoder, x, empty).sum(1).numpy())
    needed = transcripts.frames_needed(target[material.pool])
    fits = np.concatenate(frames) >= needed
    if not fits.any():
        raise DataError(
            f"No recording has frames enough for its transcript (the first: "
            f"{int(frames[0][0])} frames, {int(needed[0])} needed). Smaller encoder.patch?"
        )
    return material.pool[fits]


def _recipe(
    search: Search,
    num_labels: int,
    trained: Callable[[Recipe, list[int]], Iterator[tuple[int, nn.Module, float]]],
) -> tuple[Recipe, list[int]]:
    """Return the recipe of the long run, its rate chosen by short ones, and where it may stop."""
    longest = search.longest(num_labels)
    stops = [max(1, round(share * longest.steps)) for share in search.lengths]
    tried = [
        Recipe(rate, longest.steps, PLAIN, longest.batch, FIRST_LAYER, True)
        for rate in search.rates
    ]
    if len(tried) == 1:
        return tried[0], stops
    errors = [next(error for *_, error in trained(recipe, stops[:1])) for recipe in tried]
    return tried[int(np.argmin(errors))], stops


def _fresh(run: Run, alphabet: Alphabet, seed: int) -> Transcriber:
    encoder = run.encoder()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Transcriber(encoder, encoder.dim, len(alphabet.letters) + 1)
        # The loss is flat where every frame says the same, which a head of zeros does.
        nn.init.normal_(model.head.weight, std=encoder.dim**-0.5)
    return model


def _copy(model: nn.Module) -> Transcriber:
    found = copy.deepcopy(model)
    assert isinstance(found, Transcriber)
    return found


def read(
    model: nn.Module, inputs: Inputs, alphabet: Alphabet, rows: NDArray[np.int64] | None = None
) -> list[str]:
    """Return what a transcriber reads in recordings."""
    where = device()
    model.to(where).eval()
    asked = np.arange(len(inputs)) if rows is None else rows
    found: list[str] = []
    with torch.inference_mode(), autocast(best_precision(), where):
        for start in range(0, len(asked), 64):
            logits = model(inputs.plain(asked[start : start + 64]).to(where))
            found += [alphabet.decode(row) for row in logits.argmax(2).cpu().numpy()]
    return found


def _constant(material: _Material) -> tuple[str, float]:
    """Return what is best said where nothing is heard, and how wrong that is."""
    text = transcripts.likeliest([material.texts[row] for row in material.pool])
    real = [material.texts[row] for row in material.checked]
    return text, transcripts.error_rate([text] * len(real), real)[0]


def _error(model: nn.Module, material: _Material, alphabet: Alphabet) -> tuple[float, float, float]:
    said = read(model, material.inputs, alphabet, material.checked)
    real = [material.texts[row] for row in material.checked]
    return transcripts.error_rate(said, real, group=material.group)


def _save(found: Transcribed, model: Transcriber, material: _Material) -> None:
    """Write encoder, head and facts, open them again, and compare what is read.

    Raises:
        DataError: what was written reads something else.
    """
    found.folder.mkdir(parents=True, exist_ok=True)
    headed.save(found.folder, model)
    record = {
        "task": TASK,
        "classes": list(found.alphabet.letters),
        "error": found.error,
        "interval": [found.low, found.high],
        "constant": [found.constant, found.constant_error],
        "validation": found.validation,
        "train": found.train,
        "left_out": found.left_out,
        "choices": found.choices,
    }
    write_json(found.folder / FACTS, record)
    again, alphabet = load(found.folder)
    rows = material.checked[:8]
    if read(model, material.inputs, alphabet, rows) != read(again, material.inputs, alphabet, rows):
        raise DataError(
            f"The transcriber written to {found.folder} differs from the trained one. "
            "Please report this."
        )


def load(folder: Path) -> tuple[Transcriber, Alphabet]:
    """Open what `finetune` left in RUN/finetune.

    Raises:
        UsageError: there is no transcriber.
    """
    facts = read_json(folder / FACTS)
    if facts.get("task") != TASK:
        raise UsageError(
            f"{folder.parent} has no transcriber yet. Make one with "
            f"`unlabeled finetune {folder.parent} --labels FILE --task {TASK}`."
        )
    opened = headed.load(folder)
    model = Transcriber(opened.encoder, opened.head.in_features, opened.head.out_features)
    model.head.load_state_dict(opened.head.state_dict())
    return model.eval(), Alphabet("".join(map(str, facts["classes"])))


def transcribe(run: Run, source: Any, block: int = 256) -> Iterator[tuple[Sequence[str], Inputs]]:
    """Yield what is read in blocks of recordings, with the recordings."""
    model, alphabet = load(run.folder / "finetune")
    modality = run.modality()
    for start in range(0, len(source), block):
        inputs = Inputs(source, range(start, min(start + block, len(source))), modality, 0)
        yield read(model, inputs, alphabet) if len(inputs) else [], inputs
