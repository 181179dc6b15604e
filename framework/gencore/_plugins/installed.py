"""The plug-ins of all installed distributions, from their live metadata.

Never from a cache: stevedore's own is keyed by times of modification with a resolution of minutes,
lies below the home directory or, without one, below the current directory, and forgets the
distribution.
"""

import re
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions

from gencore._plugins.entry import BUILT_IN, GROUPS, CatalogueEntry
from gencore._runtime.application_errors import reraise_if_from_handler

__all__ = ["installed_plugins"]


def installed_plugins() -> Iterator[CatalogueEntry]:
    """Yield them in no order; what cannot be read has none."""
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
    for family, group in GROUPS.items():
        for entry_point in entry_points.select(group=group):
            yield CatalogueEntry(
                family=family,
                name=entry_point.name,
                distribution=name,
                version=version,
                value=entry_point.value,
            )
