"""Writes the corpus: ``python -m tests.fuzzing.seeds``. A name says what the file is, or hides.

Files in a folder of the corpus are of one kind. Each fault that a reader had has one.
"""

import json
import tarfile
from functools import partial
from pathlib import Path

from tests.fuzzing import bundles, cores

from gencore.bundle.codecs import CODECS, GZIP, ZSTD

CORPUS = Path(__file__).with_name("corpus")
MANIFEST = {
    "schema_version": "1.2",
    "name": bundles.TOP,
    "created_at": "2026-01-01T00:00:00.000000Z",
    "status": {
        "result": "partial",
        "pause_ms": 2.5,
        "stages": [{"name": "pause", "duration_ms": 2.5}, {"name": "core", "duration_ms": 9.1}],
        "failed": [{"part": "libraries", "reason": "unreadable"}],
        "skipped": [{"part": "/dev/shm/x", "reason": "not a file"}],
        "warnings": ["slow disk"],
    },
    "tool": {"name": "gencore", "backend": {"name": "linux-elf", "method": "clone"}},
    "process": {
        "pid": 7,
        "title": "python app.py",
        "argv": ["python", "app.py"],
        "executable": {"path": "/bin/python", "name": "python"},
        "limits": {"nofile": {"soft": 1024, "hard": None}, "core": {"soft": 0, "hard": 0}},
    },
    "runtime": {"version": "3.11.7", "implementation": "cpython", "flags": {"debug": 0}},
    "core": {"size": 9000, "threads": 2, "content": "full", "load_segments": 2},
    "threads": [
        {
            "tid": 7,
            "name": "python",
            "registers": "exact",
            "python": {
                "name": "MainThread",
                "frames": [{"function": "main", "file": "/app.py", "line": 1}],
            },
        },
        {"tid": 8, "name": "worker", "registers": "partial", "reason": "in a system call"},
    ],
    "memory": [
        {"start": "0x10000", "size": 4096, "kind": "code", "path": "/bin/python"},
        {"start": "0x20000", "size": 8192, "kind": "anonymous"},
    ],
    "libraries": [{"path": "/bin/python", "status": "ok", "size": 4096, "build_id": "6e" * 20}],
    "files": [
        {"name": "core", "sha256": None, "tree_sha256": None, "size": 9556},
        {"name": "bin/python", "sha256": None, "tree_sha256": None},
        {"name": "app.py", "sha256": "0" * 64, "tree_sha256": "0" * 64},
    ],
    "annotations": {"service": "orders"},
    "environment": {"allowed": {"LANG": "C"}, "redacted": 3},
}
TEXT = json.dumps(MANIFEST).encode()
FILES = {
    "core": cores.sound(),
    "bin/python": cores.library(b"n" * 20),
    "lib/libc.so.6": cores.library(b"6" * 20),
    "app.py": b"main()\n",
    "manifest.json": TEXT,
}
SMALL = {"a": b"a", "manifest.json": b'{"process": {"executable": {"path": "/a"}}}'}


def sound_bundles(codec):
    """Yield bundles that `verify` reads to the end."""
    make = partial(bundles.make, codec=codec)
    yield "sound", make(FILES)
    yield "two-blocks", make({**FILES, "zeros": bytes((1 << 20) + 1)})
    yield "notes-at-the-end", make({**FILES, "core": cores.sound(notes_last=True)})
    yield "empty-file", make({"empty": b"", **SMALL})
    names = {
        "l/" + "x" * 200: b"1",
        "\u00e4/\u20ac": b"2",
        "\udce4\n'": b"3",
        "d/" * 127 + "f": b"",
    }
    yield "names-that-need-pax", make({**names, **SMALL})
    yield "zeros", make({"core": bytes(1 << 20), **SMALL})
    if codec is GZIP:
        yield "sound-version-1", make(FILES, 1)
        cut = make(FILES, 1)
        for file in cut.files:
            file.pieces = 5
        yield "many-gzip-members", cut


def forged_bundles(codec):
    """Yield bundles with what a reader once took, or what another reader takes."""
    yield from _forged_frames(codec)
    if codec is ZSTD:
        yield from _odd_frames()
        return
    yield from _forged_headers()
    yield from _forged_offsets()


