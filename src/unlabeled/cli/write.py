"""Files of features and predictions, written piece by piece so that memory stays bounded."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unlabeled.cli import checks
from unlabeled.cli.draft import draft_of, rows_of
from unlabeled.errors import DataError, UsageError
from unlabeled.items import named_payloads
from unlabeled.modalities.decode import decode

if TYPE_CHECKING:
    from unlabeled.api import Classifier, Encoder
    from unlabeled.data.find import Source
    from unlabeled.transfer.features import Inputs
    from unlabeled.transfer.tag_finetune import Tagger

CHUNK, MAPS = 1024, 64


@dataclass
class Count:
    """How many samples were written, and why the others were not."""

    good: int = 0
    bad: list[tuple[str, str]] = field(default_factory=list)

    def words(self) -> str:
        """Say what was left out; empty when nothing was."""
        if not self.bad:
            return ""
        name, reason = self.bad[0]
        return f"; {len(self.bad):,} left out as unreadable (first: {name}: {reason})"


def embeddings(encoder: Encoder, source: Source, out: Path, whiten: bool = False) -> Count:
    """Write a parquet file with the columns name and embedding, perhaps whitened.

    Raises:
        DataError: no sample can be read.
        UsageError: features to be whitened are not of text.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    count = Count()
    white, dim = None, encoder.dim
    if whiten:
        from unlabeled.transfer.whitening import of_run

        white = of_run(encoder.run)
        dim = white.matrix.shape[1]
    vector = pa.list_(pa.float32(), dim)
    schema = pa.schema([("name", pa.string()), ("embedding", vector)])
    with draft_of(out) as draft, pq.ParquetWriter(draft, schema) as writer:
        for names, rows in _outputs(encoder.network, encoder, source, count):
            rows = rows if white is None else white(rows)
            flat = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), dim)
            writer.write_table(pa.table([pa.array(names), flat], schema=schema))
        _some(count)
    return count


def parts(encoder: Encoder, source: Source, place: str | None, out: Path) -> Count:
    """Write what `embeddings` does, the mean of each eighth of a recording one after another.

    Args:
        encoder: of recordings.
        source: the recordings.
        place: where they were found, to take away what the recordings of a speaker share; None
            leaves it.
        out: the file.

    Raises:
        DataError: no sample can be read.
        UsageError: the encoder's tokens do not follow one another in time.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from unlabeled.transfer import parted

    if not parted.in_time(encoder.network):
        raise UsageError("An encoder of spectrograms has no tokens in time: leave --reading out.")
    count = Count()
    found = list(_outputs(parted.Parted(encoder.network), encoder, source, count))
    names = [name for part, _ in found for name in part]
    rows = np.concatenate([part for _, part in found]) if found else np.zeros((0, 1), np.float32)
    if place is not None and names:
        rows = parted.centred(rows, _speakers(source, place, names), rows.mean(0))
    vector = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])
    table = pa.table([pa.array(names, pa.string()), vector], ["name", "embedding"])
    with draft_of(out) as draft:
        pq.write_table(table, draft)
        _some(count)
    return count


def _speakers(source: Source, place: str, names: list[str]) -> NDArray[Any]:
    """Return who speaks in each of the named samples; all are one where no table tells."""
    from unlabeled.data.voices import groups_of

    groups = groups_of(source, place)
    if groups is None:
        return np.full(len(names), "")
    where = {source.name(i): i for i in range(len(source))}
    return groups[[where[name] for name in names]]


def maps(encoder: Encoder, source: Source, out: Path) -> Count:
    """Write a parquet file with the columns name, height, width and embedding.

    The embedding of a row holds height x width features, row by row.

    Raises:
        DataError: no sample can be read.
        UsageError: the encoder is not one of images.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from unlabeled.transfer.dense import patch_maps, require_maps

    require_maps(encoder.network)
    count = Count()
    schema = pa.schema(
        [("name", pa.string()), ("height", pa.int32()), ("width", pa.int32()),
         ("embedding", pa.list_(pa.float32()))]
    )  # fmt: skip
    with draft_of(out) as draft, pq.ParquetWriter(draft, schema) as writer:
        for inputs in _inputs(encoder, source, count, MAPS):
            found = patch_maps(encoder.network, inputs.plain(slice(None))).numpy()
            names = _names(source, inputs)
            sides = [[found.shape[axis]] * len(found) for axis in (1, 2)]
            flat = list(found.reshape(len(found), -1))
            writer.write_table(pa.table([pa.array(names), *sides, flat], schema=schema))
        _some(count)
    return count


