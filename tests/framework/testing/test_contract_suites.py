"""The published suites tell a bad plug-in which rule it breaks."""

import functools
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

import pytest

import gencore.testing

pytestmark = pytest.mark.timeout(300)  # a pytest for a whole family

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


SHORT = """
whole = TAKES.write
TAKES.write = lambda self, data: whole(self, data[:65536])
"""
RETURNS_A_SHORT_COUNT = """
whole = Kept.write
def write(self, data):
    whole(self, data)
    return min(len(data), 65536)
Kept.write = write
"""
COMMITS_LATER = """
commit, go_on = Kept.commit, threading.Event()
def commits(self):
    threading.Thread(target=lambda: (go_on.wait(), commit(self)), daemon=True).start()
    return "place:" + self.name
Kept.commit = commits
"""
WAITS_FOR_ITS_JOIN = """
class Late(threading.Thread):
    go_on = threading.Event()
    def join(self, timeout=None):
        self.go_on.set()
        super().join(timeout)
"""
LEAVES_LATER = f"""
{WAITS_FOR_ITS_JOIN}
def leaves(self):
    Late.go_on.wait()
    self.kept[self.name] = bytes(self.data)
Kept.abort = lambda self: Late(target=leaves, args=[self], daemon=True).start()
"""
ABORT_RAISES = "PART.abort = lambda self: 1 / 0"
ABORT_EXITS = "PART.abort = lambda self: sys.exit(3)"
ABORT_RAISES_AFTER_A_COMMIT_THAT_RAISED = """
def opens(self, kept, name): self.kept, self.name, self.data = kept, name, bytearray()
def commits(self):
    self.failed = self.name in self.kept
    if self.failed: raise FileExistsError(self.name)
    self.kept[self.name] = bytes(self.data)
    return "place:" + self.name
def aborts(self):
    if getattr(self, "failed", False): raise OSError("not there")
Kept.__init__, Kept.commit, Kept.abort = opens, commits, aborts
"""
CLOSES_LATER = f"""
{WAITS_FOR_ITS_JOIN}
flush = Mirrored.flush
def flushes(self):
    Late.go_on.wait()
    flush(self)
Mirrored.close = lambda self: Late(target=flushes, args=[self], daemon=True).start()
"""
FLUSHES_WHEN_FREED = """
Mirrored.__del__ = lambda self: self.writer.write(b"more")
"""
TRAILER_EACH_TIME = """
close, plain = Mirrored.close, turned
def closes(self):
    close(self)
    self.writer.write(b"END")
turned = lambda data: plain(data).removesuffix(plain(b"END"))
Mirrored.close = closes
Mirrored.flush = lambda self: (self.writer.write(plain(self.held)), self.held.clear())
"""


class Bad(NamedTuple):
    """A plug-in that breaks one rule, with the suite that it fails."""

    code: str
    rule: str
    """What the message says, as a regular expression."""
    tests: str = ""
    """Which tests of the suite are run: an expression of ``pytest -k``."""


def collector(bad, tests, rule):
    return Bad(f"{bad}\n{COLLECTOR}", rule, tests)


def backend(bad, tests, rule, claim=""):
    code = f"class Bad(SimulatedBackend):\n    'Bad.'\n    name = 'bad'\n    {bad}\n"
    return Bad(code + BACKEND.format(claim=claim), rule, tests)


def destination(bad, tests, rule):
    return Bad(DESTINATION.replace("BAD", bad), rule, tests)


def filter_(bad, tests, rule):
    return Bad(FILTER.replace("BAD", bad), rule, tests)


TARGET = """
    capabilities = frozenset({"dump", "others"})
    @pytest.fixture
    def target(self):
        import subprocess
        with subprocess.Popen(["sleep", "1000"]) as process:
            yield process.pid
            process.kill()
"""
OTHERS = "dumps_others = True"
STOPS = f"""
    {OTHERS}
    def snapshot(self, request, output, *, to_file):
        gencore.testing.backend_contract._LIFE_LIMIT = 0.1  # it will not go on
        os.kill(request.target.pid, 19)
        return super().snapshot(request, output, to_file=to_file)
"""


