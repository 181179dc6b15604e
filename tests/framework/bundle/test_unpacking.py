"""What is checked of a bundle that is unpacked for another command: check sums, and no hashes."""

import attrs
import pytest

from gencore.bundle.cache import unpacked
from gencore.bundle.contents import BLOCK_SIZE, encode
from gencore.bundle.extraction import extract
from gencore.bundle.opening import open_core
from gencore.bundle.reader import BundleReader
from gencore.errors import IntegrityError

CORE = b"".join(
    (
        bytes(BLOCK_SIZE // 2),
        b"x" * (BLOCK_SIZE // 2),
        b"y" * 70_000 + bytes(200_000) + b"z" * 70_000,
        bytes(300_000),
    )
)
"""With zeros at the beginning, in the middle, and at the end, which are left out."""
FILES = {
    "core": CORE,
    "manifest.json": b'{"process": {"executable": {"path": "/python"}}}',
    "python": b"an executable",
}


@pytest.fixture
def bundle(tmp_path, codec, write_bundle, monkeypatch):
    """Return the path of a bundle, where another cache is used."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return write_bundle(tmp_path / f"bundle.{codec.extension}", FILES)


def use(path):
    """Unpack it as other commands do; return the core."""
    with open_core(path) as opened, unpacked(opened, keep=False) as copy:
        assert copy.core.stat().st_blocks * 512 < len(CORE) - 400_000
        return copy.core.read_bytes()


def test_a_copy_has_the_very_bytes(bundle):
    """And holes for the zeros."""
    assert use(bundle) == CORE


def test_a_wrong_hash_is_found_by_who_extracts(bundle, tmp_path):
    """Other commands do not compare it: whoever can change a bundle can change its hashes."""
    with BundleReader(bundle) as reader:
        contents = reader.contents
    core, *others = contents.members
    forged = attrs.evolve(core, leaves=(bytes(32), *core.leaves[1:]))
    archive = bundle.read_bytes()[: contents.end]
    table = encode(contents.top, [forged, *others], contents.end, contents.codec)
    bundle.write_bytes(archive + table)

    assert use(bundle) == CORE
    with open_core(bundle) as opened, pytest.raises(IntegrityError, match="not match its hash"):
        extract(opened, tmp_path)


def test_damage_is_found_without_hashes(bundle):
    """By what each block ends with: a check sum of zstd; a size, behind that of gzip."""
    with BundleReader(bundle) as reader:
        end = reader.contents.members[0].places[2]
    data = bytearray(bundle.read_bytes())
    data[end - 3] ^= 1
    bundle.write_bytes(data)

    with pytest.raises(IntegrityError):
        use(bundle)
