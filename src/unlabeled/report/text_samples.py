"""What a text run saw and learned: filled tokens, generated text, neighbours."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from unlabeled import rng
from unlabeled.encoders import language
from unlabeled.journal import write_json
from unlabeled.report import nearest, text_map
from unlabeled.report.pictures import short
from unlabeled.runs import Run

NUM_TEXTS = 400
NUM_FILLED, FILLED_TOKENS, HIDDEN_SHARE = 6, 60, 0.15
NUM_PROMPTS, PROMPT_TOKENS, NEW_TOKENS = 3, 16, 120
TEMPERATURE, TOP_K = 0.8, 50
_MANY_DOCUMENTS = 24


class TextSamples:
    """Draws from the held-out texts of a run; from its training part where none are held out."""

    def __init__(self, run: Run, step: int) -> None:
        self.run, self.step, self.seed = run, step, run.config.loop.seed
        self.modality: Any = run.modality()
        self.length = int(getattr(run.config.modality, "length", 128))

    def drawers(self) -> dict[str, Callable[[], None]]:
        """Return what can be drawn, by the key of its part."""
        return {
            "documents": self.documents,
            "fills": self.fills,
            "generations": self.generations,
            "text_map": self.map,
            "neighbours": self.neighbours,
            "spectrum": self.spectrum,
        }

    @cached_property
    def encoder(self) -> Any:
        """Return the encoder with its token head: that was kept, or of the newest checkpoint."""
        if (self.run.folder / "encoder").is_dir():
            return language.load(self.run.folder / "encoder", head=True).eval()
        return self.run.method().encoder.eval()

    @cached_property
    def texts(self) -> list[str]:
        """Return the beginnings of documents; of rows, where documents are few and long."""
        rows = self.run.rows("held_out")
        rows = rows if len(rows) else self.run.rows("train")
        if len(rows.starts) >= _MANY_DOCUMENTS:
            ends = np.append(rows.starts[1:], rows.num_tokens)
            pieces = [
                rows.ids[rows.starts[i] : min(int(ends[i]), int(rows.starts[i]) + self.length)]
                for i in self._drawn(len(rows.starts))
            ]
        else:
            pieces = [rows.payload(int(i))[0] for i in self._drawn(len(rows))]
        found = [self.modality.decode(piece).strip() for piece in pieces]
        return [text for text in dict.fromkeys(found) if text]

    def _drawn(self, count: int) -> list[int]:
        order = rng.generator(rng.mix(self.seed, 0x7E7)).permutation(count)
        return [int(i) for i in order[:NUM_TEXTS]]

    def documents(self) -> None:
        """Write the beginnings of texts with a bar between tokens."""
        cut = []
        for text in self.texts[:NUM_FILLED]:
            _, spans = self._tokens(text)
            cut.append("|".join(text[start:end] for start, end in spans))
        self._save("documents", texts=[{"prompt": "", "text": text} for text in cut])

    def fills(self) -> None:
        """Hide tokens of texts and write what the model would put there."""
        rows = [self._fill(text, i) for i, text in enumerate(self.texts[:NUM_FILLED])]
        self._save("fills", rows=rows)

    @torch.inference_mode()
    def _fill(self, text: str, number: int) -> dict[str, Any]:
        body, spans = self._tokens(text)
        opens = list(self.modality.opens) if self.modality.starts_documents else []
        closes = list(self.modality.closes) if self.modality.starts_documents else []
        ids = torch.tensor([*opens, *body, *closes])
        draws = rng.uniform(torch.tensor([rng.sample_key(self.seed, 0, number)]), len(body))[0]
        count = max(1, round(HIDDEN_SHARE * len(body)))
        hidden = sorted(draws.argsort()[:count].tolist())
        places = torch.tensor(hidden) + len(opens)
        ids[places] = self.modality.mask_id
        row = torch.stack([ids, torch.zeros_like(ids)])[None]  # (1, 2, T)
        logits = self.encoder.add_head()(self.encoder.tokens(row)[0, places]).float()
        logits[:, list(self.modality.special_ids)] = -torch.inf
        shares, best = logits.softmax(-1).topk(5)
        guesses = {
            position: [
                [self.modality.tokenizer.decode([token]), share]
                for token, share in zip(best[i].tolist(), shares[i].tolist(), strict=True)
            ]
            for i, position in enumerate(hidden)
        }
        return {"pieces": _pieces(text, spans, guesses)}

    def _tokens(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Return the first tokens of a text and which characters each stands for."""
        encoding = self.modality.tokenizer.backend_tokenizer.encode(text, add_special_tokens=False)
        room = min(FILLED_TOKENS, self.length - 2)
        return encoding.ids[:room], encoding.offsets[:room]

    def generations(self) -> None:
        """Continue the beginnings of held-out texts."""
        from unlabeled.generate import generate

        prompts = [
            self.modality.decode(self.modality.encode([text])[0][:PROMPT_TOKENS])
            for text in self.texts[:NUM_PROMPTS]
        ]
        made = generate(
            self.run,
            prompts,
            max_tokens=NEW_TOKENS,
            temperature=TEMPERATURE,
            top_k=TOP_K,
            seed=self.seed,
        )
        texts = [
            {"prompt": prompt, "text": text.removeprefix(prompt)}
            for prompt, text in zip(prompts, made, strict=True)
        ]
        settings = {"temperature": TEMPERATURE, "top k": TOP_K}
        self._save("generations", settings=settings, texts=texts)

    def neighbours(self) -> None:
        """Write queries beside their nearest neighbours."""
        found = nearest.choose(self.features, self.seed)
        queries = [
            {
                "text": short(self.texts[query], 240),
                "neighbours": [
                    {"text": short(self.texts[row], 240), "similarity": round(cosine, 4)}
                    for row, cosine in near[:3]
                ],
            }
            for query, near in found
        ]
        self._save("neighbours", queries=queries)

    def map(self) -> None:
        """Write where the texts lie, in groups of like ones."""
        self._save("map", **text_map.lay_out(self.features, self.texts, self.seed))

    def spectrum(self) -> None:
        """Write how the variance of the features is spread over directions."""
        shares = nearest.spectrum(self.features)
        self._save("spectrum", samples=len(self.features), shares=shares)

    @cached_property
    @torch.inference_mode()
    def features(self) -> NDArray[np.float32]:
        """Return the features of the texts, (N, D)."""
        parts = []
        for start in range(0, len(self.texts), 32):
            rows = self.modality.encode_documents(self.texts[start : start + 32], self.length)
            parts.append(self.encoder(rows).float())
        return torch.cat(parts).numpy()

    def _save(self, name: str, **content: Any) -> None:
        write_json(self.run.folder / "samples" / f"{name}.json", {"step": self.step, **content})


def _pieces(
    text: str, spans: list[tuple[int, int]], guesses: dict[int, list[Any]]
) -> list[dict[str, Any]]:
    """Cut a text where tokens are hidden; what lies between two tokens is seen.

    >>> _pieces("a big cat", [(0, 1), (1, 5), (5, 9)], {1: [["red", 0.5]]})
    [{'text': 'a'}, {'text': ' big', 'guesses': [['red', 0.5]]}, {'text': ' cat'}]
    """
    found: list[dict[str, Any]] = []
    done = 0
    for position in sorted(guesses):
        start, stop = spans[position]
        if start > done:
            found.append({"text": text[done:start]})
        found.append({"text": text[start:stop], "guesses": guesses[position]})
        done = stop
    last = spans[-1][1] if spans else 0
    return [*found, {"text": text[done:last]}] if last > done else found
