"""A bundle is anybody's file: nothing that it says is believed, nothing is written beside it."""

import gzip
import json
import os
import random
import re
import stat
import subprocess
import tarfile
import zlib

import pytest
from forged_bundle import MANIFEST, TOP, encode_1, forge, header
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from gencore import IntegrityError, OutputError, UsageError
from gencore.bundle import contents
from gencore.bundle.codecs import GZIP, ZSTD, codec_of
from gencore.bundle.contents import BLOCK_SIZE, Member, encode
from gencore.bundle.extraction import extract
from gencore.bundle.reader import BundleReader
from gencore.bundle.tree_hash import block_hash, root_hash
from gencore.bundle.verification import verify
from gencore.bundle.zstd_library import zstd_library

anywhere = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


WHOLE = (["verify"], ["extract"], ["stacks"], ["open", "--print"], ["open", "--print", "--lldb"])
"""Commands that look at every file."""
OTHERS = (["info"], ["info", "--files"], ["info", "--json"], ["report", "--force"])


def is_compressed(path):
    """Whether the file is no manifest by itself, for the report."""
    return codec_of(path.read_bytes()) is not None


@pytest.fixture
def refused(tmp_path, command):
    """Return a function: all that read everything end with 8 and the reason, and leave nothing.

    With *at_once* all other commands do so too.
    """

    def check(path, match, *, at_once=False):
        (tmp_path / "target").mkdir(exist_ok=True)
        for read in (lambda b: extract(b, tmp_path / "target"), verify):
            with pytest.raises(IntegrityError, match=match), BundleReader(path) as bundle:
                read(bundle)
        for words in (*WHOLE, *OTHERS):
            code, _, err = command(path, *words)
            if words in WHOLE or (at_once and (words[0] != "report" or is_compressed(path))):
                assert code == 8, words
                assert re.search(match, err), (words, err)
        code, out, _ = command(tmp_path, "list", "--json")
        (row,) = json.loads(out)["bundles"]
        assert code == 0
        assert not at_once or re.search(match, row["error"]["message"])
        assert os.listdir(tmp_path / "target") == []

    return check


@pytest.fixture(params=[1, 2])
def version(request):
    """Choose the format: its first version has only the places of the files."""
    return request.param


gzip_only = pytest.mark.parametrize("codec", [GZIP], ids=["gzip"])
"""For bundles of which the test itself writes the bytes."""


@pytest.fixture
def path(tmp_path, codec):
    """Name a file."""
    return tmp_path / f"{TOP}.{codec.extension}"


def test_files_come_out_as_they_went_in(path, tmp_path, write_bundle):
    """With holes for zeros, and for their owner alone."""
    members = {
        "core": bytes(3 << 20) + b"end",
        "manifest.json": MANIFEST,
        "usr/lib/\udcff\n\x1b[2J": b"a name that is no text",
        "usr/lib/l\u00e4nger" + "x" * 200: b"library",
    }
    with BundleReader(write_bundle(path, members)) as bundle:
        folder = extract(bundle, tmp_path)

    for name, data in members.items():
        assert (folder / name).read_bytes() == data
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    assert (folder / "core").stat().st_blocks * 512 < 1 << 20


def test_the_manifest_of_a_damaged_bundle_can_be_read(path, tmp_path, write_bundle):
    """Nothing is unpacked, and it is not verified."""
    noise = random.Random(1).randbytes(1 << 20)
    write_bundle(path, {"core": noise, "manifest.json": MANIFEST})
    data = bytearray(path.read_bytes())
    data[1000 : 1 << 19] = bytes((1 << 19) - 1000)
    path.write_bytes(data)

    with BundleReader(path) as bundle:
        assert bundle.manifest() == json.loads(MANIFEST)
        for read in (verify, lambda b: extract(b, tmp_path, ["manifest.json"])):
            with pytest.raises(IntegrityError):
                read(bundle)


