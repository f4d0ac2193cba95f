"""zarr stores: episodes as they say, and ways of packing that are refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr

from unlabeled.data.find import find
from unlabeled.errors import MissingExtraError, UsageError


def write(path: Path, version: int, ends: tuple[int, ...] = (30, 50, 90)) -> np.ndarray:
    """Write a store as the data sets of diffusion policies are."""
    rng = np.random.default_rng(0)
    state = rng.normal(size=(90, 3)).astype(np.float32)
    root = zarr.open_group(str(path), mode="w", zarr_format=version)
    data, meta = root.create_group("data"), root.create_group("meta")
    parts = {
        "state": state, "action": state[:, :2] * 2, "img": np.zeros((90, 4, 4, 3), np.uint8),
        "n_contacts": rng.integers(0, 3, 90),
    }  # fmt: skip
    for name, values in parts.items():
        data.create_array(name, data=values, chunks=(16, *values.shape[1:]))
    meta.create_array("episode_ends", data=np.asarray(ends))
    return state


@pytest.mark.parametrize("version", [2, 3])
def test_episodes_and_columns_are_what_the_store_says(version: int, tmp_path: Path) -> None:
    state = write(tmp_path / "push.zarr", version)
    for where in (tmp_path, tmp_path / "push.zarr"):
        source = find(str(where), None)
        assert source.kind == "series"
        assert [source.name(i) for i in range(len(source))] == [f"push.zarr#{i}" for i in range(3)]
    log = source.payload(1).log
    assert set(log.names) == {
        "state.0", "state.1", "state.2", "action.0", "action.1", "n_contacts"
    }  # fmt: skip
    rows = source.payload(1).read(["state.2", "action.1"])
    np.testing.assert_allclose(rows, np.stack([state[30:50, 2], 2 * state[30:50, 1]], 1))


def test_stores_are_pickled_for_workers_without_what_is_open(tmp_path: Path) -> None:
    import pickle

    state = write(tmp_path / "a.zarr", 3)
    again = pickle.loads(pickle.dumps(find(str(tmp_path), "series")))
    np.testing.assert_allclose(again.payload(0).read(["state.0"])[:, 0], state[:30, 0])


def damaged(tmp_path: Path, file: str, **facts: object) -> Path:
    write(tmp_path / "a.zarr", 2)
    path = tmp_path / "a.zarr" / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **facts}))
    return tmp_path / "a.zarr"


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"filters": [{"id": "pickle"}]}, "packed by pickle, which is not read"),
        ({"compressor": {"id": "mine"}}, "packed by mine, which is not read"),
        ({"chunks": [10**9, 3]}, "have 12,000,000,000 bytes"),
        ({"shape": ["far", 3]}, "its array 'data/state' is damaged"),
        ({"dtype": "what"}, "its array 'data/state' is damaged"),
    ],
)
def test_what_could_run_code_or_fill_memory_is_refused(
    facts: dict[str, object], said: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=said):
        find(str(damaged(tmp_path, "data/state/.zarray", **facts)), "series")


def test_ends_that_do_not_rise_and_broken_facts_are_told(tmp_path: Path) -> None:
    write(tmp_path / "b.zarr", 3, ends=(30, 20, 90))
    with pytest.raises(UsageError, match="meta/episode_ends do not rise"):
        find(str(tmp_path / "b.zarr"), None)
    write(tmp_path / "c.zarr", 3)
    (tmp_path / "c.zarr" / "data" / "state" / "zarr.json").write_text("{")
    with pytest.raises(UsageError, match=r"its zarr\.json is damaged"):
        find(str(tmp_path / "c.zarr"), None)


def test_a_damaged_chunk_is_told_when_it_is_read(tmp_path: Path) -> None:
    write(tmp_path / "a.zarr", 3)
    (tmp_path / "a.zarr" / "data" / "state" / "c" / "0" / "0").write_bytes(b"no chunk")
    source = find(str(tmp_path), "series")
    with pytest.raises(Exception, match="its array 'data/state' cannot be read"):
        source.payload(0).read(["state.0"])
    assert source.payload(2).read(["state.0"]).shape == (40, 1)


def test_a_missing_reader_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.zarr", 3)
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(MissingExtraError, match=r'missing: pip install "unlabeled\[robots\]"'):
        find(str(tmp_path), None)
