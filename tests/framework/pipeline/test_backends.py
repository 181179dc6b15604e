"""What the framework does with a backend: choose one, stop it, and what its faults cost."""

import json
import os
import tarfile
import threading
import time
from concurrent.futures import CancelledError

import pytest

import gencore
from gencore._pipeline.selection import Candidate
from gencore.bundle import BundleReader, extract, verify
from gencore.core_stream import CHUNK_SIZE
from gencore.output import Output
from gencore.testing import SimulatedBackend
from gencore.testing.simulated import simulated_core
from gencore_collectors.raw import RawCollector

CORE = bytes(range(256)) * (3 * CHUNK_SIZE >> 8)  # three chunks


class Ready(gencore.Snapshot):
    """Has its core from the beginning."""

    phases = {}  # noqa: RUF012 - the contract's attribute, never changed
    threads = ()

    def __init__(self, output):
        self.output = output
        self.closed = False

    def core(self):
        with self.output.create("core") as file:
            file.write(CORE)
        return gencore.FileCoreStream(self.output, "core")

    def abort(self):
        pass

    def close(self):
        self.closed = True


class Blocked(Ready):
    """Has no core before it is aborted, and none then."""

    def __init__(self, output):
        super().__init__(output)
        self.aborted = threading.Event()

    def core(self):
        self.aborted.wait(60)
        raise gencore.CoreFailed("kernel-dump", detail="aborted")

    def abort(self):
        self.aborted.set()


class Fake(gencore.Backend):
    """Works everywhere."""

    name = "fake"
    priority = 50
    api_version = (1, 0)

    def __init__(self, make=Ready, **changed):
        self.make = make
        self.snapshots = []
        vars(self).update(changed)

    def probe(self, _request):
        return gencore.Verdict.yes()

    def snapshot(self, _request, output, *, to_file):  # noqa: ARG002
        self.snapshots.append(self.make(output))
        return self.snapshots[-1]


class Counts(gencore.Collector, gencore.CoreSink):
    """Counts chunks, and how often it is told to release everything."""

    name = "counts"
    api_version = (1, 0)
    chunks = aborts = 0

    def begin(self, _dump):
        return self

    def write(self, _chunk):
        self.chunks += 1

    def abort(self):
        self.aborts += 1

    def finish(self, _dump):
        return []


def pipeline_with(*backends, **options):
    pipeline = gencore.Pipeline(**{"collectors": ["raw"], **options})
    pipeline._selection.backends = [Candidate(backend) for backend in backends]
    return pipeline


def test_the_highest_priority_that_works_is_taken(tmp_path):
    """One of higher priority that does not work here is passed over."""
    unwilling = Fake(name="unwilling", priority=90)
    unwilling.probe = lambda _: gencore.Verdict.no(gencore.Reason("not today"))
    low, high = Fake(name="low", priority=10), Fake(name="high", priority=60)

    for backends in ((low, high, unwilling), (unwilling, high, low)):
        assert pipeline_with(*backends, directory=tmp_path).run().backend == "high"


class CutOff(gencore.CoreStream):
    """Streams a third of what it promises."""

    size = len(CORE)

    def __iter__(self):
        yield memoryview(CORE[: 1 << 20])

    def wait(self):
        self.missing = len(CORE) - (1 << 20)
        self.incomplete = "truncated: the writer was killed"


class Streaming(Ready):
    """Has no file."""

    def core(self):
        return CutOff()


def test_streamed_core_that_ends_early_says_so_in_its_name(tmp_path):
    """A program that looks for `core` does not take it for a whole one."""
    report = pipeline_with(Fake(Streaming), directory=tmp_path).run()

    assert report.result == "partial"
    assert [(a.name, a.size) for a in report.artifacts] == [("truncated.core", 1 << 20)]
    assert os.listdir(tmp_path) == [f"{report.name}.truncated.core"]


