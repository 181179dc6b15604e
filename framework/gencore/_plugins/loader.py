"""Loads one named plug-in at a time, and turns whatever happens into a value.

The only module that imports stevedore. Its managers load every plug-in of a group at once, swallow
or propagate errors depending on their type, and read a cache of their own; here a manager is given
exactly one entry point, from our catalogue. For gencore's own plug-ins it is not even loaded.
"""

from collections.abc import Iterable
from importlib import import_module
from typing import Any, Final, Literal, NamedTuple

from gencore._plugins.catalogue import ReadCatalogue, built_in_plugins, read_catalogue
from gencore._plugins.entry import GROUPS, CatalogueEntry, Family
from gencore._plugins.names import check_name, check_suffix
from gencore._runtime.application_errors import reraise_if_from_handler
from gencore._runtime.foreign_errors import shown, text_of, type_name
from gencore._spelling import did_you_mean
from gencore.backend import Backend
from gencore.collector import Collector
from gencore.destination import Destination
from gencore.errors import PluginError
from gencore.filter import Filter

__all__ = [
    "API_CURRENT",
    "API_FLOOR",
    "CONTRACTS",
    "LoadedPlugin",
    "how_raised",
    "load",
    "load_all",
    "load_matching",
    "load_named",
    "refusal",
]

API_CURRENT: Final = (1, 1)
API_FLOOR: Final = (1, 0)
"""The contract versions that this framework accepts, from the floor to the current one."""

Status = Literal["ok", "disabled", "shadowed", "conflict", "incompatible", "failed"]
CONTRACTS: Final[dict[Family, type]] = {
    "backend": Backend,
    "collector": Collector,
    "destination": Destination,
    "filter": Filter,
}
"""A listener is any callable: it has no class, no name of its own and no version."""


class LoadedPlugin(NamedTuple):
    """One plug-in and what became of loading it."""

    entry: CatalogueEntry
    status: Status
    reason: str | None = None
    """Why the status is not ``ok``."""
    remedy: str | None = None
    """What to do about that, where it is known."""
    plugin: Any = None
    """The plug-in's class; None unless the status is ``ok``."""
    api_version: tuple[int, int] | None = None
    """The contract version that the class states; None unless the status is ``ok``."""

    def as_dict(self) -> dict[str, object]:
        """Return the row of the manifest, and the beginning of that of ``gencore plugins``."""
        version = self.api_version
        return {
            "family": self.entry.family,
            "name": self.entry.name,
            "distribution": self.entry.distribution,
            "version": self.entry.version,
            "api_version": _shown(version) if version else None,
            "status": self.status,
            "reason": self.reason,
        }


