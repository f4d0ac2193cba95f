"""What is read as a clip, which frames of it are seen, and what is set aside with a reason."""

from __future__ import annotations

import io
import pickle
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from tests.conftest import draw_clip, write_clip
from unlabeled import rng
from unlabeled.config import VideoConfig
from unlabeled.data.find import find
from unlabeled.errors import DataError, MissingExtraError, UsageError
from unlabeled.modalities.film import Cutting, Limits
from unlabeled.modalities.video import Video, decode
from unlabeled.types import PLAIN, View

CLIP = draw_clip(1, 12)
READER = Video(VideoConfig(size=16, frames=4))


def encoded(clip: np.ndarray, name: str, codec: str, folder: Path, **options: str) -> bytes:
    write_clip(folder / name, clip, codec, **options)
    return (folder / name).read_bytes()


def pictures(clip: np.ndarray, form: str, **options: object) -> bytes:
    stream = io.BytesIO()
    first, *rest = [PIL.Image.fromarray(frame) for frame in clip]
    first.save(stream, form, save_all=True, append_images=rest, duration=100, **options)
    return stream.getvalue()


def array(clip: np.ndarray, **named: np.ndarray) -> bytes:
    stream = io.BytesIO()
    if named:
        np.savez_compressed(stream, **named)
    else:
        np.save(stream, clip)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "codec", "apart"),
    [
        ("a.mp4", "libx264", 12), ("a.mkv", "ffv1", 0.01), ("a.webm", "libvpx-vp9", 12),
        ("a.avi", "mjpeg", 12), ("a.mov", "mpeg4", 12), ("b.mp4", "libsvtav1", 12),
    ],
)  # fmt: skip
def test_containers_give_the_frames(name: str, codec: str, apart: float, tmp_path: Path) -> None:
    smooth = np.repeat(np.repeat(CLIP, 4, 1), 4, 2)  # colour is coded at half the resolution
    found = decode(encoded(smooth, name, codec, tmp_path), Limits())
    assert (found.count, found.height, found.width) == (12, 64, 64)
    assert found.rate == pytest.approx(10, rel=0.01)
    assert np.abs(found.frames.astype(float) - smooth).mean() <= apart


def test_pictures_arrays_and_folders_give_the_frames_exactly(tmp_path: Path) -> None:
    for number, frame in enumerate(CLIP):  # 9, 10, ...: the order is that of numbers, not letters
        PIL.Image.fromarray(frame).save(tmp_path / f"frame_{number}.png")
    source = find(str(tmp_path), "video")
    assert len(source) == 1
    for payload in (
        pictures(CLIP, "WEBP", lossless=True),
        pictures(CLIP, "PNG"),
        array(CLIP),
        array(CLIP, steps=np.arange(12), frames=CLIP),
        source.payload(0),
    ):
        found = decode(payload, Limits())
        np.testing.assert_array_equal(found.frames, CLIP)
    grey = decode(array(CLIP[..., 0]), Limits(channels=1))
    np.testing.assert_array_equal(grey.frames[..., 0], CLIP[..., 0])
    moving = decode(pictures(CLIP, "GIF"), Limits())
    assert moving.rate == pytest.approx(10)
    assert np.abs(moving.frames.astype(float) - CLIP).mean() < 12  # 256 colours


def test_clips_in_a_folder_are_files_or_runs_of_numbered_pictures(tmp_path: Path) -> None:
    for clip in ("walk/one", "walk/two", "run/three"):
        (tmp_path / clip).mkdir(parents=True)
        for number in range(3):
            PIL.Image.fromarray(CLIP[number]).save(tmp_path / clip / f"{number:03d}.png")
    for name in ("a_1", "a_2", "b_1", "b_2"):
        PIL.Image.fromarray(CLIP[0]).save(tmp_path / f"{name}.jpg")
    (tmp_path / "moving.gif").write_bytes(pictures(CLIP, "GIF"))
    source = find(str(tmp_path), "video")
    names = sorted(source.name(i) for i in range(len(source)))
    assert names == ["a_", "b_", "moving.gif", "run/three", "walk/one", "walk/two"]
    assert find(str(tmp_path)).kind == "image"  # pictures are images unless video is asked for


