"""Pools: quarantine, substitutes, budget; splits; duplicates; inspection."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from unlabeled.config import ImageConfig
from unlabeled.data.duplicates import difference_hash, near_groups
from unlabeled.data.find import find
from unlabeled.data.inspect import inspect
from unlabeled.data.read import Pool
from unlabeled.data.split import split
from unlabeled.errors import DataError, UsageError
from unlabeled.modalities.image import Image


def save(folder: Path, count: int, bad: tuple[int, ...] = ()) -> Path:
    """Write small pictures, of which some are damaged."""
    folder.mkdir(exist_ok=True)
    for number in range(count):
        path = folder / f"{number:03d}.png"
        value = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        PIL.Image.fromarray(value).save(path)
        if number in bad:
            path.write_bytes(path.read_bytes()[:-20])
    return folder


def pool_of(folder: Path, budget: float = 0.01, quarantine: Path | None = None) -> Pool:
    source = find(str(folder))
    return Pool(source, Image(ImageConfig()), np.arange(len(source)), budget, quarantine)


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_damaged_item_is_replaced_by_the_next_good_one(tmp_path):
    folder = save(tmp_path / "x", 20, bad=(3, 4, 19))
    pool = pool_of(folder, 0.2, tmp_path / "quarantine.jsonl")
    seen = [pool.raw(position)[1] for position in range(20)]
    expected = [f"{i:03d}.png" for i in range(20)]
    expected[3] = expected[4] = "005.png"
    expected[19] = "000.png"
    assert seen == expected
    assert [pool.raw(position)[1] for position in range(20)] == expected
    written = lines(tmp_path / "quarantine.jsonl")
    assert [(line["name"], line["index"]) for line in written] == [
        ("003.png", 3), ("004.png", 4), ("019.png", 19)
    ]  # fmt: skip
    assert all("damaged" in line["reason"] for line in written)


def test_another_process_and_a_resume_yield_the_same(tmp_path):
    folder = save(tmp_path / "x", 12, bad=(2, 7))
    first = pool_of(folder, 0.5, tmp_path / "q.jsonl")
    for position in (7, 2):
        first.raw(position)
    later = pickle.loads(pickle.dumps(first))
    fresh = pool_of(folder, 0.5, tmp_path / "q.jsonl")
    for position in range(12):
        assert first.raw(position)[1] == later.raw(position)[1] == fresh.raw(position)[1]
    assert len(lines(tmp_path / "q.jsonl")) == 2


def test_the_budget_names_count_and_first_items(tmp_path):
    folder = save(tmp_path / "x", 100, bad=tuple(range(10, 16)))
    pool = pool_of(folder, 0.05, tmp_path / "q.jsonl")
    with pytest.raises(DataError) as caught:
        pool.raw(10)
    sentence = str(caught.value)
    assert "6 of 100 samples cannot be read" in sentence
    assert "data.bad_budget=0.05 forgives 5" in sentence
    assert all(f"01{i}.png" in sentence for i in range(5))
    assert "015.png" not in sentence
    assert caught.value.exit_code == 65
    good = pool_of(folder, 0.06)
    assert good.raw(10)[1] == "016.png"


@pytest.mark.parametrize(
    ("count", "num_bad", "budget", "fails"),
    [(100, 1, 0.01, False), (100, 2, 0.01, True), (10, 1, 0.01, False), (10, 1, 0.0, True)],
)
def test_what_the_budget_forgives(tmp_path, count, num_bad, budget, fails):
    pool = pool_of(save(tmp_path / "x", count, bad=tuple(range(num_bad))), budget)
    if fails:
        with pytest.raises(DataError, match="budget"):
            pool.raw(0)
    else:
        assert pool.raw(0)[1] == f"{num_bad:03d}.png"


def test_nothing_readable_and_nothing_there_are_sentences(tmp_path):
    with pytest.raises(DataError, match="None of 5 samples"):
        pool_of(save(tmp_path / "x", 5, bad=tuple(range(5))), 1.0).raw(0)
    source = find(str(tmp_path / "x"))
    with pytest.raises(DataError, match="no sample"):
        Pool(source, Image(ImageConfig()), np.zeros(0, np.int64), 0.5, None).raw(0)


def test_a_file_that_goes_away_while_training_is_set_aside(tmp_path):
    folder = save(tmp_path / "x", 6)
    pool = pool_of(folder, 0.5, tmp_path / "q.jsonl")
    assert pool.raw(2)[1] == "002.png"
    (folder / "002.png").unlink()
    os.mkfifo(folder / "002.png")
    (folder / "003.png").write_bytes(b"")
    assert pool.raw(2)[1] == "004.png"
    assert [line["index"] for line in lines(tmp_path / "q.jsonl")] == [2, 3]


def test_a_full_disk_or_a_cut_line_ends_nothing(tmp_path):
    folder = save(tmp_path / "x", 10, bad=(1, 2))
    assert pool_of(folder, 0.5, tmp_path / "no" / "folder" / "q.jsonl").raw(1)[1] == "003.png"
    (tmp_path / "q.jsonl").write_bytes(b'{"name": "001.png", "ind')
    assert pool_of(folder, 0.5, tmp_path / "q.jsonl").raw(1)[1] == "003.png"
    kept = (tmp_path / "q.jsonl").read_text().splitlines()
    assert [json.loads(line)["index"] for line in kept[1:]] == [1, 2]


def _work(pool: Pool, positions: list[int]) -> None:
    for position in positions:
        pool.raw(position)


def test_several_workers_write_each_item_once(tmp_path):
    bad = tuple(range(0, 60, 3))
    pool = pool_of(save(tmp_path / "x", 60, bad=bad), 0.5, tmp_path / "q.jsonl")
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_work, args=(pool, list(range(60)))) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert sorted(line["index"] for line in lines(tmp_path / "q.jsonl")) == list(bad)


def test_the_budget_counts_what_other_workers_found(tmp_path):
    folder = save(tmp_path / "x", 40, bad=(0, 10, 20))
    a, b = (pool_of(folder, 0.05, tmp_path / "q.jsonl") for _ in range(2))
    a.raw(0)
    b.raw(10)
    with pytest.raises(DataError, match="3 of 40"):
        a.raw(20)


def test_a_pool_is_cheap_to_send(tmp_path):
    pool = pool_of(save(tmp_path / "x", 30))
    assert len(pickle.dumps(pool)) < 5000


# ----------------------------------------------------------------------------------- splitting


def test_copies_are_dropped_and_never_on_both_sides(tmp_path):
    folder = save(tmp_path / "x", 60)
    for number in range(0, 60, 4):
        (folder / f"copy-{number}.png").write_bytes((folder / f"{number:03d}.png").read_bytes())
    source = find(str(folder))
    parts = split(source, 0.3, True, seed=0)
    assert parts.duplicates == 15
    assert len(parts.pool) + len(parts.held_out) == 60
    assert not np.intersect1d(parts.pool, parts.held_out).size
    kept = split(source, 0.3, False, seed=0)
    content = [{source.payload(int(i)) for i in part} for part in kept[:2]]
    assert not content[0] & content[1]


def test_added_files_move_none(tmp_path):
    folder = save(tmp_path / "x", 80)
    source = find(str(folder))
    before = {source.name(int(i)) for i in split(source, 0.25, True, seed=1).held_out}
    assert 10 <= len(before) <= 30
    for number in range(40):
        (folder / f"a{number}.png").write_bytes(bytes([number]) * 9)
    source = find(str(folder))
    after = {source.name(int(i)) for i in split(source, 0.25, True, seed=1).held_out}
    assert before == {name for name in after if not name.startswith("a")}
    other = {source.name(int(i)) for i in split(source, 0.25, True, seed=2).held_out}
    assert other != after


@pytest.mark.parametrize("count", [1, 2])
def test_a_handful_is_never_held_out_whole(tmp_path, count):
    parts = split(find(str(save(tmp_path / "x", count))), 0.999, True, seed=0)
    assert len(parts.pool) >= 1
    assert len(split(find(str(tmp_path / "x")), 0.0, True, seed=0).held_out) == 0


def test_unreadable_files_stay_in_and_are_found_later(tmp_path):
    folder = save(tmp_path / "x", 5)
    os.chmod(folder / "001.png", 0)
    (folder / "002.png").write_bytes(b"")
    parts = split(find(str(folder)), 0.0, True, seed=0)
    assert len(parts.pool) == 5


# ---------------------------------------------------------------------------------- near copies


def test_near_groups_are_those_of_all_pairs():
    generator = np.random.default_rng(0)
    centres = generator.integers(0, 2**63, 40, dtype=np.uint64)
    hashes = np.repeat(centres, 4)
    for i in range(len(hashes)):
        for bit in generator.integers(0, 64, generator.integers(0, 4)):
            hashes[i] ^= np.uint64(1) << np.uint64(bit)
    distances = np.bitwise_count(hashes[:, None] ^ hashes[None])
    groups = np.arange(len(hashes))
    for _ in range(len(hashes)):  # smallest label of the neighbours, until nothing changes
        groups = np.where(distances <= 3, groups[None], len(hashes)).min(1)
    np.testing.assert_array_equal(near_groups(hashes), groups)
    assert near_groups(np.zeros(0, np.uint64)).shape == (0,)


def test_many_hashes_take_seconds():
    hashes = np.random.default_rng(0).integers(0, 2**63, 50_000, dtype=np.uint64)
    hashes[:20_000] &= np.uint64(0xFFFFFFFFFFFF)  # a word that 20,000 share
    start = time.perf_counter()
    near_groups(hashes)
    assert time.perf_counter() - start < 20


def test_a_resized_brightened_copy_looks_the_same():
    generator = np.random.default_rng(0)
    small = PIL.Image.fromarray(generator.integers(0, 256, (6, 6), dtype=np.uint8))
    image = small.resize((90, 90), PIL.Image.Resampling.BICUBIC)
    copy = image.resize((55, 55)).point(lambda v: v * 0.8 + 20)
    a, b = (difference_hash(np.asarray(i.resize((9, 8)))) for i in (image, copy))
    assert (a ^ b).bit_count() <= 3


# ----------------------------------------------------------------------------------- inspecting


def test_inspection_of_images(tmp_path):
    folder = tmp_path / "photos"
    for number in range(12):
        place = folder / ("cats" if number < 10 else "dogs")
        place.mkdir(parents=True, exist_ok=True)
        generator = np.random.default_rng(number)
        small = PIL.Image.fromarray(generator.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        image = small.resize((40 + number, 40), PIL.Image.Resampling.BICUBIC)
        image.save(place / f"{number}.png")
        if number == 0:
            image.resize((80, 80)).save(place / "near.jpg", quality=95)
    (folder / "cats" / "copy.png").write_bytes((folder / "cats" / "3.png").read_bytes())
    (folder / "cats" / "broken.png").write_bytes(b"no image")
    PIL.Image.new("RGB", (16, 16), (5, 5, 5)).save(folder / "flat.png")
    (folder / "._x.png").write_bytes(b"")
    found = inspect(str(folder))
    assert (found.kind, found.count, found.opened) == ("image", 16, 16)
    assert [name for name, _ in found.broken] == ["cats/broken.png"]
    assert (found.duplicates, found.near_duplicates, found.flat) == (1, 1, 1)
    assert found.edges == (16, 40, 80)
    assert found.modes == {"RGB": 15}
    assert found.groups == {"cats": 13, "dogs": 2, ".": 1}
    assert found.skipped == {"hidden": 1}
    text = str(found)
    assert "16 images, 0.0 MB, 15 readable, 1 broken, 1 exact duplicates" in text
    assert "Broken: cats/broken.png: it is not an image of a known format" in text
    assert "16 images are few" in text


def test_inspection_of_text(tmp_path):
    for number, words in enumerate(["one two", "one two", "three four five", " \n"]):
        (tmp_path / f"{number}.txt").write_text(words)
    (tmp_path / "noise.txt").write_bytes(bytes(range(128, 256)) * 4)
    found = inspect(str(tmp_path))
    assert (found.kind, found.count, found.duplicates) == ("text", 5, 1)
    assert found.characters == (2, 7, 15, 31)
    assert (found.words, found.blank, len(found.broken)) == (7, 1, 1)
    assert "5 documents" in str(found)


def test_inspection_opens_a_limited_number(tmp_path):
    found = inspect(str(save(tmp_path / "x", 30)), limit=10)
    assert (found.count, found.opened) == (30, 10)
    assert "30 images (10 of them opened)" in str(found)
    with pytest.raises(UsageError):
        inspect(str(tmp_path / "nothing"))


def test_inspection_of_nothing_readable(tmp_path):
    assert "Nothing can be read." in str(inspect(str(save(tmp_path / "x", 2, bad=(0, 1)))))


def test_kept_samples_are_the_same_and_bounded(tmp_path):
    """What is kept in memory changes no sample, ends at its bound, and stays out of workers."""
    folder = save(tmp_path / "x", 12)
    source = find(str(folder))
    plain = pool_of(folder)
    keeping = Pool(
        source, Image(ImageConfig()), np.arange(12), 0.01, None, keep_bytes=8 * 8 * 3 * 4
    )
    for _ in range(2):
        for position in range(12):
            assert np.array_equal(keeping.raw(position)[0], plain.raw(position)[0])
    assert len(keeping._kept) == 4
    assert pickle.loads(pickle.dumps(keeping))._kept == {}
    (folder / "000.png").write_bytes(b"")
    assert keeping.raw(0)[1] == "000.png"


def test_a_file_without_permission_is_set_aside():
    """D5: the reader is no superuser, to whom every file is open."""
    base = Path(tempfile.mkdtemp())
    try:
        folder = save(base / "x", 12)
        (folder / "004.png").chmod(0)
        for path in (base, folder):
            path.chmod(0o777)
        context = multiprocessing.get_context("fork")
        queue = context.SimpleQueue()

        def read() -> None:
            if os.geteuid() == 0:
                os.setuid(65534)
            pool = pool_of(folder, 0.2, base / "quarantine.jsonl")
            queue.put([pool.raw(position)[1] for position in range(12)])

        reader = context.Process(target=read)
        reader.start()
        reader.join(30)
        assert reader.exitcode == 0
        names = [f"{i:03d}.png" for i in range(12)]
        names[4] = "005.png"
        assert queue.get() == names
        (line,) = lines(base / "quarantine.jsonl")
        assert line["name"] == "004.png"
        assert "Permission denied" in line["reason"]
    finally:
        shutil.rmtree(base)
