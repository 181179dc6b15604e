"""What collectors make: created, measured, and checked before anything packs or publishes it."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Final

import attrs

from gencore._pipeline.artifact_names import ArtifactNames, check_artifact_name
from gencore._pipeline.stores import Stores
from gencore._runtime.return_values import unexpected
from gencore.core_stream import CoreStream
from gencore.output import ArtifactWriter
from gencore.report import Artifact

__all__ = ["OwnArtifacts"]

_CORE: Final = "core"
_INCOMPLETE_CORE: Final = "truncated.core"
"""What a core that is not whole is called, so that nobody takes it for one that is."""
_MOST_CLAIMS: Final = 10_000
"""Values that `Collector.finish` may return, so that an endless generator ends."""
_FACTS: Final = ("name", "size", "sha256")


class OwnArtifacts:
    """What one collector has made in one dump."""

    def __init__(
        self,
        stores: Stores,
        names: ArtifactNames,
        collector: str,
        *,
        keeps_core: bool,
        packed: bool,
    ) -> None:
        self._stores = stores
        self._names = names
        self._store = stores.packed if packed else stores.published
        self._collector = collector
        self._keeps_core = keeps_core
        self._open = True
        self._writers: list[ArtifactWriter] = []
        self._taken: list[Artifact] = []
        """A core that the backend had made a file of."""

    def create(self, name: str) -> ArtifactWriter:
        """Create a file. Raises `ValueError` for its name, and OSError."""
        self._take(name)
        return self._create(name)

    def _create(self, name: str) -> ArtifactWriter:
        try:
            writer = self._store.create(name)
        except BaseException:
            self._names.free([name])
            raise
        self._writers.append(writer)
        if not self._open:  # nobody has waited for it
            self._remove(writer)
            raise self._ended()
        return writer

    def take_core(self, core: CoreStream | None, sha256: str | None, name: str) -> None:
        """Take the backend's file. Raises `ValueError` if there is none."""
        if core is None or core.file is None:
            raise ValueError("the core is not a file")
        self._take(name)
        if self._stores.move(core.file, name):
            size = core.size - core.missing
            self._taken.append(Artifact(name=name, size=size, sha256=sha256))
        else:
            with self._create(name) as writer:
                self._stores.copy(core.file, writer)

    def _close(self) -> None:
        self.end()
        for writer in self._writers:
            writer.close()

    def end(self) -> None:
        """Let the collector make nothing more."""
        self._open = False

    def forget(self) -> list[Callable[[], object]]:
        """Forget what it has made so far; return what removes it, which calls plug-ins."""
        writers, self._writers = self._writers, []
        self._names.free(writer.name for writer in writers)
        return [partial(self._remove, writer) for writer in writers]

    def _remove(self, writer: ArtifactWriter) -> None:
        try:
            self._store.remove(writer.name)  # before it is closed, and sends its rest
        finally:
            writer.close()

    def finished(self, claims: Iterable[Artifact] | None, *, whole: bool) -> list[Artifact]:
        """Return them, with what was streamed elsewhere, if *claims* says nothing else.

        *claims* is what `Collector.finish` returned; *whole* is whether the core is. Raises
        `TypeError`, `ValueError` and OSError.
        """
        named = list(self._gather(claims)) if claims is not None else []
        self._close()
        made = [*self._taken, *map(self._measured, self._writers)]
        streamed = _check_claims(named, made)
        for artifact in streamed:
            self._names.take(artifact.name, self._collector)
        if not whole:
            made = [self._marked(artifact) for artifact in made]
        return [attrs.evolve(a, collector=self._collector) for a in (*made, *streamed)]

    def _gather(self, claims: Any) -> Iterator[Artifact]:
        """Yield what `Collector.finish` returned, each of the right types, until it is given up.

        A generator makes its artefacts only now.
        """
        try:
            values = iter(claims)
        except TypeError:
            raise unexpected(claims, "finish", "None or artefacts") from None
        names: set[str] = set()
        for claim in values:
            _check_claim(claim)
            if claim.name in names or not self._open:
                raise ValueError(f"finish() returned {claim.name!r} twice, or too late")
            names.add(claim.name)
            if len(names) > _MOST_CLAIMS:
                raise ValueError(f"finish() returned more than {_MOST_CLAIMS:,} artefacts")
            yield claim

    def _measured(self, writer: ArtifactWriter) -> Artifact:
        self._store.check(writer)
        return writer.artifact()

    def _marked(self, artifact: Artifact) -> Artifact:
        if artifact.name != _CORE:
            return artifact
        self._names.take(_INCOMPLETE_CORE, self._collector)
        renamed = self._store.rename(_CORE, _INCOMPLETE_CORE)
        return attrs.evolve(artifact, name=_INCOMPLETE_CORE) if renamed else artifact

    def _ended(self) -> ValueError:
        return ValueError(f"collector {self._collector!r} has ended")

    def _take(self, name: str) -> None:
        if not self._open:
            raise self._ended()
        check_artifact_name(name)
        if name in {_CORE, _INCOMPLETE_CORE} and not self._keeps_core:
            raise ValueError(f"the name {name!r} is reserved for collectors that keep the core")
        self._names.take(name, self._collector)


def _check_claims(claims: Iterable[Artifact], made: Iterable[Artifact]) -> list[Artifact]:
    """Return what was streamed; raise `ValueError` for whatever contradicts what was *made*."""
    by_name = {artifact.name: artifact for artifact in made}
    for claim in claims:
        if not claim.streamed:
            _compare(claim, by_name.get(claim.name))
    return [claim for claim in claims if claim.streamed]


def _check_claim(claim: Any) -> None:
    if not isinstance(claim, Artifact):
        raise TypeError(f"finish() returned {type(claim).__name__}, expected an Artifact")
    check_artifact_name(claim.name)
    if type(claim.size) is not int or claim.size < 0:
        raise ValueError(f"{claim.name!r} has the size {claim.size!r}")
    if claim.sha256 is not None and type(claim.sha256) is not str:
        raise TypeError(f"{claim.name!r} has the hash {claim.sha256!r}")


def _compare(claim: Artifact, made: Artifact | None) -> None:
    if made is None:
        raise ValueError(f"finish() returned {claim.name!r}, not made with dump.create()")
    for fact in _FACTS:
        said, counted = getattr(claim, fact), getattr(made, fact)
        if said is not None and said != counted:
            raise ValueError(f"finish() says {fact}={said!r} of {claim.name!r}, not {counted!r}")
