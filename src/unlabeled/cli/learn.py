"""The verb that learns from labels: finetune."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from unlabeled.cli import checks, show
from unlabeled.cli.measure import LabelColumn, Labels, Task
from unlabeled.errors import UsageError

RunFolder = Annotated[str, typer.Argument(metavar="RUN", help="Folder of a run.")]


def finetune(
    run: RunFolder,
    labels: Labels = None,
    label_column: LabelColumn = None,
    quick: Annotated[bool, typer.Option("--quick", help="A short training, not tuned.")] = False,
    seed: Annotated[
        int, typer.Option(metavar="N", min=0, help="Of the split and of training.")
    ] = 0,
    task: Task = None,
    frozen: Annotated[
        bool,
        typer.Option(
            "--frozen", help="Move no weight of the encoder: a linear head alone, in seconds."
        ),
    ] = False,
    class_weights: Annotated[
        str | None,
        typer.Option(
            metavar="HOW",
            help="balanced lets rare classes weigh as much as common ones; none; chosen on "
            "validation if absent.",
        ),
    ] = None,
    reading: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Recordings, with no weights moved: parts_apart, parts_joined or parts_spread of "
            "docs/sound.md, which take all of a speaker together.",
        ),
    ] = None,
) -> None:
    """Train a classifier, tagger, transcriber or a robot's policy from a few labels.

    Labels may be classes, several a sample (`a|b`), grades or numbers; tags of words, or classes
    of stretches of recordings and logs (path,start,end,label).
    With --task action the labels are logs of demonstrations, with the columns of the run.
    """
    task = checks.learnt(task)
    _fits(task, reading, quick, frozen, class_weights)
    folder = checks.run(run)
    if reading is not None:
        _learn_lots(run, folder, labels, label_column, reading, seed)
        return
    if task == "action":
        _clone(run, folder, labels, quick, seed)
        return
    labels = checks.labels(labels, folder, label_column, task)
    if task == "transcript":
        _learn_transcripts(run, folder, labels, label_column, quick, seed)
        return
    how: dict[str, Any] = {"label_column": label_column, "quick": quick, "seed": seed}
    part = _learn(folder, labels, how, task, frozen, class_weights)
    show.next_commands(
        [
            (f"unlabeled predict {run} DATA", "label new data"),
            elsewhere(run, folder, part),
            (f"unlabeled report {run}", "one page of everything"),
        ]
    )


def _fits(
    task: str | None, reading: str | None, quick: bool, frozen: bool, class_weights: str | None
) -> None:
    """Refuse options that say nothing about a task."""
    whole = reading is None and task not in ("tagging", "transcript", "action")
    if frozen and (quick or not (whole or task == "tagging")):
        raise UsageError(
            "--frozen puts a linear head on the encoder and trains nothing; leave --quick, "
            "--reading and tasks of words, transcripts or actions out."
        )
    if class_weights is not None:
        checks.choice(class_weights, ("none", "balanced"), "weighting of classes")
        if not whole or task == "regression":
            raise UsageError("--class-weights is for classes of whole samples; leave it out.")


def _learn(
    folder: Path,
    labels: str | None,
    how: dict[str, Any],
    task: str | None,
    frozen: bool,
    class_weights: str | None,
) -> str | None:
    """Learn tags of words, or one result a sample; return the task of the latter.

    Several columns of labels are a classifier each, or one that gives all of them (``multi``).
    """
    from unlabeled.data.label_columns import columns_in
    from unlabeled.export.reload import quiet
    from unlabeled.runs import Run
    from unlabeled.transfer import frame_tagger, tag_finetune, tag_form
    from unlabeled.transfer.columns import finetune_columns
    from unlabeled.transfer.finetune import finetune as classify

    run = Run.open(folder)
    data, words = run.config.data, checks.kind_of(folder) == "text"
    if tag_form.asked(labels, data.path, data.kind, task, how["label_column"]):
        if class_weights is not None or (frozen and words):
            option = "--frozen" if class_weights is None else "--class-weights"
            raise UsageError(f"{option} is not for {tag_form.form_of(run).item}; leave it out.")
        with quiet():
            if words:
                tagged = tag_finetune.finetune(run, labels, **how)
            else:
                tagged = frame_tagger.finetune(run, labels, frozen=frozen, **how)
        said = f"accuracy {tagged.accuracy:.3f}, macro F1 {tagged.macro_f1:.3f}"
        counted = f"{tagged.validation:,} {tag_form.form_of(run).item}"
        kept = "\n".join([*(f"Note: {note}" for note in tagged.notes), f"Tagger  {tagged.folder}"])
        _learned(tagged, said, counted, kept)
        return None
    how |= {"task": task, "frozen": frozen, "class_weights": class_weights}
    columns = columns_in(how["label_column"], labels or run.config.data.path)
    with quiet():
        if len(columns) < 2 or task == "multi":
            found = classify(run, labels, **how)
            _classified(found)
            return found.task
        del how["label_column"]
        for name, one in finetune_columns(run, labels, columns, **how):
            show.say(f"\nColumn {name}")
            show.say(str(one)) if isinstance(one, UsageError) else _classified(one)
    return None


def _classified(found: Any) -> None:
    """Say what a classifier of whole samples has learned."""
    kept = "\n".join([*found.beside, f"Classifier  {found.folder}"])
    _learned(found, found.said, f"{found.validation} samples", kept)


_NAMED = {"multi": "labels", "ordinal": "grades"}


def _learned(found: Any, said: str, counted: str, kept: str) -> None:
    """Say what was learned, how good it is and where it lies."""
    task = getattr(found, "task", "single")
    if task == "regression":
        show.say("a number a sample")
    else:
        names = ", ".join(found.classes[:10]) + (", ..." if len(found.classes) > 10 else "")
        show.say(f"{len(found.classes)} {_NAMED.get(task, 'classes')}: {names}")
    show.say(f"{said} on {counted} set aside (they also chose the training, so slightly too high)")
    show.say(kept)


_WHOLE = ("single", "multi", "ordinal", "regression")


def elsewhere(run: str, folder: Path, task: str | None) -> tuple[str, str]:
    """Return the command that takes along what can be: the classifier, or the encoder alone."""
    headed = (folder / "finetune" / "head.safetensors").exists()
    whole = task in _WHOLE and not headed and checks.kind_of(folder) in ("image", "text")
    part = "/finetune --to onnx" if whole else " --to hf"
    return f"unlabeled export {run}{part}", "use it elsewhere" if whole else "the encoder alone"


def _clone(run: str, folder: Path, labels: str | None, quick: bool, seed: int) -> None:
    """Learn actions from demonstrations and say how they compare with other ways of learning."""
    if labels is None:
        raise UsageError(
            f"Say where the demonstrations are: unlabeled finetune {run} --labels DEMOS --task "
            "action. They are logs with the columns of the run, those of actions included."
        )
    checks.existing(labels)
    from unlabeled.export.reload import quiet
    from unlabeled.runs import Run
    from unlabeled.transfer.cloning import finetune as clone

    with quiet():
        found = clone(Run.open(folder), labels, quick=quick, seed=seed)
    show.say(
        f"{found.learned} demonstrations learned from, {found.checked} set aside: variance of "
        "their actions that is explained (these also chose the training, so slightly too high)"
    )
    for arm, score in found.scores.items():
        show.say(f"  {arm:<18} {score:6.3f}{'   kept' if arm == found.arm else ''}")
    best = max(found.scores, key=found.scores.__getitem__)
    if best != found.arm:
        show.say(f"{best} is better than what was pre-trained: pre-training did not help here.")
    for name, reason in found.left_out:
        show.say(f"left out: {name}: {reason}")
    show.say("How well it acts shows only where it acts: an error of actions is no success rate.")
    show.say(f"Policy  {found.folder}")
    show.next_commands(
        [
            (f"unlabeled predict {run} DATA", "what it would have done, at each step of logs"),
            (f"unlabeled export {run} --to hf", "the encoder alone"),
            (f"unlabeled report {run}", "one page of everything"),
        ]
    )


def _learn_lots(
    run: str, folder: Path, labels: str | None, label_column: str | None, reading: str, seed: int
) -> None:
    """Make a classifier that reads recordings together, and say how good it is."""
    from unlabeled.export.reload import quiet
    from unlabeled.runs import Run
    from unlabeled.transfer import lots

    lots.check(reading)
    labels = checks.labels(labels, folder, label_column)
    with quiet():
        found = lots.learn(Run.open(folder), labels, reading, label_column=label_column, seed=seed)
    show.say(
        f"accuracy {found.accuracy:.3f}, macro F1 {found.macro_f1:.3f} on {found.validation} "
        "samples set aside; the classifier that is kept learned from these too"
    )
    show.say("It reads all recordings of a speaker together: a column tells who, or all are one.")
    show.say(f"Classifier  {found.folder}")
    show.next_commands(
        [
            (f"unlabeled predict {run} DATA", "label new recordings"),
            (f"unlabeled export {run} --to hf", "the encoder alone"),
            (f"unlabeled report {run}", "one page of everything"),
        ]
    )


def _learn_transcripts(
    run: str, folder: Path, labels: str | None, label_column: str | None, quick: bool, seed: int
) -> None:
    """Train a transcriber and say how many characters it gets wrong."""
    from unlabeled.export.reload import quiet
    from unlabeled.runs import Run
    from unlabeled.transfer.transcribe import finetune as learn

    with quiet():
        found = learn(Run.open(folder), labels, label_column=label_column, quick=quick, seed=seed)
    show.say(f"{len(found.alphabet.letters)} characters: {found.alphabet.letters}")
    show.say(
        f"character error rate {found.error:.3f} (95 % interval {found.low:.3f} to "
        f"{found.high:.3f}) on {found.validation} recordings set aside (they also chose the "
        f"training, so slightly too low); learned from {found.train}"
    )
    show.say(f"always saying '{found.constant[:40]}' would have {found.constant_error:.3f}")
    if found.left_out:
        show.say(f"{found.left_out} recordings are too short for their transcript and left out")
    show.say(f"Transcriber  {found.folder}")
    show.next_commands(
        [
            (f"unlabeled predict {run} DATA", "transcribe new recordings"),
            (f"unlabeled embed {run} DATA", "features as parquet"),
            (f"unlabeled report {run}", "one page of everything"),
        ]
    )
