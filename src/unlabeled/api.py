"""The library in Python: `pretrain`, `evaluate`, and the `Encoder` that comes out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unlabeled import config, duration, items, naming
from unlabeled.errors import UsageError
from unlabeled.items import Items
from unlabeled.kinds import part, strings

if TYPE_CHECKING:
    import pandas

    from unlabeled.encoders.base import Encoder as Network
    from unlabeled.modalities.base import Modality
    from unlabeled.runs import Run
    from unlabeled.transfer.meaning import Meaning

FACTS = "unlabeled.json"


def pretrain(
    data: str | Path,
    method: str | None = None,
    time: str | float | None = None,
    steps: int | None = None,
    *,
    out: str | Path | None = None,
    kind: str | None = None,
    column: str | None = None,
    init: str | Path | None = None,
    seed: int | None = None,
    quiet: bool = False,
    options: Mapping[str, Any] | None = None,
    **overrides: Any,
) -> Encoder:
    """Learn an encoder from unlabelled data.

    Args:
        data: folder, file or ``hf://dataset``.
        method: pretext task; chosen from the data if absent.
        time: how long, such as ``"10m"``, or seconds.
        steps: optimiser steps instead of a time.
        out: folder of the run; ``runs/NAME-METHOD-01`` if absent.
        kind: ``image``, ``text`` or another of `kinds.KINDS`; found if absent.
        column: column of a table that holds the samples.
        init: local folder with weights to start from.
        seed: of everything that is drawn.
        quiet: print nothing.
        options: named as on the command line, such as ``{"method.temperature": 0.5}``, or whole
            sections, such as ``{"data": {"held_out": 0.1}}``.
        **overrides: more sections, such as ``optim={"lr": 1e-3}``.

    Raises:
        UnlabeledError: with a sentence that says what is wrong.
    """
    from unlabeled.choices import Request
    from unlabeled.loop import pretrain as start
    from unlabeled.plan import plan

    sections = config.sections(options or {})
    config.merge(sections, config.sections(overrides))
    if seed is not None:
        sections.setdefault("loop", {})["seed"] = seed
    seconds = None if time is None else duration.parse(time)
    start_from = None if init is None else str(init)
    planned = plan(
        Request(
            str(data), method, seconds, steps, kind, column, init=start_from, overrides=sections
        )
    )
    folder = Path(out) if out is not None else naming.run_folder(planned.config)
    about = {"choices": [vars(choice) for choice in planned.choices], "command": "in Python"}
    start(planned.config, folder, seconds=planned.seconds, about=about, quiet=quiet)
    if strings(planned.config.data.kind):
        from unlabeled.runs import Run
        from unlabeled.transfer.text_scores import score_run

        score_run(Run.open(folder))
    return Encoder.from_pretrained(folder)


def evaluate(
    run: Encoder | str | Path,
    labels: str | Path | None = None,
    beside: Sequence[Encoder | str | Path] = (),
    **options: Any,
) -> Evaluation:
    """Say with a few labels whether pre-training helped, and how many labels it saved.

    Args:
        run: a run folder, or the encoder that `pretrain` returned.
        labels: csv with ``path,label[,split,group]``, ``column:NAME``, or class folders.
        beside: runs with other seeds and all else equal, judged together with this one.
        **options: of `unlabeled.transfer.evaluate.evaluate`: counts, draws, quick, test.
    """
    from unlabeled.transfer.evaluate import evaluate as measure

    opened = [one.run if isinstance(one, Encoder) else _open(one) for one in (run, *beside)]
    return Evaluation(measure(opened[0], labels, beside=opened[1:], **options))


def _open(folder: str | Path) -> Run:
    from unlabeled.runs import Run

    return Run.open(Path(folder))


@dataclass(frozen=True)
class Evaluation:
    """What ``evaluate/results.json`` holds; `str` gives its table and verdict.

    Args:
        results: the content of the file.
    """

    results: Mapping[str, Any]

    @property
    def verdict(self) -> str:
        """Return the verdict, one sentence."""
        return str(self.results["verdict"])

    @property
    def labels_saved(self) -> dict[str, Any]:
        """Return for each rival how many times fewer labels the encoder needs, and how sure."""
        return dict(self.results["labels_saved"])

    def to_frame(self) -> pandas.DataFrame:
        """Return one row for every (reading, labels per class, draw) with its score."""
        import pandas

        return pandas.DataFrame(list(self.results["rows"]))

    def __str__(self) -> str:
        from rich.console import Console

        from unlabeled.transfer import table

        console = Console(width=100, no_color=True, force_terminal=False)
        with console.capture() as captured:
            console.print(table.table(self.results, console.width))
        return "\n".join([captured.get().rstrip(), *table.lines(self.results)])


class Encoder:
    """A pre-trained encoder together with how raw data is read for it.

    Attributes:
        network: the module, features (B, D) of what the modality makes.
        modality: reads and cuts raw data.
        kind: one of `kinds.KINDS`.
    """

    def __init__(
        self, network: Network, modality: Modality, settings: Mapping[str, Any], folder: Path
    ) -> None:
        self.network, self.modality = network, modality
        self._settings, self.folder = dict(settings), folder

    @classmethod
    def from_pretrained(cls, folder: str | Path, windows: int | None = None) -> Encoder:
        """Load an encoder from a run folder, or from what `save_pretrained` wrote.

        Args:
            folder: of the run, or the saved one.
            windows: rows of a document that its feature is the mean over; None is as trained.

        Raises:
            UsageError: it is neither, or `windows` are asked of something that is not text.
        """
        path = Path(folder).expanduser()
        if not (path / FACTS).is_file():
            run = _open(path).with_windows(windows)
            return cls(run.encoder(), run.modality(), run.config.modality.model_dump(), path)
        facts = json.loads((path / FACTS).read_text(encoding="utf-8"))
        from unlabeled import encoders

        if windows is not None:
            facts["modality"]["windows"] = windows
        network = encoders.load(path)
        network.eval()
        return cls(network, _modality(facts, path), facts["modality"], path)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write a folder that timm or transformers load, and `from_pretrained` too.

        Raises:
            UsageError: the folder is not empty.
        """
        target = Path(folder).expanduser()
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise UsageError(f"{folder} exists and is not empty. Name another folder.")
        target.mkdir(parents=True, exist_ok=True)
        self.network.save(target)
        for path in target.iterdir():
            path.chmod(0o644)
        tokenizer = getattr(self.modality, "tokenizer", None)
        if tokenizer is not None:
            tokenizer.save_pretrained(str(target))
        facts = {"format": config.FORMAT, "kind": self.kind, "modality": self._settings}
        (target / FACTS).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")

    @property
    def kind(self) -> str:
        """Return one of `kinds.KINDS`."""
        return self.modality.name

    @property
    def dim(self) -> int:
        """Return D, the width of a feature."""
        return self.network.dim

    @property
    def length(self) -> int:
        """Return the tokens of a window of text; without meaning for images."""
        return int(self._settings.get("length", 128))

    @property
    def run(self) -> Run:
        """Return the run that the encoder comes from.

        Raises:
            UsageError: it was loaded from a saved folder, which has no run.
        """
        if (self.folder / FACTS).is_file():
            raise UsageError(
                f"{self.folder} holds an encoder without its run; name the run folder instead."
            )
        return _open(self.folder)

    def encode(self, data: Items, batch_size: int = 256) -> NDArray[np.float32]:
        """Return features (n, D) of a path's samples or of the samples themselves.

        Args:
            data: a folder or file; or a sequence of texts, or of images (paths, encoded bytes,
                Pillow images, uint8 arrays (H, W[, C])).
            batch_size: samples at a time.

        Raises:
            DataError: a sample cannot be read; the sentence names it.
        """
        parts = [
            self.features(found, batch_size, names)
            for names, found in items.chunks(data, self.kind)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, self.dim), np.float32)

    def dense(self, data: Items, batch_size: int = 64) -> NDArray[np.float32]:
        """Return the feature of every place of images, (n, H, W, D).

        Args:
            data: as for `encode`; images are cut to their largest centred square.
            batch_size: samples at a time.

        Raises:
            UsageError: the encoder is not one of images.
            DataError: a sample cannot be read; the sentence names it.
        """
        from unlabeled.transfer.dense import maps_of

        parts = [
            maps_of(self.network, self.modality, found, batch_size, names)
            for names, found in items.chunks(data, self.kind)
        ]
        return np.concatenate(parts)

    def features(
        self, payloads: Sequence[Any], batch_size: int = 256, names: Sequence[str] | None = None
    ) -> NDArray[np.float32]:
        """Return features (n, D) of encoded images (bytes) or of texts, which may have names."""
        from unlabeled.transfer.features import features

        return features(self.network, self.modality, payloads, batch_size, self.length, names)

    def finetune(self, labels: str | Path | None = None, **options: Any) -> Classifier:
        """Train a classifier from this encoder; kept in ``RUN/finetune``.

        Args:
            labels: as for `evaluate`.
            **options: of `unlabeled.transfer.finetune.finetune`.
        """
        from unlabeled.export.reload import quiet
        from unlabeled.transfer.finetune import finetune

        with quiet():
            finetune(self.run, labels, **options)
        return Classifier.from_run(self.folder)


