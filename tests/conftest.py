"""Shared by all tests: one thread, a fixed seed, real data where it is there."""

from __future__ import annotations

import os
import wave
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # also in the processes that tests start
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def _exact() -> None:
    """Compute on one thread from a known seed."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture
def shared_data() -> Path:
    """Return the folder of real data sets, or skip."""
    folder = Path(os.environ.get("UNLABELED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real data is not here ({folder}); set UNLABELED_DATA to try")
    return folder


def draw_image(number: int, size: int = 16) -> np.ndarray:
    """Return an image of a coloured bar on noise, (size, size, 3) uint8; four kinds by angle."""
    rng = np.random.default_rng(number)
    image = rng.integers(0, 90, (size, size, 3))
    place, kind = int(rng.integers(2, size - 4)), number % 4
    colour = rng.integers(120, 255, 3)
    if kind == 0:
        image[place : place + 2] = colour
    elif kind == 1:
        image[:, place : place + 2] = colour
    elif kind == 2:
        image[place : place + 4, place : place + 4] = colour
    else:
        np.einsum("iic->ic", image)[:] = colour
    return image.astype(np.uint8)


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of 96 small PNG images in four class folders."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("images")
    for number in range(96):
        place = folder / "abcd"[number % 4]
        place.mkdir(exist_ok=True)
        Image.fromarray(draw_image(number)).save(place / f"{number:03d}.png")
    return folder


def draw_sound(number: int, seconds: float = 0.4, rate: int = 16_000) -> np.ndarray:
    """Return a gliding tone with overtones in noise, (T,) float32; four kinds by glide."""
    rng = np.random.default_rng(number)
    time = np.arange(round(seconds * rate)) / rate
    pitch, kind = rng.uniform(100, 250), number % 4
    glide = 2 ** (time / seconds * (-1.0, -0.3, 0.3, 1.0)[kind])
    phase = 2 * np.pi * np.cumsum(pitch * glide) / rate
    tone = sum(np.sin(k * phase) / k for k in range(1, 6))
    return (0.1 * tone + 0.01 * rng.standard_normal(len(time))).astype(np.float32)


@pytest.fixture(scope="session")
def sound_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of 64 short WAV files in four class folders."""
    folder = tmp_path_factory.mktemp("sounds")
    for number in range(64):
        place = folder / "abcd"[number % 4]
        place.mkdir(exist_ok=True)
        values = draw_sound(number, 0.25 + 0.05 * (number % 5))
        with wave.open(str(place / f"{number:03d}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16_000)
            file.writeframes((values * 32767).astype("<i2").tobytes())
    return folder


def draw_log(number: int, steps: int = 48) -> dict[str, np.ndarray]:
    """Return columns of a pushed oscillator; four kinds by its stiffness and damping."""
    rng = np.random.default_rng(number)
    stiffness, damping = ((0.3, 0.05), (0.3, 0.4), (1.2, 0.05), (1.2, 0.4))[number % 4]
    state, rows = rng.normal(size=2), []
    for step in range(steps):
        push = float(np.sin(step * rng.uniform(0.2, 0.3)) + rng.normal(0, 0.3))
        rows.append([0.1 * step, *state, push, 1.0])
        speed = state[1] + 0.3 * (push - stiffness * state[0] - damping * state[1])
        state = np.array([state[0] + 0.3 * speed, speed])
    names = ("time", "place", "speed", "action.push", "battery")
    return dict(zip(names, np.asarray(rows, np.float32).T, strict=True))


@pytest.fixture(scope="session")
def log_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of 64 short logs in four class folders: parquet, csv and npz files."""
    import pandas

    folder = tmp_path_factory.mktemp("logs")
    for number in range(64):
        place = folder / "abcd"[number % 4]
        place.mkdir(exist_ok=True)
        columns = draw_log(number, 40 + number % 3 * 8)
        frame, path = pandas.DataFrame(columns), place / f"{number:03d}"
        if number % 3 == 0:
            frame.to_parquet(f"{path}.parquet")
        elif number % 3 == 1:
            frame.to_csv(f"{path}.csv", index=False)
        else:
            np.savez(f"{path}.npz", **columns)
    return folder


def draw_clip(number: int, frames: int = 10, size: int = 16) -> np.ndarray:
    """Return a clip of a moving square, (T, size, size, 3) uint8; four kinds by its direction."""
    rng = np.random.default_rng(number)
    clip = np.tile(rng.integers(0, 60, (size, size, 3)), (frames, 1, 1, 1))
    colour, place = rng.integers(120, 255, 3), rng.integers(0, size, 2)
    step = ((0, 1), (0, -1), (1, 0), (-1, 0))[number % 4]
    for time, frame in enumerate(clip):
        rows, columns = ((place[i] + time * step[i] + np.arange(5)) % size for i in (0, 1))
        frame[np.ix_(rows, columns)] = colour
    return clip.astype(np.uint8)


def write_clip(path: Path, clip: np.ndarray, codec: str, **options: str) -> None:
    """Encode a clip (T, H, W, 3) at 10 frames a second."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10, options=options)
        stream.height, stream.width = clip.shape[1:3]
        stream.pix_fmt = {"ffv1": "bgr0", "mjpeg": "yuvj444p"}.get(codec, "yuv420p")
        for frame in clip:
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of 48 short clips in four class folders: mp4, mkv and avi files."""
    folder = tmp_path_factory.mktemp("clips")
    for number in range(48):
        place = folder / "abcd"[number % 4]
        place.mkdir(exist_ok=True)
        suffix, codec = ((".mp4", "mpeg4"), (".mkv", "ffv1"), (".avi", "mjpeg"))[number % 3]
        write_clip(place / f"{number:03d}{suffix}", draw_clip(number, 8 + number % 5), codec)
    return folder


@pytest.fixture(scope="session")
def folders(
    image_folder: Path, text_folder: Path, sound_folder: Path, log_folder: Path, clip_folder: Path
) -> dict[str, Path]:
    """Return small data of each kind."""
    return {
        "image": image_folder,
        "text": text_folder,
        "audio": sound_folder,
        "series": log_folder,
        "video": clip_folder,
    }


@pytest.fixture(scope="session")
def text_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of 60 short documents in made-up but regular language."""
    folder = tmp_path_factory.mktemp("texts")
    rng = np.random.default_rng(0)
    subjects, verbs = ["the cat", "a dog", "one bird", "my friend"], ["sees", "likes", "finds"]
    for number in range(60):
        words = [
            f"{rng.choice(subjects)} {rng.choice(verbs)} {rng.choice(subjects)} {number}."
            for _ in range(int(rng.integers(4, 12)))
        ]
        (folder / f"{number:02d}.txt").write_text(" ".join(words), encoding="utf-8")
    return folder
