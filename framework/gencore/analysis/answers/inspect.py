"""One object in a core: what it is, its attributes and its items, each with its address."""

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import Any, Final

import numpy as np

from gencore.analysis import AbsentMemory, Python, TypeFacts, Values
from gencore.analysis.asynchronous.coroutines import CoroutineReader
from gencore.analysis.heap.arenas import zeroed_pools
from gencore.analysis.heap.pools import find_pools
from gencore.analysis.heap.sizes import Sizes
from gencore.analysis.heap.type_objects import names_of, types_at
from gencore.analysis.interpreter.words import Words
from gencore.analysis.threads.variables import variables_of
from gencore.corefile import CoreFile

_WITH_FRAME: Final = {"coroutine", "generator", "async_generator"}
_LONGEST_VALUE: Final = 1000
"""Characters of the object itself; of its parts, the usual number."""
Rows = Iterator[dict[str, Any]]


def answer(python: Python, _core: CoreFile, address: str, top: str) -> dict[str, Any]:
    """Return the object at an address with its first *top* attributes and items.

    What is missing in the core ends the attributes or the items. If no object is there, what is
    returned is only what may be missing.
    """
    words, found = Words(python.memory), {}
    with suppress(AbsentMemory):
        found = _object(python, int(address), int(top))
    return {**found, "incomplete": zeroed_pools(words, find_pools(words))}


def _object(python: Python, at: int, top: int) -> dict[str, Any]:
    """Return the object. Raises `AbsentMemory` if its type is missing."""
    values = Values(python)
    facts = values.type_of(at)
    attributes = _attributes(values, at)
    return {
        "address": at,
        "type": facts.name,
        "type_address": facts.address,
        "size": _size(python, facts, at),
        "length": _length(values, at),
        "value": values.show(at, _LONGEST_VALUE),
        "attributes_found": len(attributes),
        "attributes": [
            {"name": name, **_shown(values, value)}
            for name, value in islice(attributes.items(), top)
        ],
        "items": list(islice(_items(values, at), top)),
        "variables": list(islice(_variables(python, values, facts, at), top)),
    }


def _attributes(values: Values, address: int) -> dict[str, int]:
    with suppress(AbsentMemory):
        return values.attributes(address)
    return {}


def _length(values: Values, address: int) -> int | None:
    with suppress(AbsentMemory):
        return values.length(address)
    return None


def _items(values: Values, address: int) -> Rows:
    with suppress(AbsentMemory):
        for key, value in values.items(address):
            yield {
                "key": None if key is None else _shown(values, key),
                **_shown(values, value),
            }


def _variables(python: Python, values: Values, facts: TypeFacts, address: int) -> Rows:
    """Yield the variables of a frame, or of the frame that a generator or coroutine has."""
    with suppress(AbsentMemory):
        frame = _frame(python, values, facts, address)
        for variable in variables_of(python, values, frame) if frame else ():
            shown = _shown(values, variable.address)
            yield {"name": variable.name, "kind": variable.kind, **shown}


def _frame(python: Python, values: Values, facts: TypeFacts, address: int) -> int | None:
    if "frame" in facts.lineage:
        return python.memory.word(address + python.layout.record_of_frame)
    if _WITH_FRAME.isdisjoint(facts.lineage):
        return None
    frames = CoroutineReader(python, values).chain(address).frames
    return frames[0] if frames else None


def _shown(values: Values, address: int) -> dict[str, Any]:
    name = None
    with suppress(AbsentMemory):
        name = values.type_name(address)
    return {"address": address, "type": name, "value": values.show(address)}


def _size(python: Python, facts: TypeFacts, address: int) -> int | None:
    """Return the bytes as ``sys.getsizeof`` has them; None outside of what the core has."""
    words = Words(python.memory)
    types = types_at(python, words, facts.order)
    things, there = words.things(np.array([address], np.uint64))
    row = int(types.find(np.array([facts.address], np.uint64))[0])
    if not there[0] or row < 0:
        return None
    return int(Sizes(python, words, types, names_of(python, types)).of(row, things)[0])
