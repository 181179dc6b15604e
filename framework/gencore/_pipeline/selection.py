"""Which backends and collectors a pipeline uses: loads them, and makes those of each dump."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar, cast

import attrs

from gencore._pipeline.artifact_names import check_artifact_name
from gencore._pipeline.participant import Participant
from gencore._pipeline.plugin_maker import Recipe, name_of, with_options
from gencore._pipeline.watched import watched
from gencore._plugins import loader
from gencore._plugins.catalogue import (
    ReadCatalogue,
    default_plugins,
    faults_of_policy,
    read_catalogue,
    remedy_by_name,
)
from gencore._plugins.entry import CatalogueEntry, Family
from gencore._plugins.names import check_name
from gencore._runtime.application_errors import reraise_if_from_handler
from gencore._runtime.foreign_errors import shown
from gencore._runtime.return_values import require_none
from gencore._settings.options import BackendSpec, CollectorSpec
from gencore.backend import Backend
from gencore.collector import Collector
from gencore.errors import PluginError, Refused, TargetUnavailable, TimedOut, UsageError
from gencore.report import describe_error
from gencore.request import DumpRequest, is_time_limit
from gencore.verdict import Reason, Verdict

__all__ = ["Candidate", "Selection", "ask", "verdict_of", "why_not_default"]

T = TypeVar("T")


@attrs.frozen(kw_only=True)
class _CollectorRecipe(Recipe):
    """How to make one collector of a dump, and how much it matters."""

    family: Family = "collector"
    name_is_certain: bool = True
    """False for that of a function, which says nothing of the collector that it returns."""
    spec: CollectorSpec


class Candidate(NamedTuple):
    """A backend to choose from."""

    backend: Backend
    built_in: bool = False
    """Whether it can be relied on to answer."""
    only_by_name: bool = False


class Selection:
    """The plug-ins of one pipeline. Raises `UsageError` and `PluginError`."""

    def __init__(
        self,
        backend: Backend | BackendSpec | None,
        collectors: Sequence[CollectorSpec],
        read: ReadCatalogue = read_catalogue,
    ) -> None:
        """Load them; *read* returns the catalogue, and is called where they are not built in."""
        self._read = read
        self._loaded: list[loader.LoadedPlugin] = []
        self._optional: list[str] = []
        self._faults_of_policy = [fault.text for fault in faults_of_policy()]
        self._refused: dict[str, Reason] = {}
        self._is_by_default = backend is None
        self._only_by_name: dict[str, tuple[Backend, Reason]] = {}
        self.backends = self._load_backends(backend)
        self._recipes = self._load_collectors(collectors)

    @property
    def plugins(self) -> tuple[dict[str, object], ...]:
        """A row for each, as the manifest has it."""
        return tuple(plugin.as_dict() for plugin in self._loaded)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What could not be loaded and is not needed, and what GENCORE_PLUGINS names in vain."""
        broken = (p for p in self._loaded if p.status != "ok")
        rows = (f"{p.entry.family} {p.entry.name!r} was not loaded: {p.reason}" for p in broken)
        return (*self._faults_of_policy, *rows, *self._optional)

    def passed_over(self, request: DumpRequest) -> dict[str, Verdict]:
        """Return why the backends that are not asked for *request* are not, by name."""
        only_by_name = {
            name: _why_not_this_target(backend, request) or reason
            for name, (backend, reason) in self._only_by_name.items()
        }
        reasons = {**self._not_default(), **self._refused, **only_by_name}
        return {name: Verdict.no(reason) for name, reason in reasons.items()}

    def _not_default(self) -> dict[str, Reason]:
        """Return why backends were not even loaded. Other distributions are asked for them now."""
        entries = self._read() if self._is_by_default else ()
        backends = (entry for entry in entries if entry.family == "backend")
        reasons = ((entry.distinct_name, why_not_default(entry)) for entry in backends)
        return {name: reason for name, reason in reasons if reason is not None}

    def ask_backends(self, request: DumpRequest) -> list[tuple[Backend, Verdict]]:
        """Return what each backend says to *request*."""
        return [(candidate.backend, ask(candidate, request)) for candidate in self.backends]

    def make_participants(self, note_failure: Callable[..., None]) -> list[Participant]:
        """Make the collectors of one dump, and let each check itself; note those that fail.

        Raises `PluginError` if none is left, and `Refused` without one that is required before.
        """
        participants = []
        error: Exception | None = None
        for recipe in self._recipes:
            try:
                participants.append(recipe.follow(_participant))
            except Exception as raised:
                reraise_if_from_handler(raised)
                if recipe.spec.required == "before":
                    raise Refused(_unusable(recipe.name, raised)) from raised
                error = raised
                note_failure(recipe.name, raised, required=bool(recipe.spec.required))
        if not participants:
            reason = f"none of the collectors can be used: {error or '; '.join(self._optional)}"
            raise PluginError(family="collector", name="*", status="failed", reason=reason)
        _check_packers(participants)
        _refuse_same_names(participant.name for participant in participants)
        return participants

    def _load_backends(self, choice: Backend | BackendSpec | None) -> list[Candidate]:
        if isinstance(choice, Backend):
            return [Candidate(choice)]
        if choice is not None:
            return [self._load_backend(choice)]
        made = [self._load_default(entry) for entry in default_plugins("backend", self._read)]
        return [candidate for candidate in made if candidate is not None]

    def _load_backend(self, spec: BackendSpec) -> Candidate:
        if not isinstance(spec.use, str):
            backend: object = with_options(spec, spec.use, f"backend {name_of(spec.use)[0]!r}")()
            if not isinstance(backend, Backend):
                raise UsageError(f"{spec.use!r} returns {backend!r}, which is not a Backend")
            return Candidate(backend)
        plugin = loader.load_named("backend", spec.use, self._read)
        self._loaded.append(plugin)
        make = with_options(spec, plugin.plugin, f"backend {plugin.entry.name!r}")
        return _make_backend(plugin, make)

    def _load_default(self, entry: CatalogueEntry) -> Candidate | None:
        """Load a backend that may be chosen although nobody named it; note why it may not."""
        plugin = loader.load(entry)
        candidate = None
        try:
            candidate = _make_backend(plugin)
        except PluginError as error:
            if plugin.status == "ok":
                plugin = plugin._replace(status="failed", plugin=None, reason=error.reason)
            self._refused[entry.distinct_name] = Reason(error.reason, error.remedy)
        self._loaded.append(plugin)
        if candidate is not None and candidate.only_by_name:
            reason = Reason("it is used only if it is named", remedy_by_name(entry))
            self._only_by_name[entry.distinct_name] = candidate.backend, reason
            return None
        return candidate

    def _load_collectors(self, specs: Sequence[CollectorSpec]) -> list[_CollectorRecipe]:
        found = [self._load_collector(spec) for spec in specs]
        recipes = [recipe for recipe in found if recipe is not None]
        _refuse_same_names(recipe.name for recipe in recipes if recipe.name_is_certain)
        return recipes

    def _load_collector(self, spec: CollectorSpec) -> _CollectorRecipe | None:
        if not isinstance(spec.use, str):
            name, is_certain = name_of(spec.use)
            return _CollectorRecipe(
                name=name,
                name_is_certain=is_certain,
                make=with_options(spec, spec.use, f"collector {name!r}"),
                spec=spec,
            )
        try:
            loaded = loader.load_named("collector", spec.use, self._read)
        except PluginError as error:
            if spec.required:
                raise
            self._optional.append(f"optional {error}")
            return None
        self._loaded.append(loaded)
        return _CollectorRecipe(
            name=loaded.entry.name,
            make=with_options(spec, loaded.plugin, f"collector {loaded.entry.name!r}"),
            spec=spec,
            built_in=loaded.entry.built_in,
        )


