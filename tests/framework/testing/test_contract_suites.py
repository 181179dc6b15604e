"""The published suites tell a bad plug-in which rule it breaks."""

import re
from pathlib import Path

import pytest

import gencore.testing

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.timeout(300)  # a whole pytest each, which some rules give megabytes

SUITE = """
import os, threading, time, sys
from pathlib import Path
import pytest
import gencore
from gencore import Artifact, Backend, Reason, Verdict
from gencore.testing import BackendContract, CollectorContract, SimulatedBackend
from gencore.testing import DestinationContract, FilterContract

class Good(gencore.Collector):
    "Makes nothing."
    name = "good"
    api_version = (1, 0)
    def finish(self, dump): return []

"""
COLLECTOR = """
class TestIt(CollectorContract):
    @pytest.fixture
    def collector(self): return Bad
"""
BACKEND = """
class TestIt(BackendContract):
    {claim}
    @pytest.fixture
    def backend(self): return Bad()
"""
CHECKS = """
import subprocess
async def never_awaited(): pass
class Bad(Good):
    "Checks itself."
    def check(self): return {}
"""
FINISHES = """
import subprocess
class Bad(Good):
    "Leaves something."
    def finish(self, dump): {}
"""
LEAKS = """
class Bad(Good, gencore.CoreSink):
    "Keeps a descriptor."
    file = None
    def begin(self, dump):
        self.file = os.open(os.devnull, os.O_RDONLY)
        return self
    def write(self, chunk): pass
    def finish(self, dump):
        if self.file is not None:
            os.close(self.file)
        return []
"""
OPENS_A_FILE = """
class Bad(Good):
    "Does something slow inside the pause."
    def observe(self, process): open(os.devnull).close()
"""
OBSERVES_LATER = """
class Bad(Good):
    "Is never awaited."
    async def observe(self, process): pass
"""
WRITES_BESIDE = """
class Bad(Good):
    "Writes where it happens to be."
    def finish(self, dump): Path("x").write_text("")
"""
NEEDS_A_CORE = """
class Bad(Good):
    "Forgets that there may be none."
    def finish(self, dump): return [][:dump.core.size]
"""
NOT_EVEN_THE_SAME = """
    answers = [Verdict.yes(), Verdict.no(Reason("no"))] * 9
    def probe(self, request): return self.answers.pop()
"""
MAPPED_FILES = "capabilities = frozenset({'dump', 'mapped-files'})"
SNAPSHOT = """
    def snapshot(self, request, output, *, to_file):
        made = super().snapshot(request, output, to_file=to_file)
        class Changed(type(made)):
            {body}
        made.__class__ = Changed
        return made
"""
ANOTHER_THREAD = "threads = (gencore.ThreadRecord(tid=1, name='', registers='exact'),)"
TOO_SHORT = """
            def core(self):
                self._stream._core = self._stream._core[:-1]
                return self._stream
"""
RELATIVE = "def mapped_files(self): return (gencore.process.MappedFile(path='bin/it'),)"
CHANGES = "def close(self): os.environ['LEFT'] = str(time.time())"
KEEPS_WHEN_GIVEN_UP = """
            def core(self):
                stream, opened = super().core(), os.open(os.devnull, os.O_RDONLY)
                stream.wait = lambda: os.close(opened)
                return stream
"""
SHOWS_WHAT_IS_EXCLUDED = """
    def snapshot(self, request, output, *, to_file):
        import ctypes
        for start, end in request.excluded:
            self._memory = ctypes.string_at(start, end - start)
        return super().snapshot(request, output, to_file=to_file)
"""
WIPES_THE_PROCESS = """
    def snapshot(self, request, output, *, to_file):
        import ctypes
        for start, end in request.excluded:
            ctypes.memset(start, 0, end - start)
        return super().snapshot(request, output, to_file=to_file)
"""
LEAVES_WHAT_FAILED = """
left = []
def opens(self, kept, name):
    self.kept, self.name, self.data = kept, name, bytearray()
def commits(self):
    if self.name in self.kept:
        left.append(self.name + ".part")
        raise FileExistsError(self.name)
    self.kept[self.name] = bytes(self.data)
    return "place:" + self.name
Kept.__init__, Kept.commit = opens, commits
DestinationContract.leftovers = lambda self: [*self.names(), *left]
"""
DESTINATION = """
class Place(gencore.Destination):
    "Keeps artefacts in a dictionary."
    name = "place"
    api_version = (1, 1)
    kept = {}
    def open(self, name, size_hint): return Kept(self.kept, name)

class Kept(gencore.Upload):
    def __init__(self, kept, name):
        if name in kept: raise FileExistsError(name)
        self.kept, self.name, self.data = kept, name, bytearray()
    def write(self, data): self.data += data
    def commit(self):
        self.kept[self.name] = bytes(self.data)
        return "place:" + self.name
    def abort(self): pass

BAD

class TestIt(DestinationContract):
    @pytest.fixture
    def destination(self):
        Place.kept.clear()
        return Place
    def read(self, location): return Place.kept[str(location).removeprefix("place:")]
    def names(self): return list(Place.kept)
"""
FILTER = """
class Mirror(gencore.Filter):
    "Turns every bit around, a block at a time."
    name = "mirror"
    api_version = (1, 1)
    suffix = ".mirror"
    def open(self, writer): return Mirrored(writer)

class Mirrored:
    def __init__(self, writer): self.writer, self.held = writer, bytearray()
    def write(self, data):
        self.held += data
        if len(self.held) > 4096: self.flush()
    def flush(self):
        self.writer.write(turned(self.held))
        self.held.clear()
    def close(self): self.flush()

def turned(data): return bytes(data).translate(bytes(range(255, -1, -1)))

BAD

class TestIt(FilterContract):
    @pytest.fixture
    def filter(self): return Mirror
    def undo(self, data): return turned(data)
"""
APPEARS_AT_ONCE = """
def write(self, data):
    self.data += data
    self.kept[self.name] = bytes(self.data)
def abort(self): self.kept.pop(self.name, None)
Kept.write, Kept.abort = write, abort
"""
LEAVES_WHAT_WAS_ABORTED = """
Kept.abort = lambda self: self.kept.update({self.name: bytes(self.data)})
"""
KEEPS_WHAT_WAS_ABORTED_OPEN = """
opened = []
Kept.abort = lambda self: opened.append(os.open(os.devnull, os.O_RDONLY))
"""
KEEPS_WHAT_WAS_COMMITTED_OPEN = """
opened, commit = [], Kept.commit
def leaves(self):
    opened.append(os.open(os.devnull, os.O_RDONLY))
    return commit(self)
Kept.commit = leaves
"""
REPLACES = """
def __init__(self, kept, name): self.kept, self.name, self.data = kept, name, bytearray()
Kept.__init__ = __init__
"""
LOSES_THE_SECOND = """
def __init__(self, kept, name):
    self.kept, self.name, self.data, self.lost = kept, name, bytearray(), name in kept
def commit(self):
    self.kept.setdefault(self.name, bytes(self.data))
    return "place:" + self.name
Kept.__init__, Kept.commit = __init__, commit
"""
MIXES = """
uploads, init = [], Kept.__init__
def __init__(self, *args):
    init(self, *args)
    uploads.append(self)
Kept.__init__ = __init__
Kept.write = lambda self, data: uploads[-1].data.extend(data)
"""
KEEPS_CHUNKS = """
def __init__(self, kept, name): self.kept, self.name, self.chunks = kept, name, []
def commit(self):
    self.kept[self.name] = b"".join(self.chunks)
    return "place:" + self.name
Kept.__init__, Kept.commit = __init__, commit
Kept.write = lambda self, data: self.chunks.append(data)
"""
SENDS_OTHER_BYTES = """
commit = Kept.commit
def commits(self):
    if self.data.startswith(b"\\x1f\\x8b"): self.data += b"more"
    return commit(self)
Kept.commit = commits
"""
LEAVES_WHEN_CANCELLED = """
def write(self, data):
    self.data += data
    if self.data.startswith(b"\\x7fELF"): self.kept["lock"] = b""
Kept.write = write
"""
CLOSES_THE_WRITER = """
def close(self):
    self.flush()
    self.writer.close()
Mirrored.close = close
"""
FORGETS_SINGLE_BYTES = """
write = Mirrored.write
Mirrored.write = lambda self, data: write(self, data) if len(data) > 1 else None
"""
SHARES_ITS_BUFFER = """
shared = bytearray()
def __init__(self, writer): self.writer, self.held = writer, shared
Mirrored.__init__ = __init__
"""
KEEPS_WHAT_WAS_OPENED = """
opened, close = [], Mirrored.close
def leaves(self):
    opened.append(os.open(os.devnull, os.O_RDONLY))
    close(self)
Mirrored.close = leaves
"""
KEEPS_WHEN_ABORTED = """
def opens(self, writer):
    self.writer, self.held, self.fd = writer, bytearray(), os.open(os.devnull, os.O_RDONLY)
def closes(self):
    self.flush()
    os.close(self.fd)
Mirrored.__init__, Mirrored.close, Mirrored.abort = opens, closes, lambda self: None
"""
IS_WRONG_IN_A_DUMP = """
close = Mirrored.close
def closes(self):
    if type(self.writer).__name__ != "_Writer": self.writer.write(b"more")
    close(self)
Mirrored.close = closes
"""
HOLDS_CHUNKS = """
Mirrored.__init__ = lambda self, writer: self.__dict__.update(writer=writer, chunks=[])
Mirrored.write = lambda self, data: self.chunks.append(data)
Mirrored.close = lambda self: self.writer.write(turned(b"".join(self.chunks)))
"""


