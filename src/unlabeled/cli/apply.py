"""Verbs that use an encoder: finetune, predict, embed, generate, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unlabeled.cli import checks, show
from unlabeled.cli.measure import LabelColumn, Labels, Task, Windows
from unlabeled.cli.train import Column, Kind
from unlabeled.errors import UsageError

FORMATS = ("hf", "timm", "onnx", "sentence-transformers", "gguf")

RunFolder = Annotated[str, typer.Argument(metavar="RUN", help="Folder of a run.")]
Whiten = Annotated[
    bool, typer.Option("--whiten", help="Text: features whitened on what was pre-trained on.")
]
Data = Annotated[str, typer.Argument(metavar="DATA", help="Folder, file or hf://dataset.")]


def finetune(
    run: RunFolder,
    labels: Labels = None,
    label_column: LabelColumn = None,
    quick: Annotated[bool, typer.Option("--quick", help="A short training, not tuned.")] = False,
    seed: Annotated[
        int, typer.Option(metavar="N", min=0, help="Of the split and of training.")
    ] = 0,
    task: Task = None,
    reading: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Recordings, with no weights moved: parts_apart, parts_joined or parts_spread of "
            "docs/sound.md, which take all of a speaker together.",
        ),
    ] = None,
) -> None:
    """Train a classifier, a tagger of words, a transcriber or a robot's policy from a few labels.

    With --task action the labels are logs of demonstrations, with the columns of the run.
    """
    checks.learnt(task)
    folder = checks.run(run)
    if reading is not None:
        _learn_lots(run, folder, labels, label_column, reading, seed)
        return
    if task == "action":
        _clone(run, folder, labels, quick, seed)
        return
    labels = checks.labels(labels, folder, label_column)
    if task == "transcript":
        _learn_transcripts(run, folder, labels, label_column, quick, seed)
        return
    from unlabeled.export.reload import quiet
    from unlabeled.runs import Run
    from unlabeled.transfer import tag_finetune, tagging
    from unlabeled.transfer.finetune import finetune as classify

    opened = Run.open(folder)
    words = tagging.asked(labels, opened.config.data.path, opened.config.data.kind, task)
    train = tag_finetune.finetune if words else classify
    with quiet():
        found = train(opened, labels, label_column=label_column, quick=quick, seed=seed)
    names = ", ".join(found.classes[:10]) + (", ..." if len(found.classes) > 10 else "")
    show.say(f"{len(found.classes)} classes: {names}")
    counted = f"{found.validation} {'words' if words else 'samples'}"
    show.say(
        f"accuracy {found.accuracy:.3f}, macro F1 {found.macro_f1:.3f} on {counted} "
        "set aside (they also chose the training, so slightly too high)"
    )
    kept = f"{'Tagger' if words else 'Classifier'}  {found.folder}"
    show.say("\n".join([*getattr(found, "beside", []), kept]))
    show.next_commands(
        [
            (f"unlabeled predict {run} DATA", "label new data"),
            _elsewhere(run, folder, None if words else "single"),
            (f"unlabeled report {run}", "one page of everything"),
        ]
    )


def _elsewhere(run: str, folder: Path, task: str | None) -> tuple[str, str]:
    """Return the command that takes along what can be: the classifier, or the encoder alone."""
    whole = task == "single" and checks.kind_of(folder) in ("image", "text")
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


def predict(
    run: RunFolder,
    data: Data,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="csv to write; jsonl where words are tagged."),
    ] = None,
    kind: Kind = None,
    column: Column = None,
) -> None:
    """Label data with the classifier, as csv; with a policy, an action at each step of logs."""
    folder = checks.run(run, part="finetune")
    task = checks.info(folder / "finetune", "classes.json").get("task")
    if task == "tagging":
        _tag(run, folder, data, out or Path("predictions.jsonl"), column)
        return
    out = out or Path("predictions.csv")
    source = checks.source(data, kind or checks.kind_of(folder), column)
    checks.writable(out)
    from unlabeled.cli import write

    if task == "transcript":
        count = write.transcripts(folder, source, out)
    elif task == "action":
        count = write.actions(folder, source, out)
    elif task == "lot":
        count = write.lots(folder, source, data, out)
    else:
        from unlabeled.api import Classifier

        count = write.predictions(Classifier.from_run(folder), source, out)
    show.say(f"{count.good:,} predictions in {out}{count.words()}")
    show.next_commands(
        [
            _elsewhere(run, folder, task or "single"),
            (f"unlabeled embed {run} {data}", "features as parquet"),
            (f"unlabeled report {run}", "one page of everything"),
        ]
    )


def _tag(run: str, folder: Path, data: str, out: Path, column: str | None) -> None:
    """Tag the words of sentences that are given, or of lines of text."""
    checks.writable(out)
    from unlabeled.cli import write
    from unlabeled.export.reload import quiet
    from unlabeled.runs import Run
    from unlabeled.transfer.tag_finetune import Tagger

    sentences = write.sentences(data, column)
    with quiet():
        tagger = Tagger(Run.open(folder))
    count = write.tags(tagger, sentences, out)
    show.say(f"{count:,} sentences with their tags in {out}")
    show.next_commands(
        [
            (f"head -n 1 {out}", "look"),
            (f"unlabeled embed {run} {data}", "features as parquet"),
            (f"unlabeled report {run}", "one page of everything"),
        ]
    )


def embed(
    run: RunFolder,
    data: Data,
    out: Annotated[Path, typer.Option(metavar="FILE", help="parquet to write.")] = Path(
        "embeddings.parquet"
    ),
    kind: Kind = None,
    column: Column = None,
    dense: Annotated[
        bool, typer.Option("--dense", help="A feature for each place of an image (patches).")
    ] = False,
    windows: Windows = None,
    whiten: Whiten = False,
    reading: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Recordings: parts, the mean of each eighth; parts_apart, without what a "
            "speaker's recordings share.",
        ),
    ] = None,
) -> None:
    """Write features to parquet: name, embedding.

    With --dense also height and width; an embedding then holds height x width features.
    """
    if whiten and dense:
        raise UsageError("--whiten is for features of documents: leave --dense out.")
    folder = checks.run(run)
    checks.parts(reading, folder)
    source = checks.source(data, kind or checks.kind_of(folder), column)
    checks.writable(out)
    from unlabeled.api import Encoder
    from unlabeled.cli import write

    encoder = Encoder.from_pretrained(folder, windows)
    if dense:
        count = write.maps(encoder, source, out)
    elif reading is not None:
        count = write.parts(encoder, source, data if reading == "parts_apart" else None, out)
    else:
        count = write.embeddings(encoder, source, out, whiten)
    show.say(f"{count.good:,} embeddings in {out}{count.words()}")
    show.next_commands(
        [
            (f'python -c "import pandas; print(pandas.read_parquet({str(out)!r}))"', "look"),
            (f"unlabeled evaluate {run} --labels FILE", "how good they are"),
            (f"unlabeled export {run} --to hf", "use the encoder elsewhere"),
        ]
    )


def generate(
    run: RunFolder,
    prompt: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="Where to start; repeatable.")
    ] = None,
    max_tokens: Annotated[int, typer.Option(metavar="N", min=1, help="Tokens to add.")] = 100,
    temperature: Annotated[
        float, typer.Option(metavar="X", min=0, help="0 takes the likeliest token.")
    ] = 0.8,
    top_k: Annotated[
        int | None, typer.Option(metavar="K", min=1, help="Draw from the k likeliest.")
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(metavar="P", min=0, max=1, help="Draw from this share of probability."),
    ] = None,
    min_p: Annotated[
        float | None,
        typer.Option(metavar="P", min=0, max=1, help="Drop tokens below this share of the best."),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Repeat or vary the text.")] = 0,
    stop: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="Text at which to stop; repeatable.")
    ] = None,
) -> None:
    """Let a generator continue prompts, all of them at once."""
    folder = checks.run(run)
    trained = checks.info(folder).get("method")
    from unlabeled.methods import catalogue

    if not catalogue.writes(trained):
        raise UsageError(
            f"{run} was trained with {trained}, which does not generate. "
            "Train a generator: unlabeled pretrain DATA --method gpt"
        )
    from unlabeled.generate import write
    from unlabeled.runs import Run

    prompts = prompt or [""]
    written = write(
        Run.open(folder), prompts, max_tokens=max_tokens, temperature=temperature, top_k=top_k,
        top_p=top_p, min_p=min_p, seed=seed, stop=stop,
    )  # fmt: skip
    for text in written.texts:
        show.say(text)
    rate = written.tokens / max(written.seconds, 1e-9)
    show.say(
        f"\n{written.tokens:,} tokens in {written.seconds:.1f} s: {rate:,.0f} tokens/s "
        f"({len(prompts)} at once)"
    )
    show.next_commands(
        [
            (f"unlabeled generate {run} --temperature 0.5 --seed {seed + 1}", "again"),
            (f"unlabeled report {run}", "bits per byte beside plain baselines"),
            (f"unlabeled export {run} --to hf", "use it elsewhere"),
        ]
    )


def export(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run, or RUN/finetune.")],
    to: Annotated[
        str, typer.Option(metavar="FORMAT", help=f"{', '.join(FORMATS)}; several with commas.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Folder to write; RUN/exported/FORMAT if absent."),
    ] = None,
    whiten: Whiten = False,
) -> None:
    """Write and check it for other libraries.

    What was written is loaded by the other library, and the largest difference of outputs
    on real samples is printed; a difference above 0.001 is an error.
    """
    formats = [checks.choice(word, FORMATS, "format") for word in to.split(",")]
    if out is not None and len(formats) > 1:
        raise UsageError("--out names one folder: give one format, or leave --out away.")
    tuned = Path(run).name == "finetune" and (Path(run).parent / "run.json").is_file()
    folder = checks.run(str(Path(run).parent) if tuned else run)
    if tuned:
        checks.run(str(folder), part="finetune")
    from unlabeled.export import export as write
    from unlabeled.runs import Run

    for name in formats:
        part = "finetune" if tuned else "encoder"
        result = write(Run.open(folder), name, out, part=part, whiten=whiten)
        show.say(
            f"{name:<22} {result.path}   reloaded with {result.reader}: "
            f"max |difference| {result.max_difference:.1e} on {result.samples} samples"
        )
    show.say(f"\n{result.usage}")
    show.next_commands(
        [
            (f"unlabeled report {folder}", "one page of everything"),
            (f"unlabeled embed {folder} DATA", "features as parquet"),
            ("unlabeled runs", "all runs"),
        ]
    )
