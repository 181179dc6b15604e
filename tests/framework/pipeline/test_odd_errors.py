"""An exception of a plug-in's costs its artefact and nothing else, however odd it is."""

import asyncio
import concurrent.futures
import dataclasses
import json
import threading

import attrs
import pytest

import gencore
from gencore.testing import SimulatedBackend


class Textless(Exception):
    def __str__(self):
        raise RuntimeError("no text")

    __repr__ = __str__


class TextlessBase(BaseException):
    __str__ = Textless.__str__


class Exits(Exception):
    def __str__(self):
        raise SystemExit(3)


class Causeless(Exception):
    @property
    def __cause__(self):
        raise RuntimeError("no cause")

    __context__ = __traceback__ = __cause__


class Classless(Exception):
    @property
    def __class__(self):
        raise RuntimeError("no class")


class _Nameless(type):
    def __getattribute__(cls, name):
        if name in {"__name__", "__module__", "__qualname__"}:
            raise RuntimeError("no name")
        return super().__getattribute__(name)


class Nameless(Exception, metaclass=_Nameless):
    pass


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    x: int = 1


@attrs.frozen
class FrozenToo(Exception):
    x: int = 1


def itself():
    error = ValueError("boom")
    error.__cause__ = error
    return error


def circle():
    one, two = ValueError("one"), KeyError("two")
    one.__cause__, two.__context__ = two, one
    return one


ERRORS = {
    "itself": itself,
    "circle": circle,
    "group": lambda: ExceptionGroup("group", [itself(), Frozen()]),
    "nameless": Nameless,
    "half made": lambda: gencore.PluginError.__new__(gencore.PluginError),
    **{
        kind.__name__: kind
        for kind in (
            *(Textless, TextlessBase, Exits, Causeless, Classless, Frozen, FrozenToo),
            *(SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration, StopAsyncIteration),
            *(asyncio.CancelledError, concurrent.futures.CancelledError, RecursionError),
        )
    },
}


class Good(gencore.Collector):
    """Makes a file."""

    name = "good"
    api_version = (1, 1)

    def finish(self, dump):
        """Make it."""
        dump.create(f"{self.name}.txt").write(self.name.encode())


class Last(Good):
    """Comes last."""

    name = "last"


class Bad(Good, gencore.CoreSink):
    """May be made to raise in any method."""

    name = "bad"

    def begin(self, dump):
        """Take the core."""
        self.early = dump.create("early.txt")
        return self

    def write(self, _chunk):
        """Take it."""


class Part:
    """An upload and a filter's sink: a subclass says which methods raise, and what."""

    error, raising = None, ()

    def __init__(self, name):
        self.name, self.is_bad = name, False

    def does(self, method, data=b""):
        self.is_bad |= b"bad" in bytes(data)
        if method in self.raising and self.is_bad:
            raise self.error()

    def write(self, data):
        self.does("write", data)

    def commit(self):
        self.does("commit")
        return f"place:{self.name}"

    def abort(self):
        self.does("abort")

    def close(self):
        self.does("close")


def destination(error, *raising):
    """Return one whose uploads raise, once something bad was written to them."""
    upload = type("Raises", (Part, gencore.Upload), {"error": error, "raising": raising})

    class Place(gencore.Destination):
        """Keeps nothing."""

        name = "place"
        api_version = (1, 1)

        def open(self, name, _size_hint):
            """Begin one."""
            return upload(name)

    return Place


def filter_(error, *raising):
    """Return one whose sinks raise, once something bad was written to them."""
    sink = type("Raises", (Part,), {"error": error, "raising": raising})

    class Sieve(gencore.Filter):
        """Lets nothing through."""

        name = "sieve"
        api_version = (1, 1)
        suffix = ".sieve"

        def open(self, _writer):
            """Begin one."""
            return sink("one")

    return Sieve


def run(directory, *collectors, **options):
    options.setdefault("backend", SimulatedBackend())
    return gencore.Pipeline(collectors=collectors, directory=directory, **options).run()


def survives(report):
    """The other collectors' artefacts are there, and the report can be read and sent."""
    assert [failed.part for failed in report.failed] == ["bad"]
    assert [artifact.collector for artifact in report.artifacts] == ["good", "last"]
    assert all(failed.reason for failed in report.failed)
    assert json.dumps(report.as_dict()["failed"])


@pytest.mark.parametrize("method", ["check", "begin", "write", "close", "finish"])
@pytest.mark.parametrize("error", ERRORS)
def test_a_collector_may_raise_anything(tmp_path, error, method):
    """Its own artefact is lost, and nothing else."""
    make = ERRORS[error]

    def fails(*_):
        raise make()

    report = run(tmp_path, Good, type("Raises", (Bad,), {method: fails}), Last)

    survives(report)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("method", ["write", "commit"])
@pytest.mark.parametrize("error", ERRORS)
def test_a_destination_may_raise_anything(tmp_path, error, method):
    """Also a second time, when its upload is aborted."""
    bad = type("Plain", (Good,), {"name": "bad"})
    place = destination(ERRORS[error], method, "abort")

    report = run(tmp_path, Good, bad, Last, destination=place)

    survives(report)
    if error != "half made":  # an error of gencore's own says what it says
        assert "destination 'place'" in report.failed[0].reason


@pytest.mark.parametrize("method", ["write", "close", "abort"])
@pytest.mark.parametrize("error", ERRORS)
def test_a_filter_may_raise_anything(tmp_path, error, method):
    """Also while its artefact is given up because its collector has failed."""

    def finish(_, dump):
        dump.create("bad.txt").write(b"bad")
        raise ValueError

    bad = type("Fails", (Good,), {"name": "bad", "finish": finish})
    sieve = filter_(ERRORS[error], method)

    survives(run(tmp_path, Good, bad, Last, filters=[sieve], destination=destination(None)))


@pytest.mark.parametrize("error", ERRORS)
def test_a_sink_that_comes_too_late_may_raise_anything(tmp_path, error):
    """It is aborted on the thread that was left behind, while the dump goes on."""
    make, last_may_end = ERRORS[error], threading.Event()

    def aborts(*_):
        last_may_end.set()
        raise make()

    late = type("Late", (Bad,), {"time_limit": 0.1, "abort": aborts})
    begun = threading.Event()
    late.begin = lambda self, _: begun.wait() and self

    def finish(self, dump):
        begun.set()
        assert last_may_end.wait(30)
        Good.finish(self, dump)

    survives(run(tmp_path, Good, late, type("Waits", (Last,), {"finish": finish})))


class OddClass(type(gencore.CoreSink)):
    """The class of a class that has no module."""

    @property
    def __module__(cls):
        raise RuntimeError("no module")


class Unshowable:
    """Cannot be shown, nor asked for its class."""

    def __repr__(self):
        raise RuntimeError("no repr")

    __class__ = property(__repr__)


@pytest.mark.parametrize("method", ["begin", "finish", "packing"])
def test_a_collector_may_return_what_cannot_be_shown(tmp_path, method):
    """It is named, and not the core."""
    bad = type("Returns", (Bad,), {method: lambda *_: Unshowable(), "packs": method == "packing"})

    report = run(tmp_path, Good, bad, Last)

    assert [failed.part for failed in report.failed] == ["bad"]


def test_a_sink_may_have_an_odd_class(tmp_path):
    """It is not taken for one of gencore's own."""
    sink = OddClass("Sink", (gencore.CoreSink,), {"write": lambda *_: None})
    odd = type("Odd", (Bad,), {"begin": lambda *_: sink()})

    report = run(tmp_path, Good, odd)

    assert report.result == "complete"
