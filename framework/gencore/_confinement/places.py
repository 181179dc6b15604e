"""What a program needs to run: the places it is read from, and the environment it starts with."""

import shutil
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

__all__ = ["environment_of_readers", "places_of_program", "places_of_python"]

_OF_THE_SYSTEM: Final = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store", "/gnu/store"),
    *("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives"),
    *("/etc/terminfo", "/etc/inputrc", "/etc/localtime", "/etc/gdb", "/etc/python3"),
    *("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random", "/dev/tty"),
)
"""Programs, libraries, settings and devices that anyone may read; nothing of a user or service."""
_OF_A_PREFIX: Final = ("bin", "lib", "lib64", "libexec", "share/gdb", "share/terminfo")
_PATH: Final = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
_KEPT: Final = frozenset(
    {"TERM", "COLORTERM", "NO_COLOR", "LANG", "LANGUAGE", "COLUMNS", "LINES", "TZ"}
)


def places_of_program(name: str) -> Iterator[Path]:
    """Yield the system's places, and those of a program that is installed somewhere else."""
    yield from map(Path, _OF_THE_SYSTEM)
    found = shutil.which(name)
    for path in {Path(found).absolute(), Path(found).resolve()} if found else ():
        yield path
        if path.parent.name == "bin":
            yield from (path.parents[1] / below for below in _OF_A_PREFIX)


def places_of_python() -> Iterator[Path]:
    """Yield where this interpreter has its library and its packages."""
    for name in ("stdlib", "platstdlib", "purelib", "platlib"):
        yield Path(sysconfig.get_path(name))
    yield Path(sysconfig.get_config_var("LIBDIR"))
    yield Path(sysconfig.get_path("scripts")).with_name("pyvenv.cfg")


def environment_of_readers(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what of an environment concerns the terminal and the language, and nothing else.

    Without DEBUGINFOD_URLS, among others, from which debuggers fetch what a build ID names, and
    without a virtual environment in PATH, by which LLDB's Python finds a library that it may not
    read. There is no home: what a program would read or write there is not part of a core.
    """
    kept = {k: v for k, v in environment.items() if k in _KEPT or k.startswith("LC_")}
    return {**kept, "PATH": _PATH, "HOME": "/nonexistent", "DEBUGINFOD_URLS": ""}
