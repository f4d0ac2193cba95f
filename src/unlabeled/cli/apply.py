"""Verbs that use an encoder: predict, embed, generate, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unlabeled.cli import checks, show
from unlabeled.cli.learn import RunFolder, elsewhere
from unlabeled.cli.measure import Windows
from unlabeled.cli.train import Column, Kind
from unlabeled.errors import UsageError

FORMATS = ("hf", "timm", "onnx", "sentence-transformers", "gguf")

Whiten = Annotated[
    bool, typer.Option("--whiten", help="Text: features whitened on what was pre-trained on.")
]
Data = Annotated[str, typer.Argument(metavar="DATA", help="Folder, file or hf://dataset.")]


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
    """Label data with the classifier, as csv; with a policy, an action at each step of logs.

    Where moments of recordings or logs were learned: a row a stretch, path,start,end,label,score.
    Classifiers of several columns of labels write a column each.
    """
    folder = checks.run(run, part="finetune")
    task = checks.info(folder / "finetune", "classes.json").get("task")
    if task == "tagging":
        _tag(run, folder, data, out or Path("predictions.jsonl"), column)
        return
    out = out or Path("predictions.csv")
    source = checks.read_by(folder, data, kind, column)
    checks.writable(out)
    from unlabeled.cli import write

    if task == "transcript":
        count = write.transcripts(folder, source, out)
    elif task == "action":
        count = write.actions(folder, source, out)
    elif task in ("frames", "steps"):
        count = write.stretches(folder, source, out)
    elif task == "lot":
        count = write.lots(folder, source, data, out)
    else:
        from unlabeled.api import Classifier
        from unlabeled.transfer.columns import learned

        readers = {name: Classifier.from_run(folder, name) for name in learned(folder)}
        count = write.predictions(readers or {"": Classifier.from_run(folder)}, source, out)
    show.say(f"{count.good:,} predictions in {out}{count.words()}")
    show.next_commands(
        [
            elsewhere(run, folder, task or "single"),
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
    source = checks.read_by(folder, data, kind, column)
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
