"""Which programs and packages that read dumps are installed. None is needed to make one."""

import importlib.util
import shutil
from collections.abc import Callable, Iterator
from typing import Final

import attrs

from gencore.cli.diagnosis.row import Case, Row

__all__ = ["readers"]


@attrs.frozen
class _Reader:
    name: str
    find: Callable[[str], str | None]
    used_by: str
    remedy: str


def _package(name: str) -> str | None:
    found = importlib.util.find_spec(name)
    return None if found is None else found.origin


_READERS: Final = (
    _Reader("gdb", shutil.which, "gencore open", "apt-get install gdb"),
    _Reader("lldb", shutil.which, "gencore open --lldb", "apt-get install lldb"),
    _Reader("numpy", _package, "gencore heap", "pip install 'gencore[analysis]'"),
    _Reader("pystack", _package, "gencore stacks --native", "pip install 'gencore[analysis]'"),
    _Reader("jinja2", _package, "gencore report", "pip install 'gencore[report]'"),
)


def readers(_: Case) -> Iterator[Row]:
    """Yield a row for each, wherever it is: dumps are often read on another machine."""
    for reader in _READERS:
        found = reader.find(reader.name)
        if found is None:
            text = f"not installed: {reader.used_by} reads dumps with it"
            yield Row(reader.name, "note", None, text, reader.remedy)
        else:
            yield Row(reader.name, "ok", found, found)
