"""The published suites tell a bad plug-in which rule it breaks."""

import re
from pathlib import Path

import pytest

import gencore.testing

pytest_plugins = ["pytester"]

SUITE = """
import os, threading, time, sys
from pathlib import Path
import pytest
import gencore
from gencore import Artifact, Backend, Reason, Verdict
from gencore.testing import BackendContract, CollectorContract, SimulatedBackend

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


@pytest.fixture
def run(pytester, monkeypatch):
    """Return a function that runs a suite in this process; it returns what pytest prints."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def run_suite(code):
        pytester.makepyfile(test_it=SUITE + code)
        return pytester.runpytest_subprocess("-p", "no:cacheprovider")

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
        "leak",
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


def test_every_rule_has_a_bad_plug_in():
    """None is stated that nothing can break."""
    code = "".join(p.read_text() for p in Path(gencore.testing.__file__).parent.glob("*.py"))
    tests = (test_a_bad_collector_is_told_the_rule, test_a_bad_backend_is_told_the_rule)
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
