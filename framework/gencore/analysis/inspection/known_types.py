"""Recognises objects of a few types by the names of these, each of which is read once."""

from collections.abc import Set as AbstractSet

from gencore.analysis.inspection.objects import TYPE_AT, type_name
from gencore.analysis.interpreter.memory import AbsentMemory, Memory

__all__ = ["KnownTypes"]


class KnownTypes:
    """Types that matter, by their ``tp_name``."""

    def __init__(self, memory: Memory, names: AbstractSet[str]) -> None:
        self._memory, self._names = memory, names
        self._found: dict[int, str | None] = {}

    def of(self, thing: int) -> str | None:
        """Return the name of an object's type if it is one of these.

        None too if the object was freed, or is no object, or is missing.
        """
        try:
            if not thing or thing % 8 or not self._memory.word(thing):
                return None
            at = self._memory.word(thing + TYPE_AT)
            if at not in self._found:
                name = type_name(self._memory, thing)
                self._found[at] = name if name in self._names else None
        except AbsentMemory:
            return None
        return self._found[at]