def test_two_backends_of_the_same_priority_are_a_usage_error(tmp_path):
    """Both are named, and neither is taken by luck."""
    pipeline = pipeline_with(Fake(name="one"), Fake(name="two"), directory=tmp_path)

    with pytest.raises(gencore.UsageError, match=r"one, two .*backend=\.\.\."):
        pipeline.start()

    assert os.listdir(tmp_path) == []


def test_the_environment_names_backend_and_directory(tmp_path, monkeypatch):
    """An argument goes before GENCORE_BACKEND and GENCORE_DIRECTORY, these before the defaults."""
    there, here = tmp_path / "there", tmp_path / "here"
    there.mkdir()
    here.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GENCORE_DIRECTORY", str(there))
    monkeypatch.setenv("GENCORE_BACKEND", "nonesuch")

    with pytest.raises(gencore.PluginError, match="nonesuch"):
        gencore.Pipeline()
    named = gencore.Pipeline(backend="linux-sigsegv", collectors=["raw"])
    named._selection.backends = [Candidate(Fake())]

    assert named.run().path_of("raw").parent == there
    monkeypatch.setattr(named, "_directory", here)
    assert named.run().path_of("raw").parent == here


@pytest.mark.parametrize("timeout", [None, 1])
def test_stopping_a_dump_aborts_a_backend_that_blocks(tmp_path, timeout):
    """Cancellation and the time limit do not wait for a core that never comes."""
    backend = Fake(Blocked)
    dump = pipeline_with(backend, directory=tmp_path, timeout=timeout).start()
    try:
        if timeout is None:
            assert dump.cancel()
            with pytest.raises(CancelledError):
                dump.result(20)
        else:
            assert dump.result(20).exit_code == 7
    finally:
        backend.snapshots[0].abort()

    assert backend.snapshots[0].closed
    assert os.listdir(tmp_path) == []


def test_a_stopped_dumps_sinks_get_no_more_bytes_and_are_aborted(tmp_path):
    """A sink that holds threads or files is told to let them go."""
    started, counts = threading.Event(), []

    class Cancels(Counts):
        def begin(self, _dump):
            counts.append(self)
            return self

        def write(self, chunk):
            super().write(chunk)
            started.wait(20)
            dump.cancel()

    dump = pipeline_with(Fake(), directory=tmp_path, collectors=[Cancels]).start()
    started.set()

    with pytest.raises(CancelledError):
        dump.result(20)
    assert [(sink.chunks, sink.aborts) for sink in counts] == [(1, 1)]


def test_a_sink_that_raises_is_aborted_and_gets_no_more_bytes(tmp_path):
    """The others get them all, and are not aborted."""
    made = []

    class Keeps(Counts):
        def __init__(self):
            made.append(self)

    class Raises(Keeps):
        name = "raises"

        def write(self, chunk):
            super().write(chunk)
            raise OSError("no")

    pipeline_with(Fake(), directory=tmp_path, collectors=[Raises, Keeps]).run()

    assert [(sink.chunks, sink.aborts) for sink in made] == [(1, 1), (3, 0)]


def test_cancel_during_publication_is_too_late(tmp_path, monkeypatch):
    """It returns False, and every artefact gets its name."""
    started, answers = threading.Event(), []
    publish = Output.publish

    def cancel_first(self, artifact):
        started.wait(20)
        answers.append(dump.cancel())
        return publish(self, artifact)

    monkeypatch.setattr(Output, "publish", cancel_first)
    dump = pipeline_with(Fake(), directory=tmp_path).start()
    started.set()

    assert dump.result(20).result == "complete"
    assert answers == [False]
    assert os.listdir(tmp_path) == [f"{dump.name}.core"]


def test_no_thread_outlives_its_dump(tmp_path, settled):
    """A time limit of an hour does not keep a thread for an hour."""
    pipeline_with(Fake(), directory=tmp_path, timeout=3600).run()

    settled()


def test_a_backend_that_cannot_take_the_image_leaves_nothing(tmp_path):
    """Its error is raised as it is."""

    def fail(_output):
        raise gencore.CoreFailed("clone", 11)

    with pytest.raises(gencore.CoreFailed, match=r"'clone' failed.*EAGAIN"):
        pipeline_with(Fake(fail), directory=tmp_path).start()

    assert os.listdir(tmp_path) == []


