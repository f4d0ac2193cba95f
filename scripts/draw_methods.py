"""Draw, for each method, what it sees of a sample: the pictures of docs/methods.md.

Crops are those that the method's own `views` ask for, drawn as in training from fixed keys;
hidden patches are those that its masks draw with the default options.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from unlabeled import rng
from unlabeled.methods import catalogue, load
from unlabeled.modalities.image import crop_box
from unlabeled.nn.block_masks import block_masks, crop_masks
from unlabeled.nn.jepa_masks import draw_blocks, draw_tubes
from unlabeled.nn.masks import random_masks
from unlabeled.types import View

NOTES: dict[str, dict[str, str]] = tomllib.loads(
    (Path(__file__).parent / "methods.toml").read_text(encoding="utf-8")
)
EDGE, GAP, SIDE = 72, 8, 8
_SCENE = (
    '<rect width="64" height="64" fill="#a9d3ee"/><circle cx="49" cy="14" r="8" fill="#f6c945"/>'
    '<path d="M0 44 Q18 26 36 42 T64 36 V64 H0Z" fill="#5f9e5b"/>'
    '<rect x="15" y="34" width="18" height="16" fill="#c9694a"/>'
    '<path d="M12 35 L24 23 L36 35Z" fill="#7a3b2e"/><rect x="21" y="41" width="6" height="9" '
    'fill="#f1e4c8"/><circle cx="50" cy="47" r="6" fill="#2f6b3a"/>'
    '<rect x="49" y="51" width="2" height="7" fill="#5b3a21"/>'
)
_FILTERS = (
    '<filter id="jitter"><feColorMatrix type="hueRotate" values="35"/></filter>'
    '<filter id="blur"><feColorMatrix type="hueRotate" values="-25"/>'
    '<feGaussianBlur stdDeviation="1.1"/></filter>'
    '<filter id="sun"><feComponentTransfer><feFuncR type="table" tableValues="0 .5 0"/>'
    '<feFuncG type="table" tableValues="0 .5 0"/><feFuncB type="table" tableValues="0 .5 0"/>'
    "</feComponentTransfer></filter>"
)


def pictures() -> dict[str, str]:
    """Return the SVG of every method that has a picture, by its path in the repository."""
    found = {}
    for name in catalogue.names():
        if "sees" in NOTES.get(name, {}):
            drawn = _strips(NOTES[name])
        else:
            drawn = _of_clips(name) if name in _MOMENTS else _of_images(name)
        if drawn:
            found[f"docs/pictures/{name}.svg"] = drawn
    return found


def views_of(name: str) -> dict[str, View]:
    """Return the views of an image method with its default options; none of other kinds."""
    if catalogue.describe(name).modalities[0] != "image" or name == "combine":
        return {}
    kind = load(name)
    views: Callable[[Any], dict[str, View]] = kind.views
    return views(SimpleNamespace(config=kind.Config()))


def cost(name: str) -> str:
    """Say what a sample costs: passes of a whole view, a teacher's forward as a third."""
    views, notes = views_of(name), NOTES.get(name, {})
    if not views:
        return notes.get("cost", "")
    area = {kind: view.count * view.size**2 for kind, view in views.items()}
    seen = 1 - load(name).Config().mask_ratio if name == "mae" else 1.0
    student = sum(area.values()) * seen
    parts = f"{student:.3g} passes of a whole image"
    if "teacher" in notes:
        heard = area[notes["teacher"]]
        return f"{parts}, and {heard:.3g} of the teacher without gradient (a third each)"
    return parts + (" through the encoder, and a small decoder" if name == "mae" else "")


