"""Two processes on half the batch each get the gradient of one process on the whole batch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.ranks.gathered import LOSSES, compute, inputs, one_rank
from unlabeled.device import rank, world
from unlabeled.nn.gather import gather_rows, sum_over_ranks


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, torch.Tensor]]:
    folder = tmp_path_factory.mktemp("ranks")
    torch.multiprocessing.spawn(one_rank, args=(str(folder),), nprocs=2)
    return [load_file(Path(folder) / f"{number}.safetensors") for number in (0, 1)]


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_of_two_ranks_is_that_of_one(
    name: str, found: list[dict[str, torch.Tensor]]
) -> None:
    alone = compute(*inputs())[name]
    for ours in found:
        torch.testing.assert_close(ours[name], alone, rtol=1e-10, atol=1e-12)


def test_without_a_group_nothing_is_gathered() -> None:
    x = torch.randn(3, 2)
    assert (world(), rank()) == (1, 0)
    assert gather_rows(x) is x
    assert sum_over_ranks(x) is x