COLLECTORS = {
    "name": collector(
        "class Bad(Good):\n    'Bad.'\n    name = 'Bad_Name'",
        "named_well",
        "a name is lower-case letters",
    ),
    "no-name": collector(
        "class Bad(Good):\n    'Bad.'\n    name = None", "named_well", "a plug-in has a name"
    ),
    "no-version": collector(
        "class Bad(Good):\n    'Bad.'\n    api_version = '1.0'",
        "named_well",
        "is a pair of numbers",
    ),
    "version": collector(
        "class Bad(Good):\n    'Bad.'\n    api_version = (2, 0)",
        "named_well",
        "api_version is in the window",
    ),
    "docstring": collector(
        "class Bad(Good): pass\nBad.__doc__ = None", "named_well", "class has a docstring"
    ),
    "observe": collector(OPENS_A_FILE, "observing", r"observe\(\) must not import, open or start"),
    "later": collector(OBSERVES_LATER, "observing", r"observe\(\) returns None"),
    "files": collector(WRITES_BESIDE, "is_complete", "files come from dump.create"),
    "no-core": collector(NEEDS_A_CORE, "core_that_failed", r"finish\(\) works without a core"),
    "leak": collector(LEAKS, "given_up", r"abort\(\) releases everything"),
    "check": collector(
        CHECKS.format("Path('probe').write_text('')"), "checking", r"check\(\) returns None"
    ),
    "check-leaves": collector(
        CHECKS.format("Path('probe').touch()"), "checking", r"check\(\) leaves nothing"
    ),
    "check-async": collector(
        CHECKS.format("never_awaited()"), "checking", r"check\(\) returns None"
    ),
    "umask": collector(
        FINISHES.format("os.umask(0o777 & ~os.umask(0))"),
        "as_it_was",
        "leaves the process as it was",
    ),
    "environment": collector(
        FINISHES.format("os.environ.update(X=str(os.urandom(9)))"),
        "as_it_was",
        "the process as it was",
    ),
    "child": collector(
        FINISHES.format("subprocess.Popen(['sleep', '20'])"),
        "as_it_was",
        "leaves the process as it was",
    ),
    "manifest": collector(
        FINISHES.format("dump.create('manifest.json')"),
        "names_of_their_own",
        "names of artefacts are its own",
    ),
    "bundle": collector(
        FINISHES.format("dump.create('tar.gz')"),
        "names_of_their_own",
        "names of artefacts are its own",
    ),
}
BACKENDS = {
    "priority": backend("priority = 'high'", "named_well", "priority is a whole number"),
    "side-effect": backend(
        "def probe(self, request): os.mkdir('x' + str(time.time())); return Verdict.yes()",
        "only_looks",
        r"probe\(\) has no side effect",
    ),
    "verdict": backend(
        "def probe(self, request): return True",
        "answers_everywhere",
        r"probe\(\) returns a Verdict",
    ),
    "unable": backend(
        "def probe(self, request): return Verdict.no(Reason('no'))",
        "does_what_it_claims",
        "a capability is there",
    ),
    "unclaimed": backend(
        "pass",
        "does_what_it_claims",
        "what is not claimed is answered with no",
        "capabilities = frozenset()",
    ),
    "mapped-files": backend("pass", "mapped_files", "mapped_files", MAPPED_FILES),
    "same": backend(NOT_EVEN_THE_SAME, "only_looks", "answers the same while nothing changes"),
    "text": backend(
        "def probe(self, request): return Verdict.no(Reason(''))",
        "answers_everywhere",
        "a reason has a text",
    ),
    "row": backend(
        SNAPSHOT.format(body="threads = ()"), "core_is_whole", "there is a row for each thread"
    ),
    "caller": backend(
        SNAPSHOT.format(body=ANOTHER_THREAD), "core_is_whole", "the caller is in the core"
    ),
    "whole": backend(
        SNAPSHOT.format(body=TOO_SHORT), "core_is_whole", "a core that is not whole says so"
    ),
    "absolute": backend(
        SNAPSHOT.format(body=RELATIVE), "mapped_files", "paths are absolute", MAPPED_FILES
    ),
    "changes": backend(
        SNAPSHOT.format(body=CHANGES), "nothing_else", "a dump leaves the process as it was"
    ),
    "abort": backend(
        SNAPSHOT.format(body=KEEPS_WHEN_GIVEN_UP), "given_up", r"close\(\) release everything"
    ),
    "excluded": backend(
        SHOWS_WHAT_IS_EXCLUDED, "excluded_memory", "what is excluded is not in the core"
    ),
    "wiped": backend(WIPES_THE_PROCESS, "excluded_memory", "what is excluded stays as it is"),
    "stops": backend(STOPS, "goes_on", "a process that was dumped goes on as it was", TARGET),
    "ended": backend(
        OTHERS, "has_ended", r"probe\(\) raises TargetUnavailable for an ended process", TARGET
    ),
}
DESTINATIONS = {
    "name": destination("Place.name = 'Place'", "named_well", "a name is lower-case letters"),
    "check": destination(
        "Place.check = lambda self: Path('probe').touch()",
        "checking",
        r"check\(\) leaves nothing",
    ),
    "location": destination(
        "Kept.commit = lambda self: None", "committed", r"commit\(\) returns a URL or a Path"
    ),
    "no-url": destination(
        "Kept.commit = lambda self: self.name", "committed", r"commit\(\) returns a URL or a Path"
    ),
    "short": destination(
        SHORT.replace("TAKES", "Kept"), "committed", "what is committed is what was written"
    ),
    "short-count": destination(
        RETURNS_A_SHORT_COUNT, "taken_whole", r"write\(\) takes all that it is given"
    ),
    "late": destination(
        COMMITS_LATER, "committed", r"what is committed is there when commit\(\) returns"
    ),
    "late-abort": destination(
        LEAVES_LATER, "abort_leaves", r"abort\(\) leaves nothing at the place"
    ),
    "abort-raises": destination(
        ABORT_RAISES.replace("PART", "Kept"), "abort_leaves", r"abort\(\) raises nothing"
    ),
    "abort-exits": destination(
        ABORT_EXITS.replace("PART", "Kept"), "before_commit", r"abort\(\) raises nothing"
    ),
    "abort-after-commit-raises": destination(
        ABORT_RAISES_AFTER_A_COMMIT_THAT_RAISED, "replaced", r"abort\(\) raises nothing"
    ),
    "chunks": destination(KEEPS_CHUNKS, "committed", "what is committed is what was written"),
    "early": destination(APPEARS_AT_ONCE, "before_commit", r"nothing appears before commit\(\)"),
    "abort": destination(
        LEAVES_WHAT_WAS_ABORTED, "abort_leaves", r"abort\(\) leaves nothing at the place"
    ),
    "abort-open": destination(
        KEEPS_WHAT_WAS_ABORTED_OPEN, "abort_leaves", r"abort\(\) releases everything"
    ),
    "replaces": destination(REPLACES, "replaced", "a name is never replaced"),
    "failed-commit": destination(
        LEAVES_WHAT_FAILED, "replaced", r"abort\(\) leaves nothing of a commit\(\) that raised"
    ),
    "check-returns": destination(
        "Place.check = lambda self: False", "checking", r"check\(\) returns None"
    ),
    "loses": destination(LOSES_THE_SECOND, "replaced", "what cannot be sent is an error"),
    "mixes": destination(MIXES, "do_not_mix", "two uploads do not mix"),
    "other-bytes": destination(SENDS_OTHER_BYTES, "is_complete", "what is reported is there"),
    "cancelled": destination(LEAVES_WHEN_CANCELLED, "given_up", "a cancelled dump leaves nothing"),
    "commit-open": destination(
        KEEPS_WHAT_WAS_COMMITTED_OPEN, "leaves_the_process", r"commit\(\) releases everything"
    ),
}
FILTERS = {
    "docstring": filter_("Mirror.__doc__ = None", "named_well", "class has a docstring"),
    "no-suffix": filter_("Mirror.suffix = None", "named_well", "a filter has a suffix"),
    "no-dot": filter_("Mirror.suffix = 'mirror'", "named_well", r"a suffix begins with '\.'"),
    "only-a-dot": filter_("Mirror.suffix = '.'", "named_well", r"a suffix is more than '\.'"),
    "unprintable": filter_(
        "Mirror.suffix = '.mir\\nror'", "named_well", "a suffix is printable text"
    ),
    "slash": filter_(
        "Mirror.suffix = './mirror'", "named_well", "a suffix is printable text without '/'"
    ),
    "long": filter_(
        "Mirror.suffix = '.' + 'x' * 32", "named_well", "a suffix has at most 32 bytes"
    ),
    "check": filter_(
        "Mirror.check = lambda self: Path('probe').touch()",
        "checking",
        r"check\(\) leaves nothing",
    ),
    "chunks": filter_(HOLDS_CHUNKS, "can_be_undone", "what comes out can be undone"),
    "single": filter_(FORGETS_SINGLE_BYTES, "single_bytes", "pieces of one byte can be undone"),
    "closes": filter_(CLOSES_THE_WRITER, "closing", r"close\(\) does not close the writer"),
    "rest": filter_("Mirrored.close = lambda self: None", "closing", r"close\(\) writes the rest"),
    "abort-open": filter_(KEEPS_WHEN_ABORTED, "abort", r"abort\(\) releases everything"),
    "abort-writes": filter_(
        "Mirrored.abort = Mirrored.flush", "abort", r"abort\(\) writes nothing"
    ),
    "short": filter_(
        SHORT.replace("TAKES", "Mirrored"), "can_be_undone", "what comes out can be undone"
    ),
    "abort-raises": filter_(
        ABORT_RAISES.replace("PART", "Mirrored"), "abort", r"abort\(\) raises nothing"
    ),
    "late": filter_(CLOSES_LATER, "after_close", r"nothing is written after close\(\)"),
    "freed": filter_(FLUSHES_WHEN_FREED, "after_close", r"nothing is written after close\(\)"),
    "second-close": filter_(
        TRAILER_EACH_TIME, "second_close", r"a second close\(\) writes nothing"
    ),
    "shares": filter_(SHARES_ITS_BUFFER, "independent", "artefacts of one dump are independent"),
    "in-a-dump": filter_(IS_WRONG_IN_A_DUMP, "is_complete", "a dump undone is the unfiltered one"),
    "cancelled": filter_(KEEPS_WHAT_WAS_OPENED, "given_up", "a cancelled dump leaves nothing"),
    "open": filter_(
        KEEPS_WHAT_WAS_OPENED, "leaves_the_process", "a dump leaves the process as it was"
    ),
}
FAMILIES = {
    "backend": BACKENDS,
    "collector": COLLECTORS,
    "destination": DESTINATIONS,
    "filter": FILTERS,
}


