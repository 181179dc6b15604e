"""What earlier dumps have left where a dump goes: leftovers, and more than is to be kept."""

import re
from collections.abc import Callable, Iterable

from gencore._listeners.log_records import write_removal
from gencore._pipeline.ways_out import WayOut
from gencore._runtime.return_values import unexpected
from gencore._runtime.supervisor import Call, Steps
from gencore.errors import TimedOut
from gencore.output import Output
from gencore.report import Removal, describe_error

__all__ = ["EarlierDumps"]


class EarlierDumps:
    """Those that one dump may remove. Each removal is logged, and noted for the report."""

    def __init__(self, dump: str, names: re.Pattern[str] | None, way: WayOut) -> None:
        self.removed: list[Removal] = []
        self.warnings: list[str] = []
        self._dump = dump
        self._names = names
        self._way = way

    def make_room(self, output: Output | None) -> None:
        """Remove what is too much before the dump; *output* is the directory that it writes to.

        Raises `OutputError` and `Refused`.
        """
        destination = self._way.destination
        if destination is not None:
            self._way.ask(lambda: self._note(lambda: destination.make_room(self._names)))
        elif output is not None:
            self._note(output.sweep)

    def limit(self, seconds: float) -> Steps[None]:
        """Remove what is too much after it. What goes wrong is a warning."""
        destination = self._way.destination
        if destination is None:
            return
        limit, who = destination.limit, f"limit() of {self._way.who}"
        try:
            remove = lambda: self._note(lambda: limit(self._dump, self._names))  # noqa: E731
            yield Call(remove, seconds, TimedOut(seconds, who))
        except Exception as error:
            self.warnings.append(f"{who} failed: {describe_error(error)}")

    def _note(self, remove: Callable[[], Iterable[Removal]]) -> None:
        for removal in remove():
            if not isinstance(removal, Removal):
                raise unexpected(removal, "make_room or limit", "removals")
            write_removal(self._dump, removal)
            if removal.error is None:
                self.removed.append(removal)
            else:
                self.warnings.append(str(removal))
