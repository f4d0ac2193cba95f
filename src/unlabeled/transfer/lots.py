"""A classifier of recordings that come in lots: all of a speaker, or all of a session.

It makes the readings of a study that take recordings together. Features are the means of parts of
time, of the encoder and of cepstra, without what the recordings of a speaker share
(`parted.centred`); on them lies a linear head, or labels are spread from the labelled recordings
over those that are to be labelled (`spread`). The speakers are told by a column of the table;
where there is none, all that is given at once is one lot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from scipy.special import softmax

from unlabeled import encoders
from unlabeled.data.voices import groups_of
from unlabeled.errors import UsageError, nearest
from unlabeled.journal import read_json, write_json
from unlabeled.tensors import check_file
from unlabeled.transfer import finetune, parted, probe, trained_on
from unlabeled.transfer.baselines import described
from unlabeled.transfer.features import Inputs, of_inputs
from unlabeled.transfer.material import Material
from unlabeled.transfer.metrics import accuracy, macro_f1
from unlabeled.transfer.spread import SHARES, Graph, spread

if TYPE_CHECKING:
    from unlabeled.runs import Run

READINGS = ("parts_apart", "parts_joined", "parts_spread")
TASK = "lot"
STATE = "reading.safetensors"
MOST_POOL = 5_000
"""Recordings of the pre-training pool along which labels are spread."""

Arrays = dict[str, NDArray[Any]]


def check(reading: str) -> None:
    """Refuse a reading that no classifier is made of.

    Raises:
        UsageError: with the nearest name.
    """
    if reading not in READINGS:
        raise UsageError(
            f"There is no classifier by '{reading}'.{nearest(reading, READINGS)} "
            f"Readings: {', '.join(READINGS)}; without --reading the weights are fine-tuned."
        )


@dataclass(frozen=True)
class Lots:
    """A classifier of recordings that are read together.

    Args:
        encoder: of recordings, with tokens in time.
        modality: how they are read.
        reading: one of `READINGS`.
        classes: K names.
        state: centres and scales of features; a head, or labelled recordings and their groups.
    """

    encoder: Any
    modality: Any
    reading: str
    classes: list[str]
    state: Arrays

    def raw(self, inputs: Inputs) -> list[NDArray[np.float32]]:
        """Return features before they are centred: of the encoder, and of cepstra where joined."""
        found = [of_inputs(parted.Parted(self.encoder), inputs, precision="fp32")]
        joined = self.reading != "parts_apart"
        return [*found, described(inputs)["mfcc_parts"]] if joined else found

    def scaled(
        self, raw: Sequence[NDArray[np.float32]], group: NDArray[Any]
    ) -> NDArray[np.float32]:
        """Return features (N, D) apart from groups, blocks side by side."""
        state, blocks = self.state, []
        for number, block in enumerate(raw):
            apart = parted.centred(block, group, state[f"centre{number}"])
            scaler = probe.Scaler(state[f"mean{number}"], state[f"scale{number}"])
            blocks.append(scaler(apart))
        return np.hstack(blocks)

    def chances(self, inputs: Inputs, group: NDArray[Any] | None) -> NDArray[np.float32]:
        """Return probabilities of recordings that are read together, (N, K).

        Args:
            inputs: the recordings, all at once.
            group: (N,) who speaks; None where nobody knows, then they are one lot.
        """
        names = np.full(len(inputs), "") if group is None else group
        x = self.scaled(self.raw(inputs), names)
        if self.reading != "parts_spread":
            logits = x @ self.state["weight"] + self.state["bias"]
            return np.asarray(softmax(logits, axis=1), np.float32)
        return self._spread(x, names)

    def _spread(self, x: NDArray[np.float32], names: NDArray[Any]) -> NDArray[np.float32]:
        known = self.state
        before = np.array([bytes(name).decode() for name in _unpacked(known["names"])], np.str_)
        group = np.concatenate([before[known["group"]], names])
        links = Graph(np.concatenate([known["rows"], x]), group).weighed(
            float(known["share"].item())
        )
        rows = np.flatnonzero(known["y"] >= 0)
        reached = spread(links, rows, known["y"][rows], len(self.classes))[len(known["rows"]) :]
        reached = np.maximum(reached, 0) + 1e-12
        return np.asarray(reached / reached.sum(1, keepdims=True), np.float32)

    def save(self, folder: Path) -> None:
        """Write the encoder in its library's own format, and what is read of it beside it."""
        folder.mkdir(parents=True, exist_ok=True)
        self.encoder.save(folder)
        save_file({k: np.ascontiguousarray(v) for k, v in self.state.items()}, folder / STATE)


def load(run: Run) -> Lots:
    """Open what `learn` left in a run."""
    folder = run.folder / "finetune"
    about = read_json(folder / finetune.CLASSES)
    check_file(folder / STATE)
    encoder = encoders.load(folder)
    classes = [str(name) for name in about["classes"]]
    return Lots(encoder, run.modality(), about["reading"], classes, load_file(folder / STATE))


