"""What reading costs when the input grows: ``python -m tests.fuzzing.growth``.

Each function returns an input of *n* parts: its size in bytes, and a function that reads it.
`work` counts what the call does, which depends on no machine; the table has CPU time, as ratios.
"""

import contextlib
import gzip
import io
import json
import platform
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

from tests.fuzzing import bundles, cores

import gencore
from gencore._elf_identity import build_id_of
from gencore.bundle.codecs import GZIP
from gencore.bundle.contents import read_contents
from gencore.bundle.manifest import parse_manifest
from gencore.bundle.reader import BundleReader
from gencore.bundle.source_lines import SourceLines
from gencore.bundle.stream import _SequentialStream
from gencore.bundle.tar_header import read_header
from gencore.bundle.verification import verify
from gencore.corefile import CoreFile
from gencore.errors import IntegrityError
from gencore.html_report import render

COUNTED = str(Path(gencore.__file__).parent)
PAGE = cores.PAGE
KEPT = bytes(1 << 20)
"""So much of a core is kept in memory, and can be read again."""


def _read_core(data):
    with CoreFile(io.BytesIO(data)) as core:
        return core.why_incomplete(), core.build_ids, core.thread_ids, core.recorded_threads


def mapped_files(n):
    """NT_FILE with a row for each of *n* files, all of one page."""
    rows = [(0x10000, 0x10000 + PAGE, 0, b"/%d" % number) for number in range(n)]
    data = cores.core(cores.threads(7) + cores.files_note(rows), [cores.library()])
    return len(data), lambda: _read_core(data)


def images_that_overlap(n):
    """*n* rows, each of a page that begins four bytes behind the one before it."""
    rows = [(0x10000 + 4 * k, 0x10000 + 4 * k + (1 << 16), 0, b"/%d" % k) for k in range(n)]
    image = b"\x7fELF" * (n + (1 << 14))
    data = cores.core(cores.threads(7) + cores.files_note(rows), [image])
    return len(data), lambda: _read_core(data)


def pages_in_reverse(n):
    """A packed core with *n* files whose order in it is not that of their addresses."""
    base = 0x10000
    rows = [(base + 16 * PAGE * k, base + 16 * PAGE * k + PAGE, 0, b"/%d" % k) for k in range(n)]
    notes = cores.threads(7) + cores.files_note(rows)
    data = cores.core(notes, [KEPT, *[cores.library()] * n], reverse=True)
    return _verified({"core": data, "manifest.json": b"{}"})


def notes_in_reverse(n):
    """A packed core with *n* program headers to notes, from the last to the first."""
    note = cores.note(b"", 0, b"")
    first = 64 + cores.PHDR.size * n + len(KEPT)
    places = [first + len(note) * k for k in reversed(range(n))]
    heads = [cores.PHDR.pack(cores.PT_NOTE, 0, at, 0, 0, len(note), 0, 4) for at in places]
    data = cores.ehdr(cores.ET_CORE, n) + b"".join(heads) + KEPT + note * n
    return _verified({"core": data, "manifest.json": b"{}"})


def notes_of_notes(n):
    """An ELF file with *n* program headers, each to the same *n* notes."""
    notes = cores.note(b"", 0, b"") * n
    at = 64 + cores.PHDR.size * n
    segment = cores.PHDR.pack(cores.PT_NOTE, 4, at, at, 0, len(notes), len(notes), 4)
    data = cores.ehdr(cores.ET_DYN, n) + segment * n + notes
    return len(data), lambda: build_id_of(data)


def listed_threads(n):
    """*n* rows of our own note."""
    data = cores.core(cores.note(b"GENCORE\0", 0x47435231, b"thread 7 exact x\n" * n))
    return len(data), lambda: _read_core(data)


def gzip_members(n):
    """*n* gzip members without data."""
    data = gzip.compress(b"", mtime=0) * n
    return len(data), lambda: _SequentialStream(io.BytesIO(data), 0, len(data)).read_or_end(1)


def pax_records(n):
    """A pax header of *n* records."""
    records = b"15 path=xxxxxx\n" * n
    info = tarfile.TarInfo("pax")
    info.type, info.size = b"x", len(records)
    data = info.tobuf(tarfile.USTAR_FORMAT) + records + bytes(-len(records) % 512)
    data += bundles.header("x")
    return len(data), lambda: read_header(io.BytesIO(data).read)


