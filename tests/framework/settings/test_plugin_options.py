"""The options of plug-ins: converted and checked when the pipeline is built."""

import functools
import json
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NewType, Protocol

import pytest

import gencore
from gencore import Range
from gencore._settings.plugin_options import OptionsFromData, check_options, read_options
from gencore.testing import SimulatedBackend


class HasDescriptor(Protocol):
    """As a collector that writes to a file annotates it."""

    def fileno(self):
        """Return it."""


class Key:
    """What only code has."""


KEY = Key()
Seconds = NewType("Seconds", float)


class Options:
    """Takes an option of each kind."""

    def __init__(
        self,
        *,
        level: Annotated[int, Range(1, 22)] = 3,
        at_least: Annotated[float, Range(least=0)] = 0,
        noted: Annotated[int, ["not hashable"]] = 0,
        text: str = "",
        flag: bool = False,
        path: Path | None = None,
        path_or_text: Path | str = "",
        codec: Literal["gzip", "zstd"] = "gzip",
        sizes: list[Annotated[int, Range(least=1)]] = (),
        names: Sequence[str] = (),
        pair: tuple[str, int] = ("", 0),
        many: tuple[Path, ...] = (),
        wait: Seconds = 1.0,
        file: int | HasDescriptor = 1,
        key: Key | None = None,
        anything: Any = None,
        bare=None,
        later: "Unknown" = None,  # noqa: F821 - as a name that only type checkers import
    ):
        raise NotImplementedError


def checked(**given):
    return check_options(Options, given, "collector 'sample'")


def from_data(**given):
    return check_options(Options, OptionsFromData(given, "the file"), "collector 'sample'")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("level", 1),
        ("level", 22),
        ("at_least", 2),
        ("noted", 1),
        ("text", "x"),
        ("flag", True),
        ("path_or_text", "x"),
        ("codec", "zstd"),
        ("sizes", [1, 2]),
        ("names", ["a"]),
        ("wait", 0.5),
        ("file", 2),
    ],
)
def test_a_value_of_its_type_is_taken_as_it_is(name, value):
    """From code and from data."""
    for take in (checked, from_data):
        taken = take(**{name: value})[name]
        assert (type(taken), taken) == (type(value), value)


@pytest.mark.parametrize(
    ("name", "value", "taken"),
    [
        ("path", "/x", Path("/x")),
        ("pair", ["a", 1], ("a", 1)),
        ("many", ["a", "b"], (Path("a"), Path("b"))),
    ],
)
def test_a_value_is_converted_where_data_has_no_such_type(name, value, taken):
    """Paths are text there, and tuples lists."""
    assert from_data(**{name: value}) == {name: taken}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("path", Path("x")),
        ("path_or_text", Path("x")),
        ("path", None),
        ("key", KEY),
        ("key", None),
        ("file", SimulatedBackend()),
        ("anything", KEY),
        ("bare", KEY),
        ("later", KEY),
    ],
)
def test_code_can_give_any_object(name, value):
    """A class takes its own, and what has no annotation, or a protocol, takes everything."""
    assert checked(**{name: value})[name] is value


