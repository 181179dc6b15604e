"""The collector ``raw``: the core itself, as a file."""

from gencore import ArtifactWriter, Collector, CoreSink, DumpInProgress

__all__ = ["RawCollector"]

_NAME = "core"


class RawCollector(Collector):
    """Saves the core as a file: moves one that the backend has so, writes one that it streams."""

    name = "raw"
    api_version = (1, 1)
    time_limit = None
    reserves = ("core",)
    keeps_core = True

    def begin(self, dump: DumpInProgress) -> CoreSink | None:
        """Ask for the bytes only if there is no file to move."""
        if dump.core is None or dump.core.file is not None:
            return None
        return _CoreWriter(dump.create(_NAME))

    def finish(self, dump: DumpInProgress) -> None:
        """Move the backend's file."""
        if dump.core is not None and dump.core.file is not None:
            dump.take_core(_NAME)


class _CoreWriter(CoreSink):
    def __init__(self, file: ArtifactWriter) -> None:
        self._file = file
        file.hash_beside()
        file.leave_holes()  # much of a core is zeros
        self.hashes = file.sha256 is not None

    @property
    def sha256(self) -> str | None:  # type: ignore[override]  # it is only read
        return self._file.sha256

    def room(self) -> memoryview | None:
        return self._file.room()

    def write(self, chunk: memoryview) -> None:
        self._file.write(chunk)

    def abort(self) -> None:
        self._file.close()
