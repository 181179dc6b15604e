"""The destination ``directory``: files, each under its final name only when it is whole."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from gencore import ArtifactWriter, Destination, Output, Range, Refused, Removal, Retention, Upload

__all__ = ["DirectoryDestination"]


class DirectoryDestination(Destination):
    """Writes each artefact into a private directory, and gives it its name at the end.

    What is kept of earlier dumps of the same pipeline can be limited, see `Retention`: the oldest
    ones are removed once a dump has been published, and for *keep_free* also before it is made.

    Args:
        path: The directory; the current one if it is not given.
        keep_count: Dumps that are kept, the new one included.
        keep_bytes: What they may take up together: bytes, or text such as ``20 GiB``.
        keep_age: How old they may become: seconds, or text such as ``12h`` or ``7d``.
        keep_free: What stays free on the file system: bytes, or text such as ``5 GiB``.
    """

    name = "directory"
    api_version = (1, 1)

    def __init__(
        self,
        path: Path | None = None,
        keep_count: Annotated[int, Range(1)] | None = None,
        keep_bytes: int | str | None = None,
        keep_age: float | str | None = None,
        keep_free: int | str | None = None,
    ) -> None:
        self._path = Path.cwd() if path is None else path.absolute()  # wherever chdir leads
        self._retention = Retention(
            keep_count=keep_count, keep_bytes=keep_bytes, keep_age=keep_age, keep_free=keep_free
        )

    @property
    def directory(self) -> Path:
        """Return it."""
        return self._path

    def check(self) -> None:
        """Make a private directory there, and remove it."""
        with Output(self._path, "check") as output:
            output.prepare()

    def check_name(self, dump: str) -> None:
        """Refuse a dump whose name a file there has already."""
        with Output(self._path, dump) as output:
            output.refuse_rival()

    def make_room(self, names: re.Pattern[str] | None) -> Iterable[Removal]:
        """Remove leftovers, and the oldest dumps if less is free than should be."""
        with Output(self._path, "") as output:
            yield from output.sweep()
        if names is None and self._retention.limited:
            raise Refused(
                "retention cannot tell dumps from other files by their names",
                remedy="put {time} or {id} into the name",
            )
        if names is not None:
            yield from self._retention.only_free.apply(self._path, names)

    def limit(self, dump: str, names: re.Pattern[str] | None) -> Iterable[Removal]:
        """Remove the oldest dumps as long as a limit is exceeded."""
        return () if names is None else self._retention.apply(self._path, names, dump)

    def open(self, name: str, size_hint: int | None) -> Upload:  # noqa: ARG002 - a disk needs none
        """Create the file."""
        stem, _, extension = name.rpartition(".")
        output = Output(self._path, stem)
        try:
            return _File(output, output.create(extension, hashed=False))
        except BaseException:
            output.close()
            raise


class _File(Upload):
    def __init__(self, output: Output, file: ArtifactWriter) -> None:
        self._output = output
        self._file = file

    def write(self, data: memoryview) -> None:
        self._file.write(data)

    def commit(self) -> Path:
        with self._output:
            return self._output.publish(self._file.artifact())

    def abort(self) -> None:
        self._output.close()