def _forged_headers():
    for name, fields in FORGED_HEADERS.items():
        whole = bundles.make(SMALL)
        whole.files[0].head = _header(**fields)
        if name in SAME_PATH:
            path = fields.get("pax", {}).get("path", fields["name"])
            whole.files[0].row["path"] = path.partition("/")[2]
        yield name, whole


def _forged_offsets():
    """Yield what only a table of version 1 can say."""
    frame = bundles.Bundle([], {}).frame
    hidden = frame(bundles.header("a", 7) + b"hidden!".ljust(512, b"\0"))
    genuine = {"manifest.json": SMALL["manifest.json"], "a": b"genuine"}
    for name, before in {
        "hidden-in-an-extra-field": GZIP.hide(b"XX", hidden),
        "hidden-in-a-stored-block": frame(bundles.header("b", 512) + hidden.ljust(512, b"\0"), 0),
        "hidden-in-a-gap": hidden,
    }.items():
        whole = bundles.make(genuine, 1)
        whole.files[1].before, whole.files[1].at = before, before.index(hidden)
        yield name, whole
    inner = frame(bundles.header("b"))
    overlapping = bundles.make({"outer": inner, **SMALL}, 1)
    outer = overlapping.files[0]
    outer.level = 0
    place = b"".join(overlapping.compressed(outer))
    inside = bundles.File(b"", b"", {"path": "b", "size": 0}, at=place.index(inner) - len(place))
    overlapping.files.insert(1, inside)
    yield "overlapping", overlapping


def _forged_frames(codec):
    """Yield what has a frame too many or too few, or a wrong one."""
    make = partial(bundles.make, codec=codec)
    frame = make({}).frame

    def changed(file=None, **parts):
        whole = make(SMALL)
        if file is not None:
            whole.files.insert(1, file)
        for name, value in parts.items():
            setattr(whole.files[1] if name in {"before", "row"} else whole, name, value)
        return whole

    yield "two-files-of-one-name", changed(bundles.make_file("a", b"b"))
    yield "two-files-of-one-name-one-told", changed(bundles.make_file("a", b"b"), row=None)
    yield "a-file-that-is-a-folder", changed(bundles.make_file("a/b", b"b"))
    yield "zeros-in-the-middle", changed(before=frame(bytes(1024)))
    yield "one-zero-block-in-the-middle", changed(before=frame(bytes(512)))
    yield "an-empty-frame", changed(before=frame(b""))
    second = bundles.header("second") + bytes(1024)
    yield "hidden-in-bytes-that-are-skipped", changed(before=codec.hide(b"XX", frame(second)))
    yield "a-second-archive", changed(end=bytes(1024) + second)
    yield "data-behind-the-end", changed(end=bytes(1024) + b"x")
    yield "no-end", changed(end=b"")
    yield "one-block-as-the-end", changed(end=bytes(512))
    yield "bytes-before-the-table", changed(between=frame(second))
    yield "bytes-before-the-trailer", changed(gap=frame(second))
    yield "bytes-behind-the-table", changed(behind=b"x")
    listed = {"files": [{"name": "a", "sha256": [], "tree_sha256": {}}]}
    yield "hash-that-is-a-list", make({**SMALL, "manifest.json": bundles.as_json(listed)})
    yield "unknown-version", changed(table={"version": 99, "top": bundles.TOP})


def _odd_frames():
    """Yield frames of zstd that no bundle has."""
    for name, options in {
        "no-check-sum": {"checksum_flag": 0},
        "no-size": {"content_size_flag": 0},
    }.items():
        whole = bundles.make(SMALL, codec=ZSTD)
        whole.options = options
        yield name, whole
    yield "version-1", bundles.make(SMALL, 1, ZSTD)


