"""Recordings of several spoken digits with pauses between, and a table of which digit is when.

    python bench/spoken_strings.py spoken-digits.parquet OUT --test lucas

joins the Free Spoken Digit Dataset (columns audio, label, speaker) in random order, three to six
digits of one speaker a recording, each clip once. OUT/pool holds the recordings of all speakers
but one, OUT/test those of that one; each has a labels.csv with the columns path, start, end, label
and speaker. The soft ends of clips are cut off, so that spans are what is heard; pauses of 0.1 to
0.6 s are noise 50 dB below full scale, which lies under everything.

    unlabeled pretrain OUT/pool --method hubert --time 4m --out RUN
    unlabeled evaluate RUN --labels OUT/pool/labels.csv --test OUT/test/labels.csv
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import soundfile
from numpy.typing import NDArray

from unlabeled.modalities import sound

RATE, NOISE = 8000, 10 ** (-50 / 20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("digits", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--test", default="lucas", help="speaker of OUT/test")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    table = pq.read_table(given.digits)
    rng = np.random.default_rng(given.seed)
    speakers = table.column("speaker").to_pylist()
    for part in ("pool", "test"):
        folder = given.out / part
        folder.mkdir(parents=True, exist_ok=True)
        rows: list[tuple[str, str, str, str, str]] = []
        for speaker in sorted(set(speakers)):
            if (speaker == given.test) == (part == "test"):
                mine = rng.permutation([i for i, who in enumerate(speakers) if who == speaker])
                rows += strings(table.take(mine), speaker, folder, rng)
        with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("path", "start", "end", "label", "speaker"), *rows])
        print(f"{folder}: {len({row[0] for row in rows})} recordings, {len(rows)} digits")


def strings(
    table: object, speaker: str, folder: Path, rng: np.random.Generator
) -> list[tuple[str, str, str, str, str]]:
    """Write the recordings of one speaker and return their rows."""
    clips = [row["bytes"] for row in table.column("audio").to_pylist()]
    digits = table.column("label").to_pylist()
    rows, first = [], 0
    while first < len(clips):
        last = min(first + int(rng.integers(3, 7)), len(clips))
        name = f"{speaker}-{first:03d}.wav"
        values, spans = joined([heard(clip) for clip in clips[first:last]], rng)
        soundfile.write(folder / name, values, RATE, subtype="PCM_16")
        rows += [
            (name, f"{a:.4f}", f"{b:.4f}", str(digit), speaker)
            for (a, b), digit in zip(spans, digits[first:last], strict=True)
        ]
        first = last
    return rows


def heard(clip: bytes) -> NDArray[np.float32]:
    """Return a clip without its soft ends."""
    return sound.trimmed(sound.read(clip, RATE).samples, RATE, sound.SOFT_ENDS)


def joined(
    clips: list[NDArray[np.float32]], rng: np.random.Generator
) -> tuple[NDArray[np.float64], list[tuple[float, float]]]:
    """Return clips with pauses before, between and after, and when each is heard."""
    parts: list[NDArray[np.float32]] = []
    spans, reached = [], 0
    for clip in [*clips, None]:
        pause = round(float(rng.uniform(0.1, 0.6)) * RATE)
        parts.append(np.zeros(pause, np.float32))
        reached += pause
        if clip is not None:
            parts.append(clip)
            spans.append((reached / RATE, (reached + len(clip)) / RATE))
            reached += len(clip)
    values = np.concatenate(parts)
    return np.clip(values + rng.normal(0, NOISE, len(values)), -1, 1), spans


if __name__ == "__main__":
    main()
