"""The sections ``files`` and ``integrity``: what the dump consists of."""

from collections.abc import Iterator
from typing import Any, Final

from gencore import Artifact, DumpInProgress
from gencore.libraries import Library

__all__ = ["in_bundle", "integrity", "section"]

_CORE: Final = "application/x-coredump"
_EXECUTABLE: Final = "application/x-executable"
_LIBRARY: Final = "application/x-sharedlib"
_SOURCE: Final = "text/x-python"
_UNKNOWN: Final = "application/octet-stream"


def section(dump: DumpInProgress) -> list[dict[str, Any]]:
    """Return ``files``: all that will be in the bundle, or is beside the manifest so far."""
    prefix = "" if in_bundle(dump) else f"{dump.name}."
    packed = list(_packed(dump)) if in_bundle(dump) else []
    artifacts = [_artifact(prefix, a) for a in dump.artifacts if not (packed and _is_core(a))]
    manifest = _row(f"{prefix}manifest.json", "application/json", "identifying", "manifest")
    return [*packed, *artifacts, manifest]


def in_bundle(dump: DumpInProgress) -> bool:
    """Return whether everything goes into one file: a core that failed is not packed."""
    return dump.packed and dump.core is not None


def integrity(files: list[dict[str, Any]]) -> dict[str, Any]:
    """Return ``integrity``."""
    members = sum(row["sha256"] is not None for row in files)
    return {"algorithm": "sha256", "members": members, "signature": None}


def _packed(dump: DumpInProgress) -> Iterator[dict[str, Any]]:
    """Yield what the collector that packs brings along itself."""
    if dump.core is not None:
        # A member has the size that was promised: zeros stand for what is missing, and then the
        # hash of the core is not that of the member.
        sha256 = None if dump.core.missing else dump.core_sha256
        yield _row("core", _CORE, "secret", size=dump.core.size, sha256=sha256)
    for index, library in enumerate(dump.libraries):
        yield from _members(library, _LIBRARY if index else _EXECUTABLE, "open")
    for source in dump.sources:
        yield from _members(source, _SOURCE, "identifying")


def _members(file: Library, media_type: str, privacy: str) -> Iterator[dict[str, Any]]:
    for path in file.archive_paths:
        yield _row(path, media_type, privacy, size=file.size, sha256=file.sha256)


def _artifact(prefix: str, artifact: Artifact) -> dict[str, Any]:
    """Describe what another collector made. Nobody said what is in it: it may be secret."""
    return _row(
        prefix + artifact.name,
        _CORE if _is_core(artifact) else _media_type(artifact.name),
        "secret",
        artifact.collector,
        size=artifact.size,
        sha256=artifact.sha256,
    )


def _is_core(artifact: Artifact) -> bool:
    return artifact.name.rpartition(".")[2] == "core"


def _media_type(name: str) -> str:
    """Look at the ending only, and not at the machine's own tables: they differ."""
    import mimetypes

    known = mimetypes.MimeTypes(filenames=()).guess_type(name)[0]
    return known or _UNKNOWN


def _row(
    name: str,
    media_type: str,
    privacy: str,
    collector: str | None = None,
    *,
    size: int | None = None,
    sha256: str | None = None,
) -> dict[str, Any]:
    return {
        "name": name,
        "media_type": media_type,
        "size": size,
        "sha256": sha256,
        "collector": collector,
        "privacy": privacy,
    }
