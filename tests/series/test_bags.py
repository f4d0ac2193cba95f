"""MCAP files and ROS bags: typed columns, several rates on one clock, gaps, and what is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unlabeled.data import bag_spool, log_bags
from unlabeled.data.align import FINEST
from unlabeled.data.bag_spool import Spoken, Spool
from unlabeled.data.find import find
from unlabeled.errors import DataError, MissingExtraError, UsageError

JOINTS = """std_msgs/Header header
string[] name
float64[] position
float64[] velocity
================================================================================
MSG: std_msgs/Header
builtin_interfaces/Time stamp
string frame_id
"""


def moment(step: int, rate: float) -> int:
    return 1_700_000_000_000_000_000 + round(step / rate * 1e9)


def joints(store: Any, step: int) -> Any:
    types = store.types
    stamp = types["builtin_interfaces/msg/Time"](sec=step, nanosec=0)
    header = types["std_msgs/msg/Header"](stamp=stamp, frame_id="arm")
    place = np.array([0.1 * step, -0.2 * step])
    known = {"header": header, "name": ["elbow", "wrist"], "position": place, "velocity": place / 2}
    if "effort" in types["sensor_msgs/msg/JointState"].__dataclass_fields__:
        known["effort"] = np.zeros(0)
    return types["sensor_msgs/msg/JointState"](**known)


def write_mcap(path: Path, steps: int = 40, silent: range = range(0)) -> None:
    """Write joints 20 times a second as ROS 2 does, a command 5 times a second as JSON."""
    from mcap.writer import Writer

    store = log_bags._store({"sensor_msgs/msg/JointState": JOINTS})
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start("ros2")
        schema = writer.register_schema("sensor_msgs/msg/JointState", "ros2msg", JOINTS.encode())
        arm = writer.register_channel("/joint_states", "cdr", schema)
        plain = writer.register_schema("Push", "jsonschema", b"{}")
        push = writer.register_channel("/cmd/push", "json", plain)
        photo = writer.register_channel("/photo", "protobuf", plain)
        for step in range(steps):
            time = moment(step, 20)
            if step not in silent:
                name = "sensor_msgs/msg/JointState"
                data = bytes(store.serialize_cdr(joints(store, step), name))
                writer.add_message(arm, time, data, time)
            if step % 4 == 0:
                told = {"force": step, "gripper": {"open": step > 9}, "why": "?"}
                writer.add_message(push, time, json.dumps(told).encode(), time)
                writer.add_message(photo, time, b"\0\1", time)
        writer.finish()


def test_channels_of_several_rates_are_on_one_clock(tmp_path: Path) -> None:
    write_mcap(tmp_path / "a.mcap", silent=range(10, 21))
    source = find(str(tmp_path), None)
    assert source.kind == "series"
    log = source.payload(0).log
    assert set(log.names) == {
        "time", "joint_states.position.elbow", "joint_states.position.wrist",
        "joint_states.velocity.elbow", "joint_states.velocity.wrist",
        "cmd.push.force", "cmd.push.gripper.open",
    }  # fmt: skip
    names = ["time", "joint_states.position.wrist", "cmd.push.force", "cmd.push.gripper.open"]
    rows = source.payload(0).read(names)
    assert len(rows) == 40
    np.testing.assert_allclose(rows[:, 0], np.arange(40) * 0.05, rtol=1e-6)
    wrist = -0.2 * np.arange(40)
    wrist[10:12] = wrist[9]  # held for twice its usual time, and missing after that
    wrist[12:21] = np.nan
    np.testing.assert_allclose(rows[:, 1], wrist, rtol=1e-6)
    np.testing.assert_allclose(rows[:, 2], np.arange(40) // 4 * 4)
    np.testing.assert_allclose(rows[:, 3], np.arange(40) // 4 * 4 > 9)


def test_what_was_commanded_is_an_action(tmp_path: Path) -> None:
    from unlabeled.modalities.roles import channels

    write_mcap(tmp_path / "a.mcap")
    states, actions = channels(find(str(tmp_path), "series").payload(0).log.names)
    assert actions == ("cmd.push.force", "cmd.push.gripper.open")
    assert len(states) == 4


@pytest.mark.parametrize("version", [1, 2])
def test_bags_of_both_versions_of_ros(version: int, tmp_path: Path) -> None:
    from rosbags.typesys import Stores, get_typestore

    folder = tmp_path / "bags"
    folder.mkdir()
    name = "sensor_msgs/msg/JointState"
    if version == 1:
        from rosbags.rosbag1 import Writer as First

        store: Any = get_typestore(Stores.ROS1_NOETIC)
        with First(folder / "a.bag") as bag:
            line = bag.add_connection("/joint_states", name, typestore=store)
            for step in range(30):
                types = store.types
                stamp = types["builtin_interfaces/msg/Time"](sec=1, nanosec=0)
                header = types["std_msgs/msg/Header"](seq=step, stamp=stamp, frame_id="")
                place = np.array([float(step)])
                empty = np.zeros(0)
                message = types[name](header, ["elbow"], place, empty, empty)
                bag.write(line, moment(step, 10), store.serialize_ros1(message, name))
    else:
        from rosbags.rosbag2 import Writer as Second

        store = get_typestore(Stores.ROS2_HUMBLE)
        with Second(folder / "a", version=9) as other:
            wire = other.add_connection("/joint_states", name, typestore=store)
            for step in range(30):
                message = joints(store, step)
                other.write(wire, moment(step, 10), store.serialize_cdr(message, name))
    source = find(str(folder), "series")
    assert len(source) == 1
    elbow = source.payload(0).read(["joint_states.position.elbow"])[:, 0]
    scale = 1.0 if version == 1 else 0.1
    np.testing.assert_allclose(elbow, scale * np.arange(30), rtol=1e-6)


def aligned(*messages: Spoken) -> dict[str, np.ndarray]:
    spool = Spool(messages)
    names = ["time", *spool.places]
    return dict(zip(names, spool.rows(names, 0, spool.clock.count).T, strict=True))


def spoken(topic: str, seconds: float, **numbers: float) -> Spoken:
    return Spoken(topic, round(seconds * 1e9), numbers)


def test_fast_topics_are_thinned_out_and_odd_times_are_held() -> None:
    fast = [spoken("f", i * 0.001, a=float(i)) for i in range(1000)]
    found = aligned(*fast, spoken("s", 0.055, b=1.0), spoken("s", 0.505, b=2.0))
    np.testing.assert_allclose(np.diff(found["time"]), FINEST)
    np.testing.assert_allclose(found["a"], np.arange(100) * 10)
    assert np.isnan(found["b"][:6]).all()
    assert (found["b"][6:51] == 1).all()
    with pytest.raises(DataError, match="no message with a number"):
        aligned()
    with pytest.raises(DataError, match=r"at most 1,073,741,824 are read"):
        aligned(*(spoken("f", second, a=1.0) for second in (0.0, 0.01, 0.02, 1e9)))


def test_any_stretch_of_a_shuffled_bag_is_that_of_the_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Messages out of order, of which some lack a number and some bring a new one, in blocks."""
    monkeypatch.setattr(bag_spool, "_BLOCK", 7)
    rng = np.random.default_rng(0)
    times = np.sort(rng.uniform(0, 5, 90))
    told = [
        spoken("a", t, **{n: float(rng.normal()) for n in ("x", "y", "z")[: 1 + i % 3]})
        for i, t in enumerate(times)
    ]
    slow = [spoken("b", t, w=float(i)) for i, t in enumerate(np.arange(0.3, 4, 0.5))]
    mixed = [*told, *slow]
    whole = aligned(*mixed)
    rng.shuffle(mixed)  # type: ignore[arg-type]
    spool = Spool(mixed)
    names = ["time", "x", "y", "z", "w"]
    for start, stop in ((0, 1), (3, 40), (60, spool.clock.count)):
        part = spool.rows(names, start, stop)
        expected = np.stack([whole[name][start:stop] for name in names], 1)
        np.testing.assert_array_equal(part, expected)
    step = spool.clock.step
    usual = float(np.median(np.diff(times)))
    for row in range(0, spool.clock.count, 5):  # told plainly: the newest message, if not too old
        now = min(times[0], 0.3) + row * step
        newest = max((i for i, t in enumerate(times) if t <= now + 1e-3 * step), default=None)
        old = newest is None or now - times[newest] > 2.001 * max(usual, step)
        value = whole["x"][row]
        assert np.isnan(value) if old else value == pytest.approx(told[newest].numbers["x"])


