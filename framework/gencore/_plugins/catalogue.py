"""Which plug-ins are installed, who brings them, and whether they may be loaded.

Read from the live metadata of the installed distributions and never from a cache: stevedore's own
cache is keyed by times of modification with a resolution of minutes, lies below the home
directory or, without one, below the current directory, and forgets the distribution.
"""

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from importlib.metadata import Distribution, EntryPoint, distributions
from typing import Final, Literal

import attrs

__all__ = ["GROUPS", "CatalogueEntry", "Family", "read_catalogue"]

Family = Literal["backend", "collector"]

GROUPS: Final[Mapping[Family, str]] = {
    "backend": "gencore.backends",
    "collector": "gencore.collectors",
}
BUILT_IN: Final = "gencore"
"""The distribution whose plug-ins no policy turns off."""


@attrs.frozen(kw_only=True)
class CatalogueEntry:
    """One installed plug-in, not loaded."""

    family: Family
    name: str
    distribution: str
    version: str
    location: str
    """The folder in which the distribution is installed."""
    entry_point: EntryPoint
    obstacle: "tuple[Literal['disabled', 'conflict'], str] | None" = None
    """Status and reason why it must not be loaded, if so."""


def read_catalogue(environ: Mapping[str, str] = os.environ) -> tuple[CatalogueEntry, ...]:
    """List every installed backend and collector by family and name, with policy applied."""
    entries = [
        attrs.evolve(entry, obstacle=_policy(entry, environ))
        for entry in sorted(_installed(), key=lambda e: (e.family, e.name, e.distribution))
    ]
    rivals = defaultdict(list)
    for entry in entries:
        if entry.obstacle is None:  # what is disabled takes nobody's name
            rivals[entry.family, entry.name].append(entry)
    return tuple(_judge(entry, rivals[entry.family, entry.name]) for entry in entries)


def _installed() -> Iterator[CatalogueEntry]:
    seen: set[str] = set()
    for distribution in distributions():
        # Metadata that cannot be read has no name. Of two copies of one distribution on sys.path,
        # the first is the one that an import finds.
        name = distribution.metadata["Name"] if distribution.metadata else None
        if not name or name.lower() in seen:
            continue
        seen.add(name.lower())
        yield from _plugins_of(distribution)


def _plugins_of(distribution: Distribution) -> Iterator[CatalogueEntry]:
    for family, group in GROUPS.items():
        for entry_point in distribution.entry_points.select(group=group):
            yield CatalogueEntry(
                family=family,
                name=entry_point.name,
                distribution=distribution.metadata["Name"],
                version=distribution.version,
                location=str(distribution.locate_file("")),
                entry_point=entry_point,
            )


def _judge(entry: CatalogueEntry, same_name: list[CatalogueEntry]) -> CatalogueEntry:
    if entry.obstacle is not None or len(same_name) == 1:
        return entry
    rivals = " and ".join(f"{e.distribution} {e.version}" for e in same_name)
    reason = f"the name is claimed by {rivals}; choose one as DISTRIBUTION:{entry.name}"
    return attrs.evolve(entry, obstacle=("conflict", reason))


def _policy(
    entry: CatalogueEntry, environ: Mapping[str, str]
) -> tuple[Literal["disabled"], str] | None:
    reason = None if entry.distribution == BUILT_IN else _disabled_by(entry, environ)
    return ("disabled", reason) if reason else None


def _disabled_by(entry: CatalogueEntry, environ: Mapping[str, str]) -> str | None:
    allowed = environ.get("GENCORE_PLUGINS")
    if allowed is not None:
        names = {part.strip() for part in allowed.split(",")}
        named = names & {entry.name, f"{entry.distribution}:{entry.name}"}
        return None if named else "not named in GENCORE_PLUGINS"
    if environ.get("GENCORE_DISABLE_PLUGIN_AUTOLOAD", "0") not in {"", "0"}:
        return "GENCORE_DISABLE_PLUGIN_AUTOLOAD is set, and GENCORE_PLUGINS does not name it"
    return None
