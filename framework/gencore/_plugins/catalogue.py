"""Which plug-ins are installed, by which distributions, and whether they may be loaded.

Those of gencore itself are known without a search of all that is installed, which takes the longer
the more that is.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Literal

from gencore._plugins.entry import BUILT_IN, GROUPS, CatalogueEntry, Family, Obstacle
from gencore._runtime.own_entry_points import own_entry_points
from gencore._spelling import did_you_mean
from gencore._version import __version__
from gencore.verdict import Reason

__all__ = [
    "ReadCatalogue",
    "built_in_plugins",
    "default_plugins",
    "faults_of_policy",
    "read_catalogue",
    "remedy_by_name",
]

_WAYS_TO_NAME: Final[Mapping[Family, str]] = {
    "backend": "GENCORE_BACKEND={}",
    "collector": "collectors=['{}']",
    "destination": "destination='{}'",
    "filter": "filters=['{}']",
    "listener": "listeners=['{}']",
}
ReadCatalogue = Callable[[], Iterable[CatalogueEntry]]


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


def built_in_plugins(family: Family) -> list[CatalogueEntry]:
    """List gencore's own plug-ins of a family."""
    return [
        CatalogueEntry(
            family=family,
            name=name,
            distribution=BUILT_IN,
            version=__version__,
            value=value,
            is_default=True,
        )
        for name, value in sorted(own_entry_points(GROUPS[family]).items())
    ]


def default_plugins(
    family: Family, read: ReadCatalogue, environ: Mapping[str, str] = os.environ
) -> list[CatalogueEntry]:
    """List what may be chosen without being named; *read* returns the catalogue."""
    if not environ.get("GENCORE_PLUGINS"):
        return built_in_plugins(family)
    return [entry for entry in read() if entry.family == family and entry.is_default]


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
    from gencore._plugins.installed import installed_plugins  # with importlib.metadata

    return sorted(installed_plugins(), key=lambda e: (e.family, e.name, e.distribution))


def _apply_policy(
    entry: CatalogueEntry, environ: Mapping[str, str], unknown: set[str]
) -> CatalogueEntry:
    if entry.built_in:
        return entry._replace(is_default=True)
    allowed = environ.get("GENCORE_PLUGINS")
    if allowed is not None and {entry.name, entry.full_name} & _split(allowed):
        return entry._replace(is_default=True)
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
    return entry._replace(obstacle=Obstacle(status="disabled", reason=reason, remedy=remedy))


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
    return entry._replace(obstacle=obstacle, is_default=False)


def remedy_by_name(entry: CatalogueEntry, *, full: bool = False) -> str:
    """Return what to write in order to use a plug-in that is not used by itself."""
    name = entry.full_name if full else entry.name
    return _WAYS_TO_NAME[entry.family].format(name)
