"""Episodes of ten million steps: the memory that pre-training on one file takes, by format.

    python bench/long_logs.py --steps 10000000 --formats npz,parquet,csv,hdf5,zarr,mcap

For each format a file of one episode is written (six numbers a step: time, three places, a push,
and a flag), and `unlabeled pretrain FILE --method mtm --steps 5` runs on it in a process of its
own: finding, splitting by content, measuring means over the pool, five steps of 16 windows. Told
are the greatest resident memory of that process, torch and all (about 0.55 GB of it is there before
any data), and how long it took. Needs `pip install "unlabeled[robots,bags]"`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

NAMES = ("time", "place_0", "place_1", "place_2", "action.push", "done")
PART = 1 << 18
LIMIT = 1.0


def parts(steps: int) -> Iterator[dict[str, np.ndarray]]:
    """Yield the columns of a smooth episode, a part at a time."""
    rng = np.random.default_rng(0)
    for start in range(0, steps, PART):
        step = np.arange(start, min(start + PART, steps))
        waves = [np.sin(step * pace) + rng.normal(0, 0.1, len(step)) for pace in (0.02, 0.05, 0.11)]
        push = rng.normal(0, 1, len(step))
        columns = [0.01 * step, *waves, push, np.zeros(len(step))]
        yield dict(zip(NAMES, np.asarray(columns, np.float32), strict=True))


def write_npz(path: Path, steps: int) -> None:
    """Write arrays that are not compressed, so that they can be mapped."""
    import zipfile

    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name in NAMES:
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                about = {"descr": "<f4", "fortran_order": False, "shape": (steps,)}
                np.lib.format.write_array_header_2_0(file, about)  # type: ignore[arg-type]
                for part in parts(steps):
                    file.write(part[name].tobytes())


def write_parquet(path: Path, steps: int) -> None:
    """Write row groups of 2^18 rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, pa.float32()) for name in NAMES])
    with pq.ParquetWriter(path, schema) as writer:
        for part in parts(steps):
            writer.write_table(pa.table(part, schema))


def write_csv(path: Path, steps: int) -> None:
    """Write a line a step."""
    import pyarrow as pa
    from pyarrow import csv

    schema = pa.schema([(name, pa.float32()) for name in NAMES])
    with csv.CSVWriter(path, schema) as writer:
        for part in parts(steps):
            writer.write_table(pa.table(part, schema))


def write_hdf5(path: Path, steps: int) -> None:
    """Write a data set a column."""
    import h5py

    with h5py.File(path, "w") as file:
        sets = {name: file.create_dataset(name, (steps,), "f4", chunks=(4096,)) for name in NAMES}
        for number, part in enumerate(parts(steps)):
            for name, values in part.items():
                sets[name][number * PART : number * PART + len(values)] = values


def write_zarr(path: Path, steps: int) -> None:
    """Write a store of an array a column."""
    import zarr

    store = zarr.open_group(path, mode="w")
    for name in NAMES:
        store.create_array(name, shape=(steps,), chunks=(65536,), dtype="f4")
    for number, part in enumerate(parts(steps)):
        for name, values in part.items():
            store[name][number * PART : number * PART + len(values)] = values


def write_mcap(path: Path, steps: int) -> None:
    """Write a JSON message a step, 100 a second."""
    from mcap.writer import Writer

    with path.open("wb") as file:
        writer = Writer(file)
        writer.start()
        schema = writer.register_schema("State", "jsonschema", b"{}")
        channel = writer.register_channel("/state", "json", schema)
        step = 0
        for part in parts(steps):
            rows = np.stack([part[name] for name in NAMES[1:5]], 1).round(5).tolist()
            for a, b, c, push in rows:
                data = f'{{"place":[{a:.5f},{b:.5f},{c:.5f}],"action":{{"push":{push:.5f}}}}}'
                writer.add_message(channel, step * 10_000_000, data.encode(), step * 10_000_000)
                step += 1
        writer.finish()


FORMATS = {
    "npz": (".npz", write_npz), "parquet": (".parquet", write_parquet), "csv": (".csv", write_csv),
    "hdf5": (".h5", write_hdf5), "zarr": (".zarr", write_zarr), "mcap": (".mcap", write_mcap),
}  # fmt: skip


def measured(path: Path, run: Path, steps: int) -> tuple[float, float]:
    """Return the greatest resident memory of pre-training in GB, and its seconds."""
    words = [sys.executable, "-m", "unlabeled", "pretrain", str(path), "--kind", "series",
             "--method", "mtm", "--steps", str(steps), "--out", str(run),
             "encoder.name=hf:modernbert-1x32h2", "loop.workers=0", "loop.batch=16"]  # fmt: skip
    began = time.monotonic()
    child = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    _, said = child.communicate()
    used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    if child.returncode:
        raise SystemExit(said.decode())
    return used, time.monotonic() - began


def main() -> None:
    """Read the command line; each format is measured in a process that has no other children."""
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--steps", type=int, default=10_000_000)
    words.add_argument("--formats", default=",".join(FORMATS))
    words.add_argument("--out", type=Path)
    words.add_argument("--one", help=argparse.SUPPRESS)
    asked = words.parse_args()
    if asked.one:
        suffix, write = FORMATS[asked.one]
        with tempfile.TemporaryDirectory() as place:
            path = Path(place) / f"long{suffix}"
            if os.fork() == 0:  # what writing takes is not counted
                write(path, asked.steps)
                os._exit(0)
            os.wait()
            size = sum(f.stat().st_size for f in [path, *path.rglob("*")] if f.is_file()) / 1e6
            used, seconds = measured(path, Path(place) / "run", 5)
        print(json.dumps({"format": asked.one, "steps": asked.steps, "file_mb": round(size),
                          "peak_gb": round(used, 3), "seconds": round(seconds)}))  # fmt: skip
        return
    rows = []
    for name in asked.formats.split(","):
        again = [sys.executable, __file__, "--steps", str(asked.steps), "--one", name]
        done = subprocess.run(again, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr)
        rows.append(json.loads(done.stdout))
        print(rows[-1], flush=True)
        if asked.out:
            asked.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    if asked.steps <= 10_000_000 and any(row["peak_gb"] > LIMIT for row in rows):
        raise SystemExit(f"more than {LIMIT} GB")


if __name__ == "__main__":
    main()
