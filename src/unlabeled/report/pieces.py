"""Sections 5 and 6: what is shown of RUN/samples, and what to say where a part is missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from markupsafe import Markup

from unlabeled.kinds import strings
from unlabeled.methods import catalogue
from unlabeled.report import text_map
from unlabeled.report.chart import Chart, Line
from unlabeled.report.folder import Folder
from unlabeled.report.pictures import Picture, audible, picture, record, short
from unlabeled.report.sections import Figure, wide_figure
from unlabeled.report.wording import MISSING, number, percent, real

_HEARD = 2
"""Neighbours of a query that can be heard."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One part of the sections on what the run saw and learned."""

    title: str
    note: str = ""
    image: Picture | None = None
    alt: str = ""
    fills: list[dict[str, Any]] = field(default_factory=list)
    texts: list[dict[str, str]] = field(default_factory=list)
    near: list[dict[str, Any]] = field(default_factory=list)
    rows: list[tuple[str, str]] = field(default_factory=list)
    players: list[list[dict[str, str]]] = field(default_factory=list)
    figure: Figure | None = None
    dots: Markup | None = None
    groups: list[tuple[str, list[str]]] = field(default_factory=list)
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A part that a run can have: its file in RUN/samples and its words."""

    key: str
    file: str
    title: str
    note: str
    alt: str = ""


VIEWS = Wanted(
    "views", "views.png", "Views",
    "Each row is one sample as it is, then the views that the method made of it.",
    "Eight samples, each beside its augmented views",
)  # fmt: skip
MASKS = Wanted(
    "masks", "masks.png", "Masked, reconstructed, original",
    "What was left visible, what the decoder made of it, and what was there.",
    "Triples of masked, reconstructed and original samples",
)  # fmt: skip
PATCHES = Wanted(
    "patches", "patches.png", "Patch features as colours",
    "The three main directions of the patch features as red, green and blue: parts of one colour "
    "look alike to the encoder.",
    "Samples beside their patch features as colours",
)  # fmt: skip
NEIGHBOURS = Wanted(
    "neighbours", "neighbours.json", "Nearest neighbours",
    "Left: a query. Right: what lies nearest in feature space. The last four queries are those "
    "whose nearest neighbour is farthest.",
    "Twelve queries, each beside its nearest neighbours",
)  # fmt: skip
MAP = Wanted(
    "map", "map.png", "Map of the features",
    "Samples that lie near each other here are near in feature space (t-SNE; distances between "
    "far groups mean nothing).",
    "Thumbnails of samples placed by their features",
)  # fmt: skip
DOTS = Wanted(
    "map", "map.png", "Map of the features",
    "Logs that lie near each other here are near in feature space (t-SNE; distances between far "
    "groups mean nothing).",
    "Dots placed by the features of logs, coloured by label",
)  # fmt: skip
TEXTS = Wanted(
    "text_map", "map.json", "Map of the features",
    "A dot is a held-out text; near dots are near in feature space (t-SNE; distances between far "
    "groups mean nothing). Colours and numbers: groups by k-means, whose most typical texts "
    "stand below.",
    "Dots placed by the features of texts, in numbered groups",
)  # fmt: skip
SPECTRUM = Wanted(
    "spectrum", "spectrum.json", "Spectrum of the features",
    "Share of the variance that the first main directions hold together. A line that is at 1 at "
    "once is collapse to few directions.",
)  # fmt: skip
FILLS = Wanted(
    "fills", "fills.json", "Masked tokens and what the model fills in",
    "Underlined: hidden from the model. Dashed: its first guess is another. Below: its five "
    "likeliest fills.",
)  # fmt: skip
GENERATIONS = Wanted(
    "generations", "generations.json", "Generated text",
    "Grey: the prompt. The rest was drawn token by token.",
)  # fmt: skip


DOCUMENTS = Wanted(
    "documents", "documents.json", "Texts as tokens",
    "The beginnings of held-out texts, a bar between tokens: what the method reads, before it "
    "hides, crops or pairs anything.",
)  # fmt: skip


HIDDEN = Wanted(
    "masks", "masks.png", "Hidden spans and what was made of them",
    "A channel a row. Grey line: what was there. Shaded: hidden from the network. Blue: what it "
    "made of it.",
    "Channels of a log with hidden spans and their reconstruction",
)  # fmt: skip
ROLLOUT = Wanted(
    "rollout", "rollout.png", "Foretold against what happened",
    "A channel a row. Grey line: what happened. Shaded: foretold, each step from the one foretold "
    "before it and from what was done. Blue: by the network. Dashed: if nothing changed.",
    "Channels of a log with what the network foretells of them",
)  # fmt: skip


TUBES = Wanted(
    "masks", "masks.png", "Hidden tubes",
    "What the network saw of a clip under either mask; what is hidden is guessed as features.",
    "Frames of clips, each with two masks of hidden boxes",
)  # fmt: skip
NAMED = Wanted(
    "masks", "masks.png", "Heard, hidden, named",
    "Left: the recording. Middle: what was left of it; the mean stands where it was hidden. Right: "
    "the codes that the network names there, each drawn as the mean of the frames that have it.",
    "Triples of spectrograms: whole, partly hidden, and with the codes that were named",
)  # fmt: skip
FORETOLD = Wanted(
    "masks", "masks.png", "Heard and foretold",
    "Left: the recording. Middle: what was heard before anything was foretold. Right: every frame "
    "as it was foretold from those before it.",
    "Triples of spectrograms: whole, their beginning, and as they were foretold",
)  # fmt: skip


_SAW = {"image": [VIEWS], "audio": [VIEWS], "series": [VIEWS], "video": [VIEWS]}
_SAW_OF_TEXT = {"text": [GENERATIONS], "hidden": [FILLS]}
_SAW_BY_METHOD = {"mae": [VIEWS, MASKS], "simmim": [VIEWS, MASKS], "videomae": [VIEWS, MASKS]}
_SAW_BY_METHOD |= {"vjepa": [VIEWS, TUBES]}
_SAW_BY_METHOD |= {"hubert": [VIEWS, NAMED], "apc": [VIEWS, FORETOLD]}
_SAW_OF_LOGS = {"mtm": [HIDDEN], "patchtst": [HIDDEN], "dynamics": [ROLLOUT]}
_LEARNED = {
    "image": [NEIGHBOURS, PATCHES, MAP],
    "text": [NEIGHBOURS, TEXTS],
    "audio": [NEIGHBOURS, MAP],
    "series": [NEIGHBOURS, DOTS],
    "video": [NEIGHBOURS, MAP],
}


def saw(kind: str, method: str) -> list[Wanted]:
    """Return the parts that show what this kind of run saw."""
    if strings(kind):
        return _SAW_OF_TEXT.get(catalogue.describe(method).scored, [DOCUMENTS])
    of_logs = _SAW_OF_LOGS.get(method, []) if kind == "series" else []
    return [*(_SAW_BY_METHOD.get(method) or _SAW.get(kind, [])), *of_logs]


def monitored() -> list[Wanted]:
    """Return the parts that show whether features collapsed."""
    return [SPECTRUM]


def learned(kind: str) -> list[Wanted]:
    """Return the parts that show what this kind of run learned."""
    return _LEARNED.get(kind, [])


def missing(folder: Path, kind: str, method: str, step: int) -> list[str]:
    """Return the keys of parts that are not in RUN/samples, or were drawn at another step."""
    place = folder / "samples"
    return [
        part.key
        for part in (*monitored(), *saw(kind, method), *learned(kind))
        if not (place / part.file).is_file()
        or record((place / part.file).with_suffix(".json")).get("step", step) != step
    ]


def show(folder: Folder, wanted: Wanted, problems: Mapping[str, str]) -> Piece:
    """Read one part of RUN/samples into what the template shows."""
    path = folder.path / "samples" / wanted.file
    found = _READERS.get(wanted.key, _drawn)(path, wanted)
    if found is not None:
        return found
    reason = problems.get(wanted.key) or f"Not yet: run unlabeled report {folder.path}"
    return Piece(wanted.title, problem=reason)


def _drawn(path: Path, wanted: Wanted) -> Piece | None:
    extra = record(path.with_suffix(".json"))
    image = picture(path, _scale(extra))
    if image is None:
        return None
    note = f"{wanted.note} {extra['caption']}" if extra.get("caption") else wanted.note
    return Piece(wanted.title, note, image, wanted.alt)


def _scale(tree: Mapping[str, Any]) -> int:
    """Return how many times small pixels are enlarged."""
    return int(min(max(real(tree.get("scale")) or 1, 1), 8))


def _neighbours(path: Path, wanted: Wanted) -> Piece | None:
    tree = record(path)
    queries = [q for q in tree.get("queries", []) if isinstance(q, dict)]
    image = picture(path.with_suffix(".png"), _scale(tree))
    if not queries:
        return None
    if image is not None:
        rows = [
            (str(q.get("name", "")), ", ".join(f"{n['name']} {n['similarity']}" for n in _near(q)))
            for q in queries
        ]
        return Piece(
            wanted.title, wanted.note, image, wanted.alt, rows=rows, players=_players(tree, queries)
        )
    near = [{"text": short(q.get("text", "")), "neighbours": _near(q)} for q in queries]
    note = (
        "What lies nearest in feature space to held-out texts, with the cosine. The last four "
        "queries are those whose nearest neighbour is farthest."
    )
    return Piece(wanted.title, note, near=near)


def _players(tree: Mapping[str, Any], queries: list[dict[str, Any]]) -> list[list[dict[str, str]]]:
    """Return a row of recordings for each query, itself first; only sound reaches the page."""
    sounds = tree.get("sounds")
    if not isinstance(sounds, dict):
        return []
    rows = []
    for query in queries:
        near = [(n["name"], n["similarity"]) for n in _near(query)[:_HEARD]]
        names = [(str(query.get("name", "")), ""), *near]
        heard = [(name, word, audible(sounds.get(name))) for name, word in names]
        rows.append([{"name": n, "similarity": w, "address": a} for n, w, a in heard if a])
    return [row for row in rows if row]


def _near(query: Mapping[str, Any]) -> list[dict[str, str]]:
    others = query.get("neighbours")
    return [
        {
            "name": str(other.get("name", "")),
            "text": short(other.get("text", "")),
            "similarity": _cosine(other.get("similarity")),
        }
        for other in (others if isinstance(others, list) else [])
        if isinstance(other, dict)
    ]


def _cosine(value: Any) -> str:
    found = real(value)
    return MISSING if found is None else f"{found:.2f}"


def _share(value: Any) -> str:
    found = real(value) or 0.0
    return "<1 %" if found < 0.005 else percent(found, 0)


def _fills(path: Path, wanted: Wanted) -> Piece | None:
    rows = [row for row in record(path).get("rows", []) if isinstance(row, dict)]
    fills = [{"pieces": [_piece(p) for p in row.get("pieces", []) if isinstance(p, dict)]}
             for row in rows]  # fmt: skip
    return Piece(wanted.title, wanted.note, fills=fills) if fills else None


def _piece(piece: Mapping[str, Any]) -> dict[str, Any]:
    text = str(piece.get("text", ""))
    guesses = [
        (str(guess[0]), _share(guess[1]))
        for guess in piece.get("guesses") or []
        if isinstance(guess, list) and len(guess) == 2 and real(guess[1]) is not None
    ][:5]
    right = bool(guesses) and guesses[0][0].strip() == text.strip()
    return {"text": text, "guesses": guesses, "right": right}


def _generations(path: Path, wanted: Wanted) -> Piece | None:
    tree = record(path)
    texts = [
        {"prompt": str(row.get("prompt", "")), "text": short(row.get("text", ""), 1200)}
        for row in tree.get("texts", [])
        if isinstance(row, dict)
    ]
    settings = tree.get("settings")
    note = wanted.note
    if isinstance(settings, dict) and settings:
        said = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in settings.items())
        note = note.removesuffix(".") + f", with {said}."
    return Piece(wanted.title, note, texts=texts) if texts else None


def _text_map(path: Path, wanted: Wanted) -> Piece | None:
    tree = record(path)
    dots = text_map.drawn(tree, wanted.alt)
    if dots is None:
        return None
    return Piece(wanted.title, wanted.note, dots=dots, groups=text_map.groups(tree))


def _spectrum(path: Path, wanted: Wanted) -> Piece | None:
    tree = record(path)
    shares = [found for share in tree.get("shares", []) if (found := real(share)) is not None]
    if not shares:
        return None
    points = [(float(i), min(1.0, sum(shares[:i]))) for i in range(1, len(shares) + 1)]
    half = next(int(i) for i, held in points if held >= 0.5 or i == len(points))
    chart = Chart(
        f"Variance held by the first directions, of {number(tree.get('samples'))} samples",
        [Line("share of the variance", points)], "directions", log_x=True, zero=True,
        note=f"half of it lies in {half} direction{'s' if half > 1 else ''}",
    )  # fmt: skip
    return Piece(wanted.title, wanted.note, figure=wide_figure(chart, 280))


_READERS = {
    "neighbours": _neighbours, "fills": _fills, "generations": _generations, "spectrum": _spectrum,
    "documents": _generations, "text_map": _text_map,
}  # fmt: skip
