"""Recordings of robots: MCAP files and bags of ROS 1 and 2, read with `mcap` and `rosbags`.

A bag is an episode. Numbers of messages become columns ``topic.field.part``; joints are called by
their names where a message gives them (``joint_states.position.elbow``). Strings, covariances,
stamps in headers, images, point clouds and long arrays are left out. The time of a row is that at
which messages were recorded. Topics of several rates are put on one clock (`align`).

ROS messages (CDR) and JSON are read in MCAP files. `rosbags` makes readers of the definitions that
a file brings; what they may hold are names and types, which is checked again here.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlabeled.data.bag_spool import Spoken, Spool
from unlabeled.data.log_columns import Columns, narrow
from unlabeled.errors import DataError, MissingExtraError
from unlabeled.modalities.stretch import Values

SUFFIXES = (".mcap", ".bag", ".db3")
WHOLE = b"metadata.yaml"
"""Beside the parts of a ROS 2 bag."""

_LONG, _DEPTH = 32, 8
_BULKY = re.compile(
    r"Image|PointCloud|LaserScan|OccupancyGrid|Costmap|Marker|CameraInfo|Log$|ParameterEvent|"
    r"TFMessage|DiagnosticArray|Video|Audio"
)
_BASIC = ("builtin_interfaces/msg/Time", "builtin_interfaces/msg/Duration")
_WORD, _TYPE = re.compile(r"\w+"), re.compile(r"\w+(/\w+)+")
_LEFT_OUT = re.compile(r"covariance$|^header$|^stamp$")


class BagLog(Columns):
    """An MCAP file or a bag, on one clock.

    Raises:
        MissingExtraError: what reads it is not installed.
        DataError: it is damaged, or says no number.
    """

    def __init__(self, path: bytes) -> None:
        self.path = path
        spool = self._spool()
        names = ["time", *spool.places]
        super().__init__(dict.fromkeys(names, 0), spool.clock.count)

    def _spool(self) -> Spool:
        try:
            about = os.stat(self.path)
        except OSError as error:
            raise DataError(f"it cannot be read ({error.strerror})") from None
        return _read(os.fsdecode(self.path), about.st_size, about.st_mtime_ns)

    def episodes(self) -> list[tuple[str, int, int]]:
        """Return the whole bag."""
        return [("", 0, self.num_rows)] if self.num_rows else []

    def block(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """Return a column of some rows."""
        return self._spool().rows([name], start, stop)[:, 0]

    def rows(self, names: Sequence[str], start: int, stop: int) -> Values:
        """Return channels of some rows, each topic looked up once."""
        self.check(names)
        return narrow(self._spool().rows(names, start, stop))


@lru_cache(maxsize=256)
def _read(path: str, size: int, changed: int) -> Spool:
    """Decode a bag; so many open files are kept, and more bags are decoded again."""
    reader = of_mcap if path.lower().endswith(".mcap") else of_bag
    try:
        return Spool(reader(Path(path)))
    except (DataError, MissingExtraError):
        raise
    except Exception as error:  # their readers raise whatever a damaged file leads them to
        raise DataError(f"it cannot be read as a bag ({_first(error)})") from None


def of_mcap(path: Path) -> Iterator[Spoken]:
    """Yield the messages of an MCAP file.

    Raises:
        DataError: none of its topics has an encoding that is read.
    """
    try:
        from mcap.reader import make_reader
    except ImportError:
        raise _missing("MCAP files", "mcap") from None
    decoders: dict[int, Callable[[bytes], Any] | None] = {}
    refused: Counter[str] = Counter()
    with path.open("rb") as file:
        reader = make_reader(file)
        about = reader.get_summary()
        # By its index a file is read a chunk at a time in the order of time; without one that
        # order would be made in memory, and any order is made right later.
        indexed = about is not None and bool(about.chunk_indexes)
        for schema, channel, message in reader.iter_messages(log_time_order=indexed):
            if channel.id not in decoders:
                decoders[channel.id] = _decoder(schema, channel.message_encoding)
                if decoders[channel.id] is None:
                    refused[f"{channel.topic} ({channel.message_encoding})"] += 1
            decode = decoders[channel.id]
            if decode is not None:
                yield _spoken(channel.topic, message.log_time, decode(message.data))
    if refused and not any(decoders.values()):
        raise DataError(
            f"its topics have encodings that are not read ({', '.join(sorted(refused)[:5])}); "
            "ros2 (cdr) and json are"
        )


def _decoder(schema: Any, encoding: str) -> Callable[[bytes], Any] | None:
    """Return what reads messages of a channel, or None."""
    if encoding == "json":
        return json.loads
    if encoding != "cdr" or schema is None or schema.encoding != "ros2msg":
        return None
    if _BULKY.search(schema.name):
        return None
    store = _store({schema.name: schema.data.decode("utf-8")})
    name = _full(schema.name)
    return lambda data: store.deserialize_cdr(data, name)


def of_bag(path: Path) -> Iterator[Spoken]:
    """Yield the messages of a ROS 1 bag, or of the ROS 2 bag in whose folder a file lies."""
    try:
        from rosbags.highlevel import AnyReader
        from rosbags.typesys import Stores, get_typestore
    except ImportError:
        raise _missing("ROS bags", "rosbags") from None
    whole = path if path.suffix.lower() == ".bag" else path.parent
    if whole != path and not (whole / os.fsdecode(WHOLE)).is_file():
        raise DataError("no metadata.yaml lies beside it, without which a ROS 2 bag is not read")
    with AnyReader([whole], default_typestore=get_typestore(Stores.ROS2_HUMBLE)) as reader:
        wanted = [c for c in reader.connections if not _BULKY.search(c.msgtype)]
        for connection, time, data in reader.messages(connections=wanted):
            yield _spoken(connection.topic, time, reader.deserialize(data, connection.msgtype))


def _missing(what: str, package: str) -> MissingExtraError:
    return MissingExtraError(
        f'{what} are read with {package}, which is missing: pip install "unlabeled[bags]"'
    )


def _store(definitions: Mapping[str, str]) -> Any:
    """Return what reads messages of these types: their fields alone, no constants.

    Raises:
        DataError: a definition holds what is no name.
    """
    try:
        from rosbags.typesys import (
            Stores,
            TypesysError,
            get_types_from_msg,
            get_typestore,
        )
    except ImportError:
        raise _missing("ROS messages in MCAP files", "rosbags") from None
    store = get_typestore(Stores.EMPTY)
    known: dict[str, Any] = {}
    for name, text in definitions.items():
        try:
            known |= get_types_from_msg(text, _full(name))
        except TypesysError:
            raise DataError(f"its definition of {name[:80]!r} is damaged") from None
    for name, (_, parts) in known.items():
        if not _TYPE.fullmatch(name) or not all(_WORD.fullmatch(part) for part, _ in parts):
            raise DataError(f"its definition of {name[:80]!r} is damaged")
    common = get_typestore(Stores.ROS2_HUMBLE).fielddefs
    wanted: dict[str, Any] = {name: ([], parts) for name, (_, parts) in known.items()}
    basic = {n: common[n] for n in _BASIC}
    store.register({**basic, **wanted})
    return store


def _full(name: str) -> str:
    """Return the name of a type in three parts, as ROS 2 writes it."""
    parts = name.split("/")
    return name if len(parts) != 2 else f"{parts[0]}/msg/{parts[1]}"


def _spoken(topic: str, time: int, message: Any) -> Spoken:
    stem = topic.strip("/").replace("/", ".") or "topic"
    return Spoken(stem, int(time), dict(numbers(message, stem)))


def numbers(message: Any, stem: str, depth: int = 0) -> Iterator[tuple[str, float]]:
    """Yield the numbers of a message, by the names of its fields.

    >>> dict(numbers({"on": True, "name": ["a", "b"], "at": [1, 2.5], "why": "x"}, "arm"))
    {'arm.on': 1.0, 'arm.at.a': 1.0, 'arm.at.b': 2.5}
    """
    if isinstance(message, bool | int | float | np.number | np.bool_):
        yield stem, float(message) if abs(float(message)) < math.inf else math.nan
        return
    if depth >= _DEPTH or isinstance(message, str | bytes) or message is None:
        return
    if is_dataclass(message) and not isinstance(message, type):
        parts = {f.name: getattr(message, f.name) for f in fields(message)}
    elif isinstance(message, Mapping):
        parts = {str(key): value for key, value in message.items()}
    else:
        parts = _numbered(message)
    called = _joints(parts)
    for name, part in parts.items():
        if _LEFT_OUT.search(name) or name.startswith("__"):
            continue
        whole = called and isinstance(part, list | np.ndarray) and len(part) == len(called)
        held = dict(zip(called, part, strict=True)) if whole else part
        yield from numbers(held, f"{stem}.{name}", depth + 1)


def _numbered(values: Any) -> dict[str, Any]:
    """Return the parts of a short list by their numbers, of a long one nothing."""
    if not isinstance(values, list | tuple | np.ndarray) or len(values) > _LONG:
        return {}
    return {str(i): value for i, value in enumerate(values)}


def _joints(parts: Mapping[str, Any]) -> list[str]:
    """Return the names that a message gives to the numbers in its lists."""
    for key in ("name", "names", "joint_names"):
        names = parts.get(key)
        if isinstance(names, list) and names and all(isinstance(n, str) for n in names):
            return names if len(set(names)) == len(names) <= _LONG else []
    return []


def _first(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:200] or type(error).__name__


def one_a_bag(names: list[bytes], root: bytes) -> list[bytes]:
    """Keep of the parts of a ROS 2 bag, which are read together, the first."""
    kept, seen = [], set()
    for name in names:
        folder, file = os.path.split(name)
        if file.lower().endswith(b".db3"):
            if folder in seen and os.path.isfile(os.path.join(root, folder, WHOLE)):
                continue
            seen.add(folder)
        kept.append(name)
    return kept
