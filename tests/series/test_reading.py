"""What is read of logs: columns by their names, episodes, gaps; and what is refused, with why."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pandas
import pytest

from unlabeled.config import SeriesConfig
from unlabeled.data.find import find
from unlabeled.data.inspect import inspect
from unlabeled.data.labels import read_labelled
from unlabeled.data.split import split
from unlabeled.errors import DataError, UsageError
from unlabeled.modalities.series import Series

NAMES = ("x", "y", "action.push")


def config(**more: object) -> SeriesConfig:
    values = {"observations": NAMES[:2], "actions": NAMES[2:], "length": 16}
    return SeriesConfig.model_validate(
        {"mean": (0, 0, 0), "std": (1, 1, 1), "change": (1, 1, 1), **values, **more}
    )


def table(steps: int = 40, seed: int = 0) -> pandas.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pandas.DataFrame(rng.normal(size=(steps, 3)).astype(np.float32), columns=NAMES)
    return frame.assign(t=np.arange(steps) * 0.1, label="walk")


def write(frame: pandas.DataFrame, path: Path) -> None:
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    elif path.suffix == ".parquet":
        frame.to_parquet(path, row_group_size=16)
    elif path.stem.startswith("packed"):
        np.savez_compressed(path, **{name: frame[name].to_numpy() for name in (*NAMES, "t")})
    else:
        np.savez(path, **{name: frame[name].to_numpy() for name in (*NAMES, "t")})


@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "a.npz", "packed.npz"])
def test_every_format_gives_the_same_numbers_wherever_it_is_cut(name: str, tmp_path: Path) -> None:
    frame = table(700)
    frame.loc[5, "y"] = np.nan
    write(frame, tmp_path / name)
    source = find(str(tmp_path / name), "series", window=300)
    assert [source.name(i) for i in range(3)] == [f"{name}@{k}" for k in (0, 233, 466)]
    parts = [source.payload(i).read(NAMES) for i in range(3)]
    np.testing.assert_allclose(np.concatenate(parts), frame[list(NAMES)], rtol=1e-6)


def test_a_folder_of_numbers_is_found_to_be_logs_and_other_tables_are_not(tmp_path: Path) -> None:
    write(table(), tmp_path / "a.csv")
    write(table(seed=1), tmp_path / "b.parquet")
    (tmp_path / "labels.csv").write_text("path,label\na.csv,one\nb.parquet,two\n")
    source = find(str(tmp_path))
    assert source.kind == "series"
    assert len(source) == 2
    assert source.skipped["tables without a column of numbers"] == 1
    (tmp_path / "texts").mkdir()
    words = pandas.DataFrame({"text": ["a long story " * 9] * 5, "stars": range(5)})
    words.to_csv(tmp_path / "texts" / "t.csv", index=False)
    assert find(str(tmp_path / "texts" / "t.csv")).kind == "text"


def test_what_stands_before_logs_does_not_hide_them_and_columns_of_words_are_told(
    tmp_path: Path,
) -> None:
    (tmp_path / "0.csv").touch()
    (tmp_path / "1-labels.csv").write_text("path,label\n2.csv,a\n3.csv,b\n")
    for number in (2, 3):
        frame = table(seed=number)
        frame["mode"] = "idle"
        frame.to_csv(tmp_path / f"{number}.csv", index=False)
    found = inspect(str(tmp_path))
    assert found.kind == "series"
    assert found.broken == [("0.csv", "it is empty")]
    assert found.skipped == {"tables without a column of numbers": 1}
    assert "Words, which are never learned from: label, mode" in found.lines


def test_labels_and_numbers_of_rows_are_no_channels(tmp_path: Path) -> None:
    frame = table().assign(episode=np.repeat([3, 4], 20), reward=1.0, done=0.0, activity=2)
    frame.rename(columns={"x": "observation.x"}).to_csv(tmp_path / "a.csv", index=False)
    from unlabeled.gauge import logs

    source = find(str(tmp_path / "a.csv"))
    seen = logs(source, [0, 1]).details
    assert seen.observations == ("observation.x", "y")
    assert seen.actions == ("action.push",)
    assert [source.name(i) for i in range(2)] == ["a.csv#3", "a.csv#4"]


def test_flat_arrays_are_cut_where_flags_say_and_batches_where_they_are_stacked(
    tmp_path: Path,
) -> None:
    over = np.zeros(30)
    over[[9, 24]] = 1
    values = np.arange(90.0).reshape(30, 3)
    np.savez(tmp_path / "d4rl.npz", observations=values, terminals=over, metadata=np.zeros(4))
    source = find(str(tmp_path / "d4rl.npz"))
    lengths = [len(source.payload(i).read(["observations.2"])) for i in range(len(source))]
    assert lengths == [10, 15, 5]
    np.savez(tmp_path / "stacked.npz", X=values.reshape(5, 6, 3), label=np.arange(5))
    source = find(str(tmp_path / "stacked.npz"))
    assert len(source) == 5
    np.testing.assert_array_equal(source.payload(3).read(["X.0", "X.2"]), values[18:24][:, [0, 2]])


def bad_files(folder: Path) -> dict[str, str]:
    """Write files that are wrong, each in its way; returns what is said of each."""
    good = table()
    write(good, folder / "good.csv")
    (folder / "empty.csv").write_text("")
    (folder / "header.csv").write_text("x,y,action.push\n")
    good.drop(columns="y").to_csv(folder / "narrow.csv", index=False)
    text = good.to_csv(index=False).splitlines()
    (folder / "words.csv").write_text("\n".join([*text, *(text[1:] * 4), "oops,1,2,3,walk"]))
    (folder / "ragged.csv").write_text("\n".join([*text, *(text[1:] * 4), "1,2,3,4,5,6,7,8"]))
    (folder / "zeros.parquet").write_bytes(b"PAR1" + bytes(200) + b"PAR1")
    values = {name: good[name].to_numpy() for name in NAMES}
    np.savez(folder / "objects.npz", **{**values, "x": np.array([None] * 40, object)})
    (folder / "pickle.npz").write_bytes(pickle.dumps(values))
    whole = (folder / "objects.npz").read_bytes()
    (folder / "cut.npz").write_bytes(whole[: len(whole) // 2])
    good.assign(x=np.nan, y=np.nan).to_csv(folder / "gaps.csv", index=False)
    good.head(4).to_csv(folder / "short.csv", index=False)
    table(seed=2).assign(x=np.inf, y=1e300).to_csv(folder / "infinite.csv", index=False)
    return {
        "empty.csv": "it is empty",
        "header.csv": "it has no rows",
        "narrow.csv": "it has no column 'y'",
        "words.csv": "are no numbers",
        "ragged.csv": "are no numbers",
        "zeros.parquet": "it is no parquet file",
        "objects.npz": "holds Python objects",
        "pickle.npz": "it is no npz file",
        "cut.npz": "it is no npz file",
        "gaps.csv": "67% of its numbers are missing",
        "short.csv": "it has 4 steps; modality.shortest is 8",
        "infinite.csv": "67% of its numbers are missing",
    }


def test_what_is_damaged_is_refused_with_the_reason(tmp_path: Path) -> None:
    expected = bad_files(tmp_path)
    source, reader = find(str(tmp_path), "series"), Series(config())
    said = {}
    for index in range(len(source)):
        try:
            reader.read(source.payload(index))
        except DataError as error:
            said[source.name(index)] = str(error)
    assert set(said) == set(expected)
    for name, part in expected.items():
        assert part in said[name]


def test_gaps_are_zeros_that_are_said_to_be_gaps() -> None:
    raw = np.ones((10, 3), np.float32)
    raw[3, 1] = np.nan
    reader = Series(config(mean=(1, 0, 0), std=(2, 1, 0.5)))
    import torch

    from unlabeled.types import PLAIN

    cuts = reader.cut(raw, PLAIN, np.random.default_rng(0))[:, None]
    x = reader.distort(cuts, PLAIN, torch.zeros(1, dtype=torch.int64))[0, 0]
    assert x.shape == (16, 6)
    values, there = x.chunk(2, 1)
    assert there.sum() == 29
    assert values[3, 1] == there[3, 1] == 0
    assert values[0].tolist() == [0, 1, 2]
    assert not x[10:].any()


def test_parts_of_an_episode_stay_together_in_splits_and_share_labels(tmp_path: Path) -> None:
    for number in range(12):
        write(table(100, number), tmp_path / f"{number:02d}.csv")
    lines = [f"{number:02d}.csv,{'ab'[number % 2]}" for number in range(12)]
    (tmp_path / "labels.csv").write_text("\n".join(["path,label", *lines]))
    source = find(str(tmp_path), window=25)
    assert len(source) == 48
    parts = split(source, 0.3, True, seed=1)
    assert 0 < len(parts.held_out) < 48
    assert not set(source.groups[parts.pool]) & set(source.groups[parts.held_out])
    _, labels = read_labelled(tmp_path / "labels.csv", source, table=tmp_path)
    assert len(labels) == 48
    assert labels.group is not None
    assert labels.y.tolist() == [number % 2 for number in range(12) for _ in range(4)]


def test_labels_are_read_from_a_column_of_the_rows(tmp_path: Path) -> None:
    steps = np.arange(200)
    frame = table(200).assign(activity=np.where(steps < 90, "sit", "walk"))
    write(frame, tmp_path / "a.csv")
    source = find(str(tmp_path / "a.csv"), window=20)
    _, labels = read_labelled("column:activity", source, table=tmp_path / "a.csv")
    assert labels.classes == ["sit", "walk"]
    assert labels.indices.tolist() == [0, 1, 2, 3, 5, 6, 7, 8, 9]  # the fifth is half and half
    with pytest.raises(UsageError, match=r"no column 'activty'\. Did you mean 'activity'"):
        read_labelled("column:activty", source, table=tmp_path / "a.csv")


def test_blank_lines_are_no_rows(tmp_path: Path) -> None:
    rows = [f"{i},{i / 2},0" for i in range(600)]
    rows[300:300] = ["", ""]
    (tmp_path / "a.csv").write_bytes("\r\n".join(["x,y,u0", *rows, "", ""]).encode())
    source = find(str(tmp_path / "a.csv"), window=600)
    np.testing.assert_array_equal(source.payload(0).read(["x"])[:, 0], np.arange(600))


def test_hdf5_as_minari_d4rl_and_robomimic_lay_it_out(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    values = np.arange(120.0).reshape(40, 3)
    with h5py.File(tmp_path / "minari.hdf5", "w") as file:
        for i, steps in enumerate((12, 9)):
            group = file.create_group(f"episode_{i}")
            group["observations"] = values[
                : steps + 1
            ]  # Minari keeps the state after the last step
            group["actions"] = values[:steps, :2]
            group["infos/secret"] = values[:steps, 0]
    source = find(str(tmp_path / "minari.hdf5"))
    assert [source.name(i) for i in range(2)] == [f"minari.hdf5#episode_{i}" for i in range(2)]
    found = source.payload(1).read(["observations.2", "actions.1"])
    np.testing.assert_array_equal(found, np.stack([values[:9, 2], values[:9, 1]], 1))
    with h5py.File(tmp_path / "robomimic.h5", "w") as file:
        for i in (0, 10, 2):
            group = file.create_group(f"data/demo_{i}")
            group["obs/eef_pos"] = values[: 10 + i]
            group["obs/image"] = np.zeros((10 + i, 4, 4, 3), np.uint8)
            group["actions"] = values[: 10 + i]
        file["mask/train"] = np.array([b"demo_0"])
        file["data/demo_0/elsewhere"] = h5py.ExternalLink(str(tmp_path / "minari.hdf5"), "/")
    source = find(str(tmp_path / "robomimic.h5"))
    lengths = [len(source.payload(i).read(["obs.eef_pos.0"])) for i in range(3)]
    assert lengths == [10, 12, 20]
    assert not any("elsewhere" in name or "image" in name for name in source.columns())
    with h5py.File(tmp_path / "d4rl.hdf5", "w") as file:
        file["observations"], file["actions"] = values, values[:, :1]
        file["terminals"] = np.arange(40) == 24
    assert len(find(str(tmp_path / "d4rl.hdf5"))) == 2
    (tmp_path / "none.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(40))
    with pytest.raises(UsageError, match="it is no HDF5 file"):
        find(str(tmp_path / "none.h5"))


def test_lerobot_folders_of_both_versions(tmp_path: Path) -> None:
    import json

    import pyarrow as pa
    import pyarrow.parquet as pq

    state = np.random.default_rng(0).normal(size=(30, 2)).astype(np.float32)
    episode = np.repeat([0, 1], 15)
    table = pa.table(
        {
            "observation.state": pa.FixedSizeListArray.from_arrays(state.ravel(), 2),
            "action": [row.tolist() for row in state],
            "timestamp": np.arange(30) * 0.1,
            "frame_index": np.arange(30),
            "episode_index": episode,
            "index": np.arange(30),
            "task_index": np.zeros(30, np.int64),
        }
    )
    features = {
        "observation.state": {"shape": [2], "names": {"motors": ["pan", "lift"]}},
        "action": {"shape": [2], "names": None},
    }
    for version, files in (
        ("v3", {"data/chunk-000/file-000.parquet": table}),
        (
            "v2",
            {f"data/chunk-000/episode_{i:06d}.parquet": table.slice(15 * i, 15) for i in (0, 1)},
        ),
    ):
        for name, rows in files.items():
            (tmp_path / version / name).parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(rows, tmp_path / version / name)
        (tmp_path / version / "meta" / "episodes").mkdir(parents=True)
        (tmp_path / version / "meta" / "info.json").write_text(json.dumps({"features": features}))
        extra = tmp_path / version / "meta" / "episodes" / "file-000.parquet"
        pq.write_table(pa.table({"length": [15, 15], "x": [1.0, 2.0]}), extra)
        source = find(str(tmp_path / version))
        assert source.kind == "series"
        assert len(source) == 2
        found = source.payload(1).read(["observation.state.lift", "action.0"])
        np.testing.assert_array_equal(found, np.stack([state[15:, 1], state[15:, 0]], 1))