def predictions(classifiers: Mapping[str, Classifier], source: Source, out: Path) -> Count:
    """Write a csv file with the columns path and label, and how likely that is.

    One class or grade has its probability as ``score``, several labels have one column each; a
    number has nothing beside it.

    Args:
        classifiers: of one run, by the column of labels that each learned, which its columns are
            then called by; the only one has no name.
        source: the samples.
        out: the file.

    Raises:
        DataError: no sample can be read.
    """
    from unlabeled.transfer.features import of_inputs

    count, readers = Count(), list(classifiers.values())
    header = [one.meaning.header(column) for column, one in classifiers.items()]
    with rows_of(out) as table:
        table.writerow(["path", *chain(*header)])
        for inputs in _inputs(readers[0], source, count):
            outputs = [of_inputs(one.model, inputs, precision="fp32") for one in readers]
            parts = [one.meaning.cells(x) for one, x in zip(readers, outputs, strict=True)]
            rows = zip(_names(source, inputs), *parts, strict=True)
            table.writerows([name, *chain(*cells)] for name, *cells in rows)
        _some(count)
    return count


def lots(folder: Path, source: Source, place: str, out: Path) -> Count:
    """Write what `predictions` does, of recordings that are read together, by speaker if known.

    Raises:
        DataError: no recording can be read.
    """
    from unlabeled.data.voices import groups_of
    from unlabeled.runs import Run
    from unlabeled.transfer.features import Inputs
    from unlabeled.transfer.lots import load

    reader = load(Run.open(folder))
    inputs = Inputs(source, range(len(source)), reader.modality)
    count = Count(len(inputs), inputs.bad)
    with rows_of(out) as table:
        table.writerow(["path", "label", "score"])
        if len(inputs):
            groups = groups_of(source, place)
            who = None if groups is None else groups[inputs.indices]
            _label(table, reader.classes, _names(source, inputs), reader.chances(inputs, who))
        _some(count)
    return count


def _names(source: Source, inputs: Inputs) -> list[str]:
    return [source.name(int(index)) for index in inputs.indices]


def _label(table: Any, classes: list[str], names: list[str], chances: NDArray[np.float32]) -> None:
    """Write a row of each sample: its name, its likeliest class and how likely that is."""
    for name, row in zip(names, chances, strict=True):
        best = int(row.argmax())
        table.writerow([name, classes[best], f"{row[best]:.4f}"])


def transcripts(folder: Path, source: Source, out: Path) -> Count:
    """Write a csv file with the columns path and text: what is said in each recording.

    Raises:
        DataError: no recording can be read.
    """
    from unlabeled.runs import Run
    from unlabeled.transfer.transcribe import transcribe

    count = Count()
    with rows_of(out) as table:
        table.writerow(["path", "text"])
        for texts, inputs in transcribe(Run.open(folder), source):
            table.writerows(zip(_names(source, inputs), texts, strict=True))
            count.bad += inputs.bad
            count.good += len(texts)
        _some(count)
    return count


def stretches(folder: Path, source: Source, out: Path) -> Count:
    """Write a csv file with the columns path, start, end, label and score, a row a stretch.

    Times are in seconds, or in steps of logs.

    Raises:
        DataError: nothing can be read.
    """
    from unlabeled.export.reload import quiet
    from unlabeled.runs import Run
    from unlabeled.transfer.frame_tagger import MomentReader

    with quiet():
        reader = MomentReader(Run.open(folder))
    count = Count()
    with rows_of(out) as table:
        table.writerow(["path", "start", "end", "label", "score"])
        for name, found in reader(source):
            if isinstance(found, DataError):
                count.bad.append((name, str(found)))
                continue
            for one in found:
                times = [f"{round(time, 4):g}" for time in (one.start, one.end)]
                table.writerow([name, *times, one.label, f"{one.score:.4f}"])
            count.good += 1
        _some(count)
    return count