def test_unknown_names_and_existing_folders_are_refused(path, tmp_path, write_bundle):
    """Nothing is overwritten."""
    (tmp_path / TOP).mkdir()
    with BundleReader(write_bundle(path, {"a": b""})) as bundle:
        with pytest.raises(UsageError, match="not found in the bundle: b"):
            extract(bundle, tmp_path, ["b"])
        with pytest.raises(OutputError, match="already exists"):
            extract(bundle, tmp_path)


LONG = ["x" * 300, "\xe4" * 200, "/".join(["x" * 250] * 16)]


@pytest.mark.parametrize("name", ["../a", "/a", "a/../../b", "a//b", "", ".", "a/./b", *LONG])
def test_paths_that_lead_elsewhere_are_refused(path, refused, name):
    """Up, absolute, empty or endless: no file is made for them."""
    refused(
        forge(path, [(header(name), b"")]),
        "not below the top folder",
        at_once=True,
    )


@pytest.mark.parametrize(
    "kind",
    [
        tarfile.SYMTYPE,
        tarfile.LNKTYPE,
        tarfile.CHRTYPE,
        tarfile.BLKTYPE,
        tarfile.FIFOTYPE,
        tarfile.DIRTYPE,
        tarfile.CONTTYPE,
        tarfile.GNUTYPE_SPARSE,
    ],
)
def test_what_is_no_regular_file_is_refused(path, refused, kind):
    """Links, devices, FIFOs, directories."""
    info = header("a", type=kind, linkname="/etc/passwd")
    refused(forge(path, [(info, b"")]), "not a regular file|invalid tar header")


def test_a_sparse_member_of_a_pax_archive_is_refused(path, refused):
    """It is a regular file by its type, of which tar writes other bytes than are there."""
    info = header("a", size=3, pax_headers={"GNU.sparse.map": "1,3", "GNU.sparse.size": "3"})
    refused(forge(path, [(info, b"abc")]), "not a regular file")


def test_two_files_of_one_name_are_refused(path, refused):
    """The second would replace the first."""
    twice = [(header("a"), b""), (header("a"), b"")]
    refused(forge(path, twice), "same path", at_once=True)


@pytest.mark.parametrize("names", [("a", "a/b"), ("a/b", "a"), ("a/b", "a/b/c/d")])
def test_a_file_that_is_a_directory_too_is_refused(path, refused, write_bundle, names):
    """There is no order in which both can be made; and no bundle of ours has such names."""
    refused(forge(path, [(header(name), b"") for name in names]), "both a file", at_once=True)

    with pytest.raises(ValueError, match="in the bundle already"):
        write_bundle(path, dict.fromkeys(names, b""))


def test_a_bundle_has_only_so_many_folders(path, refused):
    """A path of a few bytes names a hundred, and each takes a block of the disk."""
    deep = [header(f"{n}/{'/'.join('d' * 126)}/f") for n in range(200)]

    refused(forge(path, [(info, b"") for info in deep]), "more than 20,000 folders", at_once=True)


def lie(bundle, manifest=MANIFEST, **changed):
    """Forge a bundle of two files; the table tells one, and of that something else."""
    row = {"path": "a", "size": 3, "offset": 0, **changed}
    return forge(
        bundle,
        [(header("a", 3), b"abc"), (header("b"), b"")],
        [Member(**row)],
        manifest=manifest,
        version=1,
    )


@gzip_only
@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"size": 4}, "where the archive has"),
        ({"path": "c"}, "where the archive has"),
        ({"size": -1}, "larger than"),
        ({"size": 1 << 60}, "larger than"),
        ({"offset": -1}, "member offsets"),
        ({"offset": 1 << 40}, "member offsets"),
    ],
)
def test_a_table_of_contents_that_lies_is_found_out(path, refused, changed, match):
    """What it tells is compared with the archive."""
    refused(lie(path, **changed), match, at_once=match != "where the archive has")