def _hidden(name: str) -> list[torch.Tensor]:
    """Return which patches are hidden in each large view, (8, 8) of 0 seen, 1 hidden, 2 asked."""
    keys = torch.tensor([rng.sample_key(7, 0, 5)])
    options = load(name).Config()
    grid = torch.zeros(SIDE * SIDE)
    if name == "mae":
        return [grid.index_fill(0, random_masks(keys, 64, options.mask_ratio)[1][0], 1)]
    if name == "simmim":
        unit = options.mask_unit
        side = SIDE // unit
        small = torch.zeros(side * side)
        small[random_masks(keys, side * side, options.mask_ratio)[1][0]] = 1
        return [small.view(side, side).repeat_interleave(unit, 0).repeat_interleave(unit, 1)]
    if name == "data2vec":
        wanted = torch.tensor([int(options.mask_ratio * 64)])
        return [block_masks(keys, wanted, SIDE)[0].float()]
    if name in ("ibot", "dinov2"):
        share = getattr(options, "mask_share", 1.0)
        masks = crop_masks(keys, SIDE, max(share, 1.0), (options.mask_low, options.mask_high))
        return [mask.float() for mask in masks]
    if name == "ijepa":
        low = (options.target_low, options.target_high)
        blocks = draw_blocks(keys, 3, SIDE, options.num_targets, low, (options.context_low, 1.0))
        grid = 1 - blocks.context[0].float()
        return [grid.index_fill(0, blocks.targets[0].flatten(), 2)]
    return []


def _of_images(name: str) -> str:
    """Draw a sample, the crops that are taken of it, and what they show."""
    views = views_of(name)
    if not views:
        return ""
    hidden, boxes, shown = _hidden(name), [], []
    x = EDGE + 3 * GAP
    for kind, view in views.items():
        draws = rng.generator(rng.mix(3, *kind.encode()))
        for copy in range(view.count):
            left, top, right, bottom = crop_box(64, 64, view.extent, draws)
            colour = "#d1495b" if view.size == 1 else "#2d6cdf"
            box = (left, top, right - left, bottom - top)
            boxes.append(_outline(box, colour))
            edge = EDGE * view.size
            mask = hidden[copy] if view.size == 1 and copy < len(hidden) else None
            mirrored = view.flip and copy % 2 == 1
            shown.append(_view(x, edge, box, _filter(view, copy), mirrored, mask, colour))
            x += round(edge) + GAP
    words = ", ".join(f"{view.count} {kind}" for kind, view in views.items())
    sample = (
        f'<svg width="{EDGE}" height="{EDGE}" viewBox="0 0 64 64">{_SCENE}{"".join(boxes)}</svg>'
    )
    body = sample + "".join(shown)
    return _page(x, EDGE + 20, body, [("sample", 0), (words, EDGE + 3 * GAP)])


_MOMENTS = {
    "videomae": ("0", "2", "4", "6"),
    "vjepa": ("0", "2", "4", "6"),
    "tcn": ("first", "middle: near both", "last", "another clip"),
    "vip": ("first", "now", "next: nearer", "goal"),
}
"""Frames of a clip that are shown of a method, by what is said of each."""


def _of_clips(name: str) -> str:
    """Draw some frames of a clip, time to the right, with what is hidden of them."""
    keys, options = torch.tensor([rng.sample_key(7, 0, 5)]), load(name).Config()
    grid = torch.zeros(SIDE * SIDE)
    rows: list[torch.Tensor | None] = [None]
    if name == "videomae":
        rows = [grid.index_fill(0, random_masks(keys, 64, options.mask_ratio)[1][0], 1)]
    if name == "vjepa":
        kinds = (
            (options.small_blocks, options.small_scale),
            (options.large_blocks, options.large_scale),
        )
        rows = [2 * draw_tubes(keys, 3, SIDE, *kind)[0].float() for kind in kinds]
    shown, wide = [], EDGE + 4 * GAP
    for number, mask in enumerate(rows):
        for place, words in enumerate(_MOMENTS[name]):
            other = words == "another clip"
            box = (16, 12, 40, 40) if other else (5 * place, 12, 40, 40)
            frame = _view(place * wide, EDGE, box, "sun" if other else "", False, mask, "#555")
            shown.append(f'<g transform="translate(0 {number * (EDGE + GAP)})">{frame}</g>')
    captions = [(words, place * float(wide)) for place, words in enumerate(_MOMENTS[name])]
    high = len(rows) * (EDGE + GAP) + 14
    return _page(len(_MOMENTS[name]) * wide, high, "".join(shown), captions)


