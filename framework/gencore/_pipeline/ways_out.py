"""The destination, the filters and the listeners of a pipeline: loads and makes them."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import attrs

from gencore._pipeline.outgoing import Outgoing
from gencore._pipeline.plugin_maker import Recipe, name_of, with_options
from gencore._plugins import loader
from gencore._plugins.catalogue import ReadCatalogue
from gencore._plugins.entry import BUILT_IN, Family
from gencore._plugins.names import check_name, check_suffix
from gencore._runtime.application_errors import reraise_if_from_handler
from gencore._runtime.foreign_errors import shown
from gencore._runtime.return_values import require_none
from gencore._settings.options import DestinationSpec, Directory, FilterSpec
from gencore._settings.settings import Settings
from gencore.destination import Destination
from gencore.errors import Refused
from gencore.events import Listener
from gencore.filter import Filter
from gencore.report import describe_error

__all__ = ["WayOut", "WaysOut"]

R = TypeVar("R")
T = TypeVar("T", Destination, Filter)
_DIRECTORY: Final = "directory"
_DIRECTORIES: Final = {_DIRECTORY, f"{BUILT_IN}:{_DIRECTORY}"}


class WayOut(NamedTuple):
    """Where the artefacts of one dump go: files of a directory, or a destination takes them."""

    destination: Destination | None = None
    directory: Path | None = None
    """The destination's, if artefacts become files of it; None: the pipeline's, or none."""
    outgoing: Outgoing | None = None
    """What sends artefacts; None if they become files."""
    recipe: Recipe | None = None

    @property
    def who(self) -> str:
        """Whom the artefacts go to, for messages."""
        return "the output directory" if self.recipe is None else self.recipe.who

    def ask(self, function: Callable[[], R]) -> R:
        """Make a call of the destination's, watched unless it is built in. Raises `Refused`."""
        return function() if self.recipe is None else _asked(self.recipe, lambda _: function())


class WaysOut:
    """What a pipeline says of where its artefacts go. Raises `UsageError` and `PluginError`."""

    def __init__(self, settings: Settings, read: ReadCatalogue) -> None:
        """Load them; *read* returns the catalogue, and is called where they are not built in."""
        self._read = read
        self._loaded: list[loader.LoadedPlugin] = []
        self._filters = [self._recipe("filter", spec) for spec in settings.filters]
        spec = settings.destination
        if spec is None and self._filters:
            spec = DestinationSpec(_DIRECTORY)
        if spec is not None and spec.use in _DIRECTORIES:
            spec = _with_absolute_path(spec, settings.directory)
        self._destination = None if spec is None else self._recipe("destination", spec)
        self.listeners = [self._listener(choice) for choice in settings.listeners]

    @property
    def plugins(self) -> tuple[dict[str, object], ...]:
        """A row for each plug-in, as the manifest has it."""
        return tuple(plugin.as_dict() for plugin in self._loaded)

    @property
    def in_process(self) -> str | None:
        """The name of the destination if it uses something of the dumped process itself."""
        used = (p.entry.name for p in self._loaded if getattr(p.plugin, "in_process", False))
        return next(used, None)

    @property
    def filters(self) -> tuple[str, ...]:
        """The names of the filters, the first one first."""
        return tuple(recipe.name for recipe in self._filters)

    def make(self, dump: str | None = None) -> WayOut:
        """Make that of one dump, and let each plug-in check itself.

        Without the name of a *dump* that is not checked. Raises `Refused`.
        """
        recipe = self._destination
        if recipe is None:
            return WayOut()
        filters = [_made(recipe, Filter, dump) for recipe in self._filters]
        destination = _made(recipe, Destination, dump)
        directory = None if filters else _asked(recipe, lambda _: _directory_of(destination))
        outgoing = Outgoing(destination, filters, dump or "") if directory is None else None
        return WayOut(
            destination=destination, directory=directory, outgoing=outgoing, recipe=recipe
        )

    def _recipe(self, family: Family, spec: DestinationSpec | FilterSpec) -> Recipe:
        if isinstance(spec.use, str):
            plugin = self._load(family, spec.use)
            name, built_in, maker = plugin.entry.name, plugin.entry.built_in, plugin.plugin
        else:
            (name, _), built_in, maker = name_of(spec.use), False, spec.use
        make = with_options(spec, maker, f"{family} {name!r}")
        return Recipe(family=family, name=name, make=make, built_in=built_in)

    def _listener(self, choice: str | Listener) -> Listener:
        return self._load("listener", choice).plugin if isinstance(choice, str) else choice

    def _load(self, family: Family, name: str) -> loader.LoadedPlugin:
        self._loaded.append(loader.load_named(family, name, self._read))
        return self._loaded[-1]


def _with_absolute_path(spec: DestinationSpec, directory: Directory) -> DestinationSpec:
    """Return *spec* with its own path, or else with the pipeline's; ``chdir`` changes neither."""
    path = spec.options.get("path", directory)
    if not path or not isinstance(path, str | os.PathLike):  # to be refused, or not given
        return spec
    absolute = Path(os.path.abspath(path))  # noqa: PTH100 - resolve() follows symlinks
    return attrs.evolve(spec, options={**spec.options, "path": absolute})


def _made(recipe: Recipe, kind: Callable[..., T], dump: str | None) -> T:
    make: Callable[[Recipe], T] = partial(_make, kind, dump)
    return _asked(recipe, make)


def _asked(recipe: Recipe, question: Callable[[Recipe], R]) -> R:
    """Make a call of a plug-in's before the pause. What it raises is `Refused`."""
    try:
        return recipe.follow(question)
    except Refused:
        raise
    except Exception as error:
        reraise_if_from_handler(error)
        raise Refused(f"{recipe.who} cannot be used: {describe_error(error)}") from error


def _directory_of(destination: Destination) -> Path | None:
    directory: object = destination.directory
    if not isinstance(directory, Path | None):
        raise TypeError(f"its directory is {shown(directory)}, not a Path")
    return directory


def _make(kind: Any, dump: str | None, recipe: Recipe) -> Any:
    made: object = recipe.make()
    if not isinstance(made, kind):
        raise TypeError(f"{shown(made)} is not a {kind.__name__}")
    check_name(getattr(type(made), "name", None))
    if isinstance(made, Filter):
        check_suffix(getattr(made, "suffix", None))
    require_none(made.check(), "check")
    if isinstance(made, Destination) and dump is not None:
        checked: object = made.check_name(dump)  # type: ignore[func-returns-value]  # that of others may
        require_none(checked, "check_name")
    return made