def actions(folder: Path, logs: Source, out: Path) -> Count:
    """Write a csv file with the columns path, step and those of actions, a row a step.

    Raises:
        DataError: no log can be read.
        UsageError: what is given are no logs.
    """
    from unlabeled.data.logs import Logs
    from unlabeled.transfer.policy import Policy

    if not isinstance(logs, Logs):
        raise UsageError("A policy acts on logs: tables of numbers, a row a step. These are none.")
    count = Count()
    policy = Policy.from_run(folder)
    with rows_of(out) as table:
        table.writerow(["path", "step", *policy.actions])
        for parts in np.split(np.arange(len(logs)), np.flatnonzero(np.diff(logs.groups)) + 1):
            name = logs.episode(parts[0])
            try:
                log = np.concatenate([policy.read(logs.payload(part)) for part in parts])
            except DataError as error:
                count.bad.append((name, str(error)))
                continue
            for step, row in enumerate(policy.along(log).tolist()):
                table.writerow([name, step, *(f"{value:.6g}" for value in row)])
            count.good += 1
        _some(count)
    return count


def sentences(data: str, column: str | None) -> Iterator[tuple[str, list[str]]]:
    """Yield names and words: as given where data hold lists of words, else of lines of text.

    Text is parted at spaces, and marks before and behind a word are words of their own.
    """
    from unlabeled.data.tags import words_of_table

    path = Path(data)
    given = words_of_table(path) if path.is_file() else None
    if given is not None:
        yield from ((f"{path.name}#{i}", words) for i, words in enumerate(given))
        return
    source = checks.source(data, "text", column)
    for name, payload in named_payloads(source):
        if isinstance(payload, DataError):
            raise DataError(f"{name} cannot be read: {payload}")
        text = payload if isinstance(payload, str) else decode(payload)
        for number, line in enumerate(filter(str.strip, text.splitlines())):
            yield f"{name}:{number}", _WORD.findall(line)


_WORD = re.compile(r"\w+(?:[-'’.,/&]\w+)*|[^\w\s]")


def tags(tagger: Tagger, given: Iterator[tuple[str, list[str]]], out: Path) -> int:
    """Write a jsonl file with the fields name, words, tags and scores (probabilities).

    Returns:
        How many sentences were written.

    Raises:
        DataError: there is none.
    """
    count = 0
    with draft_of(out) as draft, draft.open("w", encoding="utf-8") as file:
        while block := list(islice(given, CHUNK)):
            rows = zip(block, tagger([words for _, words in block]), strict=True)
            for (name, words), (said, chances) in rows:
                scores = [round(chance, 4) for chance in chances]
                line = {"name": name, "words": words, "tags": said, "scores": scores}
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
            count += len(block)
        if not count:
            raise DataError("There is no sentence to tag.")
    return count


def _outputs(
    model: Any, reader: Encoder | Classifier, source: Source, count: Count
) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
    """Yield names and outputs of the readable samples."""
    from unlabeled.transfer.features import of_inputs

    for inputs in _inputs(reader, source, count):
        yield _names(source, inputs), of_inputs(model, inputs, precision="fp32")


def _inputs(
    reader: Encoder | Classifier, source: Source, count: Count, size: int = CHUNK
) -> Iterator[Inputs]:
    """Yield the samples of a source, some at a time, and count those that can be read."""
    from unlabeled.transfer.features import Inputs

    for start in range(0, len(source), size):
        indices = range(start, min(start + size, len(source)))
        inputs = Inputs(source, indices, reader.modality, reader.length)
        count.bad += inputs.bad
        count.good += len(inputs)
        if len(inputs):
            yield inputs


def _some(count: Count) -> None:
    """Refuse a file without a sample."""
    if not count.good:
        name, reason = count.bad[0]
        raise DataError(f"None of {len(count.bad)} samples can be read. First: {name}: {reason}")
