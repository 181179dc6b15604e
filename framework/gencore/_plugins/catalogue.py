"""Which plug-ins are installed, by which distributions, and whether they may be loaded.

Read from the live metadata of the installed distributions and never from a cache: stevedore's own
cache is keyed by times of modification with a resolution of minutes, lies below the home
directory or, without one, below the current directory, and forgets the distribution.
"""

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import Distribution, EntryPoint, distributions
from typing import Final, Literal

import attrs

from gencore._runtime.application_errors import reraise_if_from_handler
from gencore._spelling import did_you_mean
from gencore.verdict import Reason

__all__ = [
    "BUILT_IN",
    "GROUPS",
    "CatalogueEntry",
    "Family",
    "Obstacle",
    "faults_of_policy",
    "read_catalogue",
    "remedy_by_name",
]

Family = Literal["backend", "collector", "destination", "filter", "listener"]

GROUPS: Final[Mapping[Family, str]] = {
    "backend": "gencore.backends",
    "collector": "gencore.collectors",
    "destination": "gencore.destinations",
    "filter": "gencore.filters",
    "listener": "gencore.listeners",
}
_WAYS_TO_NAME: Final[Mapping[Family, str]] = {
    "backend": "GENCORE_BACKEND={}",
    "collector": "collectors=['{}']",
    "destination": "destination='{}'",
    "filter": "filters=['{}']",
    "listener": "listeners=['{}']",
}
BUILT_IN: Final = "gencore"
"""The distribution whose plug-ins no policy turns off, and whose names no other one takes."""


@attrs.frozen(kw_only=True)
class Obstacle:
    """Why a plug-in is not loaded under its plain name."""

    status: Literal["disabled", "shadowed", "conflict"]
    reason: str
    remedy: str


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
    obstacle: Obstacle | None = None
    is_default: bool = False
    """Whether it may be chosen without being named: it is built in, or GENCORE_PLUGINS names it,
    and its plain name is its own."""

    @property
    def built_in(self) -> bool:
        """Whether it comes with gencore."""
        return self.distribution == BUILT_IN

    @property
    def full_name(self) -> str:
        """The name that no other distribution can claim."""
        return f"{self.distribution}:{self.name}"

    @property
    def distinct_name(self) -> str:
        """The plain name if it means this plug-in, else the full one."""
        return self.name if self.obstacle is None else self.full_name

    @property
    def origin(self) -> str:
        """The distribution with its version."""
        return f"{self.distribution} {self.version}"


def read_catalogue(environ: Mapping[str, str] = os.environ) -> tuple[CatalogueEntry, ...]:
    """List every installed plug-in by family and name, with policy applied."""
    installed = _sorted_installed()
    unknown = _unknown_names(installed, environ)
    entries = [_apply_policy(entry, environ, unknown) for entry in installed]
    claimants = defaultdict(list)
    for entry in entries:
        if entry.obstacle is None:  # what is disabled claims no name
            claimants[entry.family, entry.name].append(entry)
    return tuple(_settle_claim(entry, claimants[entry.family, entry.name]) for entry in entries)


def faults_of_policy(environ: Mapping[str, str] = os.environ) -> tuple[Reason, ...]:
    """Return what is wrong with GENCORE_PLUGINS: each name of what is not installed."""
    if not environ.get("GENCORE_PLUGINS"):
        return ()
    installed = _sorted_installed()
    foreign = {entry.name for entry in installed if not entry.built_in}
    known = foreign | {entry.full_name for entry in installed}
    unknown = _unknown_names(installed, environ)
    rest = ",".join(sorted(_split(environ["GENCORE_PLUGINS"]) - unknown))
    return tuple(
        Reason(
            f"GENCORE_PLUGINS names {name!r}, which is not installed; "
            f"installed: {', '.join(sorted(foreign)) or 'none'}",
            did_you_mean(name, sorted(known)) or f"GENCORE_PLUGINS={rest}",
        )
        for name in sorted(unknown)
    )


def _unknown_names(installed: Iterable[CatalogueEntry], environ: Mapping[str, str]) -> set[str]:
    """Return the names of GENCORE_PLUGINS that no installed plug-in has."""
    known = {name for entry in installed for name in (entry.name, entry.full_name)}
    return _split(environ.get("GENCORE_PLUGINS", "")) - known


def _sorted_installed() -> list[CatalogueEntry]:
    return sorted(_installed(), key=lambda e: (e.family, e.name, e.distribution))