def test_without_any_thread_a_dump_is_refused_before_the_pause(tmp_path, refuse_thread):
    """No image is taken that nobody could write."""
    refuse_thread(None)
    backend = Fake()

    with pytest.raises(gencore.Refused, match=r"cannot start a thread.*Remedy: raise the limit"):
        pipeline_with(backend, directory=tmp_path).start()

    assert backend.snapshots == []
    assert os.listdir(tmp_path) == []


def test_a_dump_that_was_taken_is_not_thrown_away_for_want_of_a_thread(tmp_path, refuse_thread):
    """Who asked for it makes it: when `start` returns, it is done."""
    refuse_thread("gencore-dump")
    dump = pipeline_with(Fake(), directory=tmp_path).start()

    assert dump.done()
    assert dump.result().result == "complete"


def test_pauses_follow_one_another(tmp_path):
    """Two threads never take an image at the same time."""
    inside, together = [], threading.Event()
    first_is_in = threading.Event()

    def take(output):
        inside.append(1)
        if len(inside) > 1:
            together.set()
        first_is_in.set()
        together.wait(0.2)  # the other thread would come in now, if it could
        inside.pop()
        return Ready(output)

    backend = Fake(take)
    pipeline = pipeline_with(backend, directory=tmp_path)
    other = threading.Thread(target=lambda: first_is_in.wait(20) and pipeline.run())
    other.start()
    pipeline.run()
    other.join()

    assert len(backend.snapshots) == 2
    assert not together.is_set()


def test_a_process_with_another_users_rights_is_refused(tmp_path, monkeypatch):
    """A set-user-ID program must not write its memory for whoever started it."""
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)

    with pytest.raises(gencore.Refused, match="set-user-ID"):
        pipeline_with(Fake(), directory=tmp_path).start()

    assert os.listdir(tmp_path) == []


def test_a_fault_in_the_list_of_libraries_does_not_cost_the_core(tmp_path):
    """It is in the report."""

    class NoMaps(Ready):
        def mapped_files(self):
            raise PermissionError("/proc is not for you")

    report = pipeline_with(Fake(NoMaps), directory=tmp_path).run()

    assert [part.part for part in report.failed] == ["libraries"]
    assert report.path_of("raw").read_bytes() == CORE


def test_a_file_that_a_dump_has_not_is_told_from_those_that_it_has(tmp_path):
    """The dump is complete: nobody asked for a bundle."""
    report = pipeline_with(Fake(), directory=tmp_path, collectors=["raw"]).run()

    with pytest.raises(gencore.DumpIncomplete) as raised:
        report.path_of("archive")
    assert raised.value.message == f"the dump is complete: raw has {report.path_of('raw')}"


def test_a_streamed_core_is_written_by_raw(tmp_path):
    """A core that is no file in the private directory becomes one, to its last byte."""

    class Streamed(gencore.CoreStream):
        size = len(CORE) + 4

        def __iter__(self):
            for start in range(0, len(CORE), 1 << 20):
                yield memoryview(CORE)[start : start + (1 << 20)]
            yield memoryview(b"last")

    class Streams(Ready):
        def core(self):
            return Streamed()

    raw = RawCollector()  # held here: it must not be its end that writes the last bytes
    report = pipeline_with(Fake(Streams), directory=tmp_path, collectors=[lambda: raw]).run()

    assert report.result == "complete"
    assert report.path_of("raw").read_bytes() == CORE + b"last"
    assert report.artifacts[0].size == len(CORE) + 4


class Misstated(gencore.CoreStream):
    """Says something else about its size than its program headers do."""

    def __init__(self, size, chunks):
        self._size, self.chunks, self.closed = size, chunks, False

    @property
    def size(self):
        return self._size

    def __iter__(self):
        try:
            yield from self.chunks
        finally:
            self.closed = True


