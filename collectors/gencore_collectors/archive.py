"""The collectors ``archive`` and ``archive-zstd``: core, libraries and artefacts in one file."""

from collections.abc import Iterator
from typing import Annotated, BinaryIO, ClassVar, Final

from gencore import Artifact, Collector, CoreSink, CoreStream, DumpInProgress, Range
from gencore.bundle import GZIP, ZSTD, BundleWriter, Codec, PackedFiles, Packer, Places
from gencore.bundle import PackedFile as KeptFile
from gencore.collector import PackedFile, Packing
from gencore.core_stream import CHUNK_SIZE
from gencore.libraries import Library, open_regular
from gencore.output import ArtifactWriter

__all__ = ["ArchiveCollector", "ZstdArchiveCollector"]

_CORE: Final = "core"
_OWN: Final = (_CORE, "manifest.json")
"""The names that no file of the process takes, whatever its path."""
_EXECUTABLE: Final = "application/x-executable"
_LIBRARY: Final = "application/x-sharedlib"
_SOURCE: Final = "text/x-python"
_TAKEN: Final = "the bundle has another file in that place"


class ArchiveCollector(Collector):
    """Packs everything into one tar.gz, while the core is read: no uncompressed copy is made."""

    name = "archive"
    api_version = (1, 1)
    time_limit = None
    reserves = (GZIP.extension,)
    packs = True
    hashes_core = True
    codec: ClassVar[Codec] = GZIP
    level: int = GZIP.level

    def check(self) -> None:
        """Raise `UsageError` if the library that compresses is missing."""
        self.codec.load()

    def begin(self, dump: DumpInProgress) -> CoreSink | None:
        """Begin the bundle with the core."""
        if dump.core is None:
            return None
        self._file = dump.create(self.codec.extension)
        created_at = dump.created_at.timestamp()
        self._bundle = BundleWriter(
            self._file, dump.name, created_at, self.codec, self.level, bound=self._file.bound
        )
        self._bundle.begin(_CORE, dump.core.size, tree=True)
        return _CoreMember(dump.core, self._bundle, self._file)

    def packing(self, dump: DumpInProgress) -> Packing:
        """State the core, the mapped files and the sources."""
        files = (*self._core(dump), *_mapped_files(dump))
        return Packing(compression=self.codec.name, level=self.level, core=_CORE, files=files)

    def finish(self, dump: DumpInProgress) -> None:
        """Add the libraries, the sources and the artefacts of the other collectors."""
        if dump.core is None:
            return
        places = Places(*_OWN)
        packed = PackedFiles(self.codec, self.level)
        self._file.hash_beside()  # now that those that pack have little to do
        try:
            for library in (*dump.libraries, *dump.sources):
                self._add_library(library, dump, places, packed)
            for artifact in dump.artifacts:
                if not artifact.streamed:
                    self._add_artifact(artifact, dump)
            self._bundle.close()
        except BaseException:
            self._bundle.abort()
            raise
        finally:
            packed.close()

    def _core(self, dump: DumpInProgress) -> Iterator[PackedFile]:
        """Yield it as it is in the bundle: zeros stand for what is missing."""
        if dump.core is not None:
            yield PackedFile(
                name=_CORE,
                media_type="application/x-coredump",
                size=dump.core.size,
                tree_sha256=self._bundle.tree_hash(_CORE),
            )

    def _add_library(
        self, library: Library, dump: DumpInProgress, places: Places, packed: PackedFiles
    ) -> None:
        """Add it under each of its names: a bundle has no links."""
        for archive_path in library.archive_paths:
            if not places.take(archive_path):
                dump.skip(library.path, _TAKEN)
                continue
            known = packed.find(library)
            if known is not None:
                with known:
                    self._add_kept(library, archive_path, known, packed)
                continue
            try:
                file = open_regular(library.source or library.path)
            except OSError as error:
                dump.skip(library.path, str(error))
                return
            with file:
                self._pack(library, archive_path, file, packed.packer(library))

    def _add_kept(
        self, library: Library, archive_path: str, known: KeptFile, packed: PackedFiles
    ) -> None:
        """Add it as it was packed before, and what of that can no longer be read anew."""
        done = self._bundle.add_packed(archive_path, known, mode=0o700)
        if done < known.size:
            packed.forget(library)
            with open_regular(library.source or library.path) as file:
                file.seek(done)
                self._copy(file)

    def _pack(
        self, library: Library, archive_path: str, file: BinaryIO, packer: Packer | None
    ) -> None:
        size, sha256 = library.size or 0, library.sha256
        self._bundle.begin(archive_path, size, mode=0o700, sha256=sha256, packer=packer)
        self._copy(file)

    def _copy(self, file: BinaryIO) -> None:
        while chunk := file.read(CHUNK_SIZE):
            self._bundle.write(chunk)
        self._bundle.end()

    def _add_artifact(self, artifact: Artifact, dump: DumpInProgress) -> None:
        if artifact.name in self._bundle:
            dump.skip(artifact.name, _TAKEN)
            return
        with dump.output.open(artifact.name) as file:
            self._bundle.begin(artifact.name, artifact.size, sha256=artifact.sha256)
            self._copy(file)


class ZstdArchiveCollector(ArchiveCollector):
    """Packs everything into one tar.zst, smaller than a tar.gz: *level* is zstd's."""

    name = "archive-zstd"
    reserves = (ZSTD.extension,)
    codec = ZSTD

    def __init__(self, *, level: Annotated[int, Range(-7, 19)] = ZSTD.level) -> None:
        self.level = level


class _CoreMember(CoreSink):
    def __init__(self, core: CoreStream, bundle: BundleWriter, file: ArtifactWriter) -> None:
        self._core = core
        self._bundle = bundle
        self._file = file

    def room(self) -> memoryview:
        return self._bundle.room()

    def write(self, chunk: memoryview) -> None:
        self._bundle.write(chunk)

    def close(self) -> None:
        self._bundle.end(short=self._core.missing)

    def abort(self) -> None:
        self._bundle.abort()
        self._file.close()


def _mapped_files(dump: DumpInProgress) -> Iterator[PackedFile]:
    places = Places(*_OWN)
    for index, library in enumerate(dump.libraries):
        yield from _names_of(library, _LIBRARY if index else _EXECUTABLE, places)
    for source in dump.sources:
        yield from _names_of(source, _SOURCE, places)


def _names_of(file: Library, media_type: str, places: Places) -> Iterator[PackedFile]:
    for path in filter(places.take, file.archive_paths):
        yield PackedFile(name=path, media_type=media_type, size=file.size, sha256=file.sha256)
