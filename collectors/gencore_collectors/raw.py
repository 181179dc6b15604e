"""The collector ``raw``: the core itself, as a file."""

from collections.abc import Iterable

from gencore import Artifact, Collector, CoreSink, CoreStream, DumpInProgress

__all__ = ["RawCollector"]

_NAME = "core"


class RawCollector(Collector):
    """Saves the core as a file: moves one that the backend has so, writes one that it streams."""

    name = "raw"
    api_version = (1, 0)
    time_limit = None
    keeps_core = True

    def __init__(self) -> None:
        self._writer: _CoreWriter | None = None

    def begin(self, dump: DumpInProgress) -> CoreSink | None:
        """Ask for the bytes only if there is no file to move."""
        if dump.core is None or dump.core.file is not None:
            return None
        self._writer = _CoreWriter(dump)
        return self._writer

    def finish(self, dump: DumpInProgress) -> Iterable[Artifact]:
        """Hand the core over. One that is not whole says so in its name."""
        if dump.core is None:
            return []
        if self._writer is not None:
            self._writer.file.close()
        return [_move(dump, dump.core)]


def _move(dump: DumpInProgress, core: CoreStream) -> Artifact:
    name = _NAME if core.incomplete is None else f"truncated.{_NAME}"
    dump.output.rename(core.file or _NAME, name)
    return Artifact(name=name, size=core.size - core.missing, sha256=dump.core_sha256)


class _CoreWriter(CoreSink):
    def __init__(self, dump: DumpInProgress) -> None:
        self.file = dump.create(_NAME)

    def write(self, chunk: memoryview) -> None:
        self.file.write(chunk)

    def abort(self) -> None:
        self.file.close()