def outcomes(directory, plugins):
    """Run each suite, all in one process; return {name: [(outcome, message) of each test]}."""
    chosen = []
    for number, bad in enumerate(plugins.values()):
        (directory / f"test_suite_{number:02}.py").write_text(SUITE + bad.code)
        chosen.append(f"suite_{number:02} and ({bad.tests or 'test'})")
    options = ["-q", "-p", "no:cacheprovider", "--basetemp=tmp", "--junit-xml=outcomes.xml"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "-k", " or ".join(chosen)],
        cwd=directory,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in {0, 1}, done.stdout  # neither interrupted nor without a test
    found = {f"test_suite_{number:02}": [] for number in range(len(plugins))}
    for case in ET.parse(directory / "outcomes.xml").iter("testcase"):
        told = next((row for row in case if row.tag in {"failure", "error", "skipped"}), None)
        outcome = ("passed", "") if told is None else (told.tag, told.get("message"))
        found[case.get("classname").partition(".")[0]].append(outcome)
    return dict(zip(plugins, found.values(), strict=True))


@pytest.fixture(scope="module")
def failures(tmp_path_factory):
    """Return a function that says of a family's bad plug-in with which messages it fails."""

    @functools.cache
    def run(family):
        return outcomes(tmp_path_factory.mktemp(family), FAMILIES[family])

    def messages(family, name):
        return [message for outcome, message in run(family)[name] if outcome == "failure"]

    return messages