def _check_packers(participants: list[Participant]) -> None:
    """Raise `UsageError` if more than one packs: one file would have what the other lacks."""
    packers = [repr(participant.name) for participant in participants if participant.packs]
    if len(packers) > 1:
        raise UsageError(
            f"collectors {' and '.join(packers)} both pack the artefacts of the others",
            remedy="make one dump with each",
        )


def _unusable(name: str, error: Exception) -> str:
    return f"collector {name!r} cannot be used: {describe_error(error)}"


def _refuse_same_names(names: Iterable[str]) -> None:
    """Raise `UsageError` if two collectors would make the same files."""
    for name, number in Counter(names).items():
        if number > 1:
            raise UsageError(
                f"collectors: {name!r} is given {number} times", remedy="give each collector once"
            )


def _participant(recipe: _CollectorRecipe) -> Participant:
    collector: object = recipe.make()
    if not isinstance(collector, Collector):
        raise TypeError(f"{shown(collector)} is not a Collector")
    limit = collector.time_limit if recipe.spec.timeout is None else recipe.spec.timeout
    if not is_time_limit(limit):
        raise TypeError(f"time_limit={limit!r} is not a positive number of seconds")
    name = type(collector).name  # of the class: an object could take another's
    check_name(name)
    reserves = tuple(collector.reserves)
    for reserved in reserves:
        check_artifact_name(reserved)
    checked: object = collector.check()  # type: ignore[func-returns-value]  # that of others may
    require_none(checked, "check")
    return Participant(
        collector=collector,
        name=name,
        packs=bool(collector.packs),
        keeps_core=bool(collector.keeps_core),
        hashes_core=bool(collector.hashes_core),
        makes_files=bool(collector.makes_files),
        reserves=reserves,
        timeout=None if limit is None else float(limit),
        required=bool(recipe.spec.required),
        built_in=recipe.built_in,
    )