def _outline(box: tuple[int, int, int, int], colour: str) -> str:
    x, y, wide, high = box
    place = f'x="{x}" y="{y}" width="{wide}" height="{high}"'
    return f'<rect {place} fill="none" stroke="{colour}" stroke-width="1.2"/>'


def _filter(view: View, copy: int) -> str:
    solar = view.solarize[min(copy, len(view.solarize) - 1)]
    blur = view.blur[min(copy, len(view.blur) - 1)]
    if solar > 0:
        return "sun"
    if blur >= 0.5:
        return "blur"
    return "jitter" if view.distort > 0 and copy % 2 == 0 else ""


def _view(
    x: int,
    edge: float,
    box: tuple[int, int, int, int],
    look: str,
    mirrored: bool,
    mask: torch.Tensor | None,
    colour: str,
) -> str:
    scene = _SCENE
    if mirrored:
        scene = f'<g transform="translate({2 * box[0] + box[2]} 0) scale(-1 1)">{scene}</g>'
    if look:
        scene = f'<g filter="url(#{look})">{scene}</g>'
    view_box = " ".join(map(str, box))
    size = f'width="{edge:g}" height="{edge:g}"'
    inside = f'<svg {size} viewBox="{view_box}" preserveAspectRatio="none">{scene}</svg>'
    cells = "" if mask is None else _cells(mask, edge)
    frame = f'<rect {size} fill="none" stroke="{colour}" stroke-width="1.5"/>'
    return f'<g transform="translate({x} 0)">{inside}{cells}{frame}</g>'


def _cells(mask: torch.Tensor, edge: float) -> str:
    cell, fills = edge / SIDE, {1: "#8b8f98", 2: "#f2a541"}
    return "".join(
        f'<rect x="{i % SIDE * cell:g}" y="{i // SIDE * cell:g}" width="{cell:g}" '
        f'height="{cell:g}" fill="{fills[int(value)]}" stroke="#fff" stroke-width=".5"/>'
        for i, value in enumerate(mask.flatten().tolist())
        if value
    )


def _strips(notes: Mapping[str, str]) -> str:
    """Draw what goes in above what is asked for."""
    rows, wide = [], 0
    above, below = notes["sees"].split(), notes["says"].split()
    aligned = len(above) == len(below)
    for number, (key, words) in enumerate((("sees", above), ("says", below))):
        x = 44
        for place, word in enumerate(words):
            column = (above[place], below[place]) if aligned else (word,)
            width = max(24, *(12 + 8 * len(w.strip("_.")) for w in column))
            hidden, empty = word == "_", word == "."
            fill = "#8b8f98" if hidden else "none" if empty else ("#dcebfb", "#fbe6c8")[number]
            line = "none" if empty else "#555"
            rows.append(
                f'<rect x="{x}" y="{number * 34}" width="{width}" height="24" rx="3" '
                f'fill="{fill}" stroke="{line}"/>'
            )
            if not hidden and not empty:
                rows.append(_text(word, x + width / 2, number * 34 + 16, "middle"))
            x += width + 4
        wide = max(wide, x)
        rows.append(_text(key, 0, number * 34 + 16))
    return _page(wide, 62, "".join(rows), [])


def _text(words: str, x: float, y: float, anchor: str = "start") -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" font-family="sans-serif" font-size="12" fill="#222" '
        f'text-anchor="{anchor}">{escape(words)}</text>'
    )


def _page(width: float, height: float, body: str, captions: list[tuple[str, float]]) -> str:
    words = "".join(_text(text, x, height - 4) for text, x in captions)
    ground = '<rect x="-6" y="-6" width="100%" height="100%" fill="#fff"/>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-6 -6 {width + 12:g} {height + 12:g}" '
        f'width="{width + 12:g}" height="{height + 12:g}">{_FILTERS}{ground}{body}{words}</svg>\n'
    )
