"""The Python interface on encoders that exist: encode, save, load, and the scikit-learn step."""

from __future__ import annotations

import pickle
import subprocess
import sys
import tomllib

import numpy as np
import pytest
from PIL import Image

import unlabeled
from unlabeled.errors import DataError, UsageError
from unlabeled.items import kind_of, write_samples


@pytest.fixture
def encoder(image_run):
    return unlabeled.Encoder.from_pretrained(image_run("vit").folder)


def test_public_names_exist_and_importing_them_is_lazy():
    for name in unlabeled.__all__:
        assert getattr(unlabeled, name) is not None
        assert name in dir(unlabeled)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = unlabeled.nothing  # type: ignore[attr-defined]
    script = "import sys, unlabeled; unlabeled.__version__; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": str(unlabeled.__path__[0]) + "/.."},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "False"


def test_all_ways_to_hand_over_an_image_give_one_feature(encoder, image_run):
    source = image_run("vit").source()
    folder = image_run("vit").config.data.path
    path = f"{folder}/{source.name(3)}"
    image = Image.open(path)
    ways = [path, source.payload(3), image, np.asarray(image)]
    features = encoder.encode(ways)
    assert features.shape == (4, encoder.dim)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, features[:1].repeat(4, 0), atol=1e-5)
    np.testing.assert_allclose(encoder.encode(folder)[3], features[0], atol=1e-4)


def test_texts_are_texts_and_a_path_is_data(text_run):
    run = text_run("bert")
    encoder = unlabeled.Encoder.from_pretrained(run.folder)
    features = encoder.encode([run.source().payload(0), run.source().payload(1)])
    np.testing.assert_allclose(encoder.encode(run.config.data.path)[:2], features, atol=1e-4)


@pytest.mark.parametrize("name", ["vit", "bert"])
def test_a_saved_encoder_gives_the_same_features(image_run, text_run, tmp_path, name):
    run = image_run(name) if name == "vit" else text_run(name)
    first = unlabeled.Encoder.from_pretrained(run.folder)
    first.save_pretrained(tmp_path / "kept")
    again = unlabeled.Encoder.from_pretrained(tmp_path / "kept")
    again.save_pretrained(tmp_path / "copy")
    samples = [run.source().payload(i) for i in range(3)]
    np.testing.assert_array_equal(first.encode(samples), again.encode(samples))
    assert again.kind == first.kind
    with pytest.raises(UsageError, match="exists and is not empty"):
        first.save_pretrained(tmp_path / "kept")
    with pytest.raises(UsageError, match="holds an encoder without its run"):
        _ = again.run


def test_what_is_no_image_is_refused_with_a_sentence(encoder, tmp_path):
    with pytest.raises(UsageError, match=r"^An image is a uint8 array .*; this is float64 \(4,\)"):
        encoder.encode([np.zeros(4)])
    with pytest.raises(UsageError, match="is no file"):
        encoder.encode(["nowhere.png"])
    with pytest.raises(DataError, match=r"^sample 1 cannot be read: it is not an image"):
        encoder.encode([np.zeros((9, 9), np.uint8), b"this is no image"])
    (tmp_path / "bad.png").write_bytes(b"this is no image")
    for read in (encoder.encode, encoder.dense):
        with pytest.raises(DataError, match=r"^bad.png cannot be read: it is not an image"):
            read(tmp_path)
    assert encoder.encode([]).shape == (0, encoder.dim)


def test_samples_in_memory_become_a_table_that_a_run_reads(tmp_path):
    from unlabeled.data.find import find

    images = np.arange(2 * 8 * 8 * 3, dtype=np.uint8).reshape(2, 8, 8, 3)
    source = find(str(write_samples(images, tmp_path)))
    assert source.kind == kind_of(images) == "image"
    assert len(source) == 2
    texts = ["one text", "another"]
    source = find(str(write_samples(texts, tmp_path)))
    assert source.kind == kind_of(texts) == "text"
    assert [source.payload(i) for i in range(2)] == texts
    paths = [str(tmp_path / f"{name}.png") for name in "ab"]
    for path in paths:
        Image.fromarray(images[0]).save(path)
    source = find(str(write_samples(paths, tmp_path)))
    assert (len(source), source.kind) == (2, kind_of(paths))
    with pytest.raises(UsageError, match="There are no samples"):
        kind_of([])


def test_every_section_of_options_can_be_given_in_python(image_folder, tmp_path):
    """Those of the method and of the data too, which share their names with parameters."""
    given = {"method.temperature": 0.5, "data": {"held_out": 0.25}, "encoder.name": "timm:test_vit"}
    unlabeled.pretrain(
        image_folder, "simclr", steps=1, out=tmp_path / "run", quiet=True, seed=3,
        options={**given, "encoder.patch": 8}, modality={"size": 16}, loop={"batch": 8},
    )  # fmt: skip
    config = tomllib.loads((tmp_path / "run" / "config.toml").read_text("utf-8"))
    assert config["method"] == {"name": "simclr", "temperature": 0.5, "crop": 0.2}
    assert (config["data"]["held_out"], config["modality"]["size"]) == (0.25, 16)
    assert (config["loop"]["batch"], config["loop"]["seed"]) == (8, 3)
    with pytest.raises(UsageError, match="has no section"):
        unlabeled.pretrain(image_folder, "simclr", steps=1, options={"temperature": 0.5})


def test_transformer_step_of_scikit_learn(encoder, monkeypatch):
    """Fit on everything once, stay frozen inside a pipeline, clone as told."""
    from sklearn.base import clone
    from sklearn.exceptions import NotFittedError
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    from unlabeled.sklearn import SSLEncoder

    asked = []

    def pretrain(data, method, time, steps, **options):
        asked.append((method, time, steps, options["kind"], options["seed"], options["options"]))
        return encoder

    monkeypatch.setattr("unlabeled.api.pretrain", pretrain)
    images = np.random.default_rng(0).integers(0, 255, (24, 16, 16, 3), dtype=np.uint8)
    y = np.arange(24) % 2
    step = SSLEncoder("simclr", steps=3, seed=5, options={"optim": {"lr": 0.1}})
    assert step.get_params()["method"] == "simclr"
    assert clone(step).get_params() == step.get_params()
    with pytest.raises(NotFittedError):
        step.transform(images)
    pipe = make_pipeline(step.fit(images), LogisticRegression())
    assert 0 <= pipe.fit(images[:8], y[:8]).score(images[8:], y[8:]) <= 1
    assert asked == [("simclr", None, 3, "image", 5, {"optim": {"lr": 0.1}})]
    assert step.transform(images).shape == (24, encoder.dim)
    assert len(step.get_feature_names_out()) == encoder.dim
    assert not hasattr(clone(step), "encoder_")
    again = pickle.loads(pickle.dumps(step))
    np.testing.assert_allclose(again.transform(images), step.transform(images), atol=1e-6)
    kept = SSLEncoder(steps=3, prefit=True, options={"optim": {"lr": 0.1}}).fit(images)
    assert clone(kept) is kept


def test_parameters_keep_to_the_rules_of_scikit_learn():
    from sklearn.utils.estimator_checks import (
        check_get_params_invariance,
        check_no_attributes_set_in_init,
        check_parameters_default_constructible,
        check_set_params,
    )

    from unlabeled.sklearn import SSLEncoder

    for check in (
        check_get_params_invariance,
        check_no_attributes_set_in_init,
        check_parameters_default_constructible,
        check_set_params,
    ):
        check("SSLEncoder", SSLEncoder())
