"""Runs the readers' functions on a case in this process, and checks what they may do.

They may return, or raise a `GencoreError`; take so much CPU time and memory; and write only below
the folder that they were given, which is empty again if they raise.
"""

import contextlib
import io
import os
import resource
import signal
import tempfile
import time
from pathlib import Path

from tests.fuzzing import bundles, rule

from gencore._elf_identity import build_id_of, read_identity
from gencore.bundle.codecs import CODECS
from gencore.bundle.contents import read_contents
from gencore.bundle.extraction import extract
from gencore.bundle.manifest import parse_manifest
from gencore.bundle.reader import BundleReader
from gencore.bundle.source_lines import SourceLines
from gencore.bundle.tar_header import read_header
from gencore.bundle.verification import verify
from gencore.corefile import CoreFile
from gencore.errors import GencoreError
from gencore.html_report import render

OUTSIDE = Path("/tmp/gencore-fuzz-outside")
"""Where absolute names of the corpus lead to."""


class Finding(Exception):
    """A reader did what it may not do."""


class _TooLong(BaseException):
    """The time is over."""


def check(case):
    """Let all readers of its kind read a case; return what they said. Raises `Finding`."""
    allowed = rule.seconds(case.data, shown=case.kind == "manifest")
    with tempfile.TemporaryDirectory(prefix="gencore-fuzz-") as folder, limited_memory():
        return [_outcome(read, case, Path(folder), allowed) for read in READERS[case.kind]]


def _outcome(read, case, folder, allowed):
    name = read.__name__.strip("_")
    begun = time.process_time()
    try:
        with limited_time(allowed):
            read(case.data, folder)
        said = "read"
    except GencoreError as error:
        said = f"{type(error).__name__}: {error.message}"
    except _TooLong:
        raise Finding(f"{name}: more than {allowed:.1f} s of CPU time") from None
    except BaseException as error:
        raise Finding(f"{name}: {type(error).__name__}: {error}") from error
    if (took := time.process_time() - begun) > allowed:
        raise Finding(f"{name}: {took:.1f} s of CPU time; {allowed:.1f} are allowed")
    if OUTSIDE.exists():
        raise Finding(f"{name}: a file outside the folder")
    return f"{name}: {said}"


@contextlib.contextmanager
def limited_time(seconds):
    """Interrupt what takes more CPU time."""

    def interrupt(*_):
        raise _TooLong

    before = signal.signal(signal.SIGVTALRM, interrupt)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


@contextlib.contextmanager
def limited_memory():
    """Let this process grow by so much, and no more."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + rule.MEMORY, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _write(data, folder):
    path = folder / bundles.file_name(data)
    path.write_bytes(data)
    return path


def _verify(data, folder):
    with BundleReader(_write(data, folder)) as bundle:
        verify(bundle)


def _extract(data, folder):
    watched = folder / "watched"
    target = watched / "a" / "b" / "c"
    target.mkdir(parents=True)
    try:
        with BundleReader(_write(data, folder)) as bundle:
            extract(bundle, target)
    except GencoreError:
        if left := os.listdir(target):
            raise AssertionError(f"left behind: {left}") from None
        raise
    finally:
        if os.listdir(watched) != ["a"] or os.listdir(watched / "a/b") != ["c"]:
            raise AssertionError("a file outside the folder")
    if (used := rule.disk_usage(target)) > rule.disk(data):
        raise AssertionError(f"{used:,} bytes on the disk")


def _open_members(data, folder):
    with BundleReader(_write(data, folder)) as bundle:
        for member in bundle.members:
            with contextlib.suppress(GencoreError), bundle.open(member.path) as file:
                file.read()


def _show_manifest(data, folder):
    with BundleReader(_write(data, folder)) as bundle:
        manifest = bundle.manifest()
        render(manifest, SourceLines(bundle).of_stacks(manifest))


def _parse_manifest(data, _):
    render(parse_manifest(data))


def _read_core(data, _):
    with CoreFile(io.BytesIO(data)) as core:
        facts = (core.why_incomplete(), core.thread_ids, core.recorded_threads, core.build_ids)
        return facts, core.end_of_headers, core.end_of_notes, core.counts_at_end


def _read_table(data, _):
    for codec in CODECS:
        read_contents(io.BytesIO(bundles.table_file(data, codec)))


def _read_header(data, _):
    file = io.BytesIO(data)

    def exactly(size):
        found = file.read(size)
        if len(found) < size:
            raise GencoreError("truncated")
        return found

    read_header(exactly)


def _build_id(data, _):
    build_id_of(data)


def _identity(data, _):
    read_identity(io.BytesIO(data))


READERS = {
    "bundle": (_verify, _extract, _open_members, _show_manifest),
    "core": (_read_core,),
    "manifest": (_parse_manifest,),
    "table": (_read_table,),
    "header": (_read_header,),
    "image": (_build_id, _identity),
}
