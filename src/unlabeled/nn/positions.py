"""Fixed positions of tokens on a line, on a grid, and in a box of space and time."""

from __future__ import annotations

import torch
from torch import Tensor


def sincos_1d(positions: Tensor, dim: int) -> Tensor:
    """Encode positions by sines, then cosines, of geometric wavelengths up to 10000.

    Vaswani et al., 2017 (arXiv:1706.03762), section 3.5, with halves in place of interleaving.

    Args:
        positions: (N,) any real numbers.
        dim: D, even.

    Returns:
        (N, D) float32.
    """
    frequencies = 10000 ** -(torch.arange(dim // 2, dtype=torch.float64) / (dim / 2))
    angles = positions.double()[:, None] * frequencies  # (N, D / 2)
    return torch.cat([angles.sin(), angles.cos()], dim=1).float()


def sinusoid(number: int, dim: int) -> Tensor:
    """Encode 0 .. number - 1 with sines and cosines in turn, as Vaswani et al. write it.

    Args:
        number: N.
        dim: D, even.

    Returns:
        (N, D) float32.
    """
    halves = sincos_1d(torch.arange(number), dim)
    return halves.reshape(number, 2, dim // 2).transpose(1, 2).flatten(1)


def sincos_2d(side: int, dim: int, num_prefix: int = 0) -> Tensor:
    """Encode the cells of a square grid: half of the width for the column, half for the row.

    As in MAE (arXiv:2111.06377), whose first half encodes the column; prefix tokens (CLS)
    get zeros.

    Args:
        side: cells along an edge; N = side * side, row by row.
        dim: D, a multiple of 4.
        num_prefix: tokens before the grid.

    Returns:
        (num_prefix + N, D) float32.

    Raises:
        ValueError: `dim` is not a multiple of 4.
    """
    if dim % 4:
        raise ValueError(f"a width of {dim} cannot hold 2-D positions: it must be a multiple of 4")
    cells = torch.arange(side)
    row, column = torch.meshgrid(cells, cells, indexing="ij")
    grid = torch.cat([sincos_1d(x.flatten(), dim // 2) for x in (column, row)], dim=1)
    return torch.cat([torch.zeros(num_prefix, dim), grid])


def sincos_3d(slots: int, side: int, dim: int) -> Tensor:
    """Encode boxes of space and time: a third of the width each for time, row and column.

    As in V-JEPA (arXiv:2404.08471): thirds are rounded up to an even width, and what is too much
    at the end is cut off.

    Args:
        slots: boxes along time.
        side: boxes along an edge of a frame; N = slots * side * side, time first, then rows.
        dim: D, any.

    Returns:
        (N, D) float32.
    """
    cells, third = torch.arange(side), 2 * -(-dim // 6)
    places = torch.meshgrid(torch.arange(slots), cells, cells, indexing="ij")
    return torch.cat([sincos_1d(x.flatten(), third) for x in places], dim=1)[:, :dim]
