"""Libraries that are kept as they were packed."""

import gzip
import io
import os
import resource
import struct
import sys
from pathlib import Path

import attrs
import pytest
from isal import isal_zlib

import gencore
from gencore.bundle import (
    GZIP,
    ZSTD,
    BundleReader,
    BundleWriter,
    PackedFiles,
    packed_files,
    verify,
)
from gencore.bundle.zstd_library import zstd_library
from gencore.libraries import describe
from gencore.process import MappedFile


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Return where packed files are; the directory for caches is there, and empty."""
    (tmp_path / "cache").mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/gencore/packed"


@pytest.fixture
def library(tmp_path):
    """Return a library of three blocks, the last one short."""
    path = tmp_path / "library.so"
    path.write_bytes(Path(sys.executable).resolve().read_bytes()[:4096] + os.urandom(5 << 19))
    return attrs.evolve(describe(MappedFile(path=str(path))), status="ok")


@pytest.fixture
def pack(codec):
    """Return a function that packs a library into a tar: (whether it was found, the tar).

    *changed* is what was read instead of its first bytes.
    """

    def pack(library, changed=b""):
        file = io.BytesIO()
        writer, packed = begun(codec, file)
        known = packed.find(library)
        if known is not None:
            with known:
                done = writer.add_packed("lib", known, mode=0o700)
            if done < library.size:
                packed.forget(library)
        else:
            done, packer = 0, packed.packer(library)
            writer.begin("lib", library.size, mode=0o700, packer=packer)
        data = Path(library.path).read_bytes()
        writer.write((changed + data[len(changed) :])[done:])
        writer.end()
        writer.close()
        packed.close()
        return known is not None, decompressed(codec, file)

    return pack


def begun(codec, file):
    """Begin a bundle; return it, and the packed files of its codec."""
    return BundleWriter(file, "top", 0, codec), PackedFiles(codec, codec.level)


def decompressed(codec, file):
    """Return the tar in a bundle, as the codec's own library has it."""
    decompress = gzip.decompress if codec is GZIP else zstd_library().decompress
    return decompress(file.getvalue())


def entry(home):
    """Return the one file that is kept."""
    (path,) = home.iterdir()
    return path


def sealed(members):
    """Return a kept file with these members."""
    rows = b"".join(struct.pack("<II", len(m), isal_zlib.crc32(m)) for m in members)
    return b"".join(members) + rows + struct.pack("<I", isal_zlib.crc32(rows))


def test_a_library_is_packed_once(home, library, pack):
    """The next tar is the same, byte for byte."""
    first, second = pack(library), pack(library)

    assert [known for known, _ in (first, second)] == [False, True]
    assert first[1] == second[1]
    assert entry(home).stat().st_mode & 0o777 == 0o600


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("other", ["codec", "level"])
def test_what_was_packed_in_another_way_is_not_used(library, other, pack, codec):
    """A bundle has frames of one codec, and of the level that its manifest states."""
    pack(library)
    usual = PackedFiles(codec, codec.level)
    ways = {"codec": (GZIP if codec is ZSTD else ZSTD, codec.level), "level": (codec, 3)}
    packed = PackedFiles(*ways[other])

    with usual.find(library) as found:
        assert found.size == library.size
    assert packed.find(library) is None
    usual.close()
    packed.close()


def test_dumps_use_what_earlier_ones_have_packed(home, tmp_path, packer):
    """A bundle has the members that are kept, and still is what its hashes say."""
    options = {"directory": tmp_path, "content": "stacks", "collectors": ["manifest", packer.name]}
    other = packer.codec.compressor(0)
    gencore.collect_core(name="first", **options)
    (own,) = home.glob(f"{describe(MappedFile(path=_largest())).sha256}*")
    data = Path(_largest()).read_bytes()
    blocks = [data[at : at + (1 << 20)] for at in range(0, len(data), 1 << 20)]
    padded = [block + bytes(-len(block) % 512) for block in blocks]
    own.write_bytes(sealed([other(block) for block in padded]))

    bundle = gencore.collect_core(name="second", **options)

    with BundleReader(bundle) as reader:
        assert all(check.ok for check in verify(reader))
        member = reader.find(_largest())
        assert list(member.lengths[1:]) == [len(other(block)) for block in padded]


def _largest():
    """Return the path of the largest library of this process, which has one name."""
    lines = Path("/proc/self/maps").read_text().split("\n")
    paths = {line.split()[-1] for line in lines if ".so" in line and "r-xp" in line}
    return max(paths, key=lambda path: Path(path).stat().st_size)


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda data: data[:-1],
        lambda data: data[: len(data) // 2],
        lambda data: flipped(data, -5),
        lambda data: bytes(len(data)),
        lambda _: sealed([b"x"]),
        lambda _: sealed([b"x"] * 4),
    ],
    ids=["empty", "cut", "half", "other rows", "zeros", "fewer blocks", "more blocks"],
)
def test_a_damaged_file_is_not_used(home, library, damage, pack):
    """As a machine that lost its power leaves it; it is replaced by a whole one."""
    _, whole = pack(library)
    path = entry(home)
    path.write_bytes(damage(path.read_bytes()))

    assert pack(library) == (False, whole)
    assert pack(library) == (True, whole)