class Classifier:
    """A fine-tuned encoder with its classes.

    Attributes:
        model: the module, outputs (B, K) of what the modality makes.
        modality: reads and cuts raw data.
        meaning: what outputs mean: classes, labels, grades or numbers.
        classes: names of classes, labels or grades, in their order; none of numbers.
        length: tokens of a window of text.
    """

    def __init__(self, model: Any, modality: Modality, meaning: Meaning, length: int) -> None:
        self.model, self.modality, self.meaning = model, modality, meaning
        self.classes, self.length = list(meaning.classes), length

    @classmethod
    def from_run(cls, folder: str | Path, column: str = "") -> Classifier:
        """Load the classifier that `Encoder.finetune` left in a run folder.

        Args:
            folder: of the run.
            column: the column of labels that it learned, where `finetune` learned several.

        Raises:
            UsageError: there is none.
        """
        from unlabeled.export.reload import quiet
        from unlabeled.transfer.finetune import load

        run = _open(folder).for_column(column)
        with quiet():
            model, meaning = load(run)
        return cls(model, run.modality(), meaning, getattr(run.config.modality, "length", 128))

    def predict(self, data: Items) -> list[Any]:
        """Return of each sample its class, its grade, its list of labels, or its number.

        Args:
            data: as for `Encoder.encode`.
        """
        return [one for logits in self._outputs(data) for one in self.meaning.predict(logits)]

    def predict_proba(self, data: Items) -> NDArray[np.float32]:
        """Return probabilities (n, K) in the order of `classes`; of several labels each by itself.

        Raises:
            UsageError: it gives numbers.
        """
        parts = [self.meaning.chances(logits) for logits in self._outputs(data)]
        return np.concatenate(parts) if parts else np.zeros((0, len(self.classes)), np.float32)

    def _outputs(self, data: Items) -> Iterator[NDArray[np.float32]]:
        from unlabeled.transfer.features import features

        for _, payloads in items.chunks(data, self.modality.name):
            yield features(self.model, self.modality, payloads, length=self.length)


def _modality(facts: Mapping[str, Any], folder: Path) -> Modality:
    """Rebuild the modality that `save_pretrained` described."""
    made: Modality = part(facts["kind"], "modality").of_folder(facts["modality"], folder)
    return made
