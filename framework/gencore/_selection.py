"""Which backends and collectors a pipeline uses: loads them, and makes those of each dump."""

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from threading import TIMEOUT_MAX
from typing import Any, Final

import attrs

from gencore import _loader
from gencore._catalogue import BUILT_IN
from gencore._members import Member
from gencore._options import BackendChoice, CollectorChoice, CollectorSpec
from gencore._supervisor import Call, Steps, Supervisor
from gencore.backend import Backend, DumpRequest, Reason, Verdict
from gencore.collector import Collector
from gencore.errors import PluginError, TimedOut, UsageError
from gencore.report import Failed

__all__ = ["Selection", "ask", "ask_all"]

_ANSWER_LIMIT: Final = 5.0
"""Seconds that a plug-in has for an answer before the pause."""


@attrs.frozen(kw_only=True)
class _Recipe:
    """How to make one collector of a dump."""

    name: str
    make: Callable[[], Collector]
    spec: CollectorSpec
    built_in: bool = False


class Selection:
    """The plug-ins of one pipeline. Raises `UsageError` and `PluginError`."""

    def __init__(self, backend: BackendChoice, collectors: Sequence[CollectorChoice]) -> None:
        self._loaded: list[_loader.LoadedPlugin] = []
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

    def make_collectors(self) -> tuple[list[Member], list[tuple[Failed, bool]]]:
        """Make the collectors of one dump; return those that failed too, and if they matter."""
        return Supervisor(self._make_collectors()).run()

    def _make_collectors(self) -> Steps[tuple[list[Member], list[tuple[Failed, bool]]]]:
        members: list[Member] = []
        failed: list[tuple[Failed, bool]] = []
        for recipe in self._recipes:
            try:
                collector = yield _question(recipe.make, f"collector {recipe.name!r}")
                members.append(_member(recipe, collector))
            except Exception as error:
                failed.append((Failed(recipe.name, error), recipe.spec.required))
        return members, failed

    def _load_backends(self, choice: BackendChoice) -> list[Backend]:
        if isinstance(choice, Backend):
            return [choice]
        loaded = [_loader.load_named("backend", choice)] if choice else _loader.load_all("backend")
        made = [self._make_backend(plugin) for plugin in loaded]
        if choice and made == [None]:
            raise _loader.refusal(self._loaded[-1])
        return [backend for backend in made if backend is not None]

    def _make_backend(self, plugin: _loader.LoadedPlugin) -> Backend | None:
        backend: Backend | None = None
        if plugin.status == "ok":
            try:
                backend = plugin.plugin()
            except Exception as error:
                reason = f"its constructor raises {type(error).__name__}: {error}"
                plugin = attrs.evolve(plugin, status="failed", plugin=None, reason=reason)
        self._loaded.append(plugin)
        return backend

    def _load_collectors(self, choices: Sequence[CollectorChoice]) -> list[_Recipe]:
        if isinstance(choices, str) or not choices:
            raise UsageError(
                f"collectors={choices!r} is not a list of collectors",
                remedy="give names, as in collectors=['raw']",
            )
        specs = [c if isinstance(c, CollectorSpec) else CollectorSpec(c) for c in choices]
        uses = [spec.use for spec in specs]
        if any(uses.count(use) > 1 for use in uses):
            raise UsageError(f"collectors={choices!r} names one more than once")
        recipes = (self._load_collector(spec) for spec in specs)
        return [recipe for recipe in recipes if recipe is not None]

    def _load_collector(self, spec: CollectorSpec) -> _Recipe | None:
        _check_spec(spec)
        if not isinstance(spec.use, str):
            name = getattr(spec.use, "name", None) or getattr(spec.use, "__name__", repr(spec.use))
            return _Recipe(
                name=str(name), make=_with_options(spec.use, spec, str(name)), spec=spec
            )
        try:
            loaded = _loader.load_named("collector", spec.use)
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


def _check_spec(spec: CollectorSpec) -> None:
    if not isinstance(spec.use, str) and not callable(spec.use):
        raise UsageError(f"{spec.use!r} is neither the name nor the class of a collector")
    if spec.timeout is not None and not 0 < spec.timeout <= TIMEOUT_MAX:
        raise UsageError(f"timeout={spec.timeout!r} of {spec.use!r} is not a number of seconds")


def _with_options(maker: Callable[..., Any], spec: CollectorSpec, name: str) -> Callable[[], Any]:
    """Return what makes the collector. Raises `UsageError` for an option that it does not take."""
    if not spec.options:
        return maker
    try:
        inspect.signature(maker).bind(**spec.options)
    except TypeError as error:
        raise UsageError(f"options of collector {name!r}: {error}") from error
    return partial(maker, **spec.options)


def _member(recipe: _Recipe, collector: object) -> Member:
    if not isinstance(collector, Collector):
        raise TypeError(f"{collector!r} is not a Collector")
    limit = collector.time_limit if recipe.spec.timeout is None else recipe.spec.timeout
    return Member(
        collector=collector,
        required=recipe.spec.required,
        timeout=limit,
        built_in=recipe.built_in,
    )


def ask_all(backends: Sequence[Backend], request: DumpRequest) -> dict[Backend, Verdict]:
    """Return each backend's verdict; one that raises, hangs or answers nonsense means no."""

    def steps() -> Steps[dict[Backend, Verdict]]:
        verdicts = {}
        for backend in backends:
            verdicts[backend] = yield from _ask(backend, request)
        return verdicts

    return Supervisor(steps()).run()


def ask(backend: Backend, request: DumpRequest) -> Verdict:
    """Return one backend's verdict."""
    return ask_all([backend], request)[backend]


def _ask(backend: Backend, request: DumpRequest) -> Steps[Verdict]:
    try:
        verdict = yield _question(partial(backend.probe, request), "its probe")
    except TimedOut as error:
        return Verdict.no(Reason(error.message))
    except Exception as error:
        return Verdict.no(Reason(f"its probe raises {type(error).__name__}: {error}"))
    if not isinstance(verdict, Verdict):
        return Verdict.no(Reason(f"its probe returns {verdict!r}, not a Verdict"))
    return verdict


def _question(function: Callable[[], Any], who: str) -> Call:
    return Call(function, _ANSWER_LIMIT, TimedOut(_ANSWER_LIMIT, who))