def test_long_videos_are_cut_and_their_pieces_hold_every_frame_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from unlabeled.data import clips, split

    monkeypatch.setattr(clips, "LARGE", 1)
    monkeypatch.setattr(clips, "LONG", 2.0)
    monkeypatch.setattr(clips, "PIECE", 1.3)
    films = [np.arange(n, dtype=np.uint8)[:, None, None, None] for n in (50, 8)]
    for name, values in zip("ab", films, strict=True):
        clip = np.tile(values * 4, (1, 16, 16, 3))
        write_clip(tmp_path / f"{name}.mkv", clip, "mpeg4", g="7")
    source = find(str(tmp_path))
    assert [source.name(i) for i in range(len(source))] == [
        "a.mkv@0s", "a.mkv@1.25s", "a.mkv@2.5s", "a.mkv@3.75s", "b.mkv"
    ]  # fmt: skip
    parts = [decode(source.payload(i), Limits()).frames[:, 8, 8, 0] for i in range(4)]
    values = np.rint(np.concatenate(parts) / 4).astype(int)
    assert np.abs(values - np.arange(50)).max() <= 1
    for seed in range(8):  # pieces of one video are never on both sides
        found = split.split(source, 0.5, True, seed)
        sides = [{source.episode(int(i)) for i in side} for side in (found.pool, found.held_out)]
        assert not sides[0] & sides[1]


def test_large_frames_are_reduced_and_many_thinned() -> None:
    clip = np.zeros((100, 64, 96, 3), np.uint8)
    clip[:] = np.arange(100)[:, None, None, None]
    found = decode(array(clip), Limits(edge=24, keep=16))
    assert found.frames.shape[1:] == (24, 36, 3)
    assert found.count == 100
    assert found.frames[:, 0, 0, 0].tolist() == list(range(0, 100, 4))
    with pytest.raises(DataError, match=r"more than 50 frames; raise modality\.max_frames"):
        decode(array(clip), Limits(max_frames=50))


def _turned(data: bytes, matrix: tuple[int, ...]) -> bytes:
    """Write a display matrix into the header of an MP4 file's track."""
    place = data.index(b"tkhd") + 4 + 40
    return data[:place] + struct.pack(">9i", *matrix) + data[place + 36 :]


def test_clips_are_upright(tmp_path: Path) -> None:
    clip = np.zeros((4, 32, 64, 3), np.uint8)
    clip[:, :16, :32] = 255  # the upper left quarter
    data = encoded(clip, "a.mp4", "mpeg4", tmp_path)
    one = 1 << 16
    # What a telephone held upright writes: a quarter turn clockwise.
    found = decode(_turned(data, (0, one, 0, -one, 0, 0, 0, 0, 1 << 30)), Limits())
    assert found.frames.shape == (4, 64, 32, 3)
    assert (found.height, found.width) == (64, 32)
    quarters = [found.frames[0, r : r + 32, c : c + 16].mean() for r in (0, 32) for c in (0, 16)]
    assert np.argmax(quarters) == 1


def test_frames_are_spread_over_a_clip_or_taken_at_a_stride() -> None:
    spread = Video(VideoConfig(size=16, frames=4))
    draws = rng.generator(0)
    assert spread.places(8, True, draws).tolist() == [1, 3, 5, 7]
    assert spread.places(3, True, draws).tolist() == [0, 1, 1, 2]
    random = np.array([spread.places(40, False, draws) for _ in range(300)])
    assert (np.diff(random) == 10).mean() > 0.9
    assert set(random[:, 0]) == set(range(10))
    steady = Video(VideoConfig(size=16, frames=4, stride=3))
    assert steady.places(20, True, draws).tolist() == [5, 8, 11, 14]
    assert steady.places(5, True, draws).tolist() == [0, 3, 4, 4]  # the last frame is held
    starts = {int(steady.places(12, False, draws)[0]) for _ in range(60)}
    assert starts == {0, 1, 2}


