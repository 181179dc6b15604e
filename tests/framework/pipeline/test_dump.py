"""The handle: blocking, awaited, called back, cancelled, timed out."""

import asyncio
import hashlib
import logging
import os
import signal
import threading
import time
from concurrent.futures import CancelledError
from functools import partial

import pytest

import gencore
from gencore._runtime.application_errors import reraise_if_from_handler


@pytest.fixture
def big():
    """Hold enough memory for a dump to take a while."""
    return bytearray(os.urandom(1 << 20) * 64)


def test_await_gives_the_report_on_the_callers_loop(tmp_path):
    """`await dump` needs no thread of the caller's."""

    async def main():
        return await gencore.start(collectors=["raw"], directory=tmp_path)

    assert asyncio.run(main()).result == "complete"


def test_the_loop_runs_on_while_a_dump_is_awaited(tmp_path, big):
    """Other tasks get their turn."""
    turns = []

    async def tick():
        while True:
            turns.append(1)
            await asyncio.sleep(0)

    async def main():
        ticking = asyncio.create_task(tick())
        await gencore.start(collectors=["raw"], directory=tmp_path)
        ticking.cancel()

    asyncio.run(main())

    assert len(turns) > 10
    assert big


def test_cancel_leaves_nothing(tmp_path, big, new_children):
    """A cancelled dump has no artefact, no child and no temporary directory."""
    dump = gencore.start(collectors=["raw"], directory=tmp_path)

    assert dump.cancel()
    with pytest.raises(CancelledError):
        dump.result(30)
    assert dump.cancelled()
    assert os.listdir(tmp_path) == []
    assert new_children() == set()
    assert big


def test_what_is_read_while_the_kernel_writes_is_the_whole_core(tmp_path, big):
    """Reading waits for the writer, to the last byte."""
    report = gencore.Pipeline(collectors=["manifest", "raw"], directory=tmp_path).run()
    with report.path_of("raw").open("rb") as core:
        digest = hashlib.file_digest(core, "sha256").hexdigest()

    assert report.result == "complete"
    assert {a.sha256 for a in report.artifacts if a.collector == "raw"} == {digest}
    assert big


def test_progress_counts_bytes_of_the_core(tmp_path, big):
    """Those that were read, up to the total."""
    dump = gencore.start(collectors=["manifest"], directory=tmp_path)
    seen = [dump.progress]
    while not dump.done():
        seen.append(dump.progress)
        time.sleep(0.001)  # the thread that reads needs the GIL too
    read = [now for now in seen if now.stage not in {"pause", "libraries", "done"}]

    assert [now.done for now in read] == sorted(now.done for now in read)
    assert read[-1].done >= len(big)
    assert all(now.done <= now.total for now in read)


def test_progress_counts_bytes_on_disk(tmp_path, big):
    """Where nobody reads the core, those that are written so far."""
    dump = gencore.start(collectors=["raw"], directory=tmp_path, backend="linux-sigsegv")
    seen = [dump.progress]
    while not dump.done():
        seen.append(dump.progress)
        time.sleep(0.001)

    assert max(now.done for now in seen if now.stage == "core") > 0
    assert dump.result().path_of("raw").stat().st_size > len(big)


def test_cancelling_the_waiting_task_cancels_the_dump(tmp_path, big):
    """As with any awaited future."""

    async def main():
        dump = gencore.start(collectors=["raw"], directory=tmp_path)
        task = asyncio.ensure_future(dump._wait())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return dump

    dump = asyncio.run(main())

    with pytest.raises(CancelledError):
        dump.result(30)
    assert os.listdir(tmp_path) == []
    assert big


def test_cancel_after_the_end_is_too_late(tmp_path):
    """It returns False, and the artefact stays."""
    dump = gencore.start(collectors=["raw"], directory=tmp_path)
    report = dump.result()

    assert not dump.cancel()
    assert report.path_of("raw").exists()


@pytest.fixture
def slow(settled):
    """Return a collector that takes no byte of the core before the dump, or the test, is over."""
    over = threading.Event()

    class Slow(gencore.Collector, gencore.CoreSink):
        """Waits."""

        name = "slow"
        api_version = (1, 0)
        time_limit = None

        def begin(self, _dump):
            return self

        def write(self, _chunk):
            over.wait(60)

        def abort(self):
            over.set()

        def finish(self, _dump):
            return []

    yield Slow
    over.set()
    settled()