@pytest.fixture
def run(pytester, monkeypatch):
    """Return a function that runs a suite in this process; it returns what pytest prints."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def run_suite(code, tests=""):
        pytester.makepyfile(test_it=SUITE + code)
        return pytester.runpytest_subprocess("-p", "no:cacheprovider", "-k", tests)

    return run_suite


@pytest.mark.parametrize(
    ("bad", "rule"),
    [
        ("class Bad(Good):\n    'Bad.'\n    name = 'Bad_Name'", "a name is lower-case letters"),
        ("class Bad(Good):\n    'Bad.'\n    name = None", "a plug-in has a name"),
        ("class Bad(Good):\n    'Bad.'\n    api_version = '1.0'", "is a pair of numbers"),
        ("class Bad(Good):\n    'Bad.'\n    api_version = (2, 0)", "api_version is in the window"),
        ("class Bad(Good): pass\nBad.__doc__ = None", "class has a docstring"),
        (
            OPENS_A_FILE,
            r"observe\(\) must not import, open or start",
        ),
        (OBSERVES_LATER, r"observe\(\) returns None"),
        (
            WRITES_BESIDE,
            "files come from dump.create",
        ),
        (
            NEEDS_A_CORE,
            r"finish\(\) works without a core",
        ),
        (LEAKS, r"abort\(\) releases everything"),
        (CHECKS.format("Path('probe').write_text('')"), r"check\(\) returns None"),
        (CHECKS.format("Path('probe').touch()"), r"check\(\) leaves nothing"),
        (CHECKS.format("never_awaited()"), r"check\(\) returns None"),
        (FINISHES.format("os.umask(0o777 & ~os.umask(0))"), "leaves the process as it was"),
        (FINISHES.format("os.environ.update(X=str(os.urandom(9)))"), "the process as it was"),
        (FINISHES.format("subprocess.Popen(['sleep', '20'])"), "leaves the process as it was"),
        (FINISHES.format("dump.create('manifest.json')"), "names of artefacts are its own"),
        (FINISHES.format("dump.create('tar.gz')"), "names of artefacts are its own"),
    ],
    ids=[
        *(
            "name",
            "no-name",
            "no-version",
            "version",
            "docstring",
            "observe",
            "later",
            "files",
            "no-core",
        ),
        *("leak", "check", "check-leaves", "check-async"),
        *("umask", "environment", "child", "manifest", "bundle"),
    ],
)
def test_a_bad_collector_is_told_the_rule(run, bad, rule):
    """By an assertion that names it."""
    result = run(f"{bad}\n{COLLECTOR}")

    assert result.ret == 1
    result.stdout.re_match_lines([f".*rule: .*{rule}.*"])


@pytest.mark.parametrize(
    ("bad", "claim", "rule"),
    [
        ("priority = 'high'", "", "priority is a whole number"),
        ("def probe(self, request): os.mkdir('x' + str(time.time())); return Verdict.yes()", "",
         r"probe\(\) has no side effect"),
        ("def probe(self, request): return True", "", r"probe\(\) returns a Verdict"),
        ("def probe(self, request): return Verdict.no(Reason('no'))", "",
         "a capability is there"),
        ("pass", "capabilities = frozenset()", "what is not claimed is answered with no"),
        ("pass", MAPPED_FILES, "mapped_files"),
        (NOT_EVEN_THE_SAME, "", "answers the same while nothing changes"),
        ("def probe(self, request): return Verdict.no(Reason(''))", "", "a reason has a text"),
        (SNAPSHOT.format(body="threads = ()"), "", "there is a row for each thread"),
        (SNAPSHOT.format(body=ANOTHER_THREAD), "", "the caller is in the core"),
        (SNAPSHOT.format(body=TOO_SHORT), "", "a core that is not whole says so"),
        (SNAPSHOT.format(body=RELATIVE), MAPPED_FILES, "paths are absolute"),
        (SNAPSHOT.format(body=CHANGES), "", "a dump leaves the process as it was"),
        (SNAPSHOT.format(body=KEEPS_WHEN_GIVEN_UP), "", r"close\(\) release everything"),
        (SHOWS_WHAT_IS_EXCLUDED, "", "what is excluded is not in the core"),
        (WIPES_THE_PROCESS, "", "what is excluded stays as it is"),
    ],
    ids=[
        *("priority", "side-effect", "verdict", "unable", "unclaimed", "mapped-files", "same"),
        *("text", "row", "caller", "whole", "absolute", "changes", "abort", "excluded", "wiped"),
    ],
)  # fmt: skip
def test_a_bad_backend_is_told_the_rule(run, bad, claim, rule):
    """By an assertion that names it."""
    code = f"class Bad(SimulatedBackend):\n    'Bad.'\n    name = 'bad'\n    {bad}\n"

    result = run(code + BACKEND.format(claim=claim))

    assert result.ret == 1
    result.stdout.re_match_lines([f".*rule: .*{rule}.*"])


@pytest.mark.parametrize(
    ("bad", "finder", "rule"),
    [
        ("Place.name = 'Place'", "named_well", "a name is lower-case letters"),
        (
            "Place.check = lambda self: Path('probe').write_text('')",
            "checking",
            r"check\(\) leaves nothing",
        ),
        ("Kept.commit = lambda self: None", "committed", r"commit\(\) returns a URL or a Path"),
        (KEEPS_CHUNKS, "committed", "what is committed is what was written"),
        (APPEARS_AT_ONCE, "before_commit", r"nothing appears before commit\(\)"),
        (LEAVES_WHAT_WAS_ABORTED, "abort_leaves", r"abort\(\) leaves nothing at the place"),
        (KEEPS_WHAT_WAS_ABORTED_OPEN, "abort_leaves", r"abort\(\) releases everything"),
        (REPLACES, "replaced", "a name is never replaced"),
        (LEAVES_WHAT_FAILED, "replaced", r"abort\(\) leaves nothing of a commit\(\) that raised"),
        ("Place.check = lambda self: False", "checking", r"check\(\) returns None"),
        (LOSES_THE_SECOND, "replaced", "what cannot be sent is an error"),
        (MIXES, "do_not_mix", "two uploads do not mix"),
        (SENDS_OTHER_BYTES, "is_complete", "what is reported is there"),
        (LEAVES_WHEN_CANCELLED, "given_up", "a cancelled dump leaves nothing"),
        (KEEPS_WHAT_WAS_COMMITTED_OPEN, "leaves_the_process", r"commit\(\) releases everything"),
    ],
    ids=[
        *("name", "check", "location", "chunks", "early", "abort", "abort-open", "replaces"),
        *("failed-commit", "check-returns"),
        *("loses", "mixes", "other-bytes", "cancelled", "commit-open"),
    ],
)
def test_a_bad_destination_is_told_the_rule(run, bad, finder, rule):
    """By an assertion that names it."""
    result = run(DESTINATION.replace("BAD", bad), finder)

    assert result.ret == 1
    result.stdout.re_match_lines([f".*rule: .*{rule}.*"])


@pytest.mark.parametrize(
    ("bad", "finder", "rule"),
    [
        ("Mirror.__doc__ = None", "named_well", "class has a docstring"),
        ("Mirror.suffix = None", "named_well", "a filter has a suffix"),
        ("Mirror.suffix = 'mirror'", "named_well", r"a suffix begins with '\.'"),
        ("Mirror.suffix = '.'", "named_well", r"a suffix is more than '\.'"),
        ("Mirror.suffix = '.mir\\nror'", "named_well", "a suffix is printable text"),
        ("Mirror.suffix = './mirror'", "named_well", "a suffix is printable text without '/'"),
        ("Mirror.suffix = '.' + 'x' * 32", "named_well", "a suffix has at most 32 bytes"),
        (
            "Mirror.check = lambda self: Path('probe').write_text('')",
            "checking",
            r"check\(\) leaves nothing",
        ),
        (HOLDS_CHUNKS, "can_be_undone", "what comes out can be undone"),
        (FORGETS_SINGLE_BYTES, "single_bytes", "pieces of one byte can be undone"),
        (CLOSES_THE_WRITER, "closing", r"close\(\) does not close the writer"),
        ("Mirrored.close = lambda self: None", "closing", r"close\(\) writes the rest"),
        (SHARES_ITS_BUFFER, "independent", "artefacts of one dump are independent"),
        (KEEPS_WHEN_ABORTED, "abort", r"abort\(\) releases everything"),
        ("Mirrored.abort = Mirrored.flush", "abort", r"abort\(\) writes nothing"),
        (IS_WRONG_IN_A_DUMP, "is_complete", "a dump undone is the unfiltered one"),
        (KEEPS_WHAT_WAS_OPENED, "given_up", "a cancelled dump leaves nothing"),
        (KEEPS_WHAT_WAS_OPENED, "leaves_the_process", "a dump leaves the process as it was"),
    ],
    ids=[
        *("docstring", "no-suffix", "no-dot", "only-a-dot", "unprintable", "slash", "long"),
        "check",
        *("chunks", "single", "closes", "rest", "shares", "abort-open", "abort-writes"),
        *("in-a-dump", "cancelled", "open"),
    ],
)
def test_a_bad_filter_is_told_the_rule(run, bad, finder, rule):
    """By an assertion that names it."""
    result = run(FILTER.replace("BAD", bad), finder)

    assert result.ret == 1
    result.stdout.re_match_lines([f".*rule: .*{rule}.*"])


def test_good_ones_pass(run):
    """What the bad ones are made of breaks no rule."""
    with_abort = FILTER.replace("BAD", "Mirrored.abort = lambda self: self.held.clear()")
    for code in (DESTINATION, FILTER, with_abort):
        assert run(code.replace("BAD", "")).ret == 0


def test_every_rule_has_a_bad_plug_in():
    """None is stated that nothing can break."""
    code = "".join(p.read_text() for p in Path(gencore.testing.__file__).parent.glob("*.py"))
    tests = (
        test_a_bad_backend_is_told_the_rule,
        test_a_bad_collector_is_told_the_rule,
        test_a_bad_destination_is_told_the_rule,
        test_a_bad_filter_is_told_the_rule,
    )
    tried = [mark.args[1] for test in tests for mark in test.pytestmark]
    words = [case[-1] for cases in tried for case in cases]

    for rule in re.findall(r'"rule: ([^"]*)"', code):
        assert any(re.search(w, rule) for w in words), rule


def test_a_known_failure_has_a_reason_and_is_strict(run):
    """It is expected; once it is mended, the suite says so."""
    bad = f"{LEAKS}\n{COLLECTOR}"
    known = "    known_failures = {'%s': 'to be mended'}\n"

    expected = run(bad + known % "test_a_dump_that_is_given_up_leaves_nothing")
    mended = run(bad + known % "test_it_is_named_well")
    unknown = run(bad + known % "test_none")

    assert expected.parseoutcomes() == {"passed": 5, "xfailed": 1}
    assert mended.parseoutcomes()["failed"] == 2
    unknown.stdout.re_match_lines([".*known_failures names tests that do not exist.*"])