def deep_paths(n):
    """A table with *n* files in a hundred folders each."""
    rows = [{"path": f"{k}/{'d/' * 100}f", "size": 0, "offset": k} for k in range(n)]
    table = json.dumps({"version": 1, "top": bundles.TOP, "members": rows}).encode()
    data = GZIP.magic + bytes(n) + bundles.framed(table, n + len(GZIP.magic))
    return len(table), lambda: read_contents(io.BytesIO(data))


def members(n):
    """A bundle of *n* empty files."""
    return _verified({**{f"f{k}": b"" for k in range(n)}, "manifest.json": b"{}"})


def names_of_one_source(n):
    """A stack of *n* frames, each of which names the same file in another way."""
    files = [f"/{k:09}/../a.py" for k in range(n)]
    frames = [{"function": "f", "file": file, "line": 1} for file in files]
    manifest = {"threads": [{"python": {"frames": frames}}]}
    path = _written({"a.py": b"\n" * 10_000, "manifest.json": b"{}"})

    def read():
        with BundleReader(path) as bundle:
            SourceLines(bundle).of_stacks(manifest)

    return sum(map(len, files)), read


def rows_in_the_report(n):
    """A manifest with *n* rows that are not objects in each list."""
    lists = ("threads", "libraries", "memory")
    data = json.dumps(dict.fromkeys(lists, [0] * n)).encode()
    return len(data), lambda: render(parse_manifest(data))


def deep_json(n):
    """A manifest that is nested *n* times as deep."""
    data = b'{"a":' * n + b"0" + b"}" * n
    return len(data), lambda: parse_manifest(data)


def digits(n):
    """A manifest with a number of *n* digits."""
    data = b'{"core": {"size": ' + b"9" * n + b"}}"
    return len(data), lambda: render(parse_manifest(data))


def _written(files):
    path = Path(tempfile.mkdtemp(prefix="gencore-growth-")) / f"{bundles.TOP}.tar.gz"
    path.write_bytes(bundles.make(files).build())
    return path


def _verified(files):
    path = _written(files)

    def read():
        with BundleReader(path) as bundle:
            verify(bundle)

    return sum(bundles.BLOCK + len(data) for data in files.values()), read


KINDS = {
    mapped_files: 50_000,
    images_that_overlap: 40_000,
    pages_in_reverse: 1_000,
    notes_in_reverse: 15_000,
    notes_of_notes: 1_500,
    listed_threads: 50_000,
    gzip_members: 20_000,
    pax_records: 1_000,
    deep_paths: 5_000,
    members: 2_000,
    names_of_one_source: 10_000,
    rows_in_the_report: 10_000,
    deep_json: 20_000,
    digits: 500_000,
}
"""With the number of parts that the table begins with."""


def work(read):
    """Return how many lines a call runs, and 64ths of bytes that functions of gencore return."""
    done = 0

    def count(frame, event, value):
        nonlocal done
        if not frame.f_code.co_filename.startswith(COUNTED):
            return None
        done += event == "line"
        if event == "return" and isinstance(value, bytes):
            done += len(value) // 64
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        with contextlib.suppress(IntegrityError):
            read()
    finally:
        sys.settrace(before)
    return done


def _measure(name, n):
    """Print CPU time and memory of inputs of n, 2 n and 4 n parts, in a process for them alone."""
    rows = []
    for times in (1, 2, 4):
        _, read = globals()[name](n * times)
        before, begun = _peak(), time.process_time()
        try:
            read()
            end = "read"
        except IntegrityError:
            end = "refused"
        rows.append((time.process_time() - begun, (_peak() - before) >> 20, end))
    print(json.dumps(rows))


def _peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def main():
    """Print a table, each line of which compares inputs of n, 2 n and 4 n parts."""
    print(f"{platform.machine()}, Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}")
    print(f"{'input':22}{'n':>9}{'seconds':>9}{'2 n':>7}{'4 n':>7}{'MiB, 4 n':>10}  4 n are")
    for kind, n in KINDS.items():
        words = [sys.executable, "-m", "tests.fuzzing.growth", kind.__name__, str(n)]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        (one, *_), (two, *_), (four, memory, end) = json.loads(done.stdout)
        ratios = f"{one:9.2f}{two / one:6.1f}x{four / one:6.1f}x"
        name = kind.__name__.replace("_", " ")
        print(f"{name:22}{n:9,}{ratios}{memory:10,}  {end}", flush=True)


if __name__ == "__main__":
    _measure(sys.argv[1], int(sys.argv[2])) if sys.argv[1:] else main()