SAME_PATH = {
    "not-utf-8",
    "pax-path-not-utf-8",
    "signed-check-sum",
    "slash-at-the-end",
    "dot-dot",
    "two-slashes",
}
"""Forged headers whose name is in the table too."""
FORGED_HEADERS = {
    "pax-size": {"pax": {"size": "1"}, "size": 512},
    "pax-size-of-letters": {"pax": {"size": "1"}, "fields": {"size": b"ustar "}},
    "pax-path": {"pax": {"path": f"{bundles.TOP}/a"}, "name": "other"},
    "pax-path-not-utf-8": {"pax": {"path": f"{bundles.TOP}/\udce4"}, "name": "other"},
    "pax-path-twice": {"pax": {"path": "x", "path ": "y"}},
    "pax-sparse": {"pax": {"GNU.sparse.map": "0,1", "GNU.sparse.size": "1"}},
    "pax-global": {"pax": {"path": "x"}, "pax_type": b"g"},
    "gnu-long-name": {"pax_type": b"L", "pax": {}, "long": f"{bundles.TOP}/a\0"},
    "gnu-sparse": {"type": b"S"},
    "symbolic-link": {"type": b"2", "linkname": "/etc/passwd"},
    "hard-link": {"type": b"1", "linkname": "/etc/passwd"},
    "device": {"type": b"3"},
    "folder": {"type": b"5"},
    "old-regular-file": {"type": b"\0"},
    "contiguous-file": {"type": b"7"},
    "dot-slash": {"name": f"./{bundles.TOP}/a"},
    "two-slashes": {"name": f"{bundles.TOP}//a"},
    "dot-dot": {"name": f"{bundles.TOP}/x/../a"},
    "slash-at-the-end": {"name": f"{bundles.TOP}/a/"},
    "absolute": {"name": f"/{bundles.TOP}/a"},
    "not-utf-8": {"name": f"{bundles.TOP}/\udce4"},
    "prefix-without-name": {"prefix": f"{bundles.TOP}/a", "name": ""},
    "size-in-base-256": {"fields": {"size": b"\x80" + bytes(10) + b"\1"}},
    "mode-that-is-no-number": {"fields": {"mode": b"xxxxxxx\0"}},
    "time-in-base-256": {"fields": {"mtime": b"\x80" + bytes(10) + b"\1"}},
    "device-that-is-no-number": {"fields": {"devmajor": b"0 0\0\0\0\0\0"}},
    "gnu-magic": {"fields": {"magic": b"ustar ", "version": b" \0"}},
    "no-magic": {"fields": {"magic": bytes(6), "version": bytes(2)}},
    "spaces-around-the-size": {"fields": {"size": b"         1 \0"}},
    "signed-check-sum": {"name": f"{bundles.TOP}/\udce4\udce4", "signed": True},
    "star-padding": {"fields": {"padding": bytes(8) + b"tar\0"}},
}


def _header(
    name=f"{bundles.TOP}/a",
    *,
    size=1,
    prefix="",
    fields=None,
    pax=None,
    pax_type=b"x",
    long="",
    signed=False,
    **more,
):
    from tests.fuzzing.mutations import FIELDS

    info = tarfile.TarInfo(name)
    info.size = size
    for key, value in more.items():
        setattr(info, key, value)
    block = bytearray(info.tobuf(tarfile.USTAR_FORMAT, errors="surrogateescape"))
    block[: len(name)] = name.encode(errors="surrogateescape")
    fields = {**({"prefix": prefix.encode()} if prefix else {}), **(fields or {})}
    for key, value in fields.items():
        begin, end = FIELDS[key]
        block[begin:end] = value.ljust(end - begin, b"\0")
    block = bytearray(bundles.with_checksum(block))
    if signed:
        total = sum(byte - 256 * (byte > 127) for byte in block[:148] + b" " * 8 + block[156:])
        block[148:156] = b"%06o\0 " % total
    if pax is None:
        return bytes(block)
    records = b"".join(_record(key, value) for key, value in pax.items()) or long.encode()
    first = tarfile.TarInfo("pax")
    first.type, first.size = pax_type, len(records)
    return first.tobuf(tarfile.USTAR_FORMAT) + records + bytes(-len(records) % 512) + bytes(block)


def _record(key, value):
    body = f" {key}={value}\n".encode(errors="surrogateescape")
    return str(len(body) + 2).encode() + body