def test_a_cut_is_the_same_box_of_all_frames_and_mirrored_as_one() -> None:
    ramp = np.broadcast_to(np.arange(32, dtype=np.uint8)[None, None, :, None] * 8, (9, 32, 32, 3))
    reader = Video(VideoConfig(size=16, frames=4, flip=True))
    view = View(count=40, extent=(0.2, 0.9), flip=True)
    cuts = reader.cut(np.ascontiguousarray(ramp), view, rng.generator(3))
    assert cuts.shape == (40, 4, 3, 16, 16)
    assert torch.equal(cuts, cuts[:, :1].expand_as(cuts))
    rising = (cuts[:, 0, 0, 0, -1] > cuts[:, 0, 0, 0, 0]).float().mean()
    assert 0.25 < rising < 0.75
    whole = READER.cut(CLIP, PLAIN, rng.generator(0))[0]
    np.testing.assert_array_equal(whole.permute(0, 2, 3, 1), CLIP[[1, 4, 7, 10]])


def test_distortions_are_those_of_images_and_the_same_for_all_frames_of_a_clip() -> None:
    view = View(count=2, extent=(1.0, 1.0), distort=1.0, grey=0.2, blur=(0.5,), solarize=(0.3,))
    reader = Video(VideoConfig(size=16, frames=4, blur=True))
    frame = torch.randint(0, 256, (2, 3, 1, 3, 16, 16), dtype=torch.uint8)
    still = frame.expand(2, 3, 4, 3, 16, 16).contiguous()
    keys = torch.tensor([11, 12, 13])
    found = reader.distort(still, view, keys)
    torch.testing.assert_close(found, found[:, :, :1].expand_as(found))
    image = reader.still.distort(frame[:, :, 0].contiguous(), view, keys)
    torch.testing.assert_close(found[:, :, 0], image)
    assert not torch.equal(found[:, 0], found[:, 1])


