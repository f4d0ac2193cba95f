"""The table of kinds of data: one line a kind, and where its parts are.

Imports nothing heavy, so that a wrong path or kind is answered at once. Nothing else in the
package asks for a kind by name; what differs between kinds is a column of this table, or stands
in one of the modules that it names.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Kind:
    """What is known of a kind, and the modules that hold its parts.

    Args:
        plural: what its samples are called.
        files: what its files are called.
        suffixes: endings of its files.
        columns: names of table columns that hold its samples, likeliest first.
        method: what is chosen where no method is asked for, and why.
        network: the encoder that is named where one is refused.
        modality: ``module:Class``.
        encoders: module with ``build`` and ``load``.
        choices: ``module:function`` that fills in what was not asked for.
        look: ``module:function`` that opens a few samples, from which choices are made.
        inspection: ``module:Class`` that gathers figures for `inspect`.
        baselines: ``module:function`` that returns plain features to compare with.
        samples: ``module:Class`` that draws pictures for the report.
        sketch: ``module:Class`` that tells near-duplicates; empty where none does.
        propose: ``module:function`` that says what is chosen instead of `method` for some data;
            empty where nothing depends on them.
        also: endings of files of other kinds that it reads where it is asked for by name.
        strings: whether items are strings, whose tokens are packed into rows.
        rows: whether items are rows of tables and arrays of numbers; items of other kinds are
            encoded bytes, each of which is a sample.
    """

    plural: str
    files: str
    suffixes: frozenset[str]
    columns: tuple[str, ...]
    method: tuple[str, str]
    network: str
    modality: str
    encoders: str
    choices: str
    look: str
    inspection: str
    baselines: str
    samples: str
    sketch: str = ""
    propose: str = ""
    strings: bool = False
    rows: bool = False
    also: frozenset[str] = frozenset()


IMAGE = frozenset(
    {".png", ".jpg", ".jpeg", ".jfif", ".webp", ".tif", ".tiff", ".bmp", ".dib", ".gif", ".apng"}
    | {".npy"}
)
AUDIO = frozenset(
    {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".caf", ".au"}
)
TEXT = frozenset({".txt", ".text", ".md", ".rst"})
SERIES = frozenset({".npz", ".h5", ".hdf5", ".mcap", ".bag", ".db3"})
VIDEO = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi"})
TABLE = frozenset({".parquet", ".csv", ".tsv", ".jsonl", ".ndjson"})
_WORDS = ("review", "sentence", "abstract", "message")
_PATHS = ("file", "path", "file_name", "filename")

KINDS: Mapping[str, Kind] = {
    "image": Kind(
        plural="images",
        files="images",
        suffixes=IMAGE,
        columns=("image", "images", "img", "picture", "photo", *_PATHS),
        method=("simclr", "learns most on a small budget; see docs/results.md"),
        network="timm:vit_tiny_patch16_224, timm:deit_small_patch16_224",
        modality="unlabeled.modalities.image:Image",
        encoders="unlabeled.encoders.vision",
        choices="unlabeled.choices.image:choose",
        look="unlabeled.look:images",
        inspection="unlabeled.data.inspect:Images",
        baselines="unlabeled.transfer.image_baselines:for_images",
        samples="unlabeled.report.image_samples:ImageSamples",
        sketch="unlabeled.data.sketch:Images",
    ),
    "text": Kind(
        plural="documents",
        files="text files",
        suffixes=TEXT,
        columns=("text", "content", "body", "document", *_WORDS),
        method=("bert", "features for labels; choose gpt to generate"),
        network="hf:bert-mini, hf:gpt2-mini",
        modality="unlabeled.modalities.text:Text",
        encoders="unlabeled.encoders.language",
        choices="unlabeled.choices.text:choose",
        look="unlabeled.look:documents",
        inspection="unlabeled.data.inspect:Documents",
        baselines="unlabeled.transfer.baselines:for_text",
        samples="unlabeled.report.text_samples:TextSamples",
        sketch="unlabeled.data.sketch:Documents",
        propose="unlabeled.choices.text:propose",
        strings=True,
    ),
    "audio": Kind(
        plural="recordings",
        files="sound files",
        suffixes=AUDIO,
        columns=("audio", "sound", "recording", "speech", "wav", "clip", *_PATHS),
        method=("apc", "learns from minutes of speech and cannot collapse"),
        network="timm:vit_tiny_patch16_224, hf:modernbert-4x192h3",
        modality="unlabeled.modalities.audio:Audio",
        encoders="unlabeled.encoders.sound",
        choices="unlabeled.choices.audio:choose",
        look="unlabeled.hear:recordings",
        inspection="unlabeled.data.hear:Recordings",
        baselines="unlabeled.transfer.sound_baselines:for_audio",
        samples="unlabeled.report.sound_samples:SoundSamples",
        sketch="unlabeled.data.sketch:Recordings",
    ),
    "series": Kind(
        plural="logs",
        files="logs",
        suffixes=SERIES,
        columns=(),
        method=("dynamics", "needs the fewest labels on logs of machines; see docs/results.md"),
        network="hf:modernbert-2x64h2",
        modality="unlabeled.modalities.series:Series",
        encoders="unlabeled.encoders.series",
        choices="unlabeled.choices.series:choose",
        look="unlabeled.gauge:logs",
        inspection="unlabeled.data.log_figures:LogFigures",
        baselines="unlabeled.transfer.series_baselines:for_series",
        samples="unlabeled.report.series_samples:SeriesSamples",
        rows=True,
    ),
    "video": Kind(
        plural="clips",
        files="video files",
        suffixes=VIDEO,
        columns=("video", "clip", "film", *_PATHS),
        method=("videomae", "learns from pixels alone and cannot collapse"),
        network="hf:videomae-4x192h3",
        modality="unlabeled.modalities.video:Video",
        encoders="unlabeled.encoders.clips",
        choices="unlabeled.choices.video:choose",
        look="unlabeled.look:clips",
        inspection="unlabeled.data.film_figures:FilmFigures",
        baselines="unlabeled.transfer.video_baselines:for_video",
        samples="unlabeled.report.video_samples:VideoSamples",
        sketch="unlabeled.data.sketch:Clips",
        also=frozenset({".gif", ".webp", ".png", ".apng", ".jpg", ".jpeg", ".npy", ".npz"}),
    ),
}  # fmt: skip

NAMES = tuple(KINDS)
ENCODED = tuple(name for name in NAMES if not KINDS[name].strings and not KINDS[name].rows)
"""Kinds whose items are encoded bytes; the first is what bytes hold where nothing speaks."""


def listing(word: str = "and") -> str:
    """Return the names of all kinds, as in a sentence.

    >>> listing("or").startswith("image")
    True
    """
    return f"{', '.join(NAMES[:-1])} {word} {NAMES[-1]}"


def strings(kind: str) -> bool:
    """Return whether items of a kind are strings, whose tokens are packed into rows."""
    return kind in KINDS and KINDS[kind].strings


def rows(kind: str) -> bool:
    """Return whether items of a kind are rows of numbers."""
    return kind in KINDS and KINDS[kind].rows


def part(kind: str, name: str) -> Any:
    """Import a part of a kind: a module, or what ``module:attribute`` names.

    >>> part("text", "modality").__name__
    'Text'
    """
    module, _, attribute = str(getattr(KINDS[kind], name)).partition(":")
    found = importlib.import_module(module)
    return getattr(found, attribute) if attribute else found
