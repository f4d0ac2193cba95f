"""Methods on logs: those made for them against closed forms, and those that they share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import draw_log
from tests.loop.running import SERIES, SMALL, small_config
from unlabeled import config as configs
from unlabeled.config import RunConfig
from unlabeled.methods import METHODS, catalogue
from unlabeled.prepare import Prepared, prepare
from unlabeled.runs import build_method
from unlabeled.state import batches, build

SHARED = [
    name
    for name in METHODS
    if "series" in catalogue.describe(name).modalities[1:] and name != "combine"
]
ENCODER = {"name": "hf:modernbert-1x32h2", "patch": 2}


def setting(method: str, folder: Path) -> RunConfig:
    """Return the small setting of a method that it shares with images, on logs."""
    tree = small_config("dynamics", folder).model_dump()
    tree["method"] = {"name": method, **SMALL[method]["method"]}
    return configs.build({**tree, "encoder": ENCODER})


@pytest.fixture(scope="module")
def data(log_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(small_config("dynamics", log_folder), tmp_path_factory.mktemp("logs"))


def test_joint_embedding_methods_take_logs() -> None:
    assert {"simclr", "vicreg", "lejepa", "byol", "moco"} <= set(SHARED)


@pytest.mark.parametrize("name", SHARED)
def test_shared_methods_train_on_logs(name: str, log_folder: Path, data: Prepared) -> None:
    state = build(setting(name, log_folder), Path(), data)
    loss = state.method.loss(next(batches(state)), 0.5)
    loss.total.backward()
    assert torch.isfinite(loss.total)
    grads = [p.grad for p in state.method.encoder.parameters() if p.requires_grad]
    assert all(g is not None and torch.isfinite(g).all() for g in grads)
    assert sum(float(g.abs().sum()) for g in grads if g is not None) > 0


def dynamics(folder: Path, data: Prepared, **options: object) -> object:
    tree = small_config("dynamics", folder).model_dump()
    tree["method"].update(options)
    return build_method(configs.build(tree), data.modality)


def test_changes_that_are_asked_for_are_those_of_the_log(log_folder: Path, data: Prepared) -> None:
    """Given, wanted and known are read off the rows by hand, one at a time."""
    method = dynamics(log_folder, data, ahead=2, transitions=50)
    x = data.watched[:6].clone()
    x[0, 10, 3 + 1] = x[0, 10, 1] = 0  # the speed at step 10 of the first log is missing
    keys = torch.arange(6)
    start, stop = method.hidden(x, keys)
    given, wanted, known = method.asked(x, keys, start, stop)
    assert given.shape == (6, 50, 7)
    assert wanted.shape == known.shape == (6, 50, 2)
    scale = torch.tensor([0.25 / 1.2, 0.4 / 0.9])
    for row in range(6):
        steps = range(int(start[row]), int(stop[row]) - 2)
        for i in range(50):
            place = next(t for t in steps if torch.equal(x[row, t], given[row, i, :6]))
            assert given[row, i, 6] == x[row, place + 1, 2]  # what is done at the step between
            change = (x[row, place + 2, :2] - x[row, place, :2]) / scale
            seen = x[row, place + 2, 3:5] * x[row, place, 3:5]
            torch.testing.assert_close(known[row, i], seen)
            torch.testing.assert_close(wanted[row, i] * seen, change * seen)


def test_almost_whole_episodes_are_among_those_that_are_learned_from(
    log_folder: Path, data: Prepared
) -> None:
    """Features are read of whole episodes: a network that never saw one made them all alike."""
    method = dynamics(log_folder, data)
    x = data.watched[:1].expand(300, -1, -1)
    length = int((x[0, :, 3:].amax(-1) > 0).sum())
    start, stop = method.hidden(x, torch.arange(300))
    assert (stop - start).min() == 2
    assert (stop - start).max() >= 0.7 * length


def test_hidden_steps_do_not_reach_the_code(log_folder: Path, data: Prepared) -> None:
    method = dynamics(log_folder, data, least=0.25)
    x = data.watched[:4]
    start, stop = method.hidden(x, torch.arange(4))
    length = (x[..., 3:].amax(-1) > 0).sum(1)
    assert (stop <= length).all()
    assert ((stop - start) >= 0.2 * length).all()
    assert ((stop - start) <= 0.8 * length).all()


def test_persistence_is_the_error_of_no_change(log_folder: Path, data: Prepared) -> None:
    """With a last layer of zeros the loss is the persistence, and swapping codes costs nothing."""
    state = build(small_config("dynamics", log_folder), Path(), data)
    with torch.no_grad():
        state.method.change[-1].weight.zero_()
        state.method.change[-1].bias.zero_()
    loss = state.method.loss(next(batches(state)), 0.0)
    torch.testing.assert_close(loss.total.detach(), loss.parts["persistence"])
    assert loss.parts["gain"] == 0


def test_statistics_and_kernels_against_their_definitions() -> None:
    from unlabeled.modalities import series_features

    log = np.stack(list(draw_log(3).values()), 1)[:, 1:4]
    log[4, 0] = np.nan
    found = series_features.statistics([log])[0]
    steps = np.nanmean(np.abs(np.diff(log, axis=0)), 0)
    expected = np.concatenate([np.nanmean(log, 0), np.nanstd(log, 0), steps])
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    answers = series_features.random_convolutions([log, log[:5]], 48, 20).reshape(2, 20, 2)
    assert np.isfinite(answers).all()
    filled = np.nan_to_num(log).astype(np.float64)
    for kernels in series_features._kernels(3, 20, 48):
        for place, weights, bias in zip(
            kernels.places, kernels.weights.numpy(), kernels.bias.numpy(), strict=True
        ):
            span = len(log) - (weights.shape[1] - 1) * kernels.dilation
            told = [
                bias
                + sum(
                    weights[:, k] @ filled[t + k * kernels.dilation]
                    for k in range(weights.shape[1])
                )
                for t in range(span)
            ]
            positive, largest = np.mean(np.array(told) > 0), np.max(told)
            np.testing.assert_allclose(answers[0, place], [positive, largest], rtol=1e-4, atol=1e-4)


def test_features_equal_those_of_the_page_beside_the_weights(
    log_folder: Path, data: Prepared, tmp_path: Path
) -> None:
    """`read_logs.py` in the encoder's folder needs nothing of this package."""
    import importlib.util

    method = dynamics(log_folder, data)
    encoder = method.encoder.eval()
    encoder.save(tmp_path)
    spec = importlib.util.spec_from_file_location("read_logs", tmp_path / "read_logs.py")
    assert spec is not None
    assert spec.loader is not None
    page = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(page)
    model = page.load(str(tmp_path))
    assert model.config.unlabeled["modality"]["observations"] == SERIES["observations"]
    from unlabeled.transfer.features import features

    log = np.stack(list(draw_log(5, 60).values()), 1)[:, 1:4]
    log[7:20] = np.nan
    log[30, 1] = np.nan
    ours = features(encoder, data.modality, [log, log[:41]])
    theirs = np.stack([page.features(model, x).numpy() for x in (log, log[:41])])
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