def test_damaged_bags_are_told_and_do_not_stop_others(tmp_path: Path) -> None:
    write_mcap(tmp_path / "a.mcap")
    whole = (tmp_path / "a.mcap").read_bytes()
    (tmp_path / "cut.mcap").write_bytes(whole[: len(whole) // 3])
    (tmp_path / "noise.mcap").write_bytes(bytes(range(256)) * 40)
    (tmp_path / "none.mcap").write_bytes(b"")
    (tmp_path / "noise.bag").write_bytes(b"#ROSBAG V2.0\n" + bytes(range(256)) * 40)
    (tmp_path / "alone.db3").write_bytes(b"SQLite format 3\0" + bytes(200))
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    (tmp_path / "flipped.mcap").write_bytes(bytes(flipped))
    source = find(str(tmp_path), "series")
    said = {}
    for index in range(len(source)):
        try:
            source.payload(index).read(["joint_states.position.elbow"])
        except DataError as error:
            said[source.name(index)] = str(error)
    assert {"cut.mcap", "noise.mcap", "none.mcap", "noise.bag", "alone.db3"} <= set(said)
    assert "a.mcap" not in said
    assert "no metadata.yaml lies beside it" in said["alone.db3"]


def test_definitions_are_no_code() -> None:
    store = log_bags._store({"evil/msg/Type": "float64 x\nstring Y=__import__('os').system('x')"})
    assert [names for names, _ in store.fielddefs["evil/msg/Type"][1]] == ["x"]
    assert all(not constants for constants, _ in store.fielddefs.values())
    with pytest.raises(DataError, match="is damaged"):
        log_bags._store({"evil/msg/Type'+x": "float64 x"})


def test_encodings_that_are_not_read_are_named(tmp_path: Path) -> None:
    from mcap.writer import Writer

    with (tmp_path / "a.mcap").open("wb") as file:
        writer = Writer(file)
        writer.start()
        schema = writer.register_schema("Pose", "protobuf", b"")
        channel = writer.register_channel("/pose", "protobuf", schema)
        writer.add_message(channel, 1, b"\1", 1)
        writer.finish()
    with pytest.raises(UsageError, match=r"not read \(/pose \(protobuf\)\); ros2 \(cdr\) and json"):
        find(str(tmp_path / "a.mcap"), "series")


@pytest.mark.parametrize(("name", "package"), [("a.mcap", "mcap"), ("a.bag", "rosbags")])
def test_a_missing_reader_is_named(
    name: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).write_bytes(b"1")
    for module in ("mcap.reader", "rosbags.highlevel"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf'{package}, .* pip install "unlabeled\[bags\]"'):
        find(str(tmp_path), "series")
