"""The sections ``files`` and ``integrity``: what the dump consists of."""

from collections.abc import Iterator
from typing import Any, Final

from gencore import Artifact, DumpInProgress
from gencore.collector import Packing

__all__ = ["in_bundle", "integrity", "section"]

_CORE: Final = "application/x-coredump"
_CORES: Final = {"core", "truncated.core"}
_PRIVACY: Final = {
    _CORE: "secret",
    "application/x-executable": "open",
    "application/x-sharedlib": "open",
    "text/x-python": "identifying",
}
"""By media type; of what is none of them, nobody said what is in it: it may be secret."""
_UNKNOWN: Final = "application/octet-stream"


def section(dump: DumpInProgress) -> list[dict[str, Any]]:
    """Return ``files``: all that will be in the bundle, or is beside the manifest so far."""
    prefix = "" if in_bundle(dump) else f"{dump.name}."
    packed = list(_packed(dump.packing)) if dump.packing is not None else []
    artifacts = [_artifact(prefix, artifact) for artifact in dump.artifacts]
    manifest = _row(f"{prefix}manifest.json", "application/json", "identifying", "manifest")
    return [*packed, *artifacts, manifest]


def in_bundle(dump: DumpInProgress) -> bool:
    """Return whether everything goes into one file: a core that failed is not packed."""
    return dump.packed and dump.core is not None


def integrity(files: list[dict[str, Any]]) -> dict[str, Any]:
    """Return ``integrity``."""
    members = sum(bool(row["sha256"] or row["tree_sha256"]) for row in files)
    return {"algorithm": "sha256", "members": members, "signature": None}


def _packed(packing: Packing) -> Iterator[dict[str, Any]]:
    """Yield what the collector that packs brings along itself, in its own words."""
    for file in packing.files:
        privacy = _PRIVACY.get(file.media_type, "secret")
        row = _row(file.name, file.media_type, privacy, size=file.size, sha256=file.sha256)
        yield row | {"tree_sha256": file.tree_sha256}


def _artifact(prefix: str, artifact: Artifact) -> dict[str, Any]:
    """Describe what another collector made. Nobody said what is in it: it may be secret."""
    return _row(
        prefix + artifact.name,
        _media_type(artifact.name),
        "secret",
        artifact.collector,
        size=artifact.size,
        sha256=artifact.sha256,
    )


def _media_type(name: str) -> str:
    """Look at the ending only, and not at the machine's own tables: they differ."""
    if name in _CORES:
        return _CORE
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
        "tree_sha256": None,
        "collector": collector,
        "privacy": privacy,
    }
