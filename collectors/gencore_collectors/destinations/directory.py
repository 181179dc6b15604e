"""The destination ``directory``: files, each under its final name only when it is whole."""

from pathlib import Path

from gencore import ArtifactWriter, Destination, Output, Upload

__all__ = ["DirectoryDestination"]


class DirectoryDestination(Destination):
    """Writes each artefact into a private directory, and gives it its name at the end.

    Args:
        path: The directory; the current one if it is not given.
    """

    name = "directory"
    api_version = (1, 1)

    def __init__(self, path: Path | None = None) -> None:
        self._path = Path.cwd() if path is None else path.absolute()  # wherever chdir leads

    def check(self) -> None:
        """Make a private directory there, and remove it."""
        with Output(self._path, "check") as output:
            output.prepare()

    def check_name(self, dump: str) -> None:
        """Refuse a dump whose name a file there has already."""
        with Output(self._path, dump) as output:
            output.refuse_rival()

    def open(self, name: str, size_hint: int | None) -> Upload:  # noqa: ARG002 - a disk needs none
        """Create the file."""
        stem, _, extension = name.rpartition(".")
        output = Output(self._path, stem)
        try:
            return _File(output, output.create(extension))
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
