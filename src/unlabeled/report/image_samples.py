"""Pictures of an image run: views, reconstructions, neighbours, patch features, a map."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from unlabeled import rng
from unlabeled.data.loader import plain_batch
from unlabeled.data.read import Pool
from unlabeled.errors import DataError
from unlabeled.journal import write_json
from unlabeled.report import grid, nearest, views
from unlabeled.runs import Run
from unlabeled.types import Batch

NUM_SHOWN = 8
NUM_FEATURES = 600
_MAP_EDGE, _MAP_THUMB = 960, 28


class ImageSamples:
    """Draws from the held-out samples of a run; from its pool where few are held out."""

    def __init__(self, run: Run, step: int) -> None:
        self.run, self.step, self.seed = run, step, run.config.loop.seed
        self.place = run.folder / "samples"
        self.modality: Any = run.modality()
        indices = run.held_out_indices()
        if len(indices) < 4 * nearest.NUM_QUERIES:
            indices = np.concatenate([indices, run.pool_indices()])
        order = rng.generator(rng.mix(self.seed, 0x5A3)).permutation(len(indices))
        self.pool = Pool(run.source(), self.modality, indices[order][:NUM_FEATURES], 1.0)

    def drawers(self) -> dict[str, Callable[[], None]]:
        """Return what can be drawn, by the key of its part."""
        return {
            "views": self.views,
            "masks": self.masks,
            "neighbours": self.neighbours,
            "patches": self.patches,
            "map": self.map,
            "spectrum": self.spectrum,
        }

    @cached_property
    def method(self) -> Any:
        """Return the whole method as of the newest checkpoint."""
        return self.run.method()

    @cached_property
    def encoder(self) -> Any:
        """Return the encoder that was kept, or that of the newest checkpoint."""
        if (self.run.folder / "encoder").is_dir():
            return self.run.encoder()
        return self.method.exported().eval()

    @cached_property
    def plain(self) -> Tensor:
        """Return the samples as the encoder sees them, (N, C, H, W)."""
        return plain_batch(self.pool, self.modality, list(range(len(self.pool))))

    @cached_property
    def features(self) -> NDArray[np.float32]:
        """Return the features of the samples, (N, D)."""
        with torch.inference_mode():
            parts = [self.encoder(x).float() for x in torch.split(self.plain, 64)]
        return torch.cat(parts).numpy()

    @cached_property
    def names(self) -> list[str]:
        """Return the names of the samples."""
        return [self.pool.raw(position)[1] for position in range(len(self.pool))]

    def pixels(self, x: Tensor) -> grid.Pixels:
        """Undo the normalisation, (..., C, H, W) -> (..., H, W, C) uint8."""
        config = self.run.config.modality
        return views.pixels(x, getattr(config, "mean", (0.5,)), getattr(config, "std", (0.5,)))

    def batch(self, count: int) -> Batch:
        """Return the first samples as the method's views, drawn as in training."""
        items = [self.pool.raw(position) for position in range(min(count, len(self.pool)))]
        return views.draw(items, self.modality, self.method.views(), self.seed)

    def views(self) -> None:
        """Draw each sample beside its views."""
        batch = self.batch(NUM_SHOWN)
        whole = self.pixels(self.plain[: len(batch)])
        copies = [copy for x in batch.views.values() for copy in self.pixels(x)]
        caption = ", ".join(f"{len(x)} {kind}" for kind, x in batch.views.items())
        self._save(
            "views",
            grid.montage(views.rows(whole, copies), [0]),
            whole.shape[1],
            f"Views: {caption}.",
        )

    def masks(self) -> None:
        """Draw what was hidden, what was made of it, and what was there."""
        made = self.method.reconstruct(self.batch(NUM_SHOWN))
        parts = (made.masked, made.reconstruction, made.original)
        triples = list(zip(*map(self.pixels, parts), strict=True))
        rows: list[list[grid.Pixels | None]] = [
            [image for triple in triples[i : i + 2] for image in triple]
            for i in range(0, len(triples), 2)
        ]
        caption = ""
        if getattr(self.method.config, "norm_pix", False):
            caption = "Mean and contrast of hidden patches are the true ones: they are not guessed."
        self._save("masks", grid.montage(rows, after=[2]), made.original.shape[-1], caption)

    def neighbours(self) -> None:
        """Draw queries beside their nearest neighbours."""
        found = nearest.choose(self.features, self.seed)
        shown = self.pixels(self.plain)
        rows = [[shown[query], *(shown[row] for row, _ in near)] for query, near in found]
        queries = [
            {
                "name": self.names[query],
                "neighbours": [
                    {"name": self.names[row], "similarity": round(cosine, 4)}
                    for row, cosine in near
                ],
            }
            for query, near in found
        ]
        page = grid.montage(rows, after=[0])
        self._save("neighbours", page, shown.shape[1], queries=queries)

    def patches(self) -> None:
        """Draw samples above the main directions of their patch features, and where it looks."""
        x = self.plain[:NUM_SHOWN]
        with torch.inference_mode():
            tokens = self.encoder.tokens(x)[:, self.encoder.num_prefix :].float().numpy()
        edge = round(tokens.shape[1] ** 0.5)
        if edge * edge != tokens.shape[1] or edge < 2:
            raise DataError(
                f"The encoder's last layer has {tokens.shape[1]} places for an image of this size, "
                "which make no map. One of patches (encoder.name=timm:vit_tiny_patch16_224) or "
                "larger images (modality.size) would."
            )
        whole = self.pixels(x)
        rows = [grid.principal_colours(tokens).reshape(-1, edge, edge, 3)]
        caption = ""
        if self.encoder.hides_tokens:
            rows.append(self._looks(x))
            caption = "Last row: where the last block looks, bright for much (mean of its heads)."
        size = whole.shape[1:3][::-1]
        large = [
            [np.asarray(Image.fromarray(p).resize(size, Image.Resampling.NEAREST)) for p in row]
            for row in rows
        ]
        self._save("patches", grid.montage([list(whole), *large]), whole.shape[1], caption)

    def _looks(self, x: Tensor) -> grid.Pixels:
        """Return the attention of the last block as grey maps, (N, H, W, 3) uint8."""
        with torch.inference_mode():
            looks = self.encoder.attention(x).float().mean(1)  # (N, H, W)
        share = looks / looks.amax((1, 2), keepdim=True).clamp_min(1e-12)
        grey = (255 * share).round().to(torch.uint8).numpy()
        return np.repeat(grey[..., None], 3, axis=-1)

    def thumbnails(self) -> grid.Pixels:
        """Return what each sample is shown as on the map, (N, H, W, C) uint8."""
        return self.pixels(self.plain)

    def map(self) -> None:
        """Draw all samples where their features lie."""
        thumbs = [
            np.asarray(
                Image.fromarray(grid.colour(image)).resize(
                    (_MAP_THUMB, _MAP_THUMB), Image.Resampling.LANCZOS
                )
            )
            for image in self.thumbnails()
        ]
        places = nearest.plane(self.features, self.seed)
        self._save("map", grid.scatter(thumbs, places, _MAP_EDGE), _MAP_EDGE)

    def spectrum(self) -> None:
        """Write how the variance of the features is spread over directions."""
        shares = nearest.spectrum(self.features)
        details = {"step": self.step, "samples": len(self.features), "shares": shares}
        write_json(self.place / "spectrum.json", details)

    def _save(
        self, name: str, page: Image.Image, edge: int, caption: str = "", **more: Any
    ) -> None:
        """Write a picture, whole or not at all, beside what is known of it."""
        draft = self.place / f".{name}.png"
        page.save(draft, "PNG", optimize=True)
        details = {"step": self.step, "caption": caption, "scale": grid.scale_for(edge), **more}
        write_json(self.place / f"{name}.json", details)
        draft.replace(Path(self.place) / f"{name}.png")
