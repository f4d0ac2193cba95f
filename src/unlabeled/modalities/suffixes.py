"""Which file endings hold which kind of data; imports nothing heavy, so that finding is fast."""

from __future__ import annotations

IMAGE = frozenset(
    {".png", ".jpg", ".jpeg", ".jfif", ".webp", ".tif", ".tiff", ".bmp", ".dib", ".gif", ".apng"}
)
TEXT = frozenset({".txt", ".text", ".md", ".rst"})
TABLE = frozenset({".parquet", ".csv", ".tsv", ".jsonl", ".ndjson"})

KINDS = {"image": IMAGE, "text": TEXT}