@pytest.mark.parametrize("name", ["anything", "bare", "later"])
def test_data_can_give_only_what_is_annotated(name):
    """Of the others nobody can say what a table's value would mean."""
    with pytest.raises(gencore.UsageError, match=f"{name}=1: .*which only code can give"):
        from_data(**{name: 1})


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("level", 23, "int from 1 to 22"),
        ("level", "3", "int from 1 to 22"),
        ("level", True, "int from 1 to 22"),
        ("at_least", -0.1, "float of at least 0"),
        ("at_least", float("nan"), "float of at least 0"),
        ("text", 3, "str"),
        ("flag", 1, "bool"),
        ("path", 3, "path or None"),
        ("codec", "lzma", "one of 'gzip', 'zstd'"),
        ("sizes", [1, 0], "list of int of at least 1"),
        ("sizes", 1, "list of int of at least 1"),
        ("names", "abc", "sequence of str"),
        ("pair", ["a"], "(str, int)"),
        ("many", [1], "tuple of path"),
        ("wait", "x", "Seconds"),
        ("key", 3, "Key or None"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_expected(name, value, expected):
    """The message has the plug-in, the option, the value and its source."""
    for take, source in ((checked, ""), (from_data, "the file: ")):
        with pytest.raises(gencore.UsageError) as caught:
            take(**{name: value})

        assert caught.value.message.startswith(
            f"{source}collector 'sample': option {name}={value!r}: expected {expected}"
        )


@pytest.mark.parametrize(
    ("kind", "value", "taken"),
    [
        (typing.List, [1, "x"], [1, "x"]),  # noqa: UP006 - as older code says it
        (typing.Sequence, (1,), [1]),
        (typing.Tuple, [1], (1,)),  # noqa: UP006
        ([int], KEY, KEY),
        ({"x": 1}, KEY, KEY),
        (list[Annotated[int, {}]], KEY, KEY),
    ],
    ids=["List", "Sequence", "Tuple", "list", "dict", "unhashable-note"],
)
def test_any_annotation_can_be_read(kind, value, taken):
    """One that is no type is none: the option takes anything."""

    def maker(*, opt):
        raise NotImplementedError

    maker.__annotations__ = {"opt": kind}

    assert check_options(maker, {"opt": value}, "x") == {"opt": taken}
    assert read_options(maker).named["opt"].expected


@pytest.mark.parametrize(("given", "good"), [(1, True), (True, False), (1.0, False), ("1", False)])
def test_a_literal_is_of_one_type(given, good):
    """True equals 1, and is not meant by it."""

    def maker(*, opt: Literal[1]):
        raise NotImplementedError

    if good:
        assert check_options(maker, {"opt": given}, "x") == {"opt": given}
    else:
        with pytest.raises(gencore.UsageError, match="expected one of 1"):
            check_options(maker, {"opt": given}, "x")


@pytest.mark.parametrize("required", [1, 0, None, [], {}, "after"])
def test_required_is_one_of_three(required):
    """And said so, whatever is given."""
    with pytest.raises(gencore.UsageError, match="true, false or 'before'"):
        gencore.CollectorSpec("raw", required=required)
    with pytest.raises(gencore.UsageError, match="true, false or 'before'"):
        gencore.Pipeline.from_mapping({"collectors": [{"use": "raw", "required": required}]})


def test_an_unknown_option_is_answered_with_the_nearest():
    """And with all of them."""
    with pytest.raises(gencore.UsageError) as caught:
        checked(levle=3)

    assert caught.value.remedy == "did you mean 'level'?"
    assert "unknown option levle=3: expected one of level, at_least" in caught.value.message


def test_an_option_that_must_be_given_is_missed_before_the_dump(tmp_path):
    """By name and type."""

    class Encrypts(gencore.Collector):
        name = "encrypts"
        api_version = (1, 0)

        def __init__(self, *, recipient: str):
            raise NotImplementedError

        def finish(self, dump):
            raise NotImplementedError

    with pytest.raises(gencore.UsageError, match=r"option 'recipient' is missing.*str"):
        gencore.Pipeline(collectors=[Encrypts], directory=tmp_path)
    misspelt = gencore.CollectorSpec(Encrypts, options={"recipent": "x"})
    with pytest.raises(gencore.UsageError, match=r"unknown option.*did you mean 'recipient'"):
        gencore.Pipeline(collectors=[misspelt], directory=tmp_path)
    given = functools.partial(Encrypts, recipient="x")
    gencore.Pipeline(collectors=[given], directory=tmp_path)


def test_what_takes_any_option_is_given_any():
    """Of the type that it states for them."""

    def make(**options: int):
        raise NotImplementedError

    assert check_options(make, {"a": 1}, "x") == {"a": 1}
    with pytest.raises(gencore.UsageError, match="option b='x': expected int"):
        check_options(make, {"b": "x"}, "x")


def test_a_constructor_that_cannot_be_read_takes_any_option():
    """It has the last word when it is called."""

    class Odd(type):
        @property
        def __signature__(cls):
            raise OSError

    assert check_options(Odd("Odd", (), {}), {"a": KEY}, "x") == {"a": KEY}


class Sized(SimulatedBackend):
    """Has a core of a given size."""

    name = "sized"

    def __init__(self, *, pages: Annotated[int, Range(1, 16)] = 1):
        super().__init__(bytes(4096 * pages))


def test_a_backend_is_made_with_its_options(tmp_path):
    """Checked as those of collectors are."""
    sizes = [
        gencore.create_core(
            backend=gencore.BackendSpec(Sized, options={"pages": pages}), directory=tmp_path
        )
        .stat()
        .st_size
        for pages in (1, 3)
    ]

    assert sizes[1] - sizes[0] == 2 * 4096
    with pytest.raises(gencore.UsageError, match="backend 'sized': option pages=17: expected int"):
        gencore.Pipeline(backend=gencore.BackendSpec(Sized, options={"pages": 17}))
    with pytest.raises(gencore.UsageError, match="is not a Backend"):
        gencore.Pipeline(backend=gencore.BackendSpec(dict))


def test_the_file_gives_options_to_backends_and_collectors(tmp_path, monkeypatch):
    """By name, as `use` and `options`."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "sample_sized.py").write_text(
        "from pathlib import Path\n"
        "from gencore import Collector\n"
        "from gencore.testing import SimulatedBackend\n"
        "class Sized(SimulatedBackend):\n"
        "    name = 'sized'\n"
        "    def __init__(self, *, pages: int):\n"
        "        super().__init__(bytes(4096 * pages))\n"
        "class Told(Collector):\n"
        "    name = 'told'\n"
        "    api_version = (1, 0)\n"
        "    def __init__(self, *, path: Path):\n"
        "        self.path = path\n"
        "    def finish(self, dump):\n"
        "        with dump.create('told.txt') as file:\n"
        "            file.write(repr(self.path).encode())\n"
        "        return [file.artifact()]\n"
    )
    info = tmp_path / "sample_sized-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sample-sized\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[gencore.backends]\nsized = sample_sized:Sized\n"
        "[gencore.collectors]\ntold = sample_sized:Told\n"
    )
    config = tmp_path / "gencore.toml"
    config.write_text(
        "backend = { use = 'sized', options = { pages = 3 } }\n"
        "collectors = ['raw', 'manifest', { use = 'told', options = { path = '/x' } }]\n"
    )
    monkeypatch.setenv("GENCORE_CONFIG", str(config))

    report = gencore.Pipeline(directory=tmp_path).run()

    assert report.backend == "sized"
    assert report.path_of("raw").stat().st_size > 3 * 4096
    assert report.path_of("told").read_text() == repr(Path("/x"))
    manifest = json.loads(report.path_of("manifest").read_text())
    assert manifest["tool"]["backend"]["dist"] == "sample-sized"
