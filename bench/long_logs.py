"""Episodes of ten million steps: the memory that looking at them and pre-training take, by format.

    python bench/long_logs.py --steps 10000000
    python bench/long_logs.py --formats csv,parquet --files 100

For each format ten numbers a step (time, six places, two pushes, a flag) are written, as one
episode in one file or as many files, and two commands read them, each in a process of its own:
`unlabeled inspect`, and `unlabeled pretrain --method mtm` of 64 steps of 64 windows, which finds,
reads every window to split by content, measures means over the pool, and trains. Told is the
greatest resident memory of each process, libraries and all, as Linux counts it (VmHWM), and what
the commands left on the disk; first those of 50,000 steps in the first format, which is what
libraries take. Needs Linux and `pip install "unlabeled[robots,bags]"`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

PLACES, PUSHES = 6, 2
NAMES = (
    "time", *(f"place_{i}" for i in range(PLACES)), *(f"action.push_{i}" for i in range(PUSHES)),
    "done",
)  # fmt: skip
PART = 1 << 18
LIMIT = 1e9
FEW = 50_000
BATCH = 64


def parts(steps: int, seed: int = 0) -> Iterator[dict[str, np.ndarray]]:
    """Yield the columns of a smooth episode, a part at a time."""
    rng = np.random.default_rng(seed)
    for start in range(0, steps, PART):
        step = np.arange(start, min(start + PART, steps))
        paces = 0.02 * 1.6 ** np.arange(PLACES)
        waves = np.sin(step * paces[:, None]) + rng.normal(0, 0.1, (PLACES, len(step)))
        pushes = rng.normal(0, 1, (PUSHES, len(step)))
        columns = [0.01 * step, *waves, *pushes, np.zeros(len(step))]
        yield dict(zip(NAMES, np.asarray(columns, np.float32), strict=True))


def write_npz(path: Path, steps: int, seed: int = 0) -> None:
    """Write arrays that are not compressed, so that they can be mapped."""
    import zipfile

    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name in NAMES:
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                about = {"descr": "<f4", "fortran_order": False, "shape": (steps,)}
                np.lib.format.write_array_header_2_0(file, about)  # type: ignore[arg-type]
                for part in parts(steps, seed):
                    file.write(part[name].tobytes())


def write_parquet(path: Path, steps: int, seed: int = 0) -> None:
    """Write row groups of 2^18 rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, pa.float32()) for name in NAMES])
    with pq.ParquetWriter(path, schema) as writer:
        for part in parts(steps, seed):
            writer.write_table(pa.table(part, schema))


def write_csv(path: Path, steps: int, seed: int = 0) -> None:
    """Write a line a step; tabs between numbers where the name says so."""
    import pyarrow as pa
    from pyarrow import csv

    schema = pa.schema([(name, pa.float32()) for name in NAMES])
    options = csv.WriteOptions(delimiter="\t" if path.suffix == ".tsv" else ",")
    with csv.CSVWriter(path, schema, write_options=options) as writer:
        for part in parts(steps, seed):
            writer.write_table(pa.table(part, schema))


def write_hdf5(path: Path, steps: int, seed: int = 0) -> None:
    """Write a data set a column."""
    import h5py

    with h5py.File(path, "w") as file:
        sets = {name: file.create_dataset(name, (steps,), "f4", chunks=(4096,)) for name in NAMES}
        for number, part in enumerate(parts(steps, seed)):
            for name, values in part.items():
                sets[name][number * PART : number * PART + len(values)] = values


def write_zarr(path: Path, steps: int, seed: int = 0) -> None:
    """Write a store of an array a column."""
    import zarr

    store = zarr.open_group(path, mode="w")
    for name in NAMES:
        store.create_array(name, shape=(steps,), chunks=(65536,), dtype="f4")
    for number, part in enumerate(parts(steps, seed)):
        for name, values in part.items():
            store[name][number * PART : number * PART + len(values)] = values


def write_mcap(path: Path, steps: int, seed: int = 0) -> None:
    """Write a JSON message a step, 100 a second."""
    from mcap.writer import Writer

    with path.open("wb") as file:
        writer = Writer(file)
        writer.start()
        schema = writer.register_schema("State", "jsonschema", b"{}")
        channel = writer.register_channel("/state", "json", schema)
        step = 0
        for part in parts(steps, seed):
            rows = np.stack([part[name] for name in NAMES[1:-1]], 1).round(5).tolist()
            for row in rows:
                said = {"place": row[:PLACES], "action": {"push": row[PLACES:]}}
                stamp = step * 10_000_000
                writer.add_message(channel, stamp, json.dumps(said).encode(), stamp)
                step += 1
        writer.finish()


