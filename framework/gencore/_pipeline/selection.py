"""Which backends and collectors a pipeline uses: loads them, and makes those of each dump."""

import inspect
from collections.abc import Callable, Sequence
from contextvars import copy_context
from functools import partial
from typing import Any, Final, TypeVar

import attrs

from gencore._pipeline.participant import Participant
from gencore._plugins import loader
from gencore._plugins.catalogue import BUILT_IN
from gencore._runtime.application_errors import reraise_if_from_handler
from gencore._runtime.supervisor import Call, Steps, Supervisor
from gencore._settings.options import BackendChoice, CollectorChoice, CollectorSpec, specs_of
from gencore.backend import Backend
from gencore.collector import Collector
from gencore.errors import PluginError, Refused, TimedOut, UsageError
from gencore.report import describe_error
from gencore.request import DumpRequest, is_time_limit
from gencore.verdict import Reason, Verdict

__all__ = ["Candidate", "Selection", "ask", "verdict_of"]

T = TypeVar("T")
_ANSWER_LIMIT: Final = 5.0
"""Seconds that a plug-in has for an answer before the pause."""


@attrs.frozen(kw_only=True)
class _Recipe:
    """How to make one collector of a dump."""

    name: str
    make: Callable[[], Collector]
    spec: CollectorSpec
    built_in: bool = False


@attrs.frozen
class Candidate:
    """A backend to choose from."""

    backend: Backend
    built_in: bool = False
    """Whether it can be relied on to answer."""


