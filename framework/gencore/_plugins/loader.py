"""Loads one named plug-in at a time through stevedore, and turns whatever happens into a value.

The only module that imports stevedore. Its managers load every plug-in of a group at once, swallow
or propagate errors depending on their type, and read a cache of their own; here a manager is given
exactly one entry point, from our catalogue.
"""

import re
from collections.abc import Iterable
from typing import Any, Final, Literal

import attrs

from gencore._plugins.catalogue import GROUPS, CatalogueEntry, Family, read_catalogue
from gencore._runtime.application_errors import reraise_if_from_handler
from gencore.backend import Backend
from gencore.collector import Collector
from gencore.errors import PluginError

__all__ = ["API_CURRENT", "API_FLOOR", "LoadedPlugin", "load", "load_all", "load_named", "refusal"]

API_CURRENT: Final = (1, 1)
API_FLOOR: Final = (1, 0)
"""The contract versions that this framework accepts, from the floor to any minor of current."""

Status = Literal["ok", "disabled", "conflict", "incompatible", "failed"]
_CONTRACTS: Final[dict[str, type]] = {"backend": Backend, "collector": Collector}
_NAME: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@attrs.frozen(kw_only=True)
class LoadedPlugin:
    """One plug-in and what became of loading it."""

    entry: CatalogueEntry
    status: Status
    reason: str | None = None
    """Why the status is not ``ok``."""
    plugin: Any = None
    """The plug-in's class; None unless the status is ``ok``."""

    def as_dict(self) -> dict[str, object]:
        """Return the row of ``gencore plugins --json`` and of the manifest."""
        version = getattr(self.plugin, "api_version", None)
        return {
            "family": self.entry.family,
            "name": self.entry.name,
            "distribution": self.entry.distribution,
            "version": self.entry.version,
            "api_version": ".".join(map(str, version)) if version else None,
            "status": self.status,
            "reason": self.reason,
        }


def load_all(family: Family) -> tuple[LoadedPlugin, ...]:
    """Load every plug-in of one family, each on its own."""
    return tuple(load(entry) for entry in read_catalogue() if entry.family == family)


def load_named(family: Family, name: str) -> LoadedPlugin:
    """Load one plug-in by its name or by ``distribution:name``.

    Raises `PluginError` unless it can be used.
    """
    catalogue = [entry for entry in read_catalogue() if entry.family == family]
    loaded = load(_find(family, name, catalogue))
    if loaded.status != "ok":
        raise refusal(loaded)
    return loaded


def refusal(loaded: LoadedPlugin) -> PluginError:
    """Return the error that says why a plug-in cannot be used."""
    return PluginError(
        family=loaded.entry.family,
        name=loaded.entry.name,
        status=loaded.status,
        reason=loaded.reason or loaded.status,
        remedy="see 'gencore plugins'",
    )


def load(entry: CatalogueEntry) -> LoadedPlugin:
    """Load one plug-in. Whatever it does wrong becomes its status and reason."""
    if entry.obstacle is not None:
        status, reason = entry.obstacle
        return LoadedPlugin(entry=entry, status=status, reason=reason)
    try:
        plugin = _load_with_stevedore(entry)
    except KeyboardInterrupt:
        raise
    except SystemExit as error:
        reason = f"its import calls sys.exit({error.code!r})"
        return LoadedPlugin(entry=entry, status="failed", reason=reason)
    except BaseException as error:
        reraise_if_from_handler(error)
        reason = f"its import raises {type(error).__name__}: {error}"
        return LoadedPlugin(entry=entry, status="failed", reason=reason)
    fault = _why_incompatible(entry, plugin)
    if fault is not None:
        return LoadedPlugin(entry=entry, status="incompatible", reason=fault)
    return LoadedPlugin(entry=entry, status="ok", plugin=plugin)


def _find(family: Family, name: str, catalogue: Iterable[CatalogueEntry]) -> CatalogueEntry:
    distribution, _, plain = name.rpartition(":")
    matches = [e for e in catalogue if e.name == plain and distribution in {"", e.distribution}]
    if not matches:
        known = ", ".join(sorted({entry.name for entry in catalogue})) or "none"
        raise PluginError(
            family=family,
            name=name,
            status="unknown",
            reason=f"no installed distribution brings it; installed: {known}",
            remedy="check the spelling, or install the package that brings it",
        )
    chosen = min(matches, key=lambda e: _status(e) == "disabled")  # another may have its name
    by_distribution = distribution and _status(chosen) == "conflict"
    return attrs.evolve(chosen, obstacle=None) if by_distribution else chosen


def _status(entry: CatalogueEntry) -> str | None:
    return entry.obstacle[0] if entry.obstacle else None


def _load_with_stevedore(entry: CatalogueEntry) -> object:
    from stevedore.named import NamedExtensionManager

    class OneEntryPoint(NamedExtensionManager[object]):
        """Knows the one entry point that it is given, and no cache."""

        def list_entry_points(self) -> list[Any]:
            return [entry.entry_point]

    def raise_again(_manager: object, _entry_point: object, error: BaseException) -> None:
        raise error

    manager = OneEntryPoint(
        GROUPS[entry.family], [entry.name], on_load_failure_callback=raise_again
    )
    return next(extension.plugin for extension in manager)


def _why_incompatible(entry: CatalogueEntry, plugin: object) -> str | None:
    contract = _CONTRACTS[entry.family]
    if not (isinstance(plugin, type) and issubclass(plugin, contract)):
        return f"{entry.entry_point.value} is not a subclass of gencore.{contract.__name__}"
    name = getattr(plugin, "name", None)
    if name != entry.name or not _NAME.fullmatch(entry.name):
        return (
            f"its name is {name!r}, its entry point's {entry.name!r}: they must be one, [a-z0-9-]"
        )
    return _why_outside_api_window(getattr(plugin, "api_version", None))


def _why_outside_api_window(version: object) -> str | None:
    match version:
        case (int() as major, int() as minor):
            if (major, minor) >= API_FLOOR and major <= API_CURRENT[0]:
                return None
            shown = f"{major}.{minor}"
        case _:
            shown = repr(version)
    window = f"{API_FLOOR[0]}.{API_FLOOR[1]} to {API_CURRENT[0]}.x"
    return f"it was written for contract version {shown}; this gencore accepts {window}"
