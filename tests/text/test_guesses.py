"""The loss over a large vocabulary, a part at a time: the same numbers in bounded memory."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import nn

from tests.text.sources import batch_of, method_of
from unlabeled.nn import guesses
from unlabeled.nn.guesses import Guess, summed
from unlabeled.nn.token_head import token_scores


def head(classes: int = 37) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.Linear(8, classes)).double()


@pytest.mark.parametrize("most", [37, 100, 37 * 7, 37 * 50])
def test_parts_are_the_whole(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Value and every gradient in fp64, with targets that are left out and an outer factor."""
    monkeypatch.setattr(guesses, "MOST", most)
    targets = torch.randint(-1, 37, (50,), generator=torch.Generator().manual_seed(1))
    found = []
    for parted in (False, True):
        network = head()
        network[1].weight.requires_grad_(False)
        x = torch.linspace(-2, 2, 400, dtype=torch.float64).reshape(50, 8).sin().requires_grad_()
        total = (
            summed(Guess(network, x), targets)
            if parted
            else nn.functional.cross_entropy(network(x), targets, ignore_index=-1, reduction="sum")
        )
        (total * 0.3).backward()
        found.append([total.detach().double(), x.grad, *(p.grad for p in network.parameters())])
    for ours, plain in zip(*found, strict=True):
        if plain is None:
            assert ours is None
        else:
            torch.testing.assert_close(ours, plain, atol=1e-5, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "encoder"),
    [
        ("gpt", "hf:gpt2-1x32h2"),
        ("gptbert", "hf:gpt2-1x32h2"),
        ("bert", "hf:bert-1x32h2"),
        ("electra", "hf:electra-1x32h2"),
        ("inherit", "hf:bert-1x32h2"),
        ("tsdae", "hf:bert-1x32h2"),
    ],
)
def test_methods_learn_the_same_in_parts(
    name: str, encoder: str, bpe: Any, wordpiece: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, _, text, _ = bpe if "gpt2" in encoder else wordpiece
    batch, found = batch_of(rows), []
    for most in (1 << 24, 320 * 5):
        monkeypatch.setattr(guesses, "MOST", most)
        method = method_of(name, encoder, text)
        with torch.no_grad():  # away from the beginning, where a student is its own teacher
            for weight in method.parameters():
                weight.add_(torch.randn_like(weight), alpha=0.05)
        total, parts = method.loss(batch, 0.0)
        total.backward()
        grads = [p.grad for p in method.parameters() if p.grad is not None]
        found.append([total.detach(), *parts.values(), *method.scores(batch), *grads])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)


def test_scores_come_in_parts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    network, x = head(), torch.randn(20, 8, dtype=torch.float64)
    targets = torch.arange(20)
    whole = token_scores(network(x), targets)
    monkeypatch.setattr(guesses, "MOST", 37 * 3)
    for one, other in zip(token_scores(Guess(network, x), targets), whole, strict=True):
        torch.testing.assert_close(one, other)


PEAK = """
import json, re, torch
from unlabeled.nn import guesses
from unlabeled.nn.guesses import Guess, summed
from torch.nn.functional import cross_entropy
torch.manual_seed(0)
guesses.MOST = 1 << 22
head = torch.nn.Linear(64, 32768, bias=False)
x, targets = torch.randn(2048, 64, requires_grad=True), torch.arange(2048)
summed(Guess(head, x[:256]), targets[:256]).backward()
# (getrusage would tell the peak of the process that started this one)
peak = lambda: 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
marks = [peak()]
summed(Guess(head, x), targets).backward()
marks.append(peak())
cross_entropy(head(x), targets, reduction="sum").backward()
print(json.dumps([*marks, peak()]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_of_a_vocabulary_of_32k_is_bounded() -> None:
    """2,048 tokens: 256 MiB of logits, held more than twice at once by the plain loss.

    Parts are of 128 tokens, 16 MiB; two of them came before. What the allocator keeps for itself
    between them (it was seen to be 100 to 150 MiB) is less than the logits alone.
    """
    done = subprocess.run(
        [sys.executable, "-c", PEAK], capture_output=True, text=True, check=True, timeout=300
    )
    before, ours, plain = json.loads(done.stdout)
    assert plain - before > 2 * 256 * 2**20
    assert ours - before < 256 * 2**20
    assert ours - before < (plain - before) / 3