class Selection:
    """The plug-ins of one pipeline. Raises `UsageError` and `PluginError`."""

    def __init__(self, backend: BackendChoice, collectors: Sequence[CollectorChoice]) -> None:
        self._loaded: list[loader.LoadedPlugin] = []
        self._optional: list[str] = []
        self.backends = self._load_backends(backend)
        self._recipes = self._load_collectors(collectors)

    @property
    def plugins(self) -> tuple[dict[str, object], ...]:
        """A row for each, as the manifest has it."""
        return tuple(plugin.as_dict() for plugin in self._loaded)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What could not be loaded, and is not needed."""
        broken = (p for p in self._loaded if p.status not in {"ok", "disabled"})
        rows = (f"{p.entry.family} {p.entry.name!r} was not loaded: {p.reason}" for p in broken)
        return (*rows, *self._optional)

    def make_participants(self, note_failure: Callable[..., None]) -> list[Participant]:
        """Make the collectors of one dump, and let each check itself; note those that fail.

        Raises `PluginError` if none is left, and `Refused` without one that is required before.
        """
        participants = []
        error: Exception | None = None
        for recipe in self._recipes:
            try:
                participants.append(self._make_participant(recipe))
            except Exception as raised:
                reraise_if_from_handler(raised)
                if recipe.spec.required == "before":
                    raise Refused(_why_unusable(recipe.name, raised)) from raised
                error = raised
                note_failure(recipe.name, raised, required=bool(recipe.spec.required))
        if not participants:
            reason = f"none of the collectors can be used: {error or '; '.join(self._optional)}"
            raise PluginError(family="collector", name="*", status="failed", reason=reason)
        _check_packers(participants)
        return participants

    def _make_participant(self, recipe: _Recipe) -> Participant:
        make = partial(_participant, recipe)
        return make() if recipe.built_in else _watched(make, f"collector {recipe.name!r}")

    def _load_backends(self, choice: BackendChoice) -> list[Candidate]:
        if isinstance(choice, Backend):
            return [Candidate(choice)]
        if choice:
            self._loaded.append(loader.load_named("backend", choice))
            return [_make_backend(self._loaded[-1])]
        loaded = loader.load_all("backend")
        made = [self._try_to_make(plugin) for plugin in loaded]
        return [candidate for candidate in made if candidate is not None]

    def _try_to_make(self, plugin: loader.LoadedPlugin) -> Candidate | None:
        try:
            candidate = _make_backend(plugin) if plugin.status == "ok" else None
        except PluginError as error:
            plugin = attrs.evolve(plugin, status="failed", plugin=None, reason=error.reason)
            candidate = None
        self._loaded.append(plugin)
        return candidate

    def _load_collectors(self, choices: Sequence[CollectorChoice]) -> list[_Recipe]:
        recipes = (self._load_collector(spec) for spec in specs_of(choices))
        return [recipe for recipe in recipes if recipe is not None]

    def _load_collector(self, spec: CollectorSpec) -> _Recipe | None:
        if not isinstance(spec.use, str):
            name = _name_of(spec.use)
            return _Recipe(name=name, make=_with_options(spec.use, spec, name), spec=spec)
        try:
            loaded = loader.load_named("collector", spec.use)
        except PluginError as error:
            if spec.required:
                raise
            self._optional.append(f"optional {error}")
            return None
        self._loaded.append(loaded)
        return _Recipe(
            name=loaded.entry.name,
            make=_with_options(loaded.plugin, spec, loaded.entry.name),
            spec=spec,
            built_in=loaded.entry.distribution == BUILT_IN,
        )


def _check_packers(participants: list[Participant]) -> None:
    """Raise `UsageError` if more than one packs: one file would have what the other lacks."""
    packers = [repr(participant.name) for participant in participants if participant.packs]
    if len(packers) > 1:
        raise UsageError(
            f"collectors {' and '.join(packers)} both pack the artefacts of the others",
            remedy="make one dump with each",
        )


def _why_unusable(name: str, error: Exception) -> str:
    return f"collector {name!r} cannot be used: {describe_error(error)}"


def _name_of(maker: Callable[..., Any]) -> str:
    """Return how to call what makes a collector before there is one."""
    try:
        return str(getattr(maker, "name", None) or maker.__name__)
    except Exception:
        return repr(maker)


def _with_options(maker: Callable[..., Any], spec: CollectorSpec, name: str) -> Callable[[], Any]:
    """Return what makes the collector. Raises `UsageError` for an option that it does not take."""
    if not spec.options:
        return maker
    try:
        inspect.signature(maker).bind(**spec.options)
    except TypeError as error:
        raise UsageError(f"options of collector {name!r}: {error}") from error
    return partial(maker, **spec.options)


def _participant(recipe: _Recipe) -> Participant:
    collector: object = recipe.make()
    if not isinstance(collector, Collector):
        raise TypeError(f"{collector!r} is not a Collector")
    limit = collector.time_limit if recipe.spec.timeout is None else recipe.spec.timeout
    if not is_time_limit(limit):
        raise TypeError(f"time_limit={limit!r} is not a positive number of seconds")
    name = type(collector).name  # of the class: an object could take another's
    if not isinstance(name, str):
        raise TypeError(f"name={name!r} is not text")
    collector.check()
    return Participant(
        collector=collector,
        name=name,
        packs=bool(collector.packs),
        keeps_core=bool(collector.keeps_core),
        makes_files=bool(collector.makes_files),
        timeout=None if limit is None else float(limit),
        required=bool(recipe.spec.required),
        built_in=recipe.built_in,
    )


def _make_backend(plugin: loader.LoadedPlugin) -> Candidate:
    """Return a loaded backend's object. Raises `PluginError`."""
    try:
        backend = plugin.plugin()
    except (Exception, SystemExit) as error:
        reraise_if_from_handler(error)
        reason = f"its constructor raises {type(error).__name__}: {error}"
        raise loader.refusal(attrs.evolve(plugin, status="failed", reason=reason)) from error
    if not isinstance(getattr(backend, "priority", None), int):
        reason = "its priority is not a whole number"
        raise loader.refusal(attrs.evolve(plugin, status="failed", reason=reason))
    return Candidate(backend, built_in=plugin.entry.distribution == BUILT_IN)


def ask(candidate: Candidate, request: DumpRequest) -> Verdict:
    """Return a backend's verdict; one that raises, hangs or answers nonsense means no."""
    probe = partial(candidate.backend.probe, request)
    try:
        verdict: object = probe() if candidate.built_in else _watched(probe, "its probe")
    except TimedOut as error:
        return Verdict.no(Reason(error.message))
    except Exception as error:
        reraise_if_from_handler(error)
        return Verdict.no(Reason(f"its probe raises {type(error).__name__}: {error}"))
    if not isinstance(verdict, Verdict):
        return Verdict.no(Reason(f"its probe returns {verdict!r}, not a Verdict"))
    return verdict


def verdict_of(plugin: loader.LoadedPlugin) -> Verdict:
    """Return what a loaded backend says to a dump without any wish."""
    try:
        return ask(_make_backend(plugin), DumpRequest())
    except PluginError as error:
        return Verdict.no(Reason(error.reason))


def _watched(function: Callable[[], T], who: str) -> T:
    """Return what code of another distribution returns, or raise `TimedOut` if it hangs.

    It runs on another thread, with the context variables of this one.
    """
    run = partial(copy_context().run, function)

    def steps() -> Steps[T]:
        result: T = yield Call(run, _ANSWER_LIMIT, TimedOut(_ANSWER_LIMIT, who))
        return result

    return Supervisor(steps()).run()