def _installed() -> Iterator[CatalogueEntry]:
    seen: set[str] = set()
    for distribution in distributions():
        try:
            yield from _plugins_of(distribution, seen)
        except Exception as error:  # metadata that cannot be read, of whatever package
            reraise_if_from_handler(error)


def _plugins_of(distribution: Distribution, seen: set[str]) -> list[CatalogueEntry]:
    """List the plug-ins of a distribution, unless one of its name was *seen*, or comes before it.

    Of most distributions it is read that they have none, and nothing else, not even the name.
    """
    text = distribution.read_text("entry_points.txt") or ""
    if not any(group in text for group in GROUPS.values()):
        return []
    name = _field_of(distribution, "Name")
    is_foreign = name != BUILT_IN and (name or "").lower() == BUILT_IN  # hides none of ours
    if not name or is_foreign or name.lower() in seen or _is_hidden(distribution, name):
        return []
    seen.add(name.lower())
    return list(_entries_of(distribution, name))


def _is_hidden(distribution: Distribution, name: str) -> bool:
    """Return whether another copy of it comes first on sys.path: an import finds that one."""
    place = distribution.locate_file("")
    for copy in distributions(name=name):
        if copy.locate_file("") == place:
            return False
        other = _field_of(copy, "Name") or ""
        if other == name or other.lower() == name.lower() != BUILT_IN:
            return True
    return False


def _field_of(distribution: Distribution, field: str) -> str | None:
    """Return a field of a distribution's metadata, None if it has none of that name.

    `Distribution.metadata` would parse the whole description: with a hundred distributions, a
    tenth of a second before every dump.
    """
    texts = map(distribution.read_text, ("METADATA", "PKG-INFO", ""))  # "" is an .egg-info file
    header = next(filter(None, texts), "").partition("\n\n")[0]
    found = re.search(rf"^{field}:(.*)", header, re.MULTILINE | re.IGNORECASE)
    return found[1].strip() if found else None


def _entries_of(distribution: Distribution, name: str) -> Iterator[CatalogueEntry]:
    entry_points, version = distribution.entry_points, _field_of(distribution, "Version") or ""
    location = str(distribution.locate_file(""))
    for family, group in GROUPS.items():
        for entry_point in entry_points.select(group=group):
            yield CatalogueEntry(
                family=family,
                name=entry_point.name,
                distribution=name,
                version=version,
                location=location,
                entry_point=entry_point,
            )


def _apply_policy(
    entry: CatalogueEntry, environ: Mapping[str, str], unknown: set[str]
) -> CatalogueEntry:
    if entry.built_in:
        return attrs.evolve(entry, is_default=True)
    allowed = environ.get("GENCORE_PLUGINS")
    if allowed is not None and {entry.name, entry.full_name} & _split(allowed):
        return attrs.evolve(entry, is_default=True)
    if allowed is not None:
        reason = "not named in GENCORE_PLUGINS"
        if unknown:
            reason += f", which names {', '.join(map(repr, sorted(unknown)))} (not installed)"
    elif environ.get("GENCORE_DISABLE_PLUGIN_AUTOLOAD", "0") not in {"", "0"}:
        reason = "GENCORE_DISABLE_PLUGIN_AUTOLOAD is set, and GENCORE_PLUGINS does not name it"
    else:
        return entry
    named = ",".join(sorted(_split(allowed or "") - unknown | {entry.full_name}))
    remedy = f"GENCORE_PLUGINS={named}"
    return attrs.evolve(entry, obstacle=Obstacle(status="disabled", reason=reason, remedy=remedy))


def _split(names: str) -> set[str]:
    return {name.strip() for name in names.split(",")} - {""}


def _settle_claim(entry: CatalogueEntry, claimants: list[CatalogueEntry]) -> CatalogueEntry:
    """Give a name to gencore's own plug-in, else to its only claimant, else to none of them."""
    if entry.obstacle is not None or entry.built_in or len(claimants) == 1:
        return entry
    status: Literal["shadowed", "conflict"]
    if any(claimant.built_in for claimant in claimants):
        status, reason = "shadowed", f"the name belongs to gencore's own {entry.family}"
    else:
        rivals = " and ".join(claimant.origin for claimant in claimants)
        status, reason = "conflict", f"the name is claimed by {rivals}"
    obstacle = Obstacle(status=status, reason=reason, remedy=remedy_by_name(entry, full=True))
    return attrs.evolve(entry, obstacle=obstacle, is_default=False)


def remedy_by_name(entry: CatalogueEntry, *, full: bool = False) -> str:
    """Return what to write in order to use a plug-in that is not used by itself."""
    name = entry.full_name if full else entry.name
    return _WAYS_TO_NAME[entry.family].format(name)
