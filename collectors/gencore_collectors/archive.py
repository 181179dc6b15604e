"""The collector ``archive``: core, executable, libraries and the other artefacts in one tar.gz."""

from collections.abc import Iterable
from typing import BinaryIO

from gencore import Artifact, Collector, CoreSink, CoreStream, DumpInProgress
from gencore.bundle import BundleWriter
from gencore.core_stream import CHUNK_SIZE
from gencore.libraries import Library, open_regular
from gencore.output import ArtifactWriter

__all__ = ["ArchiveCollector"]


class ArchiveCollector(Collector):
    """Packs everything into one tar.gz, while the core is read: no uncompressed copy is made."""

    name = "archive"
    api_version = (1, 0)
    time_limit = None
    packs = True

    def begin(self, dump: DumpInProgress) -> CoreSink | None:
        """Begin the bundle with the core."""
        if dump.core is None:
            return None
        self._file = dump.create("tar.gz")
        self._bundle = BundleWriter(self._file, dump.name, dump.created_at.timestamp())
        self._bundle.begin("core", dump.core.size)
        return _CoreMember(dump.core, self._bundle, self._file)

    def finish(self, dump: DumpInProgress) -> Iterable[Artifact]:
        """Add the libraries, the sources and the artefacts of the other collectors."""
        if dump.core is None:
            return []
        try:
            for library in (*dump.libraries, *dump.sources):
                self._add_library(library, dump)
            for artifact in dump.artifacts:
                if artifact.name.rpartition(".")[2] != "core":  # it is in the bundle already
                    self._add_artifact(artifact, dump)
            self._bundle.close()
        except BaseException:
            self._bundle.abort()
            self._file.close()
            raise
        return [self._file.artifact()]

    def _add_library(self, library: Library, dump: DumpInProgress) -> None:
        """Add it under each of its names: a bundle has no links."""
        for archive_path in library.archive_paths:
            try:
                file = open_regular(library.source or library.path)
            except OSError as error:
                dump.skip(library.path, str(error))
                return
            with file:
                self._bundle.begin(
                    archive_path, library.size or 0, mode=0o700, sha256=library.sha256
                )
                self._copy(file)

    def _copy(self, file: BinaryIO) -> None:
        while chunk := file.read(CHUNK_SIZE):
            self._bundle.write(chunk)
        self._bundle.end()

    def _add_artifact(self, artifact: Artifact, dump: DumpInProgress) -> None:
        with dump.output.open(artifact.name) as file:
            self._bundle.begin(artifact.name, artifact.size, sha256=artifact.sha256)
            self._copy(file)


class _CoreMember(CoreSink):
    def __init__(self, core: CoreStream, bundle: BundleWriter, file: ArtifactWriter) -> None:
        self._core = core
        self._bundle = bundle
        self._file = file

    def write(self, chunk: memoryview) -> None:
        self._bundle.write(chunk)

    def close(self) -> None:
        self._bundle.end(short=self._core.missing)

    def abort(self) -> None:
        self._bundle.abort()
        self._file.close()