def _make_backend(plugin: loader.LoadedPlugin, make: Callable[[], Any] | None = None) -> Candidate:
    """Return a loaded backend's object. Raises `PluginError`."""
    if plugin.status != "ok":
        raise loader.refusal(plugin)
    doing = "its constructor"
    try:
        backend = (make or plugin.plugin)()
        doing = "reading its attributes"
        fault = _why_unusable(backend)
        only_by_name = bool(getattr(backend, "only_by_name", False))
    except (Exception, SystemExit) as error:
        reraise_if_from_handler(error)
        reason = f"{doing} {loader.how_raised(error)}"
        raise loader.refusal(plugin._replace(status="failed", reason=reason)) from error
    if fault is not None:
        raise loader.refusal(plugin._replace(status="failed", reason=fault))
    return Candidate(backend, built_in=plugin.entry.built_in, only_by_name=only_by_name)


def _why_unusable(backend: Any) -> str | None:
    """Read what the choice and the report need of a backend: its attributes may be code."""
    if not isinstance(backend, Backend):
        return f"its constructor returns {shown(backend)}"
    if not isinstance(getattr(backend, "priority", None), int):
        return "its priority is not a whole number"
    if not all(isinstance(getattr(backend, text), str) for text in ("name", "method")):
        return "its name and method are not both text"
    return None


def why_not_default(entry: CatalogueEntry) -> Reason | None:
    """Return why a backend is not chosen unless it is named; None if it may be."""
    if entry.is_default:
        return None
    if entry.obstacle is not None:
        return Reason(entry.obstacle.reason, entry.obstacle.remedy)
    reason = f"installed by {entry.origin}, and used only if it is named"
    return Reason(reason, remedy_by_name(entry))


def ask(candidate: Candidate, request: DumpRequest) -> Verdict:
    """Return a backend's verdict; one that raises, hangs or answers nonsense means no.

    Raises `TargetUnavailable`, which no other backend would change.
    """
    refusal = _why_not_this_target(candidate.backend, request)
    if refusal is not None:
        return Verdict.no(refusal)
    probe = partial(candidate.backend.probe, request)
    try:
        verdict: object = probe() if candidate.built_in else watched(probe, "its probe")
    except TargetUnavailable:
        raise
    except TimedOut as error:
        return Verdict.no(Reason(error.message))
    except Exception as error:
        reraise_if_from_handler(error)
        return Verdict.no(Reason(f"its probe {loader.how_raised(error)}"))
    if not issubclass(type(verdict), Verdict):
        return Verdict.no(Reason(f"its probe returns {shown(verdict)}, not a Verdict"))
    return cast("Verdict", verdict)


def _why_not_this_target(backend: Backend, request: DumpRequest) -> Reason | None:
    target = request.target
    dumps_others = bool(getattr(backend, "dumps_others", False))
    if dumps_others and (target.other is None or target.handover is not None):
        return Reason("it dumps other processes only", "name one: gencore dump PID")
    if target.handover is not None and not bool(getattr(backend, "takes_handover", False)):
        return Reason("it takes its snapshot in the process itself only")
    if not dumps_others and target.other is not None and target.handover is None:
        return Reason("it dumps its own process only", "GENCORE_BACKEND=linux-agent")
    return None


def verdict_of(plugin: loader.LoadedPlugin) -> Verdict:
    """Return what a loaded backend says to a dump without any wish."""
    try:
        return ask(_make_backend(plugin), DumpRequest())
    except PluginError as error:
        return Verdict.no(Reason(error.reason, error.remedy))