def names(rule, messages):
    return any(re.match(f"AssertionError: rule: .*{rule}", message) for message in messages)


@pytest.mark.parametrize("name", COLLECTORS)
def test_a_bad_collector_is_told_the_rule(failures, name):
    """By an assertion that names it."""
    messages = failures("collector", name)

    assert names(COLLECTORS[name].rule, messages), messages


@pytest.mark.parametrize("name", BACKENDS)
def test_a_bad_backend_is_told_the_rule(failures, name):
    """By an assertion that names it."""
    messages = failures("backend", name)

    assert names(BACKENDS[name].rule, messages), messages


@pytest.mark.parametrize("name", DESTINATIONS)
def test_a_bad_destination_is_told_the_rule(failures, name):
    """By an assertion that names it."""
    messages = failures("destination", name)

    assert names(DESTINATIONS[name].rule, messages), messages


@pytest.mark.parametrize("name", FILTERS)
def test_a_bad_filter_is_told_the_rule(failures, name):
    """By an assertion that names it."""
    messages = failures("filter", name)

    assert names(FILTERS[name].rule, messages), messages


def test_good_ones_pass(tmp_path):
    """What the bad ones are made of breaks no rule."""
    good = {
        "destination": destination("", "", ""),
        "filter": filter_("", "", ""),
        "filter with abort": filter_("Mirrored.abort = lambda self: self.held.clear()", "", ""),
    }

    for found in outcomes(tmp_path, good).values():
        assert {outcome for outcome, _ in found} == {"passed"}


def test_every_rule_has_a_bad_plug_in():
    """None is stated that nothing can break."""
    code = "".join(p.read_text() for p in Path(gencore.testing.__file__).parent.glob("*.py"))
    words = [bad.rule for family in FAMILIES.values() for bad in family.values()]

    for rule in re.findall(r'"rule: ([^"]*)"', code):
        assert any(re.search(w, rule) for w in words), rule


def test_a_known_failure_has_a_reason_and_is_strict(tmp_path):
    """It is expected; once it is mended, the suite says so."""
    known = "    known_failures = {'%s': 'to be mended'}\n"
    failing = {
        "expected": "test_a_dump_that_is_given_up_leaves_nothing",
        "mended": "test_it_is_named_well",
        "unknown": "test_none",
    }

    found = outcomes(
        tmp_path,
        {name: Bad(f"{LEAKS}\n{COLLECTOR}{known % test}", "") for name, test in failing.items()},
    )

    assert sorted(o for o, _ in found["expected"]) == ["passed"] * 8 + ["skipped"]  # xfailed
    assert [o for o, _ in found["mended"]].count("failure") == 2
    unknown = [message for _, message in found["unknown"]]
    assert any("known_failures names tests that do not exist" in text for text in unknown)