def flipped(data, place):
    """Return the bytes with one other bit."""
    changed = bytearray(data)
    changed[place] ^= 1
    return bytes(changed)


@pytest.mark.parametrize("place", [1000, 3 << 19], ids=["first frame", "second frame"])
def test_a_damaged_frame_and_those_behind_it_are_packed_anew(home, library, place, pack):
    """And the next dump keeps the library anew."""
    _, whole = pack(library)
    path = entry(home)
    path.write_bytes(flipped(path.read_bytes(), place))

    assert pack(library) == (True, whole)
    assert not path.exists()
    assert [pack(library) for _ in range(2)] == [(False, whole), (True, whole)]


def test_a_library_that_changed_while_it_was_read_is_not_kept(home, library, pack):
    """Later dumps would have what its hash does not say."""
    pack(library, changed=b"\x7fELF other")

    assert list(home.iterdir()) == []


def test_a_library_that_became_shorter_is_not_kept(home, library, codec):
    """Zeros stand for the rest, in that bundle only."""
    writer, packed = begun(codec, io.BytesIO())
    writer.begin("lib", library.size, packer=packed.packer(library))
    writer.write(b"\x7fELF")
    with pytest.raises(OSError, match="shrank"):
        writer.end()
    writer.abort()
    packed.close()

    assert list(home.iterdir()) == []


@pytest.mark.parametrize("changes", [{"status": "not-elf"}, {"size": 1000}])
def test_what_is_secret_or_small_is_not_kept(home, library, changes, codec):
    """Data files of a process, and what takes no time."""
    packed = PackedFiles(codec, codec.level)

    assert packed.packer(attrs.evolve(library, **changes)) is None
    packed.close()
    assert list(home.iterdir()) == []