def test_the_dumps_own_time_limit_ends_it(tmp_path, slow):
    """The report says failed with TimedOut; nothing is left."""
    collectors = ["raw", slow]
    report = gencore.start(collectors=collectors, directory=tmp_path, timeout=0.5).result(30)

    assert report.result == "failed"
    assert isinstance(report.failed[0].error, gencore.TimedOut)
    assert report.exit_code == 7
    assert os.listdir(tmp_path) == []


def test_waiting_with_a_limit_does_not_end_the_dump(tmp_path, big):
    """result(timeout) gives up waiting only."""
    dump = gencore.start(collectors=["raw"], directory=tmp_path)

    with pytest.raises(TimeoutError):
        dump.result(0)
    assert dump.result().result == "complete"
    assert big


def test_callbacks_get_the_dump_and_their_errors_are_logged(tmp_path, caplog):
    """One that raises does not keep the next from being called."""
    seen = []
    dump = gencore.start(collectors=["raw"], directory=tmp_path)
    with caplog.at_level(logging.ERROR, "gencore"):
        dump.add_done_callback(lambda _: 1 / 0)
        dump.add_done_callback(seen.append)
        dump.result()
        while not seen:
            os.sched_yield()

    assert seen == [dump]
    assert "ZeroDivisionError" in caplog.text


def test_progress_ends_with_done(tmp_path):
    """The last stage is `done`."""
    dump = gencore.start(collectors=["raw"], directory=tmp_path)
    dump.result()

    assert dump.progress.stage == "done"


def test_pause_is_measured_in_phases(tmp_path):
    """The total covers its phases."""
    pause = gencore.start(collectors=["raw"], directory=tmp_path).pause

    assert set(pause.phases) == {"stop", "clone", "release"}
    assert pause.total == pytest.approx(sum(pause.phases.values()))


@pytest.mark.parametrize(
    "wrong",
    [
        {"threads": "all"},
        {"content": "everything"},
        {"timeout": 0},
        {"collectors": []},
        {"collectors": "raw"},
        {"annotations": {"key": "x" * 1025}},
        {"annotations": {str(number): "" for number in range(65)}},
        {"annotations": {"key": 1}},
        {"annotations": ["key"]},
        {"timeout": "5"},
        {"timeout": float("inf")},
        {"collectors": [3]},
        {"collectors": ["raw", "raw"]},
        {"backend": 3},
        {"directry": "x"},
        {"timeout": True},
        {"sources": "no"},
        {"directory": ""},
        {"name": "{x}"},
    ],
)
def test_wrong_arguments_are_usage_errors(tmp_path, wrong):
    """They are found before anything is done, and are ValueErrors too."""
    with pytest.raises(gencore.UsageError) as caught:
        gencore.start(**{"directory": tmp_path, **wrong})

    assert isinstance(caught.value, ValueError)
    assert os.listdir(tmp_path) == []


def test_content_that_no_backend_offers_is_unsupported(tmp_path):
    """The kernel's filter cannot leave out what content='stacks' leaves out."""
    with pytest.raises(gencore.Unsupported, match="content='private'"):
        gencore.create_core(directory=tmp_path, content="stacks", backend="linux-sigsegv")


REENTRANT = """
import gencore, itertools, json, os, signal, sys, threading
from gencore._runtime import supervisor

supervisor._BEGIN_LIMIT = 0.3

class Foreign(gencore.Collector):
    name = "foreign"
    api_version = (1, 0)
    makes_files = False
    def observe(self, process):
        process.python_threads()
    def finish(self, dump):
        return []

nowhere = os.open(os.devnull, os.O_WRONLY)
to_nowhere = gencore.DestinationSpec("descriptor", options={"file": nowhere})
pipeline = gencore.Pipeline(collectors=["raw", *([Foreign] if sys.argv[1] == "foreign" else [])],
                            destination=to_nowhere, content="stacks")
keys = [gencore.exclude(bytearray(8)) for _ in range(300)]
dumps, count = [], int(sys.argv[2])
def handler(*_):
    dumps.append(pipeline.start())
    if len(dumps) < count:
        signal.setitimer(signal.ITIMER_REAL, 0.002)
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.002)
while len(dumps) < count:
    threading.enumerate()
    gencore.exclude(bytearray(8)).release()
print(json.dumps([dump.result().result for dump in dumps]))
"""


