"""The rules that plug-ins of every family keep, as assertions that name the rule."""

import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, Final

import pytest

from gencore._plugins.loader import API_CURRENT, API_FLOOR
from gencore._plugins.names import is_name
from gencore._runtime.os_thread import wait_for_all

__all__ = [
    "ContractSuite",
    "assert_aborts",
    "assert_checks",
    "assert_named_well",
    "assert_same",
    "surroundings",
    "until_threads_end",
    "watched",
]

_FORBIDDEN: Final = ("import", "open", "os.listdir", "os.scandir", "socket.", "subprocess.")
_OWN_THREADS: Final = {"gencore-dump", "gencore-steps", "gencore-events", "gencore-abort"}
"""The framework's own threads, which may take a moment to end after the result is there."""
_THREAD_LIMIT: Final = 10.0
"""Seconds that they have for that: one that a plug-in holds up stays."""
_watching = threading.local()


class ContractSuite:
    """What the suites share: failures that are known, each with its reason."""

    known_failures: ClassVar[Mapping[str, str]] = {}
    """Names of tests of this suite that fail, and why. One that passes is an error."""

    @pytest.fixture(autouse=True)
    def _empty_working_directory(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        monkeypatch.chdir(tmp_path_factory.mktemp("working-directory"))

    @pytest.fixture(autouse=True)
    def _expect_known_failures(self, request: pytest.FixtureRequest) -> None:
        unknown = [name for name in self.known_failures if not hasattr(self, name)]
        assert not unknown, f"known_failures names tests that do not exist: {unknown}"
        reason = self.known_failures.get(request.node.originalname)
        if reason is not None:
            request.applymarker(pytest.mark.xfail(reason=reason, strict=True))


def assert_named_well(plugin: Any) -> None:
    """Check what the loader and ``gencore plugins`` need of a plug-in's class or object."""
    name = getattr(plugin, "name", None)
    version = getattr(plugin, "api_version", None)
    document = (plugin if isinstance(plugin, type) else type(plugin)).__doc__
    assert isinstance(name, str), "rule: a plug-in has a name"
    assert is_name(name), "rule: a name is lower-case letters, digits and hyphens"
    assert isinstance(version, tuple), "rule: api_version is a pair of numbers"
    assert API_FLOOR <= version <= API_CURRENT, "rule: api_version is in the window"
    assert document, "rule: a plug-in's class has a docstring"


def assert_checks(plugin: Any) -> None:
    """Let a collector, destination or filter check itself."""
    returned: object = plugin.check()
    if hasattr(returned, "close"):
        returned.close()  # a coroutine, of which Python would say that nobody has awaited it
    assert returned is None, "rule: check() returns None, and is not a coroutine"


def assert_aborts(abort: Callable[[], object]) -> None:
    """Abort from another thread than the one that writes, as the framework may."""
    raised: list[BaseException] = []

    def call() -> None:
        try:
            abort()
        except BaseException as error:  # also SystemExit
            raised.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert not raised, f"rule: abort() raises nothing: {raised}"


@contextmanager
def until_threads_end() -> Iterator[None]:
    """Wait at the end for every thread that was started meanwhile, for what it does late."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(_THREAD_LIMIT)


def assert_same(found: object, expected: object, rule: str) -> None:
    """Compare what may be megabytes. pytest would explain the difference, for hours."""
    same = found == expected
    assert same, rule


def surroundings(*directories: Path) -> dict[str, Any]:
    """Return what a plug-in must leave as it was.

    Once the framework's own threads have ended: even to be named, each opens a file for a moment.
    And without garbage: that of earlier code may go, with its descriptors, at any time.
    """
    wait_for_all(_THREAD_LIMIT)
    gc.collect()
    return {
        "files": sorted(str(path) for top in directories for path in top.rglob("*")),
        "working directory": os.getcwd(),  # noqa: PTH109 - a string shows best
        "environment": dict(os.environ),
        "umask": _umask(),
        "children": sorted(_children()),
        "threads": sorted(t.name for t in threading.enumerate() if t.name not in _OWN_THREADS),
        "descriptors": sorted(map(_leads_to, Path("/dev").glob("fd/*"))),
        "signal handlers": {number: signal.getsignal(number) for number in signal.valid_signals()},
    }


def _leads_to(descriptor: Path) -> str:
    """Return the file or the kind of an open descriptor, as far as the system says that."""
    with suppress(OSError):
        return os.readlink(descriptor).partition("[")[0]
    return ""


def _umask() -> int:
    """Ask for it, which nothing but setting it does on every system."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _children() -> list[str]:
    """Return the IDs of child processes, where the kernel says them: see proc_pid_children(5)."""
    children: list[str] = []
    for listed in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):  # of a thread that has ended meanwhile
            children += listed.read_text().split()
    return children


@contextmanager
def watched() -> Iterator[list[str]]:
    """Note what this thread does that must not be done inside the pause."""
    _install_audit_hook()
    events: list[str] = []
    _watching.events = events
    try:
        yield events
    finally:
        del _watching.events


def _install_audit_hook() -> None:
    """Install it once: an audit hook cannot be removed (PEP 578)."""
    if not hasattr(_install_audit_hook, "done"):
        sys.addaudithook(_note_forbidden)
        _install_audit_hook.done = True  # type: ignore[attr-defined]  # a mark, not an interface


def _note_forbidden(event: str, arguments: tuple[Any, ...]) -> None:
    events: list[str] | None = getattr(_watching, "events", None)
    if events is not None and event.startswith(_FORBIDDEN):
        events.append(f"{event}{arguments!r}")
