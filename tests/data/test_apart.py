"""What a person excludes is not trained on, and groups are not torn, or the run does not begin."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas
import pytest
from PIL import Image
from tests.loop.running import small_config

from unlabeled.config import RunConfig
from unlabeled.data.find import find
from unlabeled.data.split import held_groups
from unlabeled.errors import ConfigError, DataError, UsageError
from unlabeled.prepare import prepare


def excluding(method: str, folder: Path, other: Path, **data: object) -> RunConfig:
    config = small_config(method, folder)
    update = {"exclude": str(other), "held_out": 0.0, **data}
    return config.model_copy(update={"data": config.data.model_copy(update=update)})


def test_copies_of_excluded_images_are_not_trained_on(image_folder: Path, tmp_path: Path) -> None:
    files = sorted(image_folder.rglob("*.png"))
    (tmp_path / "test").mkdir()
    shutil.copy(files[3], tmp_path / "test" / "same.png")
    with Image.open(files[40]) as image:  # a little brighter, in another format
        pixels = np.asarray(image.convert("RGB")).astype(int)
    brighter = np.clip(pixels + 4, 0, 255).astype(np.uint8)
    Image.fromarray(brighter).save(tmp_path / "test" / "brighter.bmp")
    config = excluding("simclr", image_folder, tmp_path / "test")
    made = prepare(config, tmp_path / "run")
    pool = np.load(tmp_path / "run" / "data" / "pool.npy")
    names = {find(str(image_folder)).name(int(i)) for i in pool}
    assert str(files[3].relative_to(image_folder)) not in names
    assert str(files[40].relative_to(image_folder)) not in names
    assert made.record["near_held_out"] >= 2
    assert len(pool) > 0.5 * len(files)


def stories(count: int, seed: int) -> list[str]:
    """Return documents of 60 words."""
    random = np.random.default_rng(seed)
    words = [f"word{i}" for i in range(400)]
    return [" ".join(random.choice(words, 60)) + "." for _ in range(count)]


def written(path: Path, texts: list[str], **columns: list[str]) -> Path:
    pandas.DataFrame({"text": texts, **columns}).to_parquet(path)
    return path


def test_copies_of_excluded_texts_are_not_trained_on(tmp_path: Path) -> None:
    texts = stories(60, 0)
    near = texts[9].replace("word7 ", "WORD7 ") + " A last word is added here."
    test = written(tmp_path / "test.parquet", [texts[4], near, *stories(5, 1)])
    pool = written(tmp_path / "pool.parquet", texts)
    made = prepare(excluding("bert", pool, test), tmp_path / "run")
    assert np.load(tmp_path / "run" / "data" / "pool.npy").tolist() == [
        i for i in range(60) if i not in (4, 9)
    ]
    assert made.record["near_held_out"] == 2
    again = prepare(excluding("bert", pool, test), tmp_path / "run")  # as a resume does
    assert again.record == made.record
    with pytest.raises(DataError, match="all 60 documents are like a held-out or excluded one"):
        prepare(excluding("bert", pool, pool), tmp_path / "none")


def test_texts_like_held_out_ones_leave_the_pool(tmp_path: Path) -> None:
    texts = stories(100, 0)
    pool = written(tmp_path / "pool.parquet", texts + [f"{text} Yes." for text in texts])
    for apart in (True, False):
        config = excluding("bert", pool, pool, held_out=0.2, apart=apart, exclude=None)
        made = prepare(config, tmp_path / str(apart))
        folder = tmp_path / str(apart) / "data"
        kept, held = (set(np.load(folder / f"{n}.npy").tolist()) for n in ("pool", "held_out"))
        twins = {(i + 100) % 200 for i in held} - held
        assert len(twins) > 10
        assert bool(twins & kept) != apart
        assert made.record.get("near_held_out", 0) == (len(twins) if apart else 0)


def test_text_of_a_mix_is_kept_out_too(tmp_path: Path) -> None:
    texts, beside = stories(40, 0), stories(40, 1)
    test = written(tmp_path / "test.parquet", [beside[3], *stories(5, 2)])
    pool = written(tmp_path / "pool.parquet", texts)
    other = written(tmp_path / "other.parquet", beside)
    made = prepare(excluding("bert", pool, test, mix={str(other): 0.3}), tmp_path / "run")
    assert made.record["near_held_out"] == 1


def sides(folder: Path, groups: list[str]) -> tuple[set[str], set[str]]:
    found = [np.load(folder / "data" / f"{name}.npy") for name in ("pool", "held_out")]
    return {groups[i] for i in found[0]}, {groups[i] for i in found[1]}


@pytest.mark.parametrize("form", ["column", "folder", "table"])
def test_a_group_stays_on_one_side(image_folder: Path, tmp_path: Path, form: str) -> None:
    source = find(str(image_folder))
    names = [source.name(i) for i in range(len(source))]
    folders = [name.split("/")[0] for name in names]
    if form == "folder":
        method, path, group, groups = "simclr", image_folder, "folder", folders
    elif form == "table":
        groups = [f"patient {i % 8}" if i < 90 else "" for i in range(len(names))]
        rows = [f"{n},{g}" for n, g in zip(names, groups, strict=True)]
        (tmp_path / "who.csv").write_text("\n".join(["path,patient_id", *rows]))
        method, path, group = "simclr", image_folder, str(tmp_path / "who.csv")
    else:
        groups = [f"speaker {i % 6}" for i in range(90)]
        path = written(tmp_path / "pool.parquet", stories(90, 0), speaker=groups)
        method, group = "bert", "speaker"
    config = excluding(method, path, path, exclude=None, group=group, held_out=0.1)
    made = prepare(config, tmp_path / "run")
    pool, held = sides(tmp_path / "run", groups)
    assert held - {""}
    assert not (pool & held) - {""}
    assert made.record["held_out_groups"] >= 1


def test_groups_of_excluded_rows_leave_the_pool(tmp_path: Path) -> None:
    groups = [f"speaker {i % 6}" for i in range(90)]
    pool = written(tmp_path / "pool.parquet", stories(90, 0), speaker=groups)
    test = written(tmp_path / "test.parquet", stories(5, 1), speaker=["speaker 2"] * 5)
    config = excluding("bert", pool, test, group="speaker", held_out=0.1)
    made = prepare(config, tmp_path / "run")
    trained, _ = sides(tmp_path / "run", groups)
    assert "speaker 2" not in trained
    assert len(trained) >= 4
    assert made.record["of_excluded_groups"] in (0, 15)  # 0 where it was held out anyway


def test_which_groups_are_held_out_goes_by_their_names() -> None:
    groups = np.array([f"p{i % 50}" for i in range(500)])
    hashes = np.random.default_rng(0).integers(0, 2**60, (500, 2))
    out = held_groups(groups, hashes, 0.2, 0)
    more = held_groups(np.append(groups, ["new"] * 9), np.zeros((509, 2), np.int64), 0.2, 0)
    assert (more[:500] == out).all()
    assert 0.06 < out.mean() < 0.4
    assert (held_groups(groups, hashes, 0.2, 1) != out).any()
    assert not held_groups(groups, hashes, 0.0, 0).any()
    few = np.array(["a", "b"] * 5)
    assert held_groups(few, hashes[:10], 0.01, 0).sum() == 5  # one of two at least


def test_what_cannot_be_excluded_or_grouped_is_refused(image_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"needs data\.apart=true"):
        prepare(excluding("simclr", image_folder, image_folder, apart=False), tmp_path / "images")
    for group, words in (("patient", "neither 'folder' nor a table"),
                         (str(tmp_path / "who.csv"), "no column that groups them")):  # fmt: skip
        (tmp_path / "who.csv").write_text("path,label\na,b")
        config = excluding("simclr", image_folder, image_folder, exclude=None, group=group)
        with pytest.raises(UsageError, match=words):
            prepare(config, tmp_path / "run")
    pool = written(tmp_path / "pool.parquet", stories(9, 0), one=["x"] * 9)
    for group, words in (("who", "has no column 'who'"), ("one", "at least two groups")):
        with pytest.raises(UsageError, match=words):
            prepare(excluding("bert", pool, pool, exclude=None, group=group), tmp_path / "run")