def test_no_directory_for_caches_is_made(tmp_path, library, monkeypatch, pack):
    """The home of a service is left as it is."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "none"))

    assert [pack(library)[0] for _ in range(2)] == [False, False]
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("place", ["", "gencore", "gencore/packed"])
def test_a_directory_of_another_user_is_not_used(home, library, place, pack):
    """Who owns it could put other libraries there."""
    pack(library)
    os.chown(home.parents[1] / place, 65534, 65534)

    expected = not place  # caches of all users may be anybody's: gencore's own is private
    assert pack(library)[0] is expected


def test_a_link_is_not_followed(home, library, pack):
    """Of a file that is not kept here nobody knows who can write to it."""
    pack(library)
    path = entry(home)
    elsewhere = home.parent / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)

    assert pack(library)[0] is False


def test_the_oldest_go_first(home, library, monkeypatch, pack):
    """But none that this dump has used, however many it needs."""
    monkeypatch.setattr(packed_files, "_MOST", 1)
    home.mkdir(parents=True, mode=0o700)
    (home / "older").write_bytes(b"x")
    os.utime(home / "older", (0, 0))

    pack(library)

    assert entry(home).name.startswith(library.sha256)


def test_what_a_killed_dump_has_begun_goes_after_an_hour(home, library, pack):
    """Another dump may still be writing to what is younger."""
    home.mkdir(parents=True, mode=0o700)
    for name, age in ((".old", 4000), (".young", 60)):
        (home / name).write_bytes(b"x")
        now = (home / name).stat().st_mtime
        os.utime(home / name, (now - age, now - age))

    pack(library)

    assert {path.name[:6] for path in home.iterdir()} == {".young", library.sha256[:6]}


@pytest.mark.usefixtures("home")
def test_no_descriptor_stays_open(library, pack, codec):
    """Of as many libraries as there are: packed, found, and given up."""
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        pack(library)
    packed = PackedFiles(codec, codec.level)
    packed.packer(attrs.evolve(library, sha256="0" * 64))
    packed.close()
    del packed

    assert len(os.listdir("/proc/self/fd")) == before


def test_the_command_shows_and_removes_them(home, library, inside, pack):
    """With their size, as the copies of bundles."""
    pack(library)
    size = entry(home).stat().st_size

    assert f'"kind": "libraries", "path": "{home}", "size": {size}' in " ".join(
        inside("cache", "--json")[1].split()
    )
    assert inside("cache", "clear", "--older-than", "1h")[1] == ""
    assert f"removed {home}" in inside("cache", "clear")[1]
    assert list(home.iterdir()) == []


@pytest.mark.parametrize(
    "members",
    [
        lambda codec: [bytes(codec.smallest_frame - 1)] * 3,  # the whole bundle would be refused
        lambda codec: [codec.compressor(1)(bytes(1 << 20))] * 3,  # more than the library has
        lambda codec: [codec.compressor(1)(bytes(1 << 19))] * 3,
        lambda codec: [longer(codec.compressor(1)(bytes(1 << 20)))] * 3,
    ],
    ids=["no frame", "too large", "too small", "too long"],
)
def test_members_that_cannot_be_the_librarys_are_not_used(home, library, members, pack, codec):
    """Even if the check sum is right: a bundle with them could not be read behind them."""
    _, whole = pack(library)
    entry(home).write_bytes(sealed(members(codec)))

    assert len(pack(library)[1]) == len(whole)
    assert [pack(library)[1] for _ in range(2)] == [whole] * 2


def longer(frame):
    """Return a frame that is larger than what it holds by more than a bundle may have."""
    return frame[:-4] + bytes(2 << 20) + frame[-4:]


@pytest.mark.parametrize("left", [0, 5000, 3 << 19], ids=["none", "no block", "a block"])
def test_what_is_cut_off_while_it_is_used_is_packed_from_its_source(
    home, library, pack, codec, left
):
    """Memory of it would end the process."""
    whole = pack(library)[1]
    file = io.BytesIO()
    writer, packed = begun(codec, file)

    with packed.find(library) as known:
        os.truncate(entry(home), left)
        done = writer.add_packed("lib", known, mode=0o700)
    writer.write(Path(library.path).read_bytes()[done:])
    writer.end()
    writer.close()
    packed.close()

    assert done == left >> 20 << 20
    assert decompressed(codec, file) == whole


def test_a_dump_goes_on_where_what_was_kept_cannot_be_read(home, tmp_path, packer):
    """The bundle is whole, and has what the process has mapped; the next dump packs that anew."""
    size = Path(_largest()).stat().st_size

    class Cuts(packer):
        name = "cuts"

        def _add_kept(self, library, archive_path, known, packed):
            for path in home.iterdir() if library.size == size else ():
                os.truncate(path, path.stat().st_size // 2)
            super()._add_kept(library, archive_path, known, packed)

    options = {"directory": tmp_path, "content": "stacks"}
    gencore.collect_core(collectors=["manifest", packer.name], name="first", **options)
    bundle = gencore.collect_core(collectors=["manifest", Cuts], name="second", **options)

    with BundleReader(bundle) as reader:
        assert all(check.ok for check in verify(reader))
        with reader.open(reader.find(_largest()).path) as file:
            assert file.read() == Path(_largest()).read_bytes()
    assert not list(home.glob(f"{describe(MappedFile(path=_largest())).sha256}*"))


def test_an_absurdly_large_file_is_not_read(home, library, pack):
    """A terabyte of zeros would take minutes."""
    pack(library)
    os.truncate(entry(home), 1 << 40)

    assert pack(library)[0] is False


def test_a_file_of_another_user_is_not_used(home, library, pack):
    """It may have been put there while others could write to the directory."""
    pack(library)
    os.chown(entry(home), 65534, 65534)
    home.chmod(0o777)

    assert pack(library)[0] is False
    assert pack(library)[0] is True


def test_nothing_is_made_in_the_home_of_another_user(home, library, pack):
    """Root may have that of who called sudo, who could not use what root had made."""
    os.chown(home.parents[1], 65534, 65534)

    assert pack(library)[0] is False
    assert list(home.parents[1].iterdir()) == []


def test_the_disk_is_not_filled(home, library, monkeypatch, pack):
    """The bundle may be made on the same one."""
    monkeypatch.setattr(packed_files, "_LEFT_FREE", 1 << 60)

    pack(library)

    assert list(home.iterdir()) == []


def test_what_cannot_be_kept_takes_no_room_meanwhile(home, library, pack, codec):
    """A file that may not grow: the bundle is whole, and the part that was written is gone."""
    file = io.BytesIO()
    writer, packed = begun(codec, file)
    packer = packed.packer(library)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    try:
        writer.begin("lib", library.size, mode=0o700, packer=packer)
        writer.write(Path(library.path).read_bytes())
        writer.end()
        writer.close()
        left = entry(home).stat().st_size
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    packed.close()

    assert left == 0
    assert decompressed(codec, file) == pack(library)[1]


def test_a_file_that_cannot_be_closed_costs_no_bundle(home, library):
    """Network file systems say only then that the disk is full; here it is closed already."""
    packed, writer = PackedFiles(), BundleWriter(io.BytesIO(), "top", 0)
    packer = packed.packer(library)
    os.close(packer._fd)
    writer.begin("lib", library.size, packer=packer)
    writer.write(Path(library.path).read_bytes())
    writer.end()
    writer.close()
    packed.close()

    assert list(home.iterdir()) == []


def test_the_command_says_what_it_could_not_remove(home, library, inside, pack):
    """And ends with the code for that."""
    pack(library)
    (home / "folder").mkdir()

    code, _, said = inside("cache", "clear")

    assert code == 3
    assert f"not removed: {home}" in said
    assert [path.name for path in home.iterdir()] == ["folder"]


def test_the_command_leaves_a_directory_of_another_user_alone(home, library, inside, pack):
    """Root may have been led to it."""
    pack(library)
    os.chown(home, 65534, 65534)

    assert inside("cache", "clear")[1] == ""
    assert len(list(home.iterdir())) == 1
