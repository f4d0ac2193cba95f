"""Retrieval: does a query's feature lie nearest to that of the document that belongs to it?

Documents are all those of the table, so that a query must find its own among the others. Ranks
are told beside those of BM25 (Robertson & Zaragoza 2009, doi:10.1561/1500000019) and TF-IDF, which
need no network and are hard to beat where query and document share words.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unlabeled.data.label_table import columns_of, pick, read_columns
from unlabeled.errors import UsageError
from unlabeled.transfer.features import features
from unlabeled.transfer.whitening import of_run

if TYPE_CHECKING:
    from unlabeled.runs import Run

QUERY = ("query", "question", "anchor", "sentence1")
DOCUMENT = ("document", "passage", "positive", "answer", "sentence2")
K1, B = 1.2, 0.75
"""Lucene's defaults."""
TOP = 10

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Table:
    """Queries, documents, and which belong together.

    Args:
        queries: Q texts, each once.
        documents: M texts, each once.
        relevant: for each query the places of its documents.
    """

    queries: list[str]
    documents: list[str]
    relevant: list[set[int]]


def read(path: Path) -> Table:
    """Read a csv, tsv, jsonl or parquet table with a query and one of its documents a row.

    Raises:
        UsageError: a column is missing, a cell is empty, or there are fewer than two documents.
    """
    columns = columns_of(path)
    query, document = pick(columns, QUERY), pick(columns, DOCUMENT)
    if query is None or document is None:
        raise UsageError(
            f"{path} has the columns {', '.join(columns) or 'of nothing'}. Retrieval needs two: "
            "query,document."
        )
    asked, given = ([str(cell or "").strip() for cell in column]
                    for column in read_columns(path, [query, document]))  # fmt: skip
    empty = [n for n, pair in enumerate(zip(asked, given, strict=True), 1) if not all(pair)]
    if empty:
        raise UsageError(f"Row {empty[0]} of {path} lacks a query or a document. Fill or drop it.")
    queries, documents = list(dict.fromkeys(asked)), list(dict.fromkeys(given))
    if len(documents) < 2:
        raise UsageError(f"{path} has {len(documents)} documents; there is nothing to choose from.")
    places = {one: place for place, one in enumerate(documents)}
    relevant: dict[str, set[int]] = {one: set() for one in queries}
    for one, other in zip(asked, given, strict=True):
        relevant[one].add(places[other])
    return Table(queries, documents, list(relevant.values()))


def ranked(scores: Floats, relevant: list[set[int]]) -> dict[str, float]:
    """Return recall at 1, 5 and 10, MRR and nDCG at 10, means over queries.

    Documents of equal score stand in the middle of their block on average: a rank is that of the
    worst half, so that features that are all alike are not called right.

    Args:
        scores: (Q, M), higher is nearer.
        relevant: for each query the places of its documents.
    """
    names = ("recall@1", "recall@5", f"recall@{TOP}", "MRR", f"nDCG@{TOP}")
    rows = []
    for row, right in zip(scores, relevant, strict=True):
        places = sorted(right)
        above = (row[None] > row[places, None]).sum(1)
        level = (row[None] == row[places, None]).sum(1) - 1
        ranks = np.sort(1 + above + np.ceil(level / 2))
        recalls = [float((ranks <= k).mean()) for k in (1, 5, TOP)]
        gain = (1 / np.log2(1 + ranks[ranks <= TOP])).sum()
        ideal = (1 / np.log2(1 + np.arange(1, min(len(ranks), TOP) + 1))).sum()
        rows.append([*recalls, float(1 / ranks[0]), float(gain / ideal)])
    return dict(zip(names, np.mean(rows, axis=0).tolist(), strict=True))


def cosines(queries: NDArray[Any], documents: NDArray[Any]) -> Floats:
    """Return the cosine of each query with each document, (Q, D), (M, D) -> (Q, M)."""
    q, d = (x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
            for x in (queries.astype(np.float64), documents.astype(np.float64)))  # fmt: skip
    return np.asarray(q @ d.T)


def bm25(queries: list[str], documents: list[str]) -> Floats:
    """Return BM25 of each query with each document, (Q, M); words as TF-IDF cuts them."""
    from sklearn.feature_extraction.text import CountVectorizer

    counter = CountVectorizer(token_pattern=r"(?u)\b\w+\b")
    counts = counter.fit_transform(documents).astype(np.float64).tocsr()
    lengths = np.asarray(counts.sum(1)).ravel()
    known = np.asarray((counts > 0).sum(0)).ravel()
    idf = np.log1p((len(documents) - known + 0.5) / (known + 0.5))
    rows = np.repeat(np.arange(len(documents)), np.diff(counts.indptr))
    norm = K1 * (1 - B + B * lengths[rows] / max(lengths.mean(), 1e-12))
    counts.data = idf[counts.indices] * counts.data * (K1 + 1) / (counts.data + norm)
    return np.asarray((counter.transform(queries).astype(np.float64) @ counts.T).toarray())


def tfidf(queries: list[str], documents: list[str]) -> Floats:
    """Return the cosine of TF-IDF vectors, (Q, M)."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")
    weights = words.fit_transform(documents)
    return np.asarray((words.transform(queries) @ weights.T).toarray())


def judge(run: Run, table: Table) -> dict[str, Any]:
    """Rank documents by a run's features, as they are and whitened, and by what needs no training.

    Returns:
        ``rows`` (name -> see `ranked`), ``queries``, ``documents``.
    """
    text: Any = run.modality()
    fresh = run.untrained(run.config.loop.seed)
    networks = {"pre-trained": run.encoder(), "untrained network": fresh}
    made = {
        name: [features(network, text, texts, length=text.config.length)
               for texts in (table.queries, table.documents)]
        for name, network in networks.items()
    }  # fmt: skip
    white = of_run(run)
    scores = {
        "pre-trained": cosines(*made["pre-trained"]),
        "pre-trained, whitened": cosines(*(white(x) for x in made["pre-trained"])),
        "untrained network": cosines(*made["untrained network"]),
        "TF-IDF": tfidf(table.queries, table.documents),
        "BM25": bm25(table.queries, table.documents),
    }
    rows = {name: ranked(one, table.relevant) for name, one in scores.items()}
    return {"rows": rows, "queries": len(table.queries), "documents": len(table.documents)}


def words(found: dict[str, Any]) -> list[str]:
    """Say who finds most."""
    rows, by = found["rows"], f"nDCG@{TOP}"
    ours = max((n for n in rows if n.startswith("pre-trained")), key=lambda n: rows[n][by])
    plain = max((n for n in rows if not n.startswith("pre-trained")), key=lambda n: rows[n][by])
    better = "above" if rows[ours][by] > rows[plain][by] else "not above"
    return [
        f"Retrieval: {found['queries']:,} queries among {found['documents']:,} documents; {ours} "
        f"has nDCG@{TOP} {rows[ours][by]:.3f}, {better} {plain} ({rows[plain][by]:.3f})."
    ]