def write_lerobot(path: Path, steps: int, seed: int = 0) -> None:
    """Write a file of a LeRobotDataset v3: vectors, an episode of 1,000 steps a row group."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {
        "observation.state": pa.list_(pa.float32(), PLACES),
        "action": pa.list_(pa.float32(), PUSHES),
        "timestamp": pa.float32(), "frame_index": pa.int64(), "episode_index": pa.int64(),
        "index": pa.int64(), "task_index": pa.int64(),
    }  # fmt: skip
    root, number, long = path.parent, 0, 1000
    (root / "data" / "chunk-000").mkdir(parents=True, exist_ok=True)
    (root / "meta").mkdir(exist_ok=True)
    features = {name: {"shape": [1], "names": None} for name in kinds}
    for name, count in (("observation.state", PLACES), ("action", PUSHES)):
        features[name] = {"shape": [count], "names": [f"m{i}" for i in range(count)]}
    about = {"codebase_version": "v3.0", "fps": 100, "features": features}
    (root / "meta" / "info.json").write_text(json.dumps(about), encoding="utf-8")
    with pq.ParquetWriter(root / "data" / "chunk-000" / path.name, pa.schema(kinds)) as writer:
        for part in parts(steps, seed):
            for start in range(0, len(part["time"]), long):
                rows = {name: part[name][start : start + long] for name in NAMES}
                count = len(rows["time"])
                frame = np.arange(count)
                flat = [np.stack([rows[n] for n in names], 1).reshape(-1)
                        for names in (NAMES[1 : 1 + PLACES], NAMES[1 + PLACES : -1])]  # fmt: skip
                columns = [
                    pa.FixedSizeListArray.from_arrays(pa.array(flat[0]), PLACES),
                    pa.FixedSizeListArray.from_arrays(pa.array(flat[1]), PUSHES),
                    frame.astype(np.float32) / 100, frame, np.full(count, 10_000 * seed + number),
                    number * long + frame, np.zeros(count, np.int64),
                ]  # fmt: skip
                writer.write_table(
                    pa.table(dict(zip(kinds, columns, strict=True)), pa.schema(kinds))
                )
                number += 1


Write = Callable[[Path, int, int], None]
FORMATS: dict[str, tuple[str, Write]] = {
    "npz": (".npz", write_npz), "parquet": (".parquet", write_parquet), "csv": (".csv", write_csv),
    "tsv": (".tsv", write_csv), "hdf5": (".h5", write_hdf5), "zarr": (".zarr", write_zarr),
    "mcap": (".mcap", write_mcap), "lerobot": (".parquet", write_lerobot),
}  # fmt: skip

RUN = """
import atexit, re, sys, time
from pathlib import Path

def tell():
    # Not getrusage: a child begins with the greatest memory of the process that started it.
    peak = re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]
    print("PEAK", 1024 * int(peak), file=sys.stderr)

atexit.register(tell)
from unlabeled.cli import main
sys.exit(main(sys.argv[1:]))
"""


def peak(words: Sequence[str]) -> int:
    """Return the greatest resident memory of a command in bytes.

    Raises:
        SystemExit: it failed.
    """
    child = subprocess.run(
        [sys.executable, "-c", RUN, *words], capture_output=True, text=True, check=False
    )
    if child.returncode:
        raise SystemExit(f"{' '.join(words)}\n{child.stderr}")
    return int(child.stderr.rpartition("PEAK")[2])


def written(folder: Path, form: str, steps: int, files: int) -> Path:
    """Write logs, in a process of its own so that its memory is not that of what reads; a path."""
    words = [
        "--write",
        str(folder),
        "--formats",
        form,
        "--steps",
        str(steps),
        "--files",
        str(files),
    ]
    subprocess.run([sys.executable, __file__, *words], check=True)
    first = folder / f"long-0000{FORMATS[form][0]}"
    return first if files == 1 and form != "lerobot" else folder


def write_all(folder: Path, form: str, steps: int, files: int) -> None:
    """Write logs here."""
    suffix, write = FORMATS[form]
    folder.mkdir(parents=True)
    for number in range(files):
        write(folder / f"long-{number:04d}{suffix}", steps // files, number)


def size(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def measured(place: Path, form: str, steps: int, files: int) -> dict[str, object]:
    """Return what a format takes: bytes of the files, of memory, and of the run folder."""
    path = written(place / "logs", form, steps, files)
    run, began = place / "run", time.monotonic()
    learn = ["pretrain", str(path), "--kind", "series", "--method", "mtm", "--steps", "64",
             "--out", str(run), "encoder.name=hf:modernbert-1x32h2", "encoder.patch=64",
             f"loop.batch={BATCH}", "loop.workers=0"]  # fmt: skip
    found = {
        "format": form, "steps": steps, "files": files, "file_bytes": size(place / "logs"),
        "inspect": peak(["inspect", str(path), "--kind", "series"]), "pretrain": peak(learn),
    }  # fmt: skip
    return {**found, "run_bytes": size(run), "seconds": round(time.monotonic() - began)}


def main() -> None:
    """Read the command line."""
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--steps", type=int, default=10_000_000)
    words.add_argument("--files", type=int, default=1)
    words.add_argument("--formats", default=",".join(FORMATS))
    words.add_argument("--out", type=Path)
    words.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    asked = words.parse_args()
    if asked.write:
        write_all(asked.write, asked.formats, asked.steps, asked.files)
        return
    rows: list[dict[str, object]] = []
    forms = asked.formats.split(",")
    for form, steps in [(forms[0], FEW), *((form, asked.steps) for form in forms)]:
        with tempfile.TemporaryDirectory() as place:
            rows.append(measured(Path(place) / "at", form, steps, asked.files))
        print(json.dumps(rows[-1]), flush=True)
        if asked.out:
            asked.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    most = max(int(str(row[name])) for row in rows for name in ("inspect", "pretrain"))
    print(f"at most {most / 1e9:.3f} GB")
    if asked.steps <= 10_000_000 and most > LIMIT:
        raise SystemExit(f"more than {LIMIT / 1e9:g} GB")


if __name__ == "__main__":
    main()