def raw_cores():
    """Yield cores: sound ones, and what made a reader work without end."""
    page, notes = cores.PAGE, cores.threads(7)
    yield "sound", cores.sound()
    yield "notes-at-the-end", cores.sound(notes_last=True)
    names = [b"/" * n + b"x" for n in range(1, 40)]
    one_page = [(0x10000, 0x10000 + page, 0, name) for name in names]
    yield (
        "one-page-of-many-files",
        cores.core(notes + cores.files_note(one_page), [cores.library()]),
    )
    backwards = [(0x10000 * (9 - n), 0x10000 * (9 - n) + page, 0, b"/%d" % n) for n in range(8)]
    yield (
        "files-in-reverse",
        cores.core(notes + cores.files_note(backwards), [cores.library()] * 8),
    )
    yield "too-many-files", cores.core(notes + cores.files_note([], count=1 << 60))
    yield "no-thread", cores.core(cores.files_note([]))
    yield "threads-without-names", cores.core(cores.note(b"GENCORE\0", 0x47435231, b"\n" * 500))
    whole = bytearray(cores.sound())
    whole[56:58] = b"\xff\xff"
    yield "count-in-a-section", bytes(whole)
    yield "notes-of-notes", cores.core(cores.note(b"", 0, b"") * 300, [_repeated_notes()])


def _repeated_notes():
    """Return an ELF file whose program headers all lead to the same notes."""
    count, notes = 20, cores.note(b"", 0, b"") * 200
    at = 64 + cores.PHDR.size * count
    segment = cores.PHDR.pack(cores.PT_NOTE, 4, at, at, 0, len(notes), len(notes), 4)
    return cores.ehdr(cores.ET_DYN, count) + segment * count + notes


def manifests():
    """Yield manifests."""
    yield "sound", TEXT
    yield "empty", b"{}"
    yield "deep", b'{"threads":' + b"[" * 98 + b"]" * 98 + b"}"
    yield "too-deep", b'{"a":' * 300 + b"0" + b"}" * 300
    yield "digits", b'{"core": {"size": ' + b"9" * 5000 + b"}}"
    yield "rows-of-nothing", json.dumps(dict.fromkeys(MANIFEST, [0] * 200)).encode()
    yield "other-types", json.dumps({key: [[value]] for key, value in MANIFEST.items()}).encode()


def tables():
    """Yield tables of contents, as JSON."""
    row = {"path": "a", "size": 1, "offset": 0, "sha256": None}
    table = {"version": 1, "top": bundles.TOP, "members": [row]}
    yield "sound", json.dumps(table).encode()
    yield "many-rows", json.dumps({**table, "members": [row] * 100}).encode()
    two = bundles.make({"a": b"a"})
    rows = [{**file.row, **two.places(file, 0)} for file in two.files]
    yield "blocks", json.dumps({**two.table, "members": rows}).encode()
    folders = [{**row, "path": f"{n}/" + "d/" * 126 + "f"} for n in range(30)]
    yield "many-folders", json.dumps({**table, "members": folders}).encode()


def headers():
    """Yield tar headers."""
    for name, fields in FORGED_HEADERS.items():
        yield name, _header(**fields)
    yield "sound", bundles.header("a")
    yield "slow-pax", _header(pax={}, long="9" * 400)


def elf_files():
    """Yield ELF files."""
    yield "sound", cores.library()
    yield "notes-of-notes", _repeated_notes()


def built_bundles():
    """Yield the bytes of all bundles, as files."""
    for codec in CODECS:
        for name, whole in (*sound_bundles(codec), *forged_bundles(codec)):
            yield f"{name}.{codec.extension}", whole.build()


def _named(ending, make):
    return lambda: ((f"{name}.{ending}", data) for name, data in make())


KINDS = {
    "bundle": built_bundles,
    "core": _named("core", raw_cores),
    "manifest": _named("json", manifests),
    "table": _named("json", tables),
    "header": _named("tar", headers),
    "image": _named("elf", elf_files),
}
"""What yields the files of each folder, by their names."""


def main():
    """Write every file."""
    for kind, make in KINDS.items():
        folder = CORPUS / f"{kind}s"
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in make():
            (folder / name).write_bytes(data)


if __name__ == "__main__":
    main()
