"""Text: a sample is a row of tokens in which several documents may lie one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count, pairwise, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unlabeled.config import RunConfig, TextConfig
from unlabeled.errors import DataError
from unlabeled.kinds import TEXT
from unlabeled.modalities import scripts
from unlabeled.modalities.base import Modality
from unlabeled.modalities.decode import PIECE, Damage, clean, decode
from unlabeled.modalities.extend import pieces_of
from unlabeled.modalities.tokenizer import INFILL
from unlabeled.nn import packing
from unlabeled.types import View

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class Text(Modality):
    """Rows of tokens, and the tokenizer that made them.

    A view is int64 (3, T): token ids; the running number of the document inside the row (-1 at
    padding); the token that follows in the same document (-1 where nothing is to be predicted).
    Encoders read the first two.

    Args:
        config: how text is read.
        tokenizer_folder: the run's tokenizer.

    Attributes:
        opens: tokens that begin every document.
        closes: tokens that end every document; where there are none, what opens the next
            document is also what a generator must predict at the end.
        sentinel_ids: tokens that stand for hidden spans, the first first.
        infill_ids: tokens before prefix, middle and suffix, or none.
        pieces: tokens that were added to a tokenizer, and what stood in their place before.
    """

    name = "text"
    suffixes = TEXT

    def __init__(self, config: TextConfig, tokenizer_folder: Path | None = None) -> None:
        self.config = config
        self.folder = Path(tokenizer_folder or config.tokenizer)
        self._tokenizer: PreTrainedTokenizerFast | None = None
        tokenizer = self.tokenizer
        self.vocab_size = len(tokenizer)
        self.pad_id: int | None = tokenizer.pad_token_id
        self.mask_id: int | None = tokenizer.mask_token_id
        self.unknown_id: int | None = tokenizer.unk_token_id
        paired = tokenizer.cls_token_id is not None and tokenizer.sep_token_id is not None
        edge = tokenizer.eos_token_id if not paired else tokenizer.sep_token_id
        self.eos_id: int | None = edge
        before, after = self._edges(edge, tokenizer.cls_token_id if paired else edge)
        self.opens: list[int] = before
        self.closes: list[int] = after
        self.special_ids: tuple[int, ...] = tuple(sorted(set(tokenizer.all_special_ids)))
        vocabulary = tokenizer.get_vocab()
        names = takewhile(vocabulary.__contains__, map("<extra_id_{}>".format, count()))
        self.sentinel_ids: list[int] = [vocabulary[name] for name in names]
        self.pieces = pieces_of(self.folder)
        self.infill_ids: list[int] = [vocabulary[n] for n in INFILL if n in vocabulary]

    @classmethod
    def of_run(cls, config: RunConfig, folder: Path) -> Text:
        """Return the modality of a run, with the tokenizer in its folder."""
        assert isinstance(config.modality, TextConfig)
        return cls(config.modality, folder / "tokenizer")

    @classmethod
    def of_folder(cls, settings: Mapping[str, Any], folder: Path) -> Text:
        """Return the modality of a saved encoder, with the tokenizer beside it."""
        return cls(TextConfig(**settings), folder)

    def _edges(self, edge: int | None, first: int | None) -> tuple[list[int], list[int]]:
        """Return what opens and what closes documents, as the tokenizer's template says."""
        marked = self.tokenizer.backend_tokenizer.encode("a").special_tokens_mask
        before, after = (bool(marked and marked[place]) for place in (0, -1))
        if edge is None:
            return [], []
        if not after:
            return [edge], []  # what opens the next document closes this one
        return [first] * before if first is not None else [], [edge]

    def __getstate__(self) -> dict[str, Any]:
        """Leave the tokenizer out: workers cut rows that are tokens already."""
        return {**self.__dict__, "_tokenizer": None}

    @property
    def tokenizer(self) -> PreTrainedTokenizerFast:
        """Return the tokenizer, opened when first needed."""
        from unlabeled.modalities.tokenizer import load

        if self._tokenizer is None:
            self._tokenizer = load(self.folder)
            # The name of a special token inside a document is text like any other.
            self._tokenizer.backend_tokenizer.encode_special_tokens = True
        return self._tokenizer

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of pieces of documents, without special tokens."""
        backend = self.tokenizer.backend_tokenizer
        backend.no_truncation()
        backend.no_padding()
        encoded = backend.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encoded]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of tokens; special tokens say nothing."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))

    @property
    def starts_documents(self) -> bool:
        """Return whether the tokenizer puts a special token before a document."""
        return bool(self.tokenizer.num_special_tokens_to_add())

    def encode_documents(
        self, texts: Sequence[str], length: int | None = None, windows: int = 1
    ) -> Tensor:
        """Return one padded row for each document, `pad` of `windows`: (B, 2, T) int64."""
        return packing.pad(self.windows(texts, length, windows), self.pad_id or 0)

    def windows(
        self, texts: Sequence[str], length: int | None = None, windows: int | None = None
    ) -> list[Tensor]:
        """Return a row of windows for each document.

        A window is a piece of the document of at most `length` tokens, opened and closed like a
        document. Windows of one document have about equal length. To an encoder each is a
        document of its own, so that the mean over all tokens of a row is the mean of what the
        windows give, weighted by tokens.

        Args:
            texts: documents; what lies beyond `windows` windows is cut off.
            length: most tokens in a window; the config's by default.
            windows: most windows; the config's by default.

        Returns:
            For each text (2, T) int32, T <= length * windows: ids and the window's number. There
            is at least one token.
        """
        length, most = length or self.config.length, windows or self.config.windows
        limit = max(PIECE, 16 * length * most)
        bodies = self.encode([clean(text[:limit], Damage()) for text in texts])
        opens = self.opens if self.starts_documents else []
        closes = self.closes if self.starts_documents else []
        room = max(1, length - len(opens) - len(closes))
        rows = []
        for body in bodies:
            body = body[: room * most]
            count = max(1, -(-len(body) // room))
            edges = [len(body) * i // count for i in range(count + 1)]
            parts = [[*opens, *body[a:b], *closes] for a, b in pairwise(edges)]
            parts = parts if parts[0] else [self.opens[:length] or [0]]
            ids = [token for part in parts for token in part]
            numbers = [i for i, part in enumerate(parts) for _ in part]
            rows.append(torch.tensor([ids, numbers], dtype=torch.int32))
        return rows

    def word_edges(self) -> Tensor:
        """Return for each token whether it begins a word, and whether a word may go on after it.

        In scripts without spaces (Chinese, Japanese, Thai, ...) every token is a word of its own:
        what stands between two spaces there is a clause.

        Returns:
            (2, K) bool. A token is inside a word if it does not begin one and the token before it
            lets it go on.
        """
        words = self.tokenizer.convert_ids_to_tokens(list(range(self.vocab_size)))
        pieces = any(word.startswith("##") for word in words)
        # Part of a letter in UTF-8 decodes to the replacement character.
        texts = [
            word.removeprefix("##") if pieces else self.decode([number])
            for number, word in enumerate(words)
        ]
        begins = [
            not (word.startswith("##") if pieces else scripts.inside(text[:1]))
            or scripts.unspaced(text[:1])
            or (text[:1] == "\N{REPLACEMENT CHARACTER}" and scripts.unspaced_byte(word[:1]))
            for word, text in zip(words, texts, strict=True)
        ]
        goes_on = [
            (pieces or scripts.inside(text[-1:]) or text == " ") and not scripts.unspaced(text[-1:])
            for text in texts
        ]
        edges = torch.tensor([begins, goes_on])
        special = list(self.special_ids)
        edges[0, special], edges[1, special] = True, False
        return edges

    def sentence_ends(self) -> Tensor:
        """Return for each token whether a sentence ends with it, (K,) bool."""
        texts = [self.decode([number]).rstrip() for number in range(self.vocab_size)]
        return torch.tensor([text[-1:] in tuple(".!?。！？।") for text in texts])

    def read(self, payload: Any) -> NDArray[np.int32]:
        """Return the row: a row of tokens is itself, a document becomes one padded row."""
        if isinstance(payload, np.ndarray):
            if payload.ndim != 2 or payload.shape[0] < 2:
                raise DataError(f"a row of tokens has the shape (3, T), not {payload.shape}.")
            return payload
        text = decode(payload) if isinstance(payload, bytes) else str(payload)
        return self.encode_documents([text])[0].numpy().astype(np.int32)

    def cut(self, raw: NDArray[np.int32], view: View, rng: np.random.Generator) -> Tensor:
        """Return the row itself, `view.count` times, (count, 3, T)."""
        row = torch.from_numpy(raw.astype(np.int64))
        return row[None].expand(view.count, *row.shape)

    def distort(self, cuts: Tensor, view: View, keys: Tensor) -> Tensor:
        """Return the cuts: what is hidden is drawn by the method."""
        return cuts

    def raw(self, x: Tensor) -> Tensor:
        """Return the token ids, (B, 2 or 3, T) -> (B, T, 1)."""
        return x[:, 0, :, None]

    def plain_features(self, raws: Sequence[Any]) -> dict[str, NDArray[np.float32]]:
        """Return the latent semantic analysis of documents or rows, (N, <= 128)."""
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import TfidfVectorizer

        texts = [raw if isinstance(raw, str) else self.decode(raw[0][raw[1] >= 0]) for raw in raws]
        weights = TfidfVectorizer(sublinear_tf=True, max_features=50_000).fit_transform(texts)
        width = min(128, min(weights.shape) - 1)
        reduced = TruncatedSVD(width, random_state=0).fit_transform(weights)
        return {"lsa": reduced.astype(np.float32)}

    def describe(self) -> dict[str, Any]:
        """Return what is needed to rebuild this modality."""
        return {"kind": self.name, **self.config.model_dump()}