ELF_CORE = simulated_core(os.getpid(), os.getpid(), bytes(70_000))
PIECES = [memoryview(ELF_CORE)[start : start + 9000] for start in range(0, len(ELF_CORE), 9000)]


def stream_of(core):
    """Return what makes snapshots with this stream."""
    return type("Streams", (Ready,), {"core": lambda _: core})


def test_the_size_of_a_core_is_what_its_headers_promise(tmp_path):
    """Whatever the stream says; the bundle can be read, and a warning names the backend."""
    for size in (100, -5, len(ELF_CORE) + 1, "many"):
        backend = Fake(stream_of(Misstated(size, PIECES)))
        pipeline = pipeline_with(
            backend, directory=tmp_path, collectors=["manifest", "archive", "raw"]
        )
        report = pipeline.run()

        assert report.result == "complete"
        promise = f"its headers promise {len(ELF_CORE):,}"
        assert report.warnings == (
            f"backend 'fake' states a core of {size!r} bytes, but {promise}",
        )
        assert report.path_of("raw").read_bytes() == ELF_CORE
        with tarfile.open(report.path_of("archive")) as tar:
            assert tar.extractfile(f"{report.name}/core").read() == ELF_CORE


def test_a_sink_begins_with_the_right_size(tmp_path):
    """The first chunk is looked at before."""
    sizes = []

    class Looks(Counts):
        def begin(self, dump):
            sizes.append(dump.core.size)
            return self

    for chunks in (PIECES, [memoryview(ELF_CORE).cast("H")]):
        backend = Fake(stream_of(Misstated(7, chunks)))
        pipeline_with(backend, directory=tmp_path, collectors=[Looks]).run()

    assert sizes == [len(ELF_CORE)] * 2


def test_a_core_that_ends_before_what_its_headers_promise_is_not_whole(tmp_path):
    """Although its stream is as long as it says."""
    backend = Fake(stream_of(Misstated(9000, PIECES[:1])))

    report = pipeline_with(backend, directory=tmp_path).run()

    assert report.result == "partial"
    assert f"the backend delivered 9,000 of {len(ELF_CORE):,} bytes" in report.failed[0].reason
    assert [(a.name, a.size) for a in report.artifacts] == [("truncated.core", 9000)]


@pytest.mark.parametrize("chunks", [[b"no core"], [ELF_CORE[:70], ELF_CORE[70:]], []])
def test_a_core_whose_first_chunk_does_not_say_its_size_has_the_stated_one(tmp_path, chunks):
    """It is not an ELF core, or its table of program headers is longer."""
    core = Misstated(sum(map(len, chunks)), chunks)

    report = pipeline_with(Fake(stream_of(core)), directory=tmp_path).run()

    assert report.result == "complete"
    assert report.warnings == ()


def test_a_stream_that_nobody_reads_is_closed(tmp_path):
    """After its first chunk, before it is waited for."""
    core = Misstated(len(ELF_CORE), PIECES)
    closed = []
    core.wait = lambda: closed.append(core.closed)

    class Nothing(Counts):
        def begin(self, _dump):
            return None

    report = pipeline_with(Fake(stream_of(core)), directory=tmp_path, collectors=[Nothing]).run()

    assert report.result == "complete"
    assert closed == [True]


class Short(gencore.CoreStream):
    """Promises a hundred bytes more than there are."""

    size = len(CORE) + 100

    def __iter__(self):
        yield memoryview(CORE)[: 1 << 20]
        yield memoryview(CORE)[1 << 20 :]

    def wait(self):
        self.missing, self.incomplete = 100, "truncated: too short"


def test_a_core_that_is_kept_is_packed_once(tmp_path):
    """`raw` beside `archive`: it is the member `core`, and not an artefact in there too."""
    report = gencore.Pipeline(
        backend=SimulatedBackend(), collectors=["raw", "archive"], directory=tmp_path
    ).run()
    with BundleReader(report.path_of("archive")) as bundle:
        names = [entry.path for entry in bundle.members]

    assert report.result == "complete"
    assert [name for name in names if name == "core" or name.endswith(".core")] == ["core"]


