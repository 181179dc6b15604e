"""The census of the Python objects in a core."""

from typing import Any

import attrs

from gencore.analysis import Python
from gencore.analysis.heap.census import take_census
from gencore.corefile import CoreFile


def answer(python: Python, _core: CoreFile, top: str) -> dict[str, Any]:
    """Return the version of Python and the census, with the *top* largest objects."""
    return {"version": python.version, **attrs.asdict(take_census(python, top=int(top)))}