class _Incompatible(Exception):
    """What was loaded is no plug-in for this gencore."""

    def __init__(self, reason: str, remedy: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy


def load_all(family: Family) -> tuple[LoadedPlugin, ...]:
    """Load every plug-in of one family, each on its own."""
    return tuple(load(entry) for entry in read_catalogue() if entry.family == family)


def load_named(family: Family, name: str, read: ReadCatalogue = read_catalogue) -> LoadedPlugin:
    """Load one plug-in by its name or by ``distribution:name``.

    *read* returns the catalogue. Raises `PluginError` unless the plug-in can be used.
    """
    found = _of_name(name, built_in_plugins(family))  # no other one takes their names
    if not found:
        catalogue = [entry for entry in read() if entry.family == family]
        found = _find(family, name, catalogue)
    loaded = load(found[0])
    if loaded.status != "ok":
        raise refusal(loaded)
    return loaded


def load_matching(name: str) -> tuple[LoadedPlugin, ...]:
    """Load every plug-in of a name or ``distribution:name``, of whatever family.

    Raises `PluginError` if none is installed.
    """
    return tuple(map(load, _find("plug-in", name, read_catalogue())))


def refusal(loaded: LoadedPlugin) -> PluginError:
    """Return the error that says why a plug-in cannot be used."""
    return PluginError(
        family=loaded.entry.family,
        name=loaded.entry.name,
        status=loaded.status,
        reason=loaded.reason or loaded.status,
        remedy=loaded.remedy or f"gencore plugins show {loaded.entry.full_name}",
    )


def load(entry: CatalogueEntry) -> LoadedPlugin:
    """Load one plug-in. Whatever it does wrong becomes its status and reason."""
    if (obstacle := entry.obstacle) is not None:
        return LoadedPlugin(
            entry=entry, status=obstacle.status, reason=obstacle.reason, remedy=obstacle.remedy
        )
    doing = "its import"
    try:
        plugin = _imported(entry) if entry.built_in else _load_with_stevedore(entry)
        doing = "reading its attributes"
        version = _check(entry, plugin)
    except KeyboardInterrupt:
        raise
    except _Incompatible as fault:
        return LoadedPlugin(
            entry=entry, status="incompatible", reason=fault.reason, remedy=fault.remedy
        )
    except BaseException as error:
        reraise_if_from_handler(error)
        return LoadedPlugin(entry=entry, status="failed", reason=f"{doing} {how_raised(error)}")
    return LoadedPlugin(entry=entry, status="ok", plugin=plugin, api_version=version)


def how_raised(error: BaseException) -> str:
    """Return what was raised, as the end of a sentence. Survives errors that cannot be shown."""
    if type(error) is SystemExit:
        return f"calls sys.exit({shown(error.code)})"
    return f"raises {type_name(error)}: {text_of(error)}"


def _find(
    family: Family | Literal["plug-in"], name: str, catalogue: Iterable[CatalogueEntry]
) -> list[CatalogueEntry]:
    """Return the plug-ins of a name, what it means first. Raises `PluginError` if none has it."""
    found = _of_name(name, catalogue)
    if not found:
        known = sorted({entry.name for entry in catalogue})
        raise PluginError(
            family=family,
            name=name,
            status="unknown",
            reason=f"not installed; installed: {', '.join(known) or 'none'}",
            remedy=did_you_mean(name.rpartition(":")[2], known)
            or "install the package that it is part of",
        )
    return found


def _of_name(name: str, catalogue: Iterable[CatalogueEntry]) -> list[CatalogueEntry]:
    """Return the plug-ins of a name, what it means first."""
    distribution, _, plain = name.rpartition(":")
    matches = [e for e in catalogue if e.name == plain and distribution in {"", e.distribution}]
    if distribution:
        matches = [_under_its_full_name(entry) for entry in matches]
    return sorted(matches, key=_precedence)


def _under_its_full_name(entry: CatalogueEntry) -> CatalogueEntry:
    """Return the entry without the obstacles that only its plain name has."""
    disabled = entry.obstacle is not None and entry.obstacle.status == "disabled"
    return entry if disabled else entry._replace(obstacle=None)


def _precedence(entry: CatalogueEntry) -> int:
    """Put first what a plain name means, and last what was turned off: it claims no name."""
    if entry.obstacle is None:
        return 0
    return 2 if entry.obstacle.status == "disabled" else 1


def _imported(entry: CatalogueEntry) -> object:
    module, _, attribute = entry.value.partition(":")
    return getattr(import_module(module), attribute)


def _load_with_stevedore(entry: CatalogueEntry) -> object:
    from importlib.metadata import EntryPoint

    from stevedore.named import NamedExtensionManager

    group = GROUPS[entry.family]
    entry_point = EntryPoint(entry.name, entry.value, group)

    class OneEntryPoint(NamedExtensionManager[object]):
        """Knows the one entry point that it is given, and no cache."""

        def list_entry_points(self) -> list[Any]:
            return [entry_point]

    def raise_again(_manager: object, _entry_point: object, error: BaseException) -> None:
        raise error

    manager = OneEntryPoint(group, [entry.name], on_load_failure_callback=raise_again)
    return next(extension.plugin for extension in manager)


def _check(entry: CatalogueEntry, plugin: Any) -> tuple[int, int]:
    """Return the contract version of what was loaded. Raises `_Incompatible`, or what it raises.

    Its attributes are its own code, if it has a metaclass: each is read once, and here.
    """
    contract = CONTRACTS.get(entry.family)
    if contract is None:
        if not callable(plugin):
            raise _Incompatible(f"{entry.value} is not callable")
        return API_CURRENT
    if not (isinstance(plugin, type) and issubclass(plugin, contract)):
        what = f"{entry.value} is not a subclass of gencore.{contract.__name__}"
        raise _Incompatible(what)
    missing = sorted(getattr(plugin, "__abstractmethods__", ()))
    if missing:
        raise _Incompatible(f"methods of its contract are missing: {', '.join(missing)}")
    name = getattr(plugin, "name", None)
    if type(name) is not str or name != entry.name:
        raise _Incompatible(
            f"its name is {shown(name)}, its entry point's {entry.name!r}: they must be one"
        )
    try:
        check_name(name)
        if issubclass(plugin, Filter):
            check_suffix(getattr(plugin, "suffix", None))
    except ValueError as error:
        raise _Incompatible(str(error)) from error
    return _check_version(getattr(plugin, "api_version", None), entry.distribution)


def _check_version(version: Any, distribution: str) -> tuple[int, int]:
    if type(version) is not tuple or [type(number) for number in version] != [int, int]:
        raise _Incompatible(f"its contract version is {version!r}, not a pair of whole numbers")
    major, minor = version
    if API_FLOOR <= (major, minor) <= API_CURRENT:
        return major, minor
    accepted = " to ".join(dict.fromkeys((_shown(API_FLOOR), _shown(API_CURRENT))))
    outdated = "gencore" if (major, minor) > API_CURRENT else distribution
    raise _Incompatible(
        f"it was written for contract version {_shown(version)}; this gencore accepts {accepted}",
        remedy=f"pip install --upgrade {outdated}",
    )


def _shown(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))