@gzip_only
@pytest.mark.parametrize(
    "blocks", [{"lengths": []}, {"lengths": [1.5]}, {"leaves": ["ab"]}, {"leaves": ["ab", "cd"]}]
)
def test_blocks_in_a_table_of_version_1_are_ignored(path, tmp_path, blocks):
    """It has none: nothing would compare them with the archive."""
    forge(path, [(header("a", 3), b"abc")], version=1)
    with BundleReader(path) as bundle:
        rows = [
            {"path": m.path, "size": m.size, "offset": m.offset, "sha256": None, **blocks}
            for m in bundle.members
        ]
        end = bundle.contents.end
    table = contents.encode_table({"version": 1, "top": TOP, "members": rows}, end)
    path.write_bytes(path.read_bytes()[:end] + table)

    with BundleReader(path) as bundle:
        assert bundle.manifest() == json.loads(MANIFEST)
        assert {(m.lengths, m.leaves, m.tree) for m in bundle.members} == {(None, None, None)}
        assert (extract(bundle, tmp_path) / "a").read_bytes() == b"abc"


def with_extra_field(data, value):
    """Compress, with a subfield in the header: every reader of gzip skips it."""
    plain = gzip.compress(data)
    field = b"XX" + len(value).to_bytes(2, "little") + value
    return plain[:3] + b"\4" + plain[4:10] + len(field).to_bytes(2, "little") + field + plain[10:]


def hide(path, place):
    """Forge a bundle whose table leads to another file "a" than reading it whole does."""
    genuine = header("a", 7).tobuf(tarfile.PAX_FORMAT) + b"genuine" + bytes(505)
    hidden = gzip.compress(header("a", 7).tobuf(tarfile.PAX_FORMAT) + b"hidden!" + bytes(505))
    manifest = header("manifest.json", len(MANIFEST)).tobuf() + MANIFEST.ljust(512, b"\0")
    before = {
        "extra field": with_extra_field(b"", hidden),
        "stored block": gzip.compress(header("b", 512).tobuf() + hidden.ljust(512, b"\0"), 0),
        "gap": hidden,
    }[place]
    data = before + gzip.compress(genuine)
    rows = [Member("b", 512, 0)] if place == "stored block" else []
    rows += [Member("a", 7, data.index(hidden)), Member("manifest.json", len(MANIFEST), len(data))]
    data += gzip.compress(manifest) + gzip.compress(bytes(1024))
    path.write_bytes(data + encode_1(TOP, rows, len(data)))
    return path


@gzip_only
@pytest.mark.parametrize("place", ["extra field", "stored block", "gap"])
def test_a_hidden_file_is_never_delivered(path, tmp_path, place):
    """Whatever the table leads to, it is not what tar reads."""
    hide(path, place)

    with pytest.raises(IntegrityError), BundleReader(path) as bundle:
        extract(bundle, tmp_path, ["a"])
    with pytest.raises(IntegrityError), BundleReader(path) as bundle:
        verify(bundle)
    assert os.listdir(tmp_path) == [path.name]


@gzip_only
def test_files_that_overlap_are_found_out(path, tmp_path):
    """Otherwise a few bytes would be unpacked again and again."""
    inner = gzip.compress(header("b", 512).tobuf() + bytes(512))
    whole = gzip.compress(header("a", len(inner)).tobuf() + inner.ljust(512, b"\0"), 0)
    data = whole + gzip.compress(bytes(1024))
    rows = [Member("a", len(inner), 0), Member("b", 512, whole.index(inner))]
    path.write_bytes(data + encode_1(TOP, rows, len(data)))

    with BundleReader(path) as bundle, pytest.raises(IntegrityError, match="'b' at"):
        extract(bundle, tmp_path)


@gzip_only
def test_an_offset_into_the_middle_is_found_out(path, tmp_path):
    """No gzip member begins there."""
    with pytest.raises(IntegrityError), BundleReader(lie(path, offset=5)) as bundle:
        extract(bundle, tmp_path)