def bad_files(folder: Path) -> dict[str, str]:
    """Write files that are wrong, each in its way; returns what is said of each."""
    folder.mkdir(exist_ok=True)
    scratch = folder.parent / "scratch"
    scratch.mkdir(exist_ok=True)
    longer = draw_clip(3, 60, 32)
    mp4 = encoded(longer, "a.mp4", "mpeg4", scratch)
    mkv = encoded(longer, "a.mkv", "ffv1", scratch)
    avi = encoded(longer, "a.avi", "mjpeg", scratch)
    play_list = f"#EXTM3U\n#EXTINF:1,\nfile://{scratch / 'a.mp4'}\n".encode()
    one = encoded(longer[:1], "one.mp4", "mpeg4", scratch)
    stated = mp4.index(b"stsz") + 12
    mdat = mp4.index(b"mdat") + 4
    files: dict[str, tuple[bytes, str]] = {
        "empty.mp4": (b"", "it is empty"),
        "words.mp4": (b"hello there " * 50, "it is not a clip of a known format"),
        "page.webm": (b"<html>not found</html>" * 9, "it is not a clip of a known format"),
        "list.mkv": (play_list, "it is not a clip of a known format"),
        "pickle.avi": (pickle.dumps(CLIP), "it is not a clip of a known format"),
        "cut.mp4": (mp4[: len(mp4) * 2 // 3], "it is cut off"),
        "cut.mkv": (mkv[: len(mkv) * 2 // 3], "it is cut off"),
        "cut.avi": (avi[: len(avi) * 2 // 3], "it is cut off"),
        "head.mov": (mp4[:40], "it is"),
        "zeros.mp4": (mp4[:mdat] + bytes(len(mp4[mdat:])), "it is damaged"),
        "holes.mkv": (mkv[:600] + bytes(len(mkv) - 600), "it is"),
        "lying.mp4": (mp4[:stated] + b"\x7f\xff\xff\xff" + mp4[stated + 4 :], "it is"),
        "short.mp4": (one, "it has 1 frame"),
        "sound.mp4": (_without_pictures(scratch), "it holds no video"),
    }
    for name, (data, _) in files.items():
        (folder / name).write_bytes(data)
    return {name: reason for name, (_, reason) in files.items()}


def _without_pictures(folder: Path) -> bytes:
    import av

    path = folder / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path.read_bytes()


def test_damaged_files_are_refused_with_the_reason(tmp_path: Path) -> None:
    said = bad_files(tmp_path / "bad")
    for name, reason in said.items():
        with pytest.raises(DataError) as error:
            READER.read((tmp_path / "bad" / name).read_bytes())
        assert str(error.value).startswith(reason), name
    with pytest.raises(DataError, match=r"32 x 32 pixels; modality\.max_pixels is 1,000"):
        Video(VideoConfig(size=16, frames=4, max_pixels=1000)).read(
            (tmp_path / "scratch" / "a.mp4").read_bytes()
        )


def _gif_of(width: int, height: int) -> bytes:
    """Return a GIF whose header claims a size that nothing in it fills."""
    head = b"GIF89a" + struct.pack("<HH", width, height) + b"\x80\x00\x00" + bytes(6)
    frame = b"," + struct.pack("<HHHH", 0, 0, 1, 1) + b"\x00\x02\x02\x44\x01\x00"
    return head + frame + frame + b";"


def _array_of(shape: str, kind: str = "|u1", body: bytes = b"") -> bytes:
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + body


def _bomb() -> bytes:
    """Return a PNG whose two pixels' worth of bytes claim to be a giant."""
    size = struct.pack(">II", 60_000, 60_000) + b"\x08\x02\x00\x00\x00"
    parts = [(b"IHDR", size), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")]
    chunks = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d))
              for k, d in parts]  # fmt: skip
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


HOSTILE = {
    "giant gif": (_gif_of(60_000, 60_000), "max_pixels"),
    "giant png": (_bomb(), "max_pixels"),
    "cut gif": (pictures(CLIP, "GIF")[:-40], "cut off"),
    "cut webp": (pictures(CLIP, "WEBP")[:-40], "cut off"),
    "cut png": (pictures(CLIP, "PNG")[:-40], "damaged"),
    "giant array": (_array_of("(90000, 90000, 90000, 3)"), "cut off"),
    "objects": (_array_of("(4, 8, 8, 3)", "|O", bytes(999)), "array"),
    "floats": (array(CLIP.astype(np.float32)), "uint8"),
    "two axes": (array(CLIP[0, ..., 0]), "uint8"),
    "no frames": (_array_of("(0, 8, 8, 3)"), "uint8"),
    "pickled zip": (array(CLIP, frames=np.array([None] * 4, object)), "no array of frames"),
    "no zip": (b"PK\x03\x04" + bytes(200), "damaged"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pictures_and_arrays_are_refused(name: str) -> None:
    data, reason = HOSTILE[name]
    with pytest.raises(DataError, match=reason):
        READER.read(data)


def _reads(data: bytes) -> str:
    try:
        return f"frames {READER.read(data).shape}"
    except DataError as error:
        return str(error)


def test_any_damage_is_a_sentence_or_frames(tmp_path: Path) -> None:
    """Bytes changed at random: frames or a `DataError`, never anything else, and quickly."""
    draws = np.random.default_rng(0)
    for name, codec in (("a.mp4", "libx264"), ("a.mkv", "mpeg4"), ("a.avi", "mjpeg")):
        data = encoded(CLIP, name, codec, tmp_path)
        for _ in range(60):
            spoilt = bytearray(data)
            for place in draws.integers(8, len(data), 4):
                spoilt[place] = draws.integers(256)
            said = _reads(bytes(spoilt))
            assert said.startswith(("it ", "its ", "frame ", "2,000", "frames"))


def test_without_pyav_a_sentence_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    data = encoded(CLIP, "a.mp4", "mpeg4", tmp_path)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"pip install \"unlabeled\[video\]\""):
        READER.read(data)
    assert len(READER.read(pictures(CLIP, "GIF"))) == 12


def test_missing_folders_are_told_what_clips_end_in(tmp_path: Path) -> None:
    (tmp_path / "a.xyz").write_text("x")
    with pytest.raises(UsageError, match=r"video files end in \.avi \.m4v"):
        find(str(tmp_path))


def test_a_piece_is_told_by_content_not_by_place(tmp_path: Path) -> None:
    data = encoded(CLIP, "a.mkv", "mpeg4", tmp_path)
    (tmp_path / "b.mkv").write_bytes(data)
    places = [str(tmp_path / name).encode() for name in ("a.mkv", "b.mkv")]
    assert bytes(Cutting(places[0], 0, 1)) == bytes(Cutting(places[1], 0, 1))
    assert bytes(Cutting(places[0], 0, 1)) != bytes(Cutting(places[0], 1, 1))
