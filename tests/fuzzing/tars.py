"""Compares what other programs read of a bundle that `verify` accepts with what gencore reads.

They are GNU tar, libarchive's bsdtar, and Python's tarfile: each unpacks the bundle, and must find
the names and bytes that `extract` finds, and no problem.
"""

import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from tests.fuzzing import bundles
from tests.fuzzing.readers import Finding

from gencore.bundle.codecs import ZSTD, codec_of
from gencore.bundle.extraction import extract
from gencore.bundle.reader import BundleReader
from gencore.bundle.verification import verify
from gencore.bundle.zstd_library import zstd_library
from gencore.errors import GencoreError

KINDS = ("bundle",)
COMMANDS = {
    "tar": ("tar", "--no-same-owner", "-xf"),
    "bsdtar": ("bsdtar", "--no-same-owner", "-xf"),
}


def check(case):
    """Return what `verify` said. Raises `Finding` if another program reads something else."""
    with tempfile.TemporaryDirectory(prefix="gencore-fuzz-") as top:
        path = Path(top) / bundles.file_name(case.data)
        path.write_bytes(case.data)
        return [compare(path, Path(top))]


def compare(path, top):
    """Compare the readers of one bundle, in folders below *top*."""
    try:
        with BundleReader(path) as bundle:
            verify(bundle)
    except GencoreError as error:
        return f"verify: {error.message}"
    ours = _files(_unpacked(path, top / "gencore"))
    for name, read in READERS.items():
        folder = top / name
        folder.mkdir()
        problem = read(path, folder)
        if problem or (theirs := _files(folder)) != ours:
            raise Finding(f"{name}: {problem or _difference(ours, theirs)}")
    return "verify: accepted, and all read the same"


def _unpacked(path, folder):
    folder.mkdir()
    try:
        with BundleReader(path) as bundle:
            extract(bundle, folder)
    except GencoreError as error:
        raise Finding(f"extract: {error.message}") from error
    return folder


def _with_command(words):
    def read(path, folder):
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
        done = subprocess.run(
            [*words, path], cwd=folder, env=environment, capture_output=True, check=False
        )
        return done.stderr.decode(errors="replace") if done.returncode else None

    return read


def _with_tarfile(path, folder):
    try:
        with _opened(path) as file, tarfile.open(fileobj=file, errors="surrogateescape") as tar:
            tar.extractall(folder, filter="data")
    except (tarfile.TarError, OSError, EOFError, ValueError, zstd_library().ZstdError) as error:
        return f"{type(error).__name__}: {error}"
    return None


def _opened(path):
    """Open what tarfile is to read: before Python 3.14, it does not know zstd."""
    with path.open("rb") as file:
        is_zstd = codec_of(file.read(len(ZSTD.magic))) is ZSTD
    return zstd_library().open(path) if is_zstd else path.open("rb")


READERS = {name: _with_command(words) for name, words in COMMANDS.items() if shutil.which(name)}
READERS["tarfile"] = _with_tarfile


def _files(folder):
    """Return the bytes of every file by name, and other things by kind."""
    found = {}
    for path in folder.rglob("*"):
        name = os.fsencode(path.relative_to(folder))
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            found[name] = "neither a file nor a folder"
        elif path.is_file():
            path.chmod(0o600)
            found[name] = path.read_bytes()
    return found


def _difference(ours, theirs):
    only, more = sorted(ours.keys() - theirs.keys()), sorted(theirs.keys() - ours.keys())
    other = sorted(name for name in ours.keys() & theirs.keys() if ours[name] != theirs[name])
    return f"lacks {only[:3]}, has {more[:3]}, differs in {other[:3]}"