def with_table(path, change):
    """Write a sound bundle of which a table of version 2 says something else of the file "two"."""
    two = random.Random(4).randbytes(BLOCK_SIZE) + b"end"
    members = [(header("two", len(two)), two), (header("a", 3), b"abc")]
    forge(path, members)
    with BundleReader(path) as bundle:
        rows = [contents._row(member) for member in bundle.members]
        end, codec = bundle.contents.end, bundle.contents.codec
    leaves = [block_hash(two[:BLOCK_SIZE]), block_hash(two[BLOCK_SIZE:])]
    rows[0] |= {"leaves": [leaf.hex() for leaf in leaves], "tree_sha256": root_hash(leaves)}
    rows[0]["lengths"] = list(rows[0]["lengths"])
    change(rows)
    table = contents.encode_table({"version": 2, "top": TOP, "members": rows}, end, codec)
    path.write_bytes(path.read_bytes()[:end] + table)
    return path


def moved(rows, *shifts):
    """Let the first gzip members of it be longer or shorter."""
    for index, shift in enumerate(shifts):
        rows[0]["lengths"][index] += shift


LIES = {
    "other size": (lambda rows: rows[1].update(size=4), "where the archive has"),
    "other path": (lambda rows: rows[1].update(path="c"), "where the archive has"),
    "one byte less": (lambda rows: rows[0].update(size=BLOCK_SIZE), "cannot hold"),
    "negative size": (lambda rows: rows[1].update(size=-1), "cannot hold"),
    "giant size": (lambda rows: rows[1].update(size=1 << 60), "cannot hold"),
    "no lengths": (lambda rows: rows[1].update(lengths=None), "wrong type"),
    "text as a length": (lambda rows: rows[1].update(lengths=["30", 30]), "cannot hold"),
    "fractions as lengths": (
        lambda rows: rows[0].update(lengths=[float(length) for length in rows[0]["lengths"]]),
        "cannot hold",
    ),
    "longer block": (lambda rows: moved(rows, 0, 1), "not of the length|truncated|corrupt"),
    "shifted block": (lambda rows: moved(rows, 1, -1), "not of the length"),
    "swapped files": (lambda rows: rows.reverse(), "not of the|where the archive|corrupt"),
    "beyond the end": (lambda rows: moved(rows, 0, 0, BLOCK_SIZE), "out of range"),
    "missing leaf": (lambda rows: rows[0]["leaves"].pop(), "hashes of 'two'"),
    "wrong root": (lambda rows: rows[0].update(tree_sha256="0" * 64), "hashes of 'two'"),
    "leaf that is no hash": (lambda rows: rows[0].update(leaves=["0", "0"]), "wrong type"),
    "one file less": (lambda rows: rows.pop(0), "not of the|where the archive|corrupt"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_table_with_blocks_that_lies_is_found_out(path, refused, lie):
    """Each gzip member begins and ends where the table says, and holds as much."""
    change, match = LIES[lie]

    refused(with_table(path, change), match)


def test_a_frame_is_as_long_as_its_codec_makes_one_at_least(path, refused, codec):
    """A shorter one is refused before anything is decompressed."""
    least = codec.smallest_frame

    assert len(codec.compressor(codec.level)(b"")) == least
    refused(with_table(path, lambda rows: moved_to(rows, least - 1)), "cannot hold", at_once=True)
    refused(with_table(path, lambda rows: moved_to(rows, least)), "not of the|truncated|corrupt")


def moved_to(rows, length):
    """Let the last block of the file "a" have another length."""
    rows[1]["lengths"] = [rows[1]["lengths"][0], length]


def test_a_block_that_does_not_match_its_hash_is_found_out(path, tmp_path):
    """By whoever reads it, however little else is read."""
    other = [block_hash(b"other"), block_hash(b"end")]
    forged = {"leaves": [leaf.hex() for leaf in other], "tree_sha256": root_hash(other)}
    with_table(path, lambda rows: rows[0].update(forged))

    with BundleReader(path) as bundle:
        two = bundle.open("two")
        two.seek(BLOCK_SIZE)
        assert two.read() == b"end"
        two.seek(5)
        for read in (two.read, lambda: extract(bundle, tmp_path), lambda: verify(bundle)):
            with pytest.raises(IntegrityError, match="does not match its hash"):
                read()


@gzip_only
def test_bytes_between_a_header_and_its_file_are_found_out(path, tmp_path):
    """Otherwise a reader of blocks would see another file than tar."""
    info = header("a", 512)
    before = gzip.compress(info.tobuf(tarfile.PAX_FORMAT) + b"x" * 512)
    after = gzip.compress(b"y" * 512)
    row = Member("a", 512, 0, None, (len(before), len(after)))
    data = before + after + gzip.compress(bytes(1024))
    path.write_bytes(data + encode(TOP, [row], len(data)))

    with BundleReader(path) as bundle:
        for read in (lambda: bundle.open("a"), lambda: extract(bundle, tmp_path)):
            with pytest.raises(IntegrityError, match="bytes behind the tar header"):
                read()


def test_a_page_is_read_without_what_is_before_it(path, write_bundle):
    """Of damage elsewhere it knows nothing."""
    core = random.Random(5).randbytes(3 * BLOCK_SIZE + 100)
    write_bundle(path, {"core": core})
    data = bytearray(path.read_bytes())
    data[1000 : BLOCK_SIZE // 2] = bytes(BLOCK_SIZE // 2 - 1000)
    path.write_bytes(data)

    with BundleReader(path) as bundle:
        file = bundle.open("core")
        for at in (3 * BLOCK_SIZE + 50, 2 * BLOCK_SIZE - 10, BLOCK_SIZE, BLOCK_SIZE + 5):
            file.seek(at)
            assert file.read(70) == core[at : at + 70]
        file.seek(0)
        with pytest.raises(IntegrityError):
            file.read(1)


@gzip_only
@pytest.mark.parametrize("version", [0, 3, "1", 1.0, True, None])
def test_an_unknown_version_of_the_table_is_refused(path, refused, monkeypatch, version):
    """What it means is not guessed."""
    monkeypatch.setattr(contents, "_VERSION", version)
    forge(path, [(header("a"), b"")])
    monkeypatch.undo()

    refused(path, "unknown version of the table of contents", at_once=True)


def test_a_path_has_only_so_many_parts(path, refused):
    """Each is a folder that somebody has to remove."""
    deepest = "/".join(["d"] * 128)
    with BundleReader(forge(path, [(header(deepest), b"")])) as bundle:
        assert bundle.open(deepest).read() == b""

    deeper = forge(path, [(header(f"{deepest}/d"), b"")])
    refused(deeper, "not below the top folder", at_once=True)


@gzip_only
@pytest.mark.parametrize(
    "record",
    [
        b"7 path=\n",
        b"99999999999999999999 path=a\n",
        b"9 path=a\nx",
        b"10 path=a\n",
        b"-9 path=a\n",
        b"path=a\n",
        b"9" * 60000,
        b"11 size=-1\n",
        b"11 size=1e1\n",
        b"12 linkpath\n",
        b"12 GNU.x=a\n",
    ],
)
def test_a_pax_header_is_read_strictly(path, tmp_path, record):
    """And in no more time than its length deserves."""
    pax = header("x", len(record), type=tarfile.XHDTYPE).tobuf(tarfile.USTAR_FORMAT)
    block = header("a", 0).tobuf(tarfile.USTAR_FORMAT)
    data = gzip.compress(pax + record + bytes(-len(record) % 512) + block)
    data += gzip.compress(bytes(1024))
    path.write_bytes(data + encode_1(TOP, [Member("a", 0, 0)], len(data)))

    with BundleReader(path) as bundle, pytest.raises(IntegrityError):
        extract(bundle, tmp_path)


@gzip_only
@pytest.mark.parametrize(
    ("place", "value"),
    [
        (slice(100, 108), b"x" * 8),  # the mode: tarfile would end the archive here
        (slice(136, 148), b"\x80" + bytes(11)),  # the time, in base 256
        (slice(329, 337), b"0 0\0\0\0\0\0"),  # a device
        (slice(0, 100), bytes(100)),  # no name: with a prefix, tar makes a directory
        (slice(508, 512), b"tar\0"),
    ],
)
def test_a_header_that_others_read_otherwise_is_refused(path, tmp_path, place, value):
    """Whatever the field is for."""
    block = bytearray(header("a").tobuf(tarfile.USTAR_FORMAT))
    block[345 : 345 + len(TOP) + 2] = f"{TOP}/a".encode()
    block[place] = value
    block[148:156] = b"%06o\0 " % (sum(block[:148]) + 256 + sum(block[156:]))
    data = gzip.compress(block) + gzip.compress(bytes(1024))
    path.write_bytes(data + encode_1(TOP, [Member("a", 0, 0)], len(data)))

    with BundleReader(path) as bundle, pytest.raises(IntegrityError, match="invalid tar header"):
        extract(bundle, tmp_path)


@gzip_only
@pytest.mark.parametrize("more", [b"x", gzip.compress(b"hidden", mtime=0)])
def test_nothing_is_between_the_table_and_its_trailer(path, refused, more):
    """`tar -i` would read it."""
    data = forge(path, [(header("a"), b"")]).read_bytes()
    path.write_bytes(data[:-42] + more + data[-42:])

    refused(path, "between the table and its trailer", at_once=True)


@pytest.mark.parametrize("claimed", [[], {}, "x", 1])
@pytest.mark.parametrize("key", ["sha256", "tree_sha256"])
def test_a_hash_of_another_type_is_a_wrong_one(path, command, write_bundle, claimed, key):
    """In a manifest."""
    manifest = {"files": [{"name": "a", key: claimed}]}
    write_bundle(path, {"a": b"", "manifest.json": json.dumps(manifest).encode()})

    code, out, _ = command(path, "verify")

    assert code == 8
    assert "a: does not match its hash in the manifest" in out


@gzip_only
def test_nothing_is_behind_the_table_within_its_pieces(path, refused, monkeypatch):
    """No program would see it."""
    compress = zlib.compress
    with monkeypatch.context() as changed:
        changed.setattr(contents.zlib, "compress", lambda data: compress(data) + b"x")
        path.write_bytes(encode(TOP, [], 0))

    refused(path, "with bytes behind it", at_once=True)


@gzip_only
def test_files_that_the_table_does_not_tell_are_found_by_verify(path, inside):
    """A tar would unpack them."""
    code, _, err = inside("verify", lie(path, manifest=None))

    assert code == 8
    assert "archive's padding" in err


@gzip_only
@pytest.mark.parametrize("end", [bytes(512), bytes(1536), bytes(1024) + b"x"])
def test_an_archive_that_does_not_end_as_one_is_found_by_verify(path, end, version):
    """Too early, or with something behind its end."""
    with (
        BundleReader(forge(path, [], end=end, version=version)) as bundle,
        pytest.raises(IntegrityError, match=r"truncated|after the end|not of the (size|length)"),
    ):
        verify(bundle)


TERMINAL = ["\x1b[2J", "a\nb", "\u202e", "\ud800", "x" * 300]
LLDB, HOME = ["a`40+2`b"], [".ssh", "-rf"]


@gzip_only
@pytest.mark.parametrize("top", [*TERMINAL, *LLDB, *HOME])
def test_a_top_folder_that_no_dump_has_is_refused(path, refused, top):
    """It would be part of each path that is shown, of a command line, or the reader's settings."""
    path.write_bytes(encode(top, [], 0))

    refused(path, "name of the top folder", at_once=True)


@pytest.mark.parametrize("name", ["bin/python\nplatform shell touch pwned", "bin/`40+2`"])
@pytest.mark.parametrize("lldb", [[], ["--lldb"]])
def test_an_executable_whose_path_is_a_command_is_refused(path, command, write_bundle, lldb, name):
    """LLDB takes the lines of its options for commands, and evaluates what is in backticks."""
    manifest = {"process": {"executable": {"path": f"/{name}"}}}
    write_bundle(path, {"manifest.json": json.dumps(manifest).encode(), name: b""})

    code, out, err = command(path, "open", "--print", *lldb)

    assert (code, out) == (8, "")
    assert "has control characters or backticks" in err


def test_a_folder_whose_path_is_a_command_of_lldb_is_refused(tmp_path, command, write_bundle):
    """It is the reader's own choice."""
    manifest = {"process": {"executable": {"path": "/bin/python"}}}
    files = {"manifest.json": json.dumps(manifest).encode(), "bin/python": b"", "core": b""}
    (tmp_path / "a`40+2`").mkdir()
    with BundleReader(write_bundle(tmp_path / "b.tar.gz", files)) as bundle:
        folder = extract(bundle, tmp_path / "a`40+2`")

    assert command(folder, "open", "--print")[0] == 0
    assert command(folder, "open", "--print", "--lldb")[:2] == (8, "")


@pytest.mark.parametrize(("words", "expected"), [(["stacks"], 3), (["heap"], 8)])
def test_a_missing_core_is_reported(path, command, write_bundle, words, expected):
    """It may have been left out of a sound bundle."""
    code, _, err = command(write_bundle(path, {"manifest.json": MANIFEST}), *words)

    assert code == expected
    assert "the core is missing" in err


def test_the_name_of_the_file_itself_is_escaped(tmp_path, command, write_bundle):
    """It stands in messages, and whoever sent the bundle chose it."""
    path = write_bundle(tmp_path / "a\x1b[2J\n\u202e.tar.gz", {"a": b""})

    for words in (["verify"], *OTHERS):
        code, _, err = command(path, *words)
        assert code == 8
        assert "a\\x1b[2J\\n\\u202e.tar.gz: 'manifest.json' not found in the bundle" in err


def test_a_path_that_is_no_text_is_quoted_for_the_shell(path, command, write_bundle):
    """Directories have names in old encodings."""
    manifest = {"process": {"executable": {"path": "/\udce9/python"}}}
    write_bundle(path, {"manifest.json": json.dumps(manifest).encode(), "\udce9/python": b""})

    code, out, _ = command(path, "open", "--print")

    words = ["bash", "-c", f"printf %s {out.split()[-3]}"]
    told = subprocess.run(words, capture_output=True, check=True)
    assert code == 0
    assert told.stdout.endswith(b"/\xe9/python")


@gzip_only
def test_a_giant_header_is_not_read(path, refused, version):
    """A pax header may have any size; ours have some hundred bytes."""
    info = header("a", pax_headers={"comment": "x" * (1 << 20)})
    refused(forge(path, [(info, b"")], version=version), "pax header of|not of the length")


@gzip_only
@pytest.mark.parametrize(
    "table",
    [
        b"",
        b"[]",
        b"{}",
        b"null",
        b"nonsense",
        b'{"top": 1, "members": []}',
        b'{"top": "a/b", "members": []}',
        b'{"top": "t", "members": [{}]}',
        b'{"top": "t", "members": [{"path": "a", "size": "1", "offset": 0}]}',
        b'{"top": "t", "members": [{"path": "a", "size": 1.5, "offset": 0}]}',
        b'{"top": "t", "members": [{"path": "a", "size": 1, "offset": 0, "more": 1}]}',
        b'{"top": "t", "members": 5}',
        b"[" * 100_000,
        9 << 20,
    ],
    ids=range(14),
)
def test_a_table_of_wrong_types_is_refused(path, refused, monkeypatch, table):
    """Whatever JSON it is, however deep; or so many spaces, which are more than one may have."""
    if isinstance(table, int):
        table = b" " * table
    with monkeypatch.context() as changed:
        changed.setattr(contents.json, "dumps", lambda _: table.decode())
        path.write_bytes(encode(TOP, [], 0))

    refused(path, "table of contents|top folder", at_once=True)


@pytest.fixture(scope="module")
def sound(tmp_path_factory, write_bundle, codec):
    """Write a bundle of some gzip members; return its bytes."""
    path = tmp_path_factory.mktemp("sound") / f"bundle.{codec.extension}"
    noise = random.Random(2).randbytes(5000)
    return write_bundle(path, {"data": noise, "manifest.json": MANIFEST}).read_bytes()


def boundaries(data, codec):
    """Return where frames begin, and those that nobody sees."""
    found, at = [], 0
    while at < len(data):
        found.append(at)
        at += FRAME_SIZES[codec](data[at:])
    return found


def gzip_member_size(data):
    """Return how long the gzip member is that these bytes begin with."""
    decompressor = zlib.decompressobj(wbits=31)
    decompressor.decompress(data)
    return len(data) - len(decompressor.unused_data)


FRAME_SIZES = {
    GZIP: gzip_member_size,
    ZSTD: lambda data: zstd_library().get_frame_size(data),
}


def test_cut_off_at_any_frame_it_is_not_a_bundle(path, refused, sound, codec):
    """There, an ordinary reader notices nothing."""
    assert len(boundaries(sound, codec)) == 7
    for length in boundaries(sound, codec):
        path.write_bytes(sound[:length])
        refused(path, "table of contents|neither a bundle nor a core", at_once=True)


@anywhere
@given(length=st.integers(min_value=0, max_value=5000))
def test_cut_off_anywhere_it_is_not_a_bundle(path, refused, sound, length):
    """A file that was still being copied, for instance."""
    path.write_bytes(sound[:length])

    refused(path, "table of contents|neither a bundle nor a core", at_once=True)


@anywhere
@given(place=st.integers(min_value=0, max_value=5500), value=st.integers(1, 255))
def test_a_changed_byte_is_noticed_or_changes_nothing(path, command, sound, place, value):
    """Some bytes of a gzip header mean nothing to anybody."""
    data = bytearray(sound)
    data[place % len(data)] ^= value
    path.write_bytes(data)

    try:
        with BundleReader(path) as bundle, bundle.open("data") as data:
            found = data.read(), bundle.manifest()
            checks = verify(bundle)
    except IntegrityError:
        assert command(path, "verify")[0] == 8
        is_elsewhere = command(path, "extract")[0] == 0  # only verify looks between the files
        for words in OTHERS if is_elsewhere else (*WHOLE, *OTHERS):
            command(path, *words)
        return
    assert found == (random.Random(2).randbytes(5000), json.loads(MANIFEST))
    assert checks[0].ok


@gzip_only
@anywhere
@given(noise=st.binary(max_size=200), beginning=st.sampled_from([b"", b"\x1f\x8b"]))
def test_noise_is_not_a_bundle(path, refused, noise, beginning):
    """However short, and where it begins as one does; test_opening.py has ELF and zstd."""
    assume(beginning or not noise.startswith((b"\x7fELF", b"\x28\xb5\x2f\xfd")))
    path.write_bytes(beginning + noise)

    refused(path, "table of contents|neither a bundle nor a core", at_once=True)


@pytest.mark.parametrize(
    "manifest",
    [b"", b"[]", b"nonsense", b"[" * 100_000, b"\xff", b'{"a":' * 300 + b"0" + b"}" * 300],
    ids=range(6),
)
def test_a_manifest_that_is_no_json_object_is_refused(path, command, manifest, write_bundle):
    """Also one that is nested without end. Only `extract` does not read it."""
    write_bundle(path, {"manifest.json": manifest})

    for words in (*WHOLE, *OTHERS):
        code, _, err = command(path, *words)
        if words == ["extract"]:
            assert code == 0
        else:
            assert code == 8, words
            assert re.search("not JSON|not a JSON object|levels deep", err)