@pytest.mark.parametrize("path", ["/core", "/manifest.json", "/core/x.so", "/manifest.json/x"])
def test_no_mapped_file_takes_the_place_of_the_bundles_own(tmp_path, path):
    """It is left out, with the reason, and the bundle can be verified and extracted."""
    mapped = tmp_path / "mapped"
    mapped.write_bytes(b"another's")

    class Maps(SimulatedBackend):
        def snapshot(self, *args, **kwargs):
            snapshot = super().snapshot(*args, **kwargs)
            files = [gencore.MappedFile(path=p, read_from=str(mapped)) for p in (path, "/lib/a")]
            snapshot.mapped_files = lambda: tuple(files)
            return snapshot

    report = gencore.Pipeline(backend=Maps(), directory=tmp_path).run()
    with BundleReader(report.artifacts[0].path) as bundle:
        checks = verify(bundle)
        extract(bundle, tmp_path)

    folder = tmp_path / report.name
    assert [(p.part, p.reason) for p in report.skipped] == [
        (path, "the bundle has another file in that place")
    ]
    assert [check for check in checks if not check.ok] == []
    assert (folder / "core").read_bytes()[:4] == b"\x7fELF"
    assert json.loads((folder / "manifest.json").read_text())["name"] == report.name
    assert (folder / "lib" / "a").read_bytes() == b"another's"


def test_a_truncated_core_is_packed_and_the_bundle_can_be_read(tmp_path):
    """What is missing is zeros, so that the libraries behind it are found."""

    class Truncated(Ready):
        def core(self):
            return Short()

    pipeline = pipeline_with(
        Fake(Truncated), directory=tmp_path, collectors=["manifest", "archive"]
    )
    report = pipeline.run()

    assert report.result == "partial"
    assert [part.part for part in report.failed] == ["core"]
    with tarfile.open(report.artifacts[0].path) as tar:
        assert tar.extractfile(f"{report.name}/core").read() == CORE + bytes(100)
        manifest = json.load(tar.extractfile(f"{report.name}/manifest.json"))
    assert manifest["core"]["truncated"]
    with pytest.raises(gencore.DumpIncomplete, match="too short"):
        report.path_of("archive")


def test_a_bundle_that_is_given_up_leaves_no_thread(tmp_path, monkeypatch, settled):
    """Neither one that was cancelled nor one that could not be finished."""

    class Cancels(Counts):
        def write(self, _chunk):
            started.wait(20)
            dump.cancel()

    def no_space(_):
        raise OSError(28, "No space left on device")

    started = threading.Event()
    dump = pipeline_with(Fake(), directory=tmp_path, collectors=[Cancels, "archive"]).start()
    started.set()
    with pytest.raises(CancelledError):
        dump.result(20)
    monkeypatch.setattr("gencore_collectors.archive.BundleWriter.close", no_space)
    report = pipeline_with(Fake(), directory=tmp_path, collectors=["archive"]).run()

    assert [part.part for part in report.failed] == ["archive"]
    settled()


def test_without_a_thread_for_the_steps_they_are_taken_unwatched(tmp_path, refuse_thread):
    """By the thread that would have watched them: the dump is worth more than the watch."""
    refuse_thread("gencore-steps")

    assert pipeline_with(Fake(), directory=tmp_path).run().result == "complete"


def test_a_time_limit_holds_although_the_steps_are_unwatched(tmp_path, refuse_thread):
    """Between two chunks at the latest; and nothing is left."""
    refuse_thread("gencore-steps")

    class Endless(Ready):
        def core(self):
            return EndlessCore()

    class EndlessCore(gencore.CoreStream):
        size = 1 << 40

        def __iter__(self):
            while True:
                time.sleep(0.001)
                yield memoryview(bytes(10))

        def wait(self):
            """Nothing to wait for."""

    report = pipeline_with(
        Fake(Endless), directory=tmp_path, timeout=0.3, collectors=[Counts]
    ).run()

    assert report.exit_code == 7
    assert os.listdir(tmp_path) == []
