import json

import numpy as np
import pytest
import timm
import torch

from tests.transfer.planted import PlantedRun
from tests.transfer.weights import TEXT_PACKAGE, efficientnet, folder_of
from unlabeled.errors import UsageError
from unlabeled.modalities.image import Image
from unlabeled.transfer import public, readings, stats, verdict
from unlabeled.transfer import roster as module
from unlabeled.transfer.evaluate import evaluate
from unlabeled.transfer.features import Inputs
from unlabeled.types import PLAIN


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Return a small network in timm's folder, for grey images."""
    folder = tmp_path_factory.mktemp("weights") / "tiny"
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = timm.create_model("test_resnet", in_chans=1, num_classes=7)
    timm.models.save_for_hf(
        model, folder, model_config={"input_size": (1, 32, 32)}, safe_serialization=True
    )
    config = json.loads((folder / "config.json").read_text())
    config["pretrained_cfg"] |= {"input_size": [1, 32, 32], "mean": [0.5], "std": [0.5]}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_public_weights_are_one_more_reading(tmp_path, tiny, monkeypatch):
    monkeypatch.setattr(
        module, "search_of", lambda run, quick, ways=False: readings.Search((PLAIN,))
    )
    monkeypatch.setattr(module, "own_view", lambda run: PLAIN)
    found = evaluate(
        PlantedRun(tmp_path), None, counts=[1, 5], draws=2, arms=["probe", "pca"],
        against=[str(tiny)],
    )  # fmt: skip
    name = next(row["reading"] for row in found["rows"] if public.is_public(row["reading"]))
    assert found["labels_saved"][name]["against"] == name
    assert "tiny (public) + LR" in found["verdict"]
    assert {r["name"] for r in found["summary"]} >= {"tiny (public) + LR", "linear probe"}


def test_its_name_changes_with_its_weights(tmp_path, tiny):
    copy = tmp_path / "tiny"
    copy.mkdir()
    for path in tiny.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    same = public.resolve(str(copy)).reading
    assert same == public.resolve(str(tiny)).reading
    content = bytearray((copy / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (copy / "model.safetensors").write_bytes(content)
    assert public.resolve(str(copy)).reading != same


def test_features_are_those_of_the_library(tmp_path, tiny):
    run = PlantedRun(tmp_path)
    inputs = Inputs(run.source(), range(5), run.modality())
    found = public.resolve(str(tiny)).features(inputs)
    model = timm.create_model(f"local-dir:{tiny}", pretrained=True, num_classes=0).eval()
    settings = run.config.modality.model_copy(update={"size": 32})
    images = Inputs(run.source(), range(5), Image(settings)).plain(slice(0, 5))
    with torch.inference_mode():
        expected = model(images).numpy()
    assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max()  # bf16 on some machines


def test_imagenet_weights_of_a_package_see_images(tmp_path):
    """EfficientNet-lite0 tells bars, squares and diagonals apart from four labels a class."""
    from tests.conftest import draw_image
    from tests.transfer.planted import PlantedSource

    folder = efficientnet(tmp_path / "effnet")
    run = PlantedRun(tmp_path / "run", count=64)

    class Drawn(PlantedSource):
        def __init__(self):
            self.y = np.arange(64) % 4
            self.pictures = [draw_image(i, 32) for i in range(64)]
            self.fingerprint = "drawn"

    inputs = Inputs(Drawn(), range(64), run.modality())
    x = public.resolve(str(folder)).features(inputs)
    assert x.shape == (64, 1280)
    unit = x - x.mean(0)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    near = (unit[16:] @ unit[:16].T).argmax(1) % 4
    assert (near == np.arange(48) % 4).mean() > 0.55


def test_sentence_weights_of_a_package_know_what_is_alike():
    folder_of(TEXT_PACKAGE)
    texts = ["The cat sleeps on the sofa.", "Stock markets fell sharply today.",
             "A kitten is napping on the couch.", "Share prices dropped this morning."]  # fmt: skip
    found = public._of_texts(public.resolve(TEXT_PACKAGE).folder, texts)
    unit = found / np.linalg.norm(found, axis=1, keepdims=True)
    alike = unit @ unit.T
    assert min(alike[0, 2], alike[1, 3]) > 0.5 > max(alike[0, 1], alike[2, 3])


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("nowhere", "there is no such folder"),
        ("org/nowhere", "hub's local cache has none"),
        ("numpy", "No installed package of this name holds weights"),
    ],
)
def test_what_is_not_there_is_answered_with_a_sentence(given, sentence):
    with pytest.raises(UsageError, match=sentence):
        public.resolve(given)


def test_pickled_weights_are_refused(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(UsageError, match="never opened"):
        public.resolve(str(tmp_path))
    (tmp_path / "config.json").unlink()
    with pytest.raises(UsageError, match=r"config\.json\. --encoder takes a folder"):
        public.resolve(str(tmp_path), "--encoder")


def test_the_hubs_cache_is_read_and_a_run_is_taken_for_its_encoder(tmp_path, tiny, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    cache = tmp_path / "models--org--net"
    (cache / "refs").mkdir(parents=True)
    (cache / "refs" / "main").write_text("abc\n")
    (cache / "snapshots").mkdir()
    (cache / "snapshots" / "abc").symlink_to(tiny)
    assert public.resolve("org/net").folder == cache / "snapshots" / "abc"
    run = tmp_path / "run"
    run.mkdir()
    (run / "encoder").symlink_to(tiny)
    assert public.resolve(str(run)).folder == run / "encoder"


def test_public_weights_do_not_touch_the_grade():
    gap = stats.Interval(-0.1, -0.12, -0.08, 5)
    said = verdict.beside_public("probe", {"public-net-abc": gap})
    assert said.startswith(" Public weights are better still: net (public) + LR is 10.0 points")
    assert verdict.beside_public("probe", {"pca": gap}) == ""