def learn(
    run: Run,
    labels: str | Path | None,
    reading: str,
    *,
    label_column: str | None = None,
    seed: int = 0,
) -> finetune.Finetuned:
    """Make a classifier by one of `READINGS` and keep it in RUN/finetune.

    Half of the work needs no labels: recordings of the pre-training pool take part with their
    speakers, as far as the run's own table tells them.

    Raises:
        UsageError: the run is not of recordings in time, or the labels do not fit.
    """
    check(reading)
    encoder = run.encoder()
    if run.config.data.kind != "audio" or not parted.in_time(encoder):
        raise UsageError(
            f"--reading {reading} is for recordings whose encoder reads frames or samples; "
            f"{run.folder} is of {run.config.data.kind} with {run.config.encoder.name}. Leave it "
            "out."
        )
    material = finetune.material_of(run, labels, label_column, seed, "single")
    further, names = _pool(run, material, seed)
    made = Lots(encoder.eval(), run.modality(), reading, material.classes, {})
    parts = [material.train] if further is None else [material.train, further]
    raw = [
        np.concatenate(blocks) for blocks in zip(*(made.raw(part) for part in parts), strict=True)
    ]
    known = material.group_train
    group = np.concatenate([np.full(len(material.train), "") if known is None else known, names])
    _fit_scales(made.state, raw, group)
    x = made.scaled(raw, group)
    guess, chosen = _fit(made, x, group, material)
    made.save(run.folder / "finetune")
    expected = material.expected
    score = accuracy(guess, expected), macro_f1(guess, expected, len(material.classes))
    about: dict[str, Any] = {"task": TASK, "reading": reading, "classes": material.classes}
    about |= {"accuracy": score[0], "macro_f1": score[1], "validation": len(expected)}
    write_json(
        run.folder / "finetune" / finetune.CLASSES,
        about | {"train": len(material.pool), "choices": chosen},
    )
    return finetune.Finetuned(
        encoder, material.classes, *score, len(expected), chosen, run.folder / "finetune"
    )


def _pool(run: Run, material: Material, seed: int) -> tuple[Inputs | None, NDArray[np.str_]]:
    """Return recordings without labels that were pre-trained on, and who speaks."""
    source = run.source()
    groups = groups_of(source, run.config.data.path)
    pool = trained_on.pool_indices(run)
    if source.fingerprint == material.train.source.fingerprint:  # type: ignore[attr-defined]
        pool = np.setdiff1d(pool, material.train.indices)
    if not len(pool) or (groups is None and material.group_train is not None):
        return None, np.zeros(0, np.str_)
    further = Inputs(source, _some(pool, seed), run.modality())
    names = np.full(len(further), "") if groups is None else groups[further.indices]
    return (further if len(further) else None), names


def _some(pool: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    from unlabeled import rng

    chosen = rng.generator(rng.mix(seed, MOST_POOL)).permutation(pool)[:MOST_POOL]
    return np.sort(chosen)


def _fit_scales(state: Arrays, raw: Sequence[NDArray[np.float32]], group: NDArray[Any]) -> None:
    """Write the centre and the scale of each block, from all recordings without their labels."""
    for number, block in enumerate(raw):
        centre = block.mean(0)
        scaler = probe.Scaler.fit(parted.centred(block, group, centre))
        state |= {f"centre{number}": centre, f"mean{number}": scaler.mean}
        state[f"scale{number}"] = scaler.scale


def _fit(
    made: Lots, x: NDArray[np.float32], group: NDArray[Any], material: Material
) -> tuple[NDArray[np.int64], dict[str, Any]]:
    """Read with the training labels to say how good it is, then keep it with all labels."""
    every = np.arange(len(material.y))
    if made.reading == "parts_spread":
        return _fit_spread(made, x, group, material, every)
    num_classes = len(made.classes)
    first = probe.fit(x[material.pool], material.y[material.pool], num_classes, 0)
    last = probe.fit(x[every], material.y, num_classes, 0)
    made.state.update(weight=last.weight, bias=last.bias)
    return first.predict(x[material.validation]), {"l2": last.penalty}


def _fit_spread(
    made: Lots,
    x: NDArray[np.float32],
    group: NDArray[Any],
    material: Material,
    every: NDArray[np.int64],
) -> tuple[NDArray[np.int64], dict[str, Any]]:
    graph, found = Graph(x, group), {}
    for share in SHARES if graph.parted else SHARES[:1]:
        pool = material.pool
        reached = spread(graph.weighed(share), pool, material.y[pool], len(made.classes))
        found[share] = reached[material.validation].argmax(1)
    best = max(found, key=lambda share: accuracy(found[share], material.expected))
    names, of = np.unique(group, return_inverse=True)
    y = np.full(len(x), -1, np.int64)
    y[every] = material.y
    made.state.update(
        rows=x,
        y=y,
        group=of.astype(np.int64),
        share=np.array([best]),
        names=_packed(names.tolist()),
    )
    return found[best], {"share": best}


def _packed(names: Sequence[str]) -> NDArray[np.uint8]:
    """Return names as bytes, a line each; safetensors holds no strings."""
    return np.frombuffer("\n".join(names).encode(), np.uint8).copy()


def _unpacked(packed: NDArray[np.uint8]) -> list[bytes]:
    return packed.tobytes().split(b"\n")