@pytest.mark.parametrize(
    ("collectors", "count"),
    [
        ("ours", 5),  # each has a recorder
        pytest.param("ours", 40, marks=pytest.mark.exhaustive),
        ("foreign", 20),
    ],
)
def test_a_signal_handler_may_ask_for_a_dump_anywhere(python, collectors, count):
    """Also where it interrupts the threading module, an exclusion, or another dump's start."""
    assert python(REENTRANT, collectors, count) == ["complete"] * count


INTERRUPTED = """
import gencore, gc, json, os, pathlib, random, signal, sys, time
pipeline = gencore.Pipeline(collectors=["raw"], content="stacks", backend=sys.argv[1])
pipeline.run()
moments, hits, fired, dumps = random.Random(1), 0, 0, []
class Limit(Exception): pass
class SystemsLimit(TimeoutError): pass
kind = eval(sys.argv[2])
def interrupt(*_):
    global fired
    fired += 1
    raise kind
signal.signal(signal.SIGALRM, interrupt)
times = int(sys.argv[3])
for _ in range(times):
    try:
        signal.setitimer(signal.ITIMER_REAL, moments.uniform(0.0001, times / 4000))
        dumps.append(pipeline.start())
        signal.setitimer(signal.ITIMER_REAL, 0)
    except kind:
        hits += 1
signal.setitimer(signal.ITIMER_REAL, 0)
for dump in dumps:
    dump.result()
while any("gencore-" in f.read_text() for f in pathlib.Path("/proc/self/task").glob("*/comm")):
    time.sleep(0.01)
gc.collect()
children = [f.read_text().split() for f in pathlib.Path("/proc/self/task").glob("*/children")]
limit = time.monotonic() + 30  # a recorder that was let go of removes its directory by itself
while (left := list(pathlib.Path().glob(".*.part"))) and time.monotonic() < limit:
    time.sleep(0.01)
print(json.dumps([fired, hits, sum(children, []), [*map(str, left)]]))
"""


@pytest.mark.parametrize(
    ("kind", "times"),
    [
        ("KeyboardInterrupt", 24),
        *(
            pytest.param(kind, 80, marks=pytest.mark.exhaustive)
            for kind in ("KeyboardInterrupt", "Limit", "SystemsLimit")
        ),
    ],
)
def test_what_a_signal_handler_raises_in_start_reaches_its_caller_and_leaves_nothing(
    python, kind, times
):
    """No clone, no private directory: at whatever line it comes, Ctrl-C or a time limit."""
    fired, hits, children, directories = python(INTERRUPTED, "linux-elf", kind, times)

    assert fired - hits <= 1  # Python itself ignores what comes while an object is deleted
    assert hits > min(10, times // 4)
    assert children == []
    assert directories == []


class Handler:
    """Raises in whatever form a handler may have."""

    def __call__(self, *_):
        """Raise."""
        raise ValueError

    def method(self, *_):
        """Raise."""
        raise ValueError


class OfClass:
    """Raises where it is made."""

    def __init__(self, _number, frame):
        self.frame = frame
        raise ValueError


@pytest.mark.parametrize(
    "handler", [Handler(), Handler().method, partial(Handler().method), lambda *_: 1 / 0, OfClass]
)
def test_an_error_of_a_handler_is_known_by_its_frame(handler):
    """A function, a method, an object, a class or a part of one; registered still or not."""
    before = signal.signal(signal.SIGUSR2, handler)
    try:
        with pytest.raises((ValueError, ZeroDivisionError)) as raised:
            signal.raise_signal(signal.SIGUSR2)
    finally:
        signal.signal(signal.SIGUSR2, before)
    with pytest.raises((ValueError, ZeroDivisionError)):
        reraise_if_from_handler(raised.value)


def test_other_errors_are_not_raised_again():
    """Whatever functions they have come through."""

    def fail(*_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as raised:
        fail(fail)
    reraise_if_from_handler(raised.value)
